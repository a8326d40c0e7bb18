"""What waits on disk to be sent: bytes in files without a name, first in, first out. Not thread-safe."""

import logging
import tempfile
from collections import deque
from typing import IO, Final

from sidecar.process.stdio import CHUNK_BYTES

log = logging.getLogger(__name__)

SEGMENT_BYTES: Final = 64 * 1024 * 1024
"""Disk space is given back a file of so much at a time."""


class Segment:
    """One file, written at its end and read from its beginning."""

    def __init__(self) -> None:
        # Readable by this user only, and gone when it is closed or the process ends, however that ends
        # (on Windows it has a name until then, by the documentation of O_TEMPORARY).
        self.file: IO[bytes] = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (lives as long as it is read)
        self.written_bytes = 0
        self.read_bytes = 0

    def append(self, data: bytes) -> bytes:
        """Writes it; returns what the disk refused."""
        rest = memoryview(data)
        try:
            self.file.seek(self.written_bytes)
            while rest:
                count = self.file.write(rest)
                self.written_bytes += count
                rest = rest[count:]
        except OSError as error:
            _complain(error)
        return bytes(rest)

    def take(self) -> bytes:
        """The next bytes, `b""` when all were taken. Raises OSError."""
        wanted = min(CHUNK_BYTES, self.written_bytes - self.read_bytes)
        if not wanted:
            return b""
        self.file.seek(self.read_bytes)
        data = self.file.read(wanted)
        if not data:
            raise OSError("a temporary file got shorter")
        self.read_bytes += len(data)
        return data


class Spool:
    """Bytes on disk, first in, first out, in files without a name that vanish with the process. Not thread-safe.

    Nothing put is lost or overtaken, and no failure of the disk is an exception: what it refuses is kept in
    memory, and said so; what it cannot give back, against all expectation, becomes the end of a line.
    """

    def __init__(self, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._segment_bytes = segment_bytes
        self._segments: deque[Segment] = deque()
        self._refused = b""

    @property
    def size_bytes(self) -> int:
        """What it takes on disk."""
        return sum(segment.written_bytes for segment in self._segments)

    @property
    def is_refused(self) -> bool:
        """Whether the disk refused what was put last; nothing must be put until that has been taken."""
        return bool(self._refused)

    def add(self, segment: Segment) -> None:
        """Behind all that was put."""
        self._segments.append(segment)

    def put(self, data: bytes) -> None:
        """Keeps all of it; `is_refused` says whether some of it could be kept in memory only."""
        self._refused = data
        if not self._segments or self._segments[-1].written_bytes >= self._segment_bytes:
            segment = _new_segment()
            if segment is None:
                return
            self._segments.append(segment)
        self._refused = self._segments[-1].append(data)

    def take(self) -> bytes:
        """The next bytes, `b""` when nothing waits."""
        while self._segments:
            try:
                if data := self._segments[0].take():
                    return data
            except OSError:
                log.exception("answers that waited on disk cannot be read back and are lost")
                return self._give_up()
            self._segments.popleft().file.close()
        data, self._refused = self._refused, b""
        return data

    def _give_up(self) -> bytes:
        """Drops all: segments do not end where lines do. The line that was cut short ends, the next is whole."""
        while self._segments:
            self._segments.popleft().file.close()
        self._refused = b""
        return b"\n"


def on_disk(line: bytes) -> Segment | None:
    """A file that holds it; None where the disk refuses it."""
    segment = _new_segment()
    if segment is not None and segment.append(line):
        segment.file.close()
        return None
    return segment


def _new_segment() -> Segment | None:
    try:
        return Segment()
    except OSError as error:  # no folder for temporary files, or too many files are open
        _complain(error)
        return None


def _complain(error: OSError) -> None:
    log.warning("answers that wait cannot be put on disk: %s", error.strerror)
