"""All runs of a process, one at a time: start, retry, cancel, look up.

The order that the shell can rely on: the answer to `auto_tag_files`, then the run's notifications, of which
`tagging-complete` is the last, then the answer to the `cancel` that caused it. When `tagging-complete` has been
sent the next run is accepted.

A cancel, or the end of the process, may come while a run is still starting. It lets the start finish, and then
stops the run. A start that takes longer than a moment waits for another program's lock: that one is cut off,
unless the cancel names another run. No cancel means an undo.

The order is kept by `_live`, which ends a run, and by `cancel` and `stop`, which wait for that; how they meet a
run that is still starting is the `Slot`'s.
"""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from sidecar.contract import (
    OWN_ERROR,
    AutoTagParams,
    Budget,
    BudgetPeriod,
    Cancelled,
    Code,
    Event,
    RetryParams,
    RpcError,
    RunDetails,
    RunStatus,
    RunSummary,
    Started,
)
from sidecar.gemini.requests import ApiVersions
from sidecar.library.store import Library
from sidecar.runs.archive import Archive
from sidecar.runs.delays import Delays
from sidecar.runs.ends import Ends
from sidecar.runs.knowledge import Knowledge
from sidecar.runs.progress import completion, retold
from sidecar.runs.run_lock import run_active, take_run_lock
from sidecar.runs.slot import Slot
from sidecar.runs.starting import StartCall, Starter, call_again, call_over
from sidecar.runs.summary import ended_progress
from sidecar.runs.under_way import ActiveRun, Revision
from sidecar.settings import Settings

log = logging.getLogger(__name__)

CANCEL_PATIENCE_SECONDS = 1.0
"""How long a cancel lets a start go on before it cuts it off."""
EXIT_PATIENCE_SECONDS = 0.25
"""The same for the end of the process, which has 2 s for everything (CONTRACT section 1)."""


class Runs:
    """One for each process. Every method is called from the trio thread."""

    def __init__(self, library: Library, emit: Callable[[Event], None], nursery: trio.Nursery) -> None:
        self.knowledge = Knowledge()
        self.archive = Archive(library)
        self.versions = ApiVersions()
        self.budget = Budget(None, None, BudgetPeriod.RUN)
        self.ends = Ends(library, self.archive, nursery)
        self._library = library
        self._emit = emit
        self._nursery = nursery
        self._delays = Delays()
        self._slot = Slot(library)
        self._starter = Starter(library, self.knowledge, self.versions, self._delays, self.ends, emit)

    @property
    def active_run_id(self) -> str | None:
        """The run of this process that has not ended."""
        return self._slot.run_id

    async def start(self, params: AutoTagParams, settings: Settings) -> tuple[Started, ActiveRun | None]:
        """Starts a run, held until it is released. Raises RpcError, LibraryError."""
        return await self._start(call_over(params), settings)

    async def retry(self, params: RetryParams, settings: Settings) -> tuple[Started, ActiveRun | None]:
        """Starts a run over what failed in an earlier one, in its mode. Raises RpcError, LibraryError."""
        return await self._start(call_again(params, self.archive, self._library), settings)

    async def _start(self, call: StartCall, settings: Settings) -> tuple[Started, ActiveRun | None]:
        budget = self.budget  # as the settings: what a later call changes is for later runs

        async def begin() -> tuple[Started, ActiveRun | None]:
            started, active = await self._starter.started(call, settings, budget)
            if active is not None:  # no checkpoint before this: a lock that was taken is always given back
                self._slot.fill(active)
                self._nursery.start_soon(self._live, active)
            return started, active

        return await self._slot.start(begin, of_run=True)

    async def _live(self, active: ActiveRun) -> None:
        """A run from its release, when the answer to its call is on its way, to its last notification."""
        run = active.run
        try:
            with active.scope:
                await active.released.wait()
                await run.work()
        except Exception:  # outside of the scope, which takes its own part out of a group
            log.exception("run failed")
            run.fail(OWN_ERROR)
        active.summary = run.summary(cancelled=active.scope.cancelled_caught)
        self._delays.keep(run.plan.settings, run.held_until)
        await self.ends.book(run.plan.row, active.summary, run.unsaved_usage, run.unsaved_failures)
        await self._slot.free(active)  # before anybody is told: the next run is accepted
        await active.released.wait()
        self._emit(completion(active.summary))
        active.announced.set()

    async def cancel(self, run_id: str | None) -> Cancelled:
        """Cancels the run and waits until it has really stopped. Raises RpcError -32001, -32002, LibraryError."""
        if run_id is None:
            active = await self._slot.settled(CANCEL_PATIENCE_SECONDS, runs_only=True)
        else:  # that run may just have been booked; a start that waits for a lock is another's
            active = await self._slot.under_way_within(CANCEL_PATIENCE_SECONDS)
        summary = await self._cancelled(active, run_id) if active is not None else None
        if summary is None:  # also where it was cut off before it was booked
            summary = self.archive.last_ended if run_id is None else await self.archive.summary(run_id)
        if summary is None:
            raise RpcError(Code.NO_SUCH_RUN, "Nothing is being tagged.")
        # With something of ours under way we hold the run lock, and a run that is said to go on is dead.
        if summary.status is RunStatus.RUNNING and self._slot.under_way is None:
            raise run_active(summary.run_id, "This run belongs to another process, which alone can cancel it.")
        stopped = active is not None and active.summary is summary
        return retold(Cancelled, summary, cancelled=stopped and summary.status is RunStatus.CANCELLED)

    async def _cancelled(self, active: ActiveRun | Revision, run_id: str | None) -> RunSummary | None:
        """How what is under way has ended, once it has really stopped; None where another is meant, or no run."""
        if run_id is None and isinstance(active, Revision) and active.becomes_run:
            with trio.move_on_after(CANCEL_PATIENCE_SECONDS):  # a start like any other
                await active.begun.wait()
        elif not active.is_run or run_id not in (None, active.run_id):
            return None
        active.scope.cancel()
        await active.stopped.wait()
        if isinstance(active, ActiveRun) and active.released.is_set():
            await active.announced.wait()
        return active.summary

    async def stop(self) -> None:
        """No run starts any more; cancels what is under way, if any, and waits for its last notification."""
        self._slot.close()
        under_way = await self._slot.settled(EXIT_PATIENCE_SECONDS)
        if under_way is not None:
            under_way.scope.cancel()
            await under_way.stopped.wait()
            if isinstance(under_way, ActiveRun):
                await under_way.announced.wait()

    async def details(self, run_id: str | None) -> RunDetails:
        """The latest progress of a run with its failures. Raises RpcError -32002, LibraryError.

        Neither counters nor status are older than what the shell has been told meanwhile: they are looked up last.
        """
        active = self._slot.under_way
        if isinstance(active, ActiveRun) and run_id in (None, active.run_id):
            run, run_id = active.run, active.run_id
            lists = await self.archive.lists(run_id, run.unsaved_failures, dry_run=run.plan.run.dry_run)
            if self._slot.under_way is active:  # else it has ended meanwhile
                return lists.beside(run.latest)
        summary = await self.archive.summary(run_id)
        lists = await self.archive.lists(summary.run_id, dry_run=summary.dry_run)
        return lists.beside(ended_progress(summary))

    @asynccontextmanager
    async def nobody_tagging(
        self, run_id: str, sentence: str, *, becomes_run: bool = False
    ) -> AsyncIterator[Revision]:
        """Keeps runs of all processes out while the block changes what that run wrote or writes what it proposed.

        The block's work is to be done within the revision's `scope`; `sentence` tells others of it meanwhile.
        `becomes_run`: a `cancel` of no run in particular means it, too.
        Raises RpcError -32001, LibraryError.
        """

        async def begin() -> Revision:
            lock = await take_run_lock(self._library)
            revision = Revision(run_id, lock, sentence, becomes_run=becomes_run)
            self._slot.fill(revision)
            return revision

        revision = await self._slot.start(begin, of_run=becomes_run)
        try:
            yield revision
        finally:
            revision.begun.set()
            await self._slot.free(revision)
