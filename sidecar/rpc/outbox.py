"""What goes to the shell: in order, without waiting for who reads it, bounded for a slow reader.

`Waiting` decides, without I/O, what waits and what is dropped (contract 1); `Outbox` writes it. Every request
must get its answer, and whoever sends requests never waits for whoever reads answers: so what an unread stdout
piles up goes to disk.
"""

import logging
import tempfile
import threading
from collections import OrderedDict, deque
from typing import IO, Final

from sidecar.process.pump import Pump
from sidecar.process.stdio import CHUNK_BYTES

log = logging.getLogger(__name__)

MAX_WAITING_PROGRESS: Final = 64
"""Once more wait, the reader is slow: some seconds of a run at full speed."""
MAX_WAITING_BATCHES: Final = 512
MAX_WAITING_BATCH_BYTES: Final = 1024 * 1024
"""A report may hold 500 failures, so that a count alone would not bound the memory."""
MAX_WAITING_BYTES: Final = 16 * 1024 * 1024
"""Some 70,000 short answers, or a large library's list of files. What waits beyond goes to disk."""
MAX_SPOOLED_BYTES: Final = 1024 * 1024 * 1024
"""Some four million answers to `status`. While more wait, or the disk refuses them, no request should be read."""
SEGMENT_BYTES: Final = 64 * 1024 * 1024
"""Disk space is given back a file of so much at a time."""
LINE_COST_BYTES: Final = 200
"""What a waiting line takes beside its text."""


class Waiting:
    """The lines that wait, first in, first out; amortised O(1) for each. Not thread-safe.

    Answers and completions are kept always. The 65th waiting progress drops the earlier ones of its
    run and stands where it came, so a run's last progress is always there, after its batch and before
    its completion. The oldest batch reports beyond either bound are dropped; the newest never is.
    """

    def __init__(self) -> None:
        self._lines: OrderedDict[int, bytes] = OrderedDict()  # by ticket; tickets count upwards
        self._next_ticket = 0
        self._run_of_progress: dict[int, str] = {}
        self._progress_of_run: dict[str, deque[int]] = {}
        self._batches: deque[int] = deque()
        self._batch_bytes = 0
        self.waiting_bytes = 0

    def put(self, line: bytes) -> int:
        """A line that is kept always; returns its ticket."""
        ticket = self._next_ticket
        self._next_ticket += 1
        self._lines[ticket] = line
        self.waiting_bytes += len(line) + LINE_COST_BYTES
        return ticket

    def put_progress(self, run_id: str, line: bytes) -> None:
        """A progress: stands for all earlier ones of its run once too many wait."""
        ticket = self.put(line)
        tickets = self._progress_of_run.setdefault(run_id, deque())
        tickets.append(ticket)
        self._run_of_progress[ticket] = run_id
        if len(self._run_of_progress) > MAX_WAITING_PROGRESS:
            while len(tickets) > 1:
                self._drop_progress(tickets.popleft())

    def put_batch(self, line: bytes) -> None:
        """A batch report: makes room for itself at the cost of the oldest."""
        self._batches.append(self.put(line))
        self._batch_bytes += len(line)
        while len(self._batches) > 1 and (
            len(self._batches) > MAX_WAITING_BATCHES or self._batch_bytes > MAX_WAITING_BATCH_BYTES
        ):
            self._batch_bytes -= len(self._pop(self._batches.popleft()))

    def take(self) -> bytes:
        """The first lines, as many as fill one write, at least one; `b""` when none waits."""
        taken: list[bytes] = []
        room_bytes = CHUNK_BYTES
        while self._lines and (not taken or len(self._first()) <= room_bytes):
            taken.append(self._pop_first())
            room_bytes -= len(taken[-1])
        return b"".join(taken)

    def _first(self) -> bytes:
        return self._lines[next(iter(self._lines))]

    def _pop_first(self) -> bytes:
        ticket = next(iter(self._lines))
        line = self._pop(ticket)
        if self._batches and self._batches[0] == ticket:
            self._batches.popleft()
            self._batch_bytes -= len(line)
        elif (run_id := self._run_of_progress.pop(ticket, None)) is not None:
            tickets = self._progress_of_run[run_id]
            tickets.popleft()
            if not tickets:
                del self._progress_of_run[run_id]
        return line

    def _pop(self, ticket: int) -> bytes:
        line = self._lines.pop(ticket)
        self.waiting_bytes -= len(line) + LINE_COST_BYTES
        return line

    def _drop_progress(self, ticket: int) -> None:
        self._pop(ticket)
        del self._run_of_progress[ticket]


class _Segment:
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
        self._segments: deque[_Segment] = deque()
        self._refused = b""

    @property
    def size_bytes(self) -> int:
        """What it takes on disk."""
        return sum(segment.written_bytes for segment in self._segments)

    @property
    def is_refused(self) -> bool:
        """Whether the disk refused what was put last; nothing must be put until that has been taken."""
        return bool(self._refused)

    def add(self, segment: _Segment) -> None:
        """Behind all that was put."""
        self._segments.append(segment)

    def put(self, data: bytes) -> None:
        """Keeps all of it; `is_refused` says whether some of it could be kept in memory only."""
        self._refused = data
        if not self._segments or self._segments[-1].written_bytes >= self._segment_bytes:
            try:
                self._segments.append(_Segment())
            except OSError as error:  # no folder for temporary files, or too many files are open
                _complain(error)
                return
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


def _on_disk(line: bytes) -> _Segment | None:
    """A file that holds it; None where the disk refuses it."""
    try:
        segment = _Segment()
    except OSError as error:  # no folder for temporary files, or too many files are open
        _complain(error)
        return None
    if segment.append(line):
        segment.file.close()
        return None
    return segment


def _complain(error: OSError) -> None:
    log.warning("answers that wait cannot be put on disk: %s", error.strerror)


class Outbox:
    """The one way to stdout. Any thread may call; nothing but `flush` waits for the reader.

    Lines come complete, with their `\\n`; an empty one is ignored. They leave in the order they came.
    Once the shell has closed its end, everything is discarded silently. `room` is set unless even the disk
    holds too much; it is for those whose requests would be answered next.
    """

    def __init__(self, fd: int, max_spooled_bytes: int = MAX_SPOOLED_BYTES) -> None:
        self.room = threading.Event()
        self.room.set()
        self._waiting = Waiting()
        self._spool = Spool()  # stands before all that is in `_waiting`
        self._max_spooled_bytes = max_spooled_bytes
        self._pump = Pump(fd, self._take, "outbox")

    def answer(self, line: bytes) -> None:
        """A response: kept always."""
        if line:
            self._pump.put(self._keep, line)

    def large_answer(self, line: bytes) -> None:
        """As `answer`, for another thread than the event loop's, which nobody waits for: it is on disk before it
        waits with the others, whose lock is held for an instant only.
        """
        segment = _on_disk(line)
        if segment is None:
            self.answer(line)
        else:
            self._pump.put(self._keep_on_disk, segment, line)

    def progress(self, run_id: str, line: bytes) -> None:
        """A `tagging-progress`: coalesced when the reader is slow."""
        self._pump.put(self._waiting.put_progress, run_id, line)

    def batch(self, line: bytes) -> None:
        """A `tagging-batch`: dropped, the oldest first, when the reader is slow."""
        self._pump.put(self._waiting.put_batch, line)

    def complete(self, line: bytes) -> None:
        """A `tagging-complete`: kept always."""
        self._pump.put(self._keep, line)

    def flush(self, deadline_seconds: float) -> bool:
        """Blocks until all is written or discarded; False when the time was up before. For the exit."""
        return self._pump.flush(deadline_seconds)

    def close(self) -> None:
        """Takes nothing more; what waits is still written. The descriptor stays open."""
        self._pump.close()

    def _keep(self, line: bytes) -> None:
        self._waiting.put(line)
        if self._waiting.waiting_bytes > MAX_WAITING_BYTES:
            self._spill()

    def _keep_on_disk(self, segment: _Segment, line: bytes) -> None:
        self._spill()
        if self._spool.is_refused:  # that comes first, and stays in memory
            segment.file.close()
            self._waiting.put(line)
        else:
            self._spool.add(segment)
        self._bound()

    def _spill(self) -> None:
        """Notifications go along: on disk they need not be dropped, and their place is kept."""
        while not self._spool.is_refused and (data := self._waiting.take()):
            self._spool.put(data)
        self._bound()

    def _bound(self) -> None:
        if self._spool.is_refused or self._spool.size_bytes > self._max_spooled_bytes:
            self.room.clear()

    def _take(self) -> bytes:
        data = self._spool.take() or self._waiting.take()
        if (
            self._waiting.waiting_bytes <= MAX_WAITING_BYTES // 2
            and self._spool.size_bytes <= self._max_spooled_bytes // 2
        ):
            self.room.set()
        return data
