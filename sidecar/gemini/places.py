"""A request's turn on the network, and the hooks of the HTTP client that keep to it.

The SDK makes the HTTP request itself, a good deal of work before its first byte and after its last: all
of that is done without a place, so that it costs nobody's turn. Bounds the size of answers, too.
"""

import math
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from typing import Any, Protocol

import httpx
import trio
from msgspec import Struct

LARGEST_ANSWER_BYTES = 16 * 1024 * 1024
"""As sent. A tagging answer for 500 files has some 150 kB."""


class NotSent(Exception):  # noqa: N818 - nothing went wrong
    """The way was closed in the last instant: not a byte of the request left."""


class Place(Protocol):
    """From just before a request's first byte to the last of its answer."""

    async def enter(self) -> None:
        """Waits for the turn. Raises NotSent."""

    def check(self) -> None:
        """In the last instant before the first byte (a TLS handshake may lie before it). Raises NotSent."""

    def leave(self) -> None:
        """The turn is over. Idempotent."""


class FreePlace:
    """For single requests outside of runs: always theirs."""

    async def enter(self) -> None:
        """At once."""

    def check(self) -> None:
        """Never closed."""

    def leave(self) -> None:
        """Nothing to give back."""


class Attempt(Struct, frozen=True):
    """The SDK call of the current task, as the hooks of the HTTP client see it."""

    place: Place
    scope: trio.CancelScope
    timeout_seconds: float


attempt: ContextVar[Attempt] = ContextVar("attempt")
"""The SDK makes the HTTP request itself; only the task connects it with the call."""


async def enter(request: httpx.Request) -> None:
    """httpx's hook when a request is ready and has no connection yet. Waiting is not part of its time."""
    current = attempt.get()

    async def trace(event: str, _info: dict[str, Any]) -> None:
        if event.endswith("send_request_headers.started"):
            current.place.check()

    request.extensions["trace"] = trace
    current.scope.deadline = math.inf
    await current.place.enter()
    current.scope.deadline = trio.current_time() + current.timeout_seconds


class _BoundedStream(httpx.AsyncByteStream):
    """An answer's body, bounded in size; `complete` is called after its last byte."""

    def __init__(self, stream: httpx.AsyncByteStream, complete: Callable[[], None]) -> None:
        self._stream = stream
        self._complete = complete

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._stream:
            size += len(chunk)
            if size > LARGEST_ANSWER_BYTES:
                raise httpx.DecodingError("the answer is too large")
            yield chunk
        self._complete()

    async def aclose(self) -> None:
        await self._stream.aclose()


async def bound_answer(response: httpx.Response) -> None:
    """A good answer gives its place away as soon as it is complete; a refusal keeps it until it is judged."""
    if isinstance(response.stream, httpx.AsyncByteStream):
        complete = attempt.get().place.leave if response.status_code == 200 else _nothing
        response.stream = _BoundedStream(response.stream, complete)


def _nothing() -> None:
    pass
