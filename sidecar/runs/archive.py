"""Runs of the past and of other processes, as the database and this process's memory have them."""

import sqlite3
import threading
import time
from collections.abc import Callable, Sequence

import msgspec
from msgspec import UNSET, Struct, UnsetType

from sidecar.contract import Code, FileFailure, Progress, Proposal, RpcError, RunDetails, RunStatus, RunSummary
from sidecar.library import run_reads
from sidecar.library.connections import Shape
from sidecar.library.faults import LibraryError
from sidecar.library.lock import RunLock
from sidecar.library.proposals import proposals
from sidecar.library.run_reads import BookedRun
from sidecar.library.store import Library
from sidecar.runs.summary import lacks_message, with_message

KEPT_SUMMARIES = 32
LOOKS = 3
"""Who holds the run lock each time has a run; others hold it for a moment."""
LOOK_SECONDS = 0.01


class Lists(Struct, frozen=True):
    """What a run has of files. `proposals`: a dry run's."""

    failures: list[FileFailure]
    proposals: list[Proposal] | UnsetType = UNSET

    def beside(self, latest: Progress) -> RunDetails:
        """With the counters of that progress."""
        return RunDetails(**msgspec.structs.asdict(latest), failures=self.failures, proposals=self.proposals)


class Archive:
    """Looks runs up. Remembers how this process's own runs ended: a full disk may have kept it from saving."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._probing = threading.Lock()
        self._ended: dict[str, tuple[RunSummary, Sequence[FileFailure]]] = {}

    def remember(self, summary: RunSummary, unsaved: Sequence[FileFailure]) -> None:
        """A run of this process has ended; `unsaved` are failures that its table lacks or had only at its end."""
        self._ended[summary.run_id] = summary, unsaved
        while len(self._ended) > KEPT_SUMMARIES:
            del self._ended[next(iter(self._ended))]

    @property
    def last_ended(self) -> RunSummary | None:
        """The latest run of this process that has ended."""
        return next((summary for summary, _ in reversed(self._ended.values())), None)

    async def booked(self, run_id: str | None) -> BookedRun:
        """A run's row (None: the latest). Raises RpcError -32002, LibraryError."""
        found = await self._library.read(lambda c, _: run_reads.find_run(c, run_id))
        if found is None:
            raise no_such_run(run_id)
        return found

    async def summary(self, run_id: str | None) -> RunSummary:
        """Where a run of any process stands. Raises RpcError -32002, LibraryError."""
        if run_id in self._ended:
            return self._ended[run_id][0]
        booked = await self.booked(run_id)
        [found] = await self._summaries(lambda connection: [run_reads.summary(connection, booked.row)])
        return found

    async def recent(self, limit: int) -> list[RunSummary]:
        """The latest runs of this library, newest first. Raises LibraryError."""
        return await self._summaries(lambda connection: run_reads.list_runs(connection, limit))

    async def failures(self, run_id: str, unsaved: Sequence[FileFailure] = ()) -> list[FileFailure]:
        """Which files that run did not tag, and why; `unsaved`: those that only a run under way knows.

        Raises LibraryError.
        """

        def query(connection: sqlite3.Connection, _shape: Shape) -> list[FileFailure]:
            found = run_reads.find_run(connection, run_id)
            return [] if found is None else run_reads.failures(connection, found.row)

        saved = await self._library.read(query)
        remembered = self._ended.get(run_id)  # it may have ended during the read
        if remembered is not None:
            unsaved = remembered[1]
        known = {failure.file_id for failure in saved}
        return [*saved, *(failure for failure in unsaved if failure.file_id not in known)]

    async def lists(self, run_id: str, unsaved: Sequence[FileFailure] = (), *, dry_run: bool) -> Lists:
        """A run's failures (`unsaved` as in `failures`) and proposals. Raises LibraryError."""
        failures = await self.failures(run_id, unsaved)
        if not dry_run:
            return Lists(failures)
        booked = await self.booked(run_id)
        return Lists(failures, await self._library.scan(lambda c, _: proposals(c, booked.row)))

    async def _summaries(self, query: Callable[[sqlite3.Connection], list[RunSummary]]) -> list[RunSummary]:
        """What the rows say of runs, and what this process knows better: their end may not have been saved."""

        def told(connection: sqlite3.Connection, _shape: Shape) -> list[RunSummary]:
            found = _with_interrupted(connection, query, self._library, self._probing)
            return [
                with_message(summary, run_reads.kind(connection, summary.run_id))
                if lacks_message(summary)
                else summary
                for summary in found
            ]

        summaries = await self._library.read(told)
        return [self._ended[found.run_id][0] if found.run_id in self._ended else found for found in summaries]


def _with_interrupted(
    connection: sqlite3.Connection,
    query: Callable[[sqlite3.Connection], list[RunSummary]],
    library: Library,
    probing: threading.Lock,
) -> list[RunSummary]:
    """What `query` finds; a run whose process has died is `interrupted`.

    Its row says `running`, as that of a run which goes on, here or in another process. The run lock tells them
    apart: while we hold it nobody else runs. Where we do not we take it for an instant only: a run that begins
    meanwhile waits for that, and so does who looks at the same time, here (`probing`) or in another process.
    """
    found = query(connection)
    for look in range(LOOKS):
        if all(summary.status is not RunStatus.RUNNING for summary in found):
            break
        if look:
            time.sleep(LOOK_SECONDS)
        with probing:
            is_known, dead = _dead_run(connection, library)
        found = query(connection)  # once more: what is not dead may have ended since
        if is_known:
            return [_interrupted(summary, dead) for summary in found]
    return found


def _dead_run(connection: sqlite3.Connection, library: Library) -> tuple[bool, str | None]:
    """Whether that can be told now; and which run is marked as running though its process has died."""
    if (held := library.run_lock) is not None:
        dead = run_reads.running_run(connection)
        return library.run_lock is held, None if dead == held.run_id else dead
    lock = RunLock(library.known_path)
    try:
        if not lock.take():
            return False, None
    except LibraryError:  # where nobody can take the lock nobody runs
        return True, run_reads.running_run(connection)
    try:
        return True, run_reads.running_run(connection)  # while we hold the lock nobody runs
    finally:
        lock.release()


def _interrupted(summary: RunSummary, dead: str | None) -> RunSummary:
    is_dead = summary.status is RunStatus.RUNNING and summary.run_id == dead
    return msgspec.structs.replace(summary, status=RunStatus.INTERRUPTED) if is_dead else summary


def no_such_run(run_id: str | None) -> RpcError:
    """-32002."""
    if run_id is None:
        return RpcError(Code.NO_SUCH_RUN, "There is no run yet.")
    if not run_id.strip():
        return RpcError(Code.NO_SUCH_RUN, "The run's id is empty. Choose one of the library's runs.")
    return RpcError(Code.NO_SUCH_RUN, f"There is no run `{run_id[:80]}` in this library.")
