"""What batches learn while a person changes the mapping of another tag: it is not asked for again."""

from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
import trio

from sidecar.demo import standin
from sidecar.demo.standin import Received, Reply
from sidecar.library.store import Library
from sidecar.redaction import Redactor
from sidecar.rpc.methods import running_app
from sidecar.settings import Settings
from tests import harness
from tests.meanwhile.scenes import Runs

PUB: dict[str, Any] = {"genre": "folk:tavern", "moods": ["calm"], "occasions": ["inn-rest"], "keywords": ["pub"]}
VIBEY = {"tag_type": "mood", "invalid_tag": "vibey"}


def says_pub(received: Received) -> Reply | None:
    """Of every file; what a pub is, is the stand-in's own."""
    if received.kind != "tagging":
        return None
    return standin.ok([{**PUB, "id": file["id"]} for file in received.files])


@pytest.mark.parametrize(
    ("method", "params"),
    [("set_tag_mapping", {**VIBEY, "valid_tag": "eerie"}), ("delete_tag_mapping", VIBEY)],
    ids=["set", "deleted"],
)
async def test_what_a_batch_has_saved_meanwhile_is_not_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, params: dict[str, Any]
) -> None:
    """A reader's thread may be slow: whatever the call reads comes to it after the batch's commit."""
    library, runs, read = harness.library(tmp_path, 10), Runs(), Library.read
    is_slow, has_read, is_saved = ContextVar("is_slow", default=False), trio.Event(), trio.Event()

    async def read_slowly(self: Library, query: Any) -> Any:
        found = await read(self, query)
        if is_slow.get():
            has_read.set()
            await is_saved.wait()
        return found

    async def change() -> None:
        is_slow.set(True)
        await runs.call(method, **params)
        has_read.set()

    monkeypatch.setattr(Library, "read", read_slowly)
    async with standin.running(script=says_pub) as gemini:
        settings = Settings(database=library.path, api_key="a-key", base_url=gemini.base_url)
        async with running_app(settings, runs.emit, Redactor()) as runs.app:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(change)
                await has_read.wait()
                await runs.tag(1)
                is_saved.set()
            await runs.tag(2)
        assert [received.kind for received in gemini.journal].count("mapping") == 1
