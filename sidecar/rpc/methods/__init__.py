"""One function a method, and the table that joins each to the types that decode its call.

A method returns its result or raises RpcError or LibraryError; it knows nothing of lines and ids.
Its docstring and the types in its signature are published by `rpc.discover`.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from msgspec import Meta, Struct

from sidecar.contract import (
    ApplyParams,
    AutoTagParams,
    BudgetParams,
    CancelParams,
    CheckKeyParams,
    Code,
    ConfigureParams,
    DeleteMappingParams,
    EstimateCostParams,
    EstimateParams,
    ExclusionParams,
    FileParams,
    ListRunsParams,
    NoParams,
    Params,
    PreviewParams,
    RetryParams,
    RpcError,
    RunParams,
    SetMappingParams,
    UndoParams,
    UntaggedParams,
    decode_params,
)
from sidecar.library.faults import LibraryError
from sidecar.rpc.methods import files, process, tagging, upkeep
from sidecar.rpc.methods.app import Answer, App, running_app

__all__ = ["METHODS", "Answer", "App", "Method", "call", "running_app"]

OpenRpcDocument = Annotated[dict[str, Any], Meta(description="An OpenRPC document: https://spec.open-rpc.org")]


async def _discover(_app: App, _params: NoParams) -> Answer[OpenRpcDocument]:
    """This description: every method, notification and error, as an OpenRPC document."""
    from sidecar.rpc import discover  # noqa: PLC0415 - reads METHODS below

    return Answer(discover.document())


class Method(Struct, frozen=True):
    """How a method is decoded and run, and which errors it has beside those that every method has."""

    params: type[Params]
    run: Callable[[App, Any], Awaitable[Answer[Any]]]
    errors: tuple[Code, ...] = ()


_LIBRARY = (Code.DATABASE_UNAVAILABLE,)
_RUN = (Code.DATABASE_UNAVAILABLE, Code.NO_SUCH_RUN)
_START = (*_RUN, Code.NO_API_KEY, Code.RUN_ACTIVE)

METHODS: dict[str, Method] = {
    "status": Method(NoParams, process.status),
    "configure": Method(ConfigureParams, process.configure),
    "set_budget": Method(BudgetParams, process.set_budget),
    "check_gemini_api_key": Method(CheckKeyParams, process.check_key, (Code.REQUEST_REFUSED,)),
    "get_untagged_files": Method(UntaggedParams, files.get_untagged_files, _LIBRARY),
    "count_untagged_files": Method(NoParams, files.count_untagged_files, _LIBRARY),
    "estimate": Method(EstimateParams, files.estimate, _LIBRARY),
    "estimate_cost": Method(EstimateCostParams, files.estimate_cost, _LIBRARY),
    "preview_request": Method(PreviewParams, files.preview_request, (*_LIBRARY, Code.REQUEST_REFUSED)),
    "auto_tag_files": Method(AutoTagParams, tagging.auto_tag_files, _START),
    "retry_failed": Method(RetryParams, tagging.retry_failed, _START),
    "cancel": Method(CancelParams, tagging.cancel, (*_RUN, Code.RUN_ACTIVE)),
    "get_run": Method(RunParams, tagging.get_run, _RUN),
    "list_runs": Method(ListRunsParams, tagging.list_runs, _LIBRARY),
    "apply_proposals": Method(ApplyParams, tagging.apply_proposals, (*_RUN, Code.RUN_ACTIVE)),
    "undo_run": Method(UndoParams, tagging.undo_run, (*_RUN, Code.RUN_ACTIVE)),
    "report": Method(RunParams, files.report, _RUN),
    "explain": Method(FileParams, files.explain, _LIBRARY),
    "find_stale": Method(NoParams, files.find_stale, _LIBRARY),
    "get_tagging_history": Method(FileParams, files.get_tagging_history, _LIBRARY),
    "list_tag_mappings": Method(NoParams, upkeep.list_tag_mappings, _LIBRARY),
    "set_tag_mapping": Method(SetMappingParams, upkeep.set_tag_mapping, _LIBRARY),
    "delete_tag_mapping": Method(DeleteMappingParams, upkeep.delete_tag_mapping, _LIBRARY),
    "list_exclusions": Method(NoParams, upkeep.list_exclusions, _LIBRARY),
    "add_exclusion": Method(ExclusionParams, upkeep.add_exclusion, _LIBRARY),
    "remove_exclusion": Method(ExclusionParams, upkeep.remove_exclusion, _LIBRARY),
    "rpc.discover": Method(NoParams, _discover),
    "shutdown": Method(NoParams, process.shutdown),
}


async def call(app: App, method: str, params: bytes | None) -> Answer[Any]:
    """Runs one call; `params` is raw JSON. Raises RpcError for every failure that has a name."""
    found = METHODS.get(method)
    if found is None:
        raise RpcError(Code.METHOD_NOT_FOUND, f"There is no method `{method[:80]}`.")
    try:
        return await found.run(app, decode_params(found.params, params))
    except LibraryError as error:
        raise error.on_the_wire() from None
