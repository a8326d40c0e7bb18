"""A request's turn on the network, and the hooks of the HTTP client that keep to it.

The SDK makes the HTTP request itself, a good deal of work before its first byte and after its last: all
of that is done without a place, so that it costs nobody's turn. Bounds the size of answers, too, as they
are sent and as they unfold: answers are unpacked here, since httpx unpacks without a bound.
"""

import math
import zlib
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from typing import Any

import httpx
import trio
from msgspec import Struct

from sidecar.gemini.failures import MAY_ASK_FOR_DELAY
from sidecar.gemini.requests import Place

LARGEST_ANSWER_BYTES = 4 * 1024 * 1024
"""Unpacked. A tagging answer for 500 files has some 150 kB; more than this would hold up the event loop."""
LONGEST_REFUSAL_SECONDS = 5
"""From the head of an answer that may ask for a delay to its end: all wait for it. Then its number has to do."""
_TURNS = 3
"""Rounds of the event loop to yield, so that the next request is sent before this answer is parsed (some ms)."""
_GZIP = 16 + zlib.MAX_WBITS
"""See zlib.decompressobj: a gzip header is required."""


class Refusal(Struct, frozen=True):
    """An answer other than a 200, without its page."""

    status: int
    headers: httpx.Headers

    @property
    def is_passing(self) -> bool:
        """Whether the same request may be taken later, whatever the page says."""
        return self.status in (408, 429) or self.status >= 500


class Attempt(Struct):
    """The SDK call of the current task, as the hooks of the HTTP client see it; `refusal` is what came of it."""

    place: Place
    scope: trio.CancelScope
    timeout_seconds: float
    refusal: Refusal | None = None


attempt: ContextVar[Attempt] = ContextVar("attempt")
"""The SDK makes the HTTP request itself; only the task connects it with the call."""


async def enter(request: httpx.Request) -> None:
    """httpx's hook when a request is ready and has no connection yet. Waiting is not part of its time."""
    current = attempt.get()

    async def trace(event: str, _info: dict[str, Any]) -> None:
        if event.endswith("send_request_headers.started"):
            current.place.check()

    request.extensions["trace"] = trace
    request.headers["accept-encoding"] = "gzip"
    current.scope.deadline = math.inf
    await current.place.enter()
    current.scope.deadline = trio.current_time() + current.timeout_seconds


class _BoundedStream(httpx.AsyncByteStream):
    """An answer's body, unpacked and bounded in size; `complete` is called after the last byte of a good one."""

    def __init__(
        self, stream: httpx.AsyncByteStream, *, zipped: bool, complete: Callable[[], None] | None
    ) -> None:
        self._stream = stream
        self._zipped = zipped
        self._complete = complete

    async def __aiter__(self) -> AsyncIterator[bytes]:
        packed = _Packed() if self._zipped else None
        room_bytes = LARGEST_ANSWER_BYTES
        async for chunk in self._stream:
            data = packed.unpack(chunk, room_bytes + 1) if packed else chunk
            room_bytes -= len(data)
            if room_bytes < 0:
                raise httpx.DecodingError("the answer is too large")
            yield data
        if packed is not None and packed.is_cut_off:
            raise httpx.ReadError("the answer was cut off")
        if self._complete is not None:
            self._complete()
            for _ in range(_TURNS):
                await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        # What it read from holds the response, which holds this stream, and 100 KB of request: such a ring would
        # stay until the garbage collector comes.
        stream, self._stream = self._stream, httpx.ByteStream(b"")
        await stream.aclose()


class _Packed:
    """A gzip stream."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(_GZIP)
        self._has_begun = False

    def unpack(self, chunk: bytes, most_bytes: int) -> bytes:
        """The next chunk, to at most so many bytes. Raises httpx.DecodingError."""
        self._has_begun = True
        try:
            return self._stream.decompress(chunk, most_bytes)
        except zlib.error:
            raise httpx.DecodingError("the answer is not the gzip that it says it is") from None

    @property
    def is_cut_off(self) -> bool:
        """Whether it lacks its end, so far."""
        return self._has_begun and not self._stream.eof


async def bound_answer(response: httpx.Response) -> None:
    """A good answer gives its place away as soon as it is complete; a refusal keeps it until it is judged."""
    current = attempt.get()
    if response.status_code != 200:
        current.refusal = Refusal(response.status_code, response.headers)
    if response.status_code in MAY_ASK_FOR_DELAY:
        current.place.refused()
        current.scope.deadline = min(current.scope.deadline, trio.current_time() + LONGEST_REFUSAL_SECONDS)
    response.encoding = "utf-8"  # JSON is that (RFC 8259, 8.1), whatever charset a gateway names
    encoding = response.headers.pop("content-encoding", "identity").strip().lower()
    if encoding not in ("gzip", "identity"):
        raise httpx.DecodingError("the answer is packed in a way that was not asked for")
    if isinstance(response.stream, httpx.AsyncByteStream):
        complete = None if current.refusal else current.place.answered
        response.stream = _BoundedStream(response.stream, zipped=encoding == "gzip", complete=complete)
