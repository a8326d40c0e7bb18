"""Bytes as they come → lines. Pure: no descriptor is read or written here.

Its law: memory is bounded by the limit, work is linear in the bytes fed, however they are cut.
"""

import io
import threading
from collections.abc import Callable
from typing import Any, Final, TextIO, cast

from msgspec import Struct

MAX_LINE_BYTES: Final = 16 * 1024 * 1024
"""Contract 1: a longer line is refused unread."""


class TooLong(Struct, frozen=True):
    """Stands where a line was that exceeded the limit; nothing of it is kept."""


Line = bytes | TooLong


class LineSplitter:
    """Cuts a stream at `\\n` (or `\\r\\n`) and drops blank lines; lines come without their end.

    A line of more than `limit_bytes` is reported once, as soon as that is certain, as TooLong.
    Not thread-safe.
    """

    def __init__(self, limit_bytes: int = MAX_LINE_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._open = bytearray()  # the unfinished line
        self._skipping = False  # the unfinished line was too long

    def feed(self, chunk: bytes) -> list[Line]:
        """The lines that end in this chunk, in order."""
        *ended, rest = chunk.split(b"\n")
        lines: list[Line] = []
        for piece in ended:
            self._extend(piece, lines)
            self._finish(lines)
        self._extend(rest, lines)
        return lines

    def end(self) -> list[Line]:
        """The last line, when the stream ended without ending it."""
        lines: list[Line] = []
        self._finish(lines)
        return lines

    def _extend(self, piece: bytes, lines: list[Line]) -> None:
        if self._skipping:
            return
        # One byte of grace: it may be the `\r` that belongs to the line's end.
        if len(self._open) + len(piece) > self._limit_bytes + 1:
            self._open = bytearray()
            self._skipping = True
            lines.append(TooLong())
        else:
            self._open += piece

    def _finish(self, lines: list[Line]) -> None:
        if self._skipping:
            self._skipping = False
            return
        line = bytes(self._open).removesuffix(b"\r")
        self._open = bytearray()
        if len(line) > self._limit_bytes:
            lines.append(TooLong())
        elif line and not line.isspace():
            lines.append(line)


class LineSink(io.RawIOBase):
    """A file to write to: calls `take` with each line. Stands in for stdout and stderr; any thread may write.

    `fd` is only what `fileno` says: faulthandler and child processes write past us.
    """

    def __init__(self, take: Callable[[Line], None], fd: int, limit_bytes: int) -> None:
        super().__init__()
        self._take = take
        self._fd = fd
        self._splitter = LineSplitter(limit_bytes)
        self._lock = threading.RLock()

    def as_text(self) -> TextIO:
        """What `sys.stdout` or `sys.stderr` may be set to: nothing stays in a buffer."""
        file = cast("Any", self)  # typeshed wants IO[bytes]; TextIOWrapper is content with any RawIOBase
        return io.TextIOWrapper(file, "utf-8", "backslashreplace", newline="\n", write_through=True)

    def writable(self) -> bool:
        """Yes."""
        return True

    def fileno(self) -> int:
        """The descriptor behind all this."""
        return self._fd

    def write(self, data: Any) -> int:
        """Takes all of it."""
        chunk = bytes(data)
        with self._lock:
            lines = self._splitter.feed(chunk)
        for line in lines:
            self._take(line)
        return len(chunk)

    def end(self) -> None:
        """What was written without an end of line is a line now."""
        with self._lock:
            lines = self._splitter.end()
        for line in lines:
            self._take(line)
