"""What a run would take, and what it would send: told without a request to Gemini."""

import sqlite3
from collections.abc import Iterator

import msgspec

from sidecar.contract import (
    Code,
    CostEstimate,
    Estimate,
    EstimateCostParams,
    EstimateParams,
    Preview,
    PreviewedRequest,
    PreviewParams,
    RefusalData,
    RpcError,
    Usage,
    invalid_params,
)
from sidecar.gemini.failures import GeminiError
from sidecar.gemini.opening import loaded
from sidecar.gemini.requests import ApiVersion, Request
from sidecar.library import queries, run_reads
from sidecar.library.connections import Shape
from sidecar.library.faults import Fault, LibraryError
from sidecar.library.store import Library
from sidecar.runs.choosing import chosen
from sidecar.runs.prompt import prompt_for
from sidecar.runs.selection import Selection
from sidecar.settings import Settings
from sidecar.tagging import prompts
from sidecar.tagging.prompts import estimated_tokens

MILLION = 1_000_000
MOST_PREVIEWED = 200
"""Requests; each holds the whole vocabulary, 26 kB."""
_DECIMALS = 9
"""Of an amount of money: floats show more, of which nothing is meant."""


async def estimate(library: Library, settings: Settings, params: EstimateParams) -> Estimate:
    """What a run would take, in requests and tokens. Raises RpcError -32602 for unknown ids, LibraryError."""
    return (await _estimated(library, settings, params))[0]


async def estimate_cost(library: Library, settings: Settings, params: EstimateCostParams) -> CostEstimate:
    """The estimate at the shell's prices; the share of cached tokens is that of the runs so far.

    Raises RpcError -32602 for unknown ids, LibraryError.
    """
    found, spent = await _estimated(library, settings, params)
    prices = params.prices
    cached = found.prompt_tokens * spent.cached_tokens // spent.prompt_tokens if spent.prompt_tokens else 0
    cached_price = prices.input if prices.cached is None else prices.cached
    priced = (
        (found.prompt_tokens - cached, prices.input),
        (cached, cached_price),
        (found.output_tokens, prices.output),
    )
    costs = [round(tokens * price / MILLION, _DECIMALS) for tokens, price in priced]
    return CostEstimate(
        **msgspec.structs.asdict(found),
        cached_tokens=cached,
        currency=prices.currency,
        input_cost=costs[0],
        cached_cost=costs[1],
        output_cost=costs[2],
        total_cost=round(sum(costs), _DECIMALS),
    )


async def preview(library: Library, settings: Settings, version: ApiVersion, params: PreviewParams) -> Preview:
    """The requests that a run over these files would begin with.

    Raises RpcError -32602 for unknown ids and for too many requests, -32013 when no request can be made,
    LibraryError.
    """
    selection = await library.scan(chosen(params.file_ids, params.batch_size or settings.batch_size))
    if selection.total_batches > MOST_PREVIEWED:
        many = f"{selection.total_batches:,} requests; at most {MOST_PREVIEWED} are shown at once"
        raise invalid_params(f"`file_ids`: these files make {many}. Name fewer files or a larger `batch_size`.")
    requests = await library.scan(lambda c, shape: list(_requests(c, shape, settings, selection)))
    try:
        await loaded()
        from sidecar.gemini.preview import body_sizes  # noqa: PLC0415 - see `gemini.opening`

        sizes = await body_sizes(requests, settings, version)
    except GeminiError as error:
        message = f"No request can be made: {error.detail}."
        raise RpcError(Code.REQUEST_REFUSED, message, RefusalData(error.status or error.kind.value)) from None
    told: set[str] = set()
    for request in requests:
        for file in msgspec.json.decode(request.text)["files"]:
            told |= file.keys()
    return Preview(
        [
            PreviewedRequest(request.system, request.text, size, _prompt_tokens(request))
            for request, size in zip(requests, sizes, strict=True)
        ],
        [name for name in prompts.FILE_FIELDS if name in told],
    )


async def _estimated(library: Library, settings: Settings, params: EstimateParams) -> tuple[Estimate, Usage]:
    choose = chosen(params.file_ids, params.batch_size or settings.batch_size)

    def query(connection: sqlite3.Connection, shape: Shape) -> tuple[Estimate, Usage]:
        selection = choose(connection, shape)
        tokens = sum(map(_prompt_tokens, _requests(connection, shape, settings, selection)))
        spent, files = run_reads.spent(connection)
        output_tokens = spent.output_tokens + spent.thoughts_tokens  # Gemini bills thoughts as output
        a_file = output_tokens / files if files > 0 and output_tokens else prompts.OUTPUT_TOKENS_A_FILE
        found = Estimate(
            selection.total_files,
            selection.total_batches,
            selection.total_batches,
            tokens,
            round(a_file * selection.total_files),
        )
        return found, spent

    return await library.scan(query)


def _requests(
    connection: sqlite3.Connection, shape: Shape, settings: Settings, selection: Selection
) -> Iterator[Request]:
    """The first request of each batch, as the run makes it. Raises LibraryError NO_VOCABULARY, as the run does."""
    vocabulary = queries.vocabulary(connection, shape)
    if selection.total_files and not vocabulary.can_tag:
        raise LibraryError(Fault.NO_VOCABULARY)
    prompt = prompt_for(settings, vocabulary, queries.library_root(connection))
    for ids in selection.batches():
        yield prompt.tagging(queries.audio_files(connection, shape, ids))


def _prompt_tokens(request: Request) -> int:
    return estimated_tokens(request.system) + estimated_tokens(request.text)
