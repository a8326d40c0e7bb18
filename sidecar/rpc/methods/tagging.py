"""Runs: start, watch, cancel, retry, apply, undo."""

from sidecar.contract import (
    Applied,
    ApplyParams,
    AutoTagParams,
    Cancelled,
    CancelParams,
    ListRunsParams,
    RetryParams,
    RunDetails,
    RunParams,
    RunSummary,
    Started,
    Undone,
    UndoParams,
)
from sidecar.rpc.methods.app import Answer, App
from sidecar.runs.apply import apply
from sidecar.runs.undo import undo


async def auto_tag_files(app: App, params: AutoTagParams) -> Answer[Started]:
    """Starts a run in the background and answers at once; notifications tell the rest."""
    started, active = await app.runs.start(params, app.settings)
    return Answer(started, active.release if active else None)


async def retry_failed(app: App, params: RetryParams) -> Answer[Started]:
    """Starts a run over the files that failed in an earlier one and are still untagged."""
    started, active = await app.runs.retry(params, app.settings)
    return Answer(started, active.release if active else None)


async def cancel(app: App, params: CancelParams) -> Answer[Cancelled]:
    """Cancels a run and answers once it has really stopped."""
    return Answer(await app.runs.cancel(params.run_id))


async def apply_proposals(app: App, params: ApplyParams) -> Answer[Applied]:
    """Writes what a dry run proposed, as an undoable run of its own, without a request to Gemini."""
    return Answer(await apply(app.runs, app.library, params))


async def undo_run(app: App, params: UndoParams) -> Answer[Undone]:
    """Gives each file back what it had before a run, unless someone has changed it since."""
    return Answer(await undo(app.runs, app.library, params.run_id))


async def get_run(app: App, params: RunParams) -> Answer[RunDetails]:
    """Where a run stands, the files that it could not tag, and a dry run's proposals."""
    details = await app.runs.details(params.run_id)
    goes_on = app.runs.active_run_id == details.run_id
    return Answer(details, is_over=lambda: goes_on and app.runs.active_run_id != details.run_id)


async def list_runs(app: App, params: ListRunsParams) -> Answer[list[RunSummary]]:
    """The latest runs, newest first, those of earlier processes too."""
    return Answer(await app.runs.archive.recent(params.limit))
