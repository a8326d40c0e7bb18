"""The library's files: what waits, what a run would take and send, where tags come from, what is stale."""

from sidecar.contract import (
    CostEstimate,
    Count,
    Estimate,
    EstimateCostParams,
    EstimateParams,
    ExplainedTag,
    FileParams,
    HistoryEntry,
    NoParams,
    Preview,
    PreviewParams,
    Report,
    RunParams,
    Stale,
    UntaggedFile,
    UntaggedParams,
)
from sidecar.library import queries
from sidecar.rpc.methods.app import Answer, App
from sidecar.runs import estimates
from sidecar.runs.explain import explain as explain_file
from sidecar.runs.report import report as report_on_run
from sidecar.runs.stale import find_stale as find_stale_files

_PAGE_FILES = 1000
"""A page of a list that a person looks through; more are read as the whole library is."""


async def get_untagged_files(app: App, params: UntaggedParams) -> Answer[list[UntaggedFile]]:
    """The files that wait for tags, by id."""
    read = app.library.scan if params.limit is None or params.limit > _PAGE_FILES else app.library.read
    return Answer(await read(lambda c, _: queries.untagged_files(c, params.after_id, params.limit)))


async def count_untagged_files(app: App, _params: NoParams) -> Answer[Count]:
    """How many files wait for tags."""
    return Answer(Count(await app.library.scan(lambda c, _: queries.count_untagged(c))))


async def estimate(app: App, params: EstimateParams) -> Answer[Estimate]:
    """What a run would take, estimated without a request to Gemini."""
    return Answer(await estimates.estimate(app.library, app.settings, params))


async def estimate_cost(app: App, params: EstimateCostParams) -> Answer[CostEstimate]:
    """What a run would cost at the prices given, estimated without a request to Gemini."""
    return Answer(await estimates.estimate_cost(app.library, app.settings, params))


async def preview_request(app: App, params: PreviewParams) -> Answer[Preview]:
    """The first request of each batch of these files, to the byte as a run would send it; nothing is sent."""
    version = app.runs.versions.at(app.settings.base_url)
    return Answer(await estimates.preview(app.library, app.settings, version, params))


async def get_tagging_history(app: App, params: FileParams) -> Answer[list[HistoryEntry]]:
    """What auto-tagging did to a file, newest first."""
    return Answer(await app.library.read(lambda c, _: queries.history(c, params.file_id)))


async def explain(app: App, params: FileParams) -> Answer[list[ExplainedTag]]:
    """Where each tag of a file comes from: a person, or which run, model and mapping."""
    return Answer(await explain_file(app.library, params.file_id))


async def report(app: App, params: RunParams) -> Answer[Report]:
    """How a run's answers came out, and which files to look at first."""
    return Answer(await report_on_run(app.library, app.runs.archive, params.run_id))


async def find_stale(app: App, _params: NoParams) -> Answer[Stale]:
    """What a change of vocabulary, rules, hints or model since the last run touches."""
    return Answer(await find_stale_files(app.library, app.settings))
