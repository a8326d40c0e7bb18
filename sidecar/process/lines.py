"""Bytes as they come → lines. Pure: no descriptor is read or written here.

Its law: memory is bounded by the limit, work is linear in the bytes fed, however they are cut.
"""

from typing import Final

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
