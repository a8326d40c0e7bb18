"""Runs of the past and of other processes, as the database and this process's memory have them."""

import sqlite3

import msgspec

from sidecar.contract import (
    Code,
    FileFailure,
    Progress,
    RpcError,
    RunDetails,
    RunStatus,
    RunSummary,
)
from sidecar.library import run_rows
from sidecar.library.connections import Shape
from sidecar.library.faults import LibraryError
from sidecar.library.lock import RunLock
from sidecar.library.own_tables import has_own_tables
from sidecar.library.proposals import proposals
from sidecar.library.run_rows import BookedRun
from sidecar.library.store import Library

KEPT_SUMMARIES = 32


class Archive:
    """Looks runs up. Remembers how this process's own runs ended: a full disk may have kept it from saving."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._ended: dict[str, tuple[RunSummary, list[FileFailure]]] = {}
        self.active_run_id: str | None = None

    def remember(self, summary: RunSummary, unsaved: list[FileFailure]) -> None:
        """A run of this process has ended; `unsaved` are failures that its table lacks."""
        self._ended[summary.run_id] = summary, unsaved
        while len(self._ended) > KEPT_SUMMARIES:
            del self._ended[next(iter(self._ended))]

    @property
    def last_ended(self) -> RunSummary | None:
        """The latest run of this process that has ended."""
        return next((summary for summary, _ in reversed(self._ended.values())), None)

    async def booked(self, run_id: str | None) -> BookedRun:
        """A run's row (None: the latest). Raises RpcError -32002, LibraryError."""
        found = await self._library.read(lambda c, _: run_rows.find_run(c, run_id) if has_own_tables(c) else None)
        if found is None:
            raise no_such_run(run_id)
        return found

    async def summary(self, run_id: str | None) -> RunSummary:
        """Where a run of any process stands. Raises RpcError -32002, LibraryError."""
        if run_id in self._ended:
            return self._ended[run_id][0]
        booked = await self.booked(run_id)
        return self._alive(await self._library.read(lambda c, _: run_rows.summary(c, booked.row)))

    async def recent(self, limit: int) -> list[RunSummary]:
        """The latest runs of this library, newest first. Raises LibraryError."""
        summaries = await self._library.read(
            lambda c, _: run_rows.list_runs(c, limit) if has_own_tables(c) else []
        )
        return [self._alive(summary) for summary in summaries]

    async def failures(self, run_id: str) -> list[FileFailure]:
        """Which files that run did not tag, and why. Raises LibraryError."""

        def query(connection: sqlite3.Connection, _shape: Shape) -> list[FileFailure]:
            found = run_rows.find_run(connection, run_id) if has_own_tables(connection) else None
            return [] if found is None else run_rows.failures(connection, found.row)

        saved = await self._library.read(query)
        return [*saved, *self._ended.get(run_id, (None, []))[1]]

    async def details(self, latest: Progress, *, dry_run: bool) -> RunDetails:
        """A progress with its run's failures and proposals. Raises LibraryError."""
        failures = await self.failures(latest.run_id)
        details = RunDetails(**msgspec.structs.asdict(latest), failures=failures)
        if not dry_run:
            return details
        booked = await self.booked(latest.run_id)
        proposed = await self._library.read(lambda c, _: proposals(c, booked.row))
        return msgspec.structs.replace(details, proposals=proposed)

    def _alive(self, summary: RunSummary) -> RunSummary:
        """A row that says `running`, told apart: ours, another process's, or a dead one's."""
        if summary.run_id in self._ended:
            return self._ended[summary.run_id][0]  # its end may not have been saved: a full disk, a foreign lock
        if summary.status is not RunStatus.RUNNING or summary.run_id == self.active_run_id:
            return summary
        assert self._library.path is not None
        lock = RunLock(self._library.path)
        try:
            taken = lock.take()
        except LibraryError:
            taken = True  # where nobody can take the lock nobody runs
        if not taken:
            return summary
        lock.release()
        return msgspec.structs.replace(summary, status=RunStatus.INTERRUPTED)


def ended_progress(summary: RunSummary) -> Progress:
    """A run that has ended as progress: `status` is its end state."""
    names = [name for name in Progress.__struct_fields__ if hasattr(summary, name)]
    shared = {name: getattr(summary, name) for name in names}
    closed = summary.total_files - summary.remaining_files
    rate = closed / summary.elapsed_seconds if summary.elapsed_seconds else 0.0
    return Progress(
        **{**shared, "status": summary.status.value},
        eta_seconds=None,
        files_per_minute=round(rate * 60, 1),
        waiting_seconds=0.0,
    )


def no_such_run(run_id: str | None) -> RpcError:
    """-32002."""
    text = "There is no run yet." if run_id is None else f"There is no run `{run_id[:80]}` in this library."
    return RpcError(Code.NO_SUCH_RUN, text)
