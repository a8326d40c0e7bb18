"""The one thread that writes. It lives as long as the database is open.

Owns: the only connection that writes. Guarantees, for every job handed to `write`:
- it runs between BEGIN IMMEDIATE and COMMIT, alone, in the order of hand-over; an exception rolls back;
- where the database refuses a row it runs once more, from the start and told to be careful;
- what it returned or raised, or why it could not run, reaches the awaiting task after COMMIT or ROLLBACK, never
  before; should the thread die of an error of its own, that is trio.BrokenResourceError;
- a cancel takes effect at once while the job waits (in the queue, for its rest, for another process's
  lock, also between its two tries), and not at all once BEGIN has succeeded: then the task waits for the
  end of the transaction;
- the lock is held at most two thirds of the time, so that another process's polling busy handler finds
  it free (CONTRACT section 9, Fairness), and half of the time while another process writes too; only after a
  transaction of more than 2 s, or of more than 1 s then, it rests for less than that, 1 s.
Called from the trio thread only.
"""

import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import outcome
import trio
from msgspec import Struct

from sidecar.library.connections import Shape, still_holds
from sidecar.library.faults import LibraryError, translated, unseen
from sidecar.library.file import Look
from sidecar.library.handover import Handover
from sidecar.library.opened import Opened

PATIENCE_SECONDS = 30.0
"""How long a write waits for another process's lock: the shell's own busy timeout."""
_POLLS_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.025, 0.025, 0.025, 0.05, 0.05, 0.1)
"""Between tries for the lock: the delays of SQLite's own busy handler (sqliteDefaultBusyCallback)."""
_LONGEST_REST_SECONDS = 1.0
_COMPANY_SECONDS = 1.0
"""For so long after another process's write its next one is expected."""
_REST_IN_HAND_SECONDS = 0.005
"""Rest beyond what was due (a checkpoint, a late wake-up) counts towards the next rests, up to this."""
_IDLE_SECONDS = 2.0
"""After so long without a job the log is emptied; where somebody reads from it, tried again later and later."""
_LONGEST_IDLE_SECONDS = 60.0

T = TypeVar("T")


class Transaction(Struct, frozen=True):
    """What a job works with. `generation` rises whenever another process has changed the database, or this one
    what batches rely on (`dates_reads`).

    `careful`: the first try ended in an IntegrityError and was rolled back; what is refused now has to be
    found and left out.
    """

    connection: sqlite3.Connection
    shape: Shape
    generation: int
    careful: bool


class _Job(Handover):
    """One write on its way."""

    def __init__(self, run: Callable[[Transaction], Any], patience_seconds: float, *, dates_reads: bool) -> None:
        super().__init__()
        self.run = run
        self.patience_seconds = patience_seconds
        self.dates_reads = dates_reads


class Writer:
    """Hands jobs to the thread. `run` is the thread's life: one task of the owner's nursery.

    `generation` is the latest transaction's. `left` is how the file lies there since, None after one that failed.
    All that is timed is timed by `monotonic` and `wait`; on Windows `time.monotonic` itself stands still for
    15.6 ms at a time before Python 3.13, five transactions.
    """

    def __init__(
        self,
        path: Path,
        generations: Iterator[int],
        monotonic: Callable[[], float] = time.perf_counter,
        wait: Callable[[threading.Event, float], object] = threading.Event.wait,
    ) -> None:
        self._path = path
        self._generations = generations
        self._monotonic = monotonic
        self._wait = wait
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._free_at = 0.0
        self._alone_at = 0.0
        self._opened: Opened | None = None
        self.generation = 0
        self.left: Look | None = None
        self._never = threading.Event()  # for what no cancel ends
        self._serves = True
        self.ended = trio.Event()

    async def run(self) -> None:
        """Until `close`. Not cancellable: the thread ends when it has dealt with what it was handed."""
        try:
            await trio.to_thread.run_sync(self._serve, limiter=trio.CapacityLimiter(1))
        finally:
            self.ended.set()

    def close(self) -> None:
        """No more jobs; those that wait are still dealt with (their tasks are gone, or want them)."""
        self._jobs.put(None)

    async def write(
        self,
        run: Callable[[Transaction], T],
        patience_seconds: float = PATIENCE_SECONDS,
        *,
        dates_reads: bool = False,
    ) -> T:
        """Runs `run` in a transaction of its own. Raises LibraryError, trio.BrokenResourceError (the thread has
        died), and whatever `run` raises.

        `dates_reads`: what was read before it must be looked at again, as after another process's transaction.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        job = _Job(run, patience_seconds, dates_reads=dates_reads)
        self._jobs.put(job)
        if not self._serves:  # looked at behind the put, as the thread takes the rest behind saying so
            self._refuse_the_rest()
        result: T = await trio.lowlevel.wait_task_rescheduled(job.abort)
        return result

    def _serve(self) -> None:
        try:
            while (job := self._next()) is not None:
                self._deal_with(job)
        finally:
            self._serves = False
            self._refuse_the_rest()
            self._close()

    def _refuse_the_rest(self) -> None:
        """Nobody deals with the jobs that wait any more: the thread has ended, or is about to."""
        with contextlib.suppress(queue.Empty):
            while True:
                job = self._jobs.get_nowait()
                if job is not None and job.claim():
                    job.post(outcome.Error(trio.BrokenResourceError("the writer's thread has ended")))

    def _next(self) -> _Job | None:
        """The next job; None at the end. Empties the log meanwhile."""
        idle_seconds = _IDLE_SECONDS
        while self._opened is not None and self._opened.log.is_filled:
            try:
                return self._jobs.get(timeout=idle_seconds)
            except queue.Empty:
                self._opened.log.empty()
                idle_seconds = min(2 * idle_seconds, _LONGEST_IDLE_SECONDS)
        return self._jobs.get()

    def _deal_with(self, job: _Job) -> None:
        self.left = None
        self._wait(job.cancelled, max(0.0, self._free_at - self._monotonic()))
        begun = outcome.capture(partial(self._begin, careful=False), job)
        if isinstance(begun, outcome.Error):
            if job.claim():
                job.post(outcome.capture(self._raise_named, begun.error))
            return
        transaction = begun.value
        if transaction is None:
            return
        if job.claim():
            result = outcome.capture(self._transact, transaction, job)
            job.post(result)
            if self._opened is not None:  # the second attempt may have found the library gone
                self._opened.log.checkpoint()
                self.left = self._opened.look() if isinstance(result, outcome.Value) else None
        else:
            _roll_back(transaction.connection)

    def _open(self) -> Opened:
        """The connection to the file that lies there now."""
        if self._opened is not None and not self._opened.is_still_there():
            self._close()
        if self._opened is None:
            self._opened = Opened(self._path)
        return self._opened

    def _close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _begin(self, job: _Job, *, careful: bool) -> Transaction | None:
        """Takes the lock for the job; None if that was cancelled.

        Raises LibraryError, OSError, and sqlite3.Error, for one after its patience.
        """
        deadline = self._monotonic() + job.patience_seconds
        while (opened := self._patiently(self._open, deadline, job.cancelled)) is not None:
            connection = opened.connection
            if not self._patiently(partial(connection.execute, "BEGIN IMMEDIATE"), deadline, job.cancelled):
                break
            try:
                if not self._sees_foreign_changes(opened) or still_holds(connection, opened.shape):
                    return Transaction(connection, opened.shape, self.generation, careful)
            except BaseException:
                _roll_back(connection)
                raise
            self._close()  # the procedures name columns that may be gone, and lack those that have come
        return None

    def _patiently(self, step: Callable[[], T], deadline: float, cancelled: threading.Event) -> T | None:
        """What a step returns once no other process is in the way; None if `cancelled` was set meanwhile."""
        polls = 0
        while not cancelled.is_set():
            try:
                return step()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or self._monotonic() >= deadline:
                    raise
                self._wait(cancelled, _POLLS_SECONDS[min(polls, len(_POLLS_SECONDS) - 1)])
                polls += 1
        return None

    def _transact(self, transaction: Transaction, job: _Job) -> Any:
        """The job's result once its transaction has ended. Raises what ended it, by its name."""
        began = self._monotonic()
        result = self._attempt(transaction, job)
        if isinstance(result, outcome.Error) and isinstance(result.error, sqlite3.IntegrityError):
            result = self._attempt_again(job)
        if job.dates_reads:  # here, before the next job: its own task hears of the commit later
            self.generation = next(self._generations)
        held = self._monotonic() - began
        rest = held / 2 if began >= self._alone_at else held
        self._free_at = max(self._free_at, began - _REST_IN_HAND_SECONDS) + held + min(rest, _LONGEST_REST_SECONDS)
        if isinstance(result, outcome.Error):
            self._raise_named(result.error)
        return result.unwrap()

    def _attempt(self, transaction: Transaction, job: _Job) -> "outcome.Outcome[Any]":
        connection = transaction.connection
        result: outcome.Outcome[Any] = outcome.capture(job.run, transaction)
        if isinstance(result, outcome.Value):
            try:
                deadline = self._monotonic() + job.patience_seconds
                self._patiently(partial(connection.execute, "COMMIT"), deadline, self._never)
            except sqlite3.Error as error:
                result = outcome.Error(error)
        _roll_back(connection)
        return result

    def _attempt_again(self, job: _Job) -> "outcome.Outcome[Any]":
        try:
            transaction = self._begin(job, careful=True)
        except (sqlite3.Error, LibraryError, OSError) as error:
            return outcome.Error(error)
        return self._attempt(transaction, job) if transaction is not None else job.given_up()

    def _sees_foreign_changes(self, opened: Opened) -> bool:
        """`data_version` of this connection moves when any other one commits: only other processes do."""
        version = opened.connection.execute("PRAGMA data_version").fetchone()[0]
        if version == opened.data_version:
            return False
        if opened.data_version is not None:
            self._alone_at = self._monotonic() + _COMPANY_SECONDS
        opened.data_version = version
        self.generation = next(self._generations)
        return True

    def _raise_named(self, error: BaseException) -> NoReturn:
        if isinstance(error, sqlite3.Error):
            raise translated(error, self._path) from None
        if isinstance(error, OSError):
            raise LibraryError(unseen(error)) from None
        raise error


def _roll_back(connection: sqlite3.Connection) -> None:
    """Ends the transaction, if there is one: many errors have ended it already."""
    if connection.in_transaction:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
