"""Opens a client of Gemini without making a start pay for it.

httpx, and what stands on it, is imported in a thread when the first client is opened: `status` answers
before, and a run that begins stops no other call.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import ModuleType
from typing import TYPE_CHECKING

import trio

from sidecar.gemini.failures import incomplete
from sidecar.settings import Settings

if TYPE_CHECKING:
    from sidecar.gemini.client import GeminiClient


@asynccontextmanager
async def open_client(settings: Settings) -> "AsyncIterator[GeminiClient]":
    """A client for these settings, closed at the end with all its connections.

    Raises GeminiError SETTING when base URL, model or proxy cannot be used at all, INCOMPLETE when a part of the
    program cannot be loaded.
    """
    await loaded()
    from sidecar.gemini import client  # noqa: PLC0415 - loaded by now

    async with client.open_client(settings) as opened:
        yield opened


async def loaded() -> None:
    """Once this has returned, importing `client` or `preview` costs nothing. Raises GeminiError INCOMPLETE."""
    try:
        await trio.to_thread.run_sync(_load, abandon_on_cancel=True)
    except (ImportError, OSError) as error:
        raise incomplete(error) from None


def _load() -> ModuleType:
    from sidecar.gemini import preview  # noqa: PLC0415 - see above

    return preview
