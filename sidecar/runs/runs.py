"""All runs of a process, one at a time: start, retry, cancel, look up. Owns the run lock.

The order that the shell can rely on: the answer to `auto_tag_files`, then the run's notifications, of which
`tagging-complete` is the last, then the answer to the `cancel` that caused it. When `tagging-complete` has been
sent the next run is accepted.

A cancel, or the end of the process, may come while a run is still starting. It lets the start finish, and then
stops the run. A start that takes longer than a moment waits for another program's lock: that one is cut off,
unless the cancel names another run.
"""

import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TypeVar

import trio

from sidecar.contract import (
    OWN_ERROR,
    AutoTagParams,
    Budget,
    BudgetPeriod,
    Cancelled,
    Code,
    Event,
    FileFailure,
    RetryParams,
    RpcError,
    RunDetails,
    RunStatus,
    RunSummary,
    Started,
    Usage,
)
from sidecar.gemini.requests import ApiVersions
from sidecar.library import queries
from sidecar.library.faults import LibraryError
from sidecar.library.lock import given_back
from sidecar.library.store import Library
from sidecar.runs.archive import Archive
from sidecar.runs.booking import book, book_end
from sidecar.runs.choosing import chosen
from sidecar.runs.knowledge import Knowledge
from sidecar.runs.progress import completion, retold
from sidecar.runs.run import Run
from sidecar.runs.run_lock import run_active, take_run_lock
from sidecar.runs.selection import Selection
from sidecar.runs.summary import ended_progress
from sidecar.runs.under_way import ActiveRun, Revision, UnderWay
from sidecar.settings import Settings

log = logging.getLogger(__name__)

LAST_WRITE_PAUSE_SECONDS = 1.0
"""Between two tries to write how a run has ended; they go on as long as the process lives."""
CANCEL_PATIENCE_SECONDS = 1.0
"""How long a cancel lets a start go on before it cuts it off."""
EXIT_PATIENCE_SECONDS = 0.25
"""The same for the end of the process, which has 2 s for everything (CONTRACT section 1)."""

T = TypeVar("T")

_NOTHING = Started(None, "nothing_to_do", "No untagged files found", 0, 0)


class Runs:
    """One for each process. Every method is called from the trio thread."""

    def __init__(self, library: Library, emit: Callable[[Event], None], nursery: trio.Nursery) -> None:
        self.knowledge = Knowledge()
        self.archive = Archive(library)
        self.versions = ApiVersions()
        self.budget = Budget(None, None, BudgetPeriod.RUN)
        self._library = library
        self._emit = emit
        self._nursery = nursery
        self._starting = trio.Lock()
        self._start = trio.CancelScope()
        self._is_over = False
        self._under_way: ActiveRun | Revision | None = None
        self._held_until: dict[tuple[str, str | None, str], float] = {}

    @property
    def active_run_id(self) -> str | None:
        """The run of this process that has not ended."""
        under_way = self._under_way
        return under_way.run_id if under_way is not None and under_way.is_run else None

    async def start(self, params: AutoTagParams, settings: Settings) -> tuple[Started, ActiveRun | None]:
        """Starts a run, held until it is released. Raises RpcError, LibraryError."""

        async def asked() -> AutoTagParams:
            return params

        return await self._alone(partial(self._started, asked, settings, named=params.file_ids is not None))

    async def retry(self, params: RetryParams, settings: Settings) -> tuple[Started, ActiveRun | None]:
        """Starts a run over what failed in an earlier one, in its mode. Raises RpcError, LibraryError."""

        async def asked() -> AutoTagParams:
            booked = await self.archive.booked(params.run_id)
            failed = [
                failure.file_id
                for failure in await self.archive.failures(booked.run_id)
                if (not failure.reason.is_skip if params.reasons is None else failure.reason in params.reasons)
            ]
            again = await self._library.read(lambda c, _: queries.still_untagged(c, failed))
            return AutoTagParams(file_ids=again, mode=booked.mode, dry_run=booked.dry_run)

        return await self._alone(partial(self._started, asked, settings, named=False))

    async def cancel(self, run_id: str | None) -> Cancelled:
        """Cancels the run and waits until it has really stopped. Raises RpcError -32001, -32002, LibraryError."""
        if run_id is None:
            active = await self._settled(CANCEL_PATIENCE_SECONDS)
        else:  # that run may just have been booked; a start that waits for a lock is another's
            with trio.move_on_after(CANCEL_PATIENCE_SECONDS):
                async with self._starting:
                    pass
            active = self._under_way
        active_run_id = self.active_run_id
        if active is not None and active_run_id is not None and run_id in (None, active_run_id):
            active.scope.cancel()
            await active.stopped.wait()
            if isinstance(active, ActiveRun) and active.released.is_set():
                await active.announced.wait()
            summary = active.summary
        elif run_id is None:
            summary = self.archive.last_ended
        else:
            summary = await self.archive.summary(run_id)
        if summary is None:
            raise RpcError(Code.NO_SUCH_RUN, "Nothing is being tagged.")
        if summary.status is RunStatus.RUNNING and self._under_way is None:  # else it is dead: we hold the lock
            raise run_active(summary.run_id, "This run belongs to another process, which alone can cancel it.")
        stopped = active is not None and active.summary is summary
        return retold(Cancelled, summary, cancelled=stopped and summary.status is RunStatus.CANCELLED)

    async def details(self, run_id: str | None) -> RunDetails:
        """The latest progress of a run with its failures. Raises RpcError -32002, LibraryError."""
        active = self._under_way
        if isinstance(active, ActiveRun) and run_id in (None, active.run_id):
            run = active.run
            return await self.archive.details(run.latest, run.unsaved_failures, dry_run=run.plan.run.dry_run)
        summary = await self.archive.summary(run_id)
        return await self.archive.details(ended_progress(summary), dry_run=summary.dry_run)

    async def stop(self) -> None:
        """No run starts any more; cancels what is under way, if any, and waits for its last notification."""
        self._is_over = True
        under_way = await self._settled(EXIT_PATIENCE_SECONDS)
        if under_way is not None:
            under_way.scope.cancel()
            await under_way.stopped.wait()
            if isinstance(under_way, ActiveRun):
                await under_way.announced.wait()

    @asynccontextmanager
    async def nobody_tagging(self, run_id: str, sentence: str) -> AsyncIterator[Revision]:
        """Keeps runs of all processes out while the block changes what that run wrote or writes what it proposed.

        The block's work is to be done within the revision's `scope`; `sentence` tells others of it meanwhile.
        Raises RpcError -32001, LibraryError.
        """

        async def begin() -> Revision:
            revision = Revision(run_id, await take_run_lock(self._library), sentence)
            self._under_way = revision
            return revision

        revision = await self._alone(begin)
        try:
            yield revision
        finally:
            await self._over(revision)

    async def book_end(
        self, row: int, summary: RunSummary, rest: Usage, unsaved: Sequence[FileFailure] = ()
    ) -> None:
        """A run has ended: remembers it and writes it, later on where another program is in the way.

        `rest` is the usage that is in no batch's row, `unsaved` are the failures that have no row.
        No cancel reaches it; it takes 0.4 s at most.
        """
        if not await book_end(self._library, row, summary, rest):
            self._nursery.start_soon(self._book_end_later, row, summary, rest)
        self.archive.remember(summary, unsaved)

    async def _book_end_later(self, row: int, summary: RunSummary, rest: Usage) -> None:
        is_booked = False
        while not is_booked:
            await trio.sleep(LAST_WRITE_PAUSE_SECONDS)
            is_booked = await book_end(self._library, row, summary, rest)

    async def _alone(self, start: Callable[[], Awaitable[T]]) -> T:
        """One start at a time. Raises RpcError -32002 for one that was cut off."""
        async with self._starting:
            self._refuse_second()
            with trio.CancelScope() as self._start:
                await self._library.read(lambda _, __: None)  # no lock's file where there is no library
                return await start()
            raise RpcError(Code.NO_SUCH_RUN, "Tagging was cancelled before it had begun.")

    async def _settled(self, patience_seconds: float) -> ActiveRun | Revision | None:
        """What is under way once the starts asked for before have ended; one that takes too long is cut off."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._cut_off_starts, patience_seconds)
            async with self._starting:
                under_way = self._under_way
            nursery.cancel_scope.cancel()
        return under_way

    async def _cut_off_starts(self, patience_seconds: float) -> None:
        while True:
            await trio.sleep(patience_seconds)
            self._start.cancel()

    async def _started(
        self, asked: Callable[[], Awaitable[AutoTagParams]], settings: Settings, *, named: bool
    ) -> tuple[Started, ActiveRun | None]:
        """A run over the files that `asked` names, chosen while no other process can tag one of them.

        `named`: a person has named them.
        """
        try:
            lock = await take_run_lock(self._library)
        except (RpcError, LibraryError):
            # What is amiss with the call itself comes first.
            _, selection = await self._choice(asked, settings, named=named)
            if selection.total_files:
                raise
            return _NOTHING, None
        async with AsyncExitStack() as until_under_way:
            until_under_way.push_async_callback(given_back, lock)
            params, selection = await self._choice(asked, settings, named=named)
            if not selection.total_files:
                return _NOTHING, None
            plan, allowance = await book(
                self._library, self.knowledge, self.budget, params, settings, selection, named=named
            )
            version = self.versions.at(settings.base_url)
            held_until = self._held_until.get(_quota(plan.settings), -math.inf)
            run = Run(plan, allowance, self._library, self.knowledge, version, self._emit, held_until)
            until_under_way.pop_all()
        self._under_way = active = ActiveRun(run, lock)
        self._nursery.start_soon(self._live, active)
        total_files, total_batches = selection.total_files, selection.total_batches
        return Started(active.run_id, "started", "Auto-tagging started", total_files, total_batches), active

    async def _choice(
        self, asked: Callable[[], Awaitable[AutoTagParams]], settings: Settings, *, named: bool
    ) -> tuple[AutoTagParams, Selection]:
        """Raises RpcError for named files that do not exist, and without a key where there is something to tag."""
        params = await asked()
        batch_size = params.batch_size or settings.batch_size
        selection = await self._library.read(chosen(params.file_ids, batch_size, named=named))
        if selection.total_files and not settings.api_key:
            raise RpcError(
                Code.NO_API_KEY, "No Gemini API key is set. Enter one in the settings (GEMINI_API_KEY)."
            )
        return params, selection

    async def _live(self, active: ActiveRun) -> None:
        """A run from release to its last notification."""
        run = active.run
        try:
            with active.scope:
                await active.released.wait()
                await run.work()
        except Exception:  # outside of the scope, which takes its own part out of a group
            log.exception("run failed")
            run.fail(OWN_ERROR)
        active.summary = run.summary(cancelled=active.scope.cancelled_caught)
        self._held_until[_quota(run.plan.settings)] = run.held_until
        await self.book_end(run.plan.row, active.summary, run.unsaved_usage, run.unsaved_failures)
        await self._over(active)
        await active.released.wait()
        self._emit(completion(active.summary))
        active.announced.set()

    def _refuse_second(self) -> None:
        if self._under_way is not None:
            raise run_active(self._under_way.run_id, self._under_way.sentence)
        if self._is_over:
            raise RpcError(Code.NO_SUCH_RUN, "The sidecar is about to end: no run starts any more.")

    async def _over(self, under_way: UnderWay) -> None:
        """The next run may start."""
        await given_back(under_way.lock)
        self._under_way = None
        under_way.stopped.set()


def _quota(settings: Settings) -> tuple[str, str | None, str]:
    """What a delay that Gemini asks for is about: runs that differ in one of these do not wait for it."""
    return settings.base_url, settings.api_key, settings.model
