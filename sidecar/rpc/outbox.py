"""What goes to the shell: in order, without waiting for who reads it, bounded for a slow reader.

`Waiting` decides, without I/O, what waits and what is dropped (contract 1); `Outbox` writes it. Every request
must get its answer, and whoever sends requests never waits for whoever reads answers: so what an unread stdout
piles up goes to disk.
"""

import threading
from collections import OrderedDict, deque
from typing import Final

from sidecar.process.pump import Pump
from sidecar.process.stdio import CHUNK_BYTES
from sidecar.rpc.spool import Segment, Spool, on_disk

MAX_WAITING_PROGRESS: Final = 64
"""Once more wait, the reader is slow: some seconds of a run at full speed."""
MAX_WAITING_BATCHES: Final = 512
MAX_WAITING_BATCH_BYTES: Final = 1024 * 1024
"""A report may hold 500 failures, so that a count alone would not bound the memory."""
MAX_WAITING_BYTES: Final = 16 * 1024 * 1024
"""Some 70,000 short answers, or a large library's list of files. What waits beyond goes to disk."""
MAX_SPOOLED_BYTES: Final = 1024 * 1024 * 1024
"""Some four million answers to `status`. While more wait, or the disk refuses them, no request should be read."""
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
        segment = on_disk(line)
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

    def _keep_on_disk(self, segment: Segment, line: bytes) -> None:
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
