"""One function a method, and the table that joins each to the types that decode its call.

A method returns its result or raises RpcError or LibraryError; it knows nothing of lines and ids.
"""

import os
from collections.abc import Awaitable, Callable
from typing import Any

import trio
from msgspec import Struct

from sidecar import __version__
from sidecar.contract import (
    NAME,
    PROTOCOL_VERSION,
    AutoTagParams,
    CheckKeyParams,
    Code,
    ConfigureParams,
    Count,
    Event,
    FileParams,
    ListRunsParams,
    NoParams,
    Params,
    RpcError,
    RunParams,
    Status,
    UntaggedParams,
    decode_params,
)
from sidecar.gemini.client import ApiVersion, open_client
from sidecar.gemini.failures import Failure, GeminiError
from sidecar.library import queries
from sidecar.library.faults import LibraryError
from sidecar.library.store import Library
from sidecar.redaction import Redactor
from sidecar.runs.runs import Runs
from sidecar.settings import Settings


class App:
    """What the methods work on: settings, library, runs. `stop` is set when the process is to end."""

    def __init__(
        self,
        settings: Settings,
        library: Library,
        nursery: trio.Nursery,
        emit: Callable[[Event], None],
        redactor: Redactor,
    ) -> None:
        self.settings = settings
        self.library = library
        self.runs = Runs(library, emit, nursery)
        self.stop = trio.Event()
        self.redactor = redactor


class Answer(Struct, frozen=True):
    """A result, and what is to happen once it is on its way to the shell."""

    result: Any
    then: Callable[[], None] | None = None


async def _status(app: App, _params: NoParams) -> Answer:
    return Answer(
        Status(
            name=NAME,
            version=__version__,
            protocol_version=PROTOCOL_VERSION,
            pid=os.getpid(),
            database=await app.library.status(),
            api_key_present=app.settings.api_key is not None,
            model=app.settings.model,
            active_run_id=app.runs.active_run_id,
        )
    )


async def _configure(app: App, params: ConfigureParams) -> Answer:
    app.settings = app.settings.configured(params)
    app.redactor.add(app.settings.api_key or "")
    return await _status(app, NoParams())


async def _check_key(app: App, params: CheckKeyParams) -> Answer:
    if app.settings.api_key is None or not params.verify:
        return Answer(app.settings.api_key is not None)
    version = ApiVersion()
    try:
        async with open_client(app.settings, lambda: True) as client:
            await client.look_at_model(version.current)
    except GeminiError as error:
        return Answer(_accepts_key(error))
    return Answer(result=True)


def _accepts_key(error: GeminiError) -> bool:
    """Whether the key is good although the call failed. Raises RpcError -32013 when that can't be told."""
    match error.kind:
        case Failure.KEY_REFUSED | Failure.FORBIDDEN:
            return False
        case Failure.MODEL_UNKNOWN | Failure.RATE_LIMITED | Failure.QUOTA_EXHAUSTED | Failure.REJECTED:
            return True  # judged after the key
        case _:
            raise RpcError(
                Code.REQUEST_REFUSED,
                f"The API key could not be checked: {error.detail or error.status}. Check the network and the "
                "settings, then try again.",
                {"status": error.status or error.kind.value},
            )


async def _untagged(app: App, params: UntaggedParams) -> Answer:
    return Answer(await app.library.read(lambda c, _: queries.untagged_files(c, params.after_id, params.limit)))


async def _count(app: App, _params: NoParams) -> Answer:
    return Answer(Count(await app.library.read(lambda c, _: queries.count_untagged(c))))


async def _auto_tag(app: App, params: AutoTagParams) -> Answer:
    started, active = await app.runs.start(params, app.settings)
    return Answer(started, active.release if active else None)


async def _cancel(app: App, params: RunParams) -> Answer:
    return Answer(await app.runs.cancel(params.run_id))


async def _get_run(app: App, params: RunParams) -> Answer:
    return Answer(await app.runs.details(params.run_id))


async def _list_runs(app: App, params: ListRunsParams) -> Answer:
    return Answer(await app.runs.recent(params.limit))


async def _history(app: App, params: FileParams) -> Answer:
    return Answer(await app.library.read(lambda c, _: queries.history(c, params.file_id)))


async def _shutdown(app: App, _params: NoParams) -> Answer:
    return Answer(None, app.stop.set)


class Method(Struct, frozen=True):
    """How a method is decoded and run."""

    params: type[Params]
    run: Callable[[App, Any], Awaitable[Answer]]


METHODS: dict[str, Method] = {
    "status": Method(NoParams, _status),
    "configure": Method(ConfigureParams, _configure),
    "check_gemini_api_key": Method(CheckKeyParams, _check_key),
    "get_untagged_files": Method(UntaggedParams, _untagged),
    "count_untagged_files": Method(NoParams, _count),
    "auto_tag_files": Method(AutoTagParams, _auto_tag),
    "cancel": Method(RunParams, _cancel),
    "get_run": Method(RunParams, _get_run),
    "list_runs": Method(ListRunsParams, _list_runs),
    "get_tagging_history": Method(FileParams, _history),
    "shutdown": Method(NoParams, _shutdown),
}


async def call(app: App, method: str, params: bytes | None) -> Answer:
    """Runs one call; `params` is raw JSON. Raises RpcError for every failure that has a name."""
    found = METHODS.get(method)
    if found is None:
        raise RpcError(Code.METHOD_NOT_FOUND, f"There is no method `{method[:80]}`.")
    try:
        return await found.run(app, decode_params(found.params, params))
    except LibraryError as error:
        raise error.on_the_wire() from None
