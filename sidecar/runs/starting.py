"""How a run starts: its files are chosen and it is booked while no other process can tag one of them."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from msgspec import Struct

from sidecar.contract import AutoTagParams, Budget, Code, Event, RetryParams, RpcError, Started
from sidecar.gemini.requests import ApiVersions
from sidecar.library import queries
from sidecar.library.faults import LibraryError
from sidecar.library.store import Library
from sidecar.runs.archive import Archive
from sidecar.runs.booking import book, new_run_id
from sidecar.runs.choosing import chosen
from sidecar.runs.delays import Delays
from sidecar.runs.ends import Ends
from sidecar.runs.knowledge import Knowledge
from sidecar.runs.run import Run
from sidecar.runs.run_lock import give_back, take_run_lock
from sidecar.runs.selection import Selection
from sidecar.runs.under_way import ActiveRun
from sidecar.settings import Settings

_NOTHING = Started(None, "nothing_to_do", "No untagged files found", 0, 0)


class StartCall(Struct, frozen=True):
    """A call that starts a run. `params` are read anew wherever the files are chosen.

    `named`: a person has named the files.
    """

    params: Callable[[], Awaitable[AutoTagParams]]
    named: bool


def call_over(params: AutoTagParams) -> StartCall:
    """A run over the files that a call names, or over all that are untagged."""

    async def as_they_are() -> AutoTagParams:
        return params

    return StartCall(as_they_are, named=params.file_ids is not None)


def call_again(params: RetryParams, archive: Archive, library: Library) -> StartCall:
    """A run over what failed in an earlier one, in its mode."""

    async def what_failed() -> AutoTagParams:
        booked = await archive.booked(params.run_id)
        failed = [
            failure.file_id
            for failure in await archive.failures(booked.run_id)
            if (not failure.reason.is_skip if params.reasons is None else failure.reason in params.reasons)
        ]
        again = await library.read(lambda c, _: queries.still_untagged(c, failed))
        return AutoTagParams(file_ids=again, mode=booked.mode, dry_run=booked.dry_run)

    return StartCall(what_failed, named=False)


class Starter(Struct, frozen=True):
    """Starts runs over one library, by what the process knows."""

    library: Library
    knowledge: Knowledge
    versions: ApiVersions
    delays: Delays
    ends: Ends
    emit: Callable[[Event], None]

    async def started(
        self, call: StartCall, settings: Settings, budget: Budget
    ) -> tuple[Started, ActiveRun | None]:
        """A run that is booked, holds the run lock and is not yet let go; None where there is nothing to do.

        Raises RpcError, LibraryError.
        """
        try:
            lock = await take_run_lock(self.library)
        except (RpcError, LibraryError):
            # What is amiss with the call itself comes first.
            _, selection = await self._choice(call, settings)
            if selection.total_files:
                raise
            return _NOTHING, None
        async with AsyncExitStack() as until_under_way:
            until_under_way.push_async_callback(give_back, self.library, lock)
            params, selection = await self._choice(call, settings)
            if not selection.total_files:
                return _NOTHING, None
            await self.ends.catch_up()
            lock.run_id = new_run_id()
            plan, allowance = await book(
                lock.run_id, self.library, self.knowledge, budget, params, settings, selection, named=call.named
            )
            version = self.versions.at(settings.base_url)
            held_until = self.delays.until(plan.settings)
            run = Run(plan, allowance, self.library, self.knowledge, version, self.emit, held_until)
            until_under_way.pop_all()
        total_files, total_batches = selection.total_files, selection.total_batches
        started = Started(plan.run_id, "started", "Auto-tagging started", total_files, total_batches)
        return started, ActiveRun(run, lock)

    async def _choice(self, call: StartCall, settings: Settings) -> tuple[AutoTagParams, Selection]:
        """Raises RpcError for named files that do not exist, and without a key where there is something to tag."""
        params = await call.params()
        batch_size = params.batch_size or settings.batch_size
        selection = await self.library.read(chosen(params.file_ids, batch_size, named=call.named))
        if selection.total_files and not settings.api_key:
            raise RpcError(
                Code.NO_API_KEY, "No Gemini API key is set. Enter one in the settings (GEMINI_API_KEY)."
            )
        return params, selection
