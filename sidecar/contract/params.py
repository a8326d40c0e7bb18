"""Every method's params, and how they are decoded: strictly, unknown fields refused by name."""

from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from sidecar.contract.addresses import base_url_fault
from sidecar.contract.errors import invalid_params
from sidecar.contract.words import (
    BatchSize,
    BudgetPeriod,
    FileId,
    Limit,
    Mode,
    ModelId,
    Parallel,
    Reason,
    Seconds,
    ServiceTier,
)

TagTypeWord = Literal["genre", "mood", "occasion", "keyword", "keywords"]
"""`keywords` is how `tag_vocabulary` spells the keyword type."""
TagText = Annotated[str, Meta(min_length=1, max_length=200)]
Glob = Annotated[str, Meta(min_length=1, max_length=4096)]
Price = Annotated[float, Meta(ge=0, le=1e9)]


class Params(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all params: by name only, nothing unknown."""


P = TypeVar("P", bound=Params)


class NoParams(Params, frozen=True, kw_only=True):
    """For methods that take nothing."""


class ConfigureParams(Params, frozen=True, kw_only=True):
    """New defaults; what is left out stays. An empty `api_key` or `hints` forgets it.

    `hints`: house words and language for Gemini, placed after the stable instruction.
    """

    api_key: Annotated[str, Meta(max_length=4096)] | None = None
    model: ModelId | None = None
    base_url: Annotated[str, Meta(pattern=r"^https?://[^\s]+$", max_length=2048)] | None = None
    batch_size: BatchSize | None = None
    max_parallel: Parallel | None = None
    request_timeout_seconds: Annotated[float, Meta(gt=0, le=3600)] | None = None
    max_attempts: Annotated[int, Meta(ge=1, le=100)] | None = None
    backoff_base_seconds: Seconds | None = None
    backoff_max_seconds: Seconds | None = None
    outage_max_seconds: Seconds | None = None
    hints: Annotated[str, Meta(max_length=2000)] | None = None
    service_tier: ServiceTier | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for a `base_url` to which no request can be sent: more than a pattern can say."""
        if self.base_url is not None and (fault := base_url_fault(self.base_url)):
            raise ValueError(f"`base_url` cannot be used: {fault}")


class CheckKeyParams(Params, frozen=True, kw_only=True):
    """`verify`: try the key against the API instead of only looking whether there is one."""

    verify: bool = False


class UntaggedParams(Params, frozen=True, kw_only=True):
    """A page of untagged files: at most `limit`, with ids above `after_id`."""

    limit: Limit | None = None
    after_id: FileId = 0


class AutoTagParams(Params, frozen=True, kw_only=True):
    """A run. Null means: the configured default, or for `file_ids` all untagged files.

    `dry_run`: nothing is written but proposals, which `get_run` shows and `apply_proposals` writes.
    """

    batch_size: BatchSize | None = None
    max_parallel: Parallel | None = None
    file_ids: list[FileId] | None = None
    mode: Mode = Mode.MERGE
    dry_run: bool = False
    model: ModelId | None = None


class CancelParams(Params, frozen=True, kw_only=True):
    """The run to stop; null: the active one."""

    run_id: str | None = None


class RunParams(Params, frozen=True, kw_only=True):
    """The run to tell of; null: the latest."""

    run_id: str | None = None


class RetryParams(Params, frozen=True, kw_only=True):
    """The failed files of a run (null: the latest), of these reasons only (null: all)."""

    run_id: str | None = None
    reasons: list[Reason] | None = None


class UndoParams(Params, frozen=True, kw_only=True):
    """The run to take back."""

    run_id: str


class ApplyParams(Params, frozen=True, kw_only=True):
    """Which of a dry run's proposals are written: all or these files, without the rejected ones."""

    run_id: str
    accept: Literal["all"] | list[FileId] = "all"
    reject: list[FileId] = []


class ListRunsParams(Params, frozen=True, kw_only=True):
    """How many runs, newest first."""

    limit: Limit = 20


class FileParams(Params, frozen=True, kw_only=True):
    """One file of the library."""

    file_id: FileId


class EstimateParams(Params, frozen=True, kw_only=True):
    """What a run over these files (null: all untagged) would take."""

    batch_size: BatchSize | None = None
    file_ids: list[FileId] | None = None


class Prices(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Money per million tokens. `cached` is the price of prompt tokens that Gemini had in its cache."""

    input: Price
    output: Price
    cached: Price | None = None
    currency: Annotated[str, Meta(max_length=16)] = "USD"


class EstimateCostParams(EstimateParams, frozen=True, kw_only=True):
    """As `estimate`, with the prices to count in."""

    prices: Prices


class PreviewParams(Params, frozen=True, kw_only=True):
    """The files whose requests are to be shown."""

    file_ids: list[FileId]
    batch_size: BatchSize | None = None


class BudgetParams(Params, frozen=True, kw_only=True):
    """What runs may spend from now on; null: no bound. Tokens are prompt, output and thoughts together."""

    max_requests: Limit | None = None
    max_tokens: Limit | None = None
    per: BudgetPeriod = BudgetPeriod.RUN


class DeleteMappingParams(Params, frozen=True, kw_only=True):
    """One entry of the mapping cache."""

    tag_type: TagTypeWord
    invalid_tag: TagText


class SetMappingParams(DeleteMappingParams, frozen=True, kw_only=True):
    """`valid_tag`: an active tag of that type, or `REMOVE` to drop the invalid one."""

    valid_tag: TagText


class ExclusionParams(Params, frozen=True, kw_only=True):
    """A glob or a file, one of the two. A glob is tried on the path as sent and on the whole path."""

    glob: Glob | None = None
    file_id: FileId | None = None


def _without_nulls(given: dict[str, Any]) -> dict[str, Any]:
    """Also in objects inside of the params."""
    return {k: _without_nulls(v) if isinstance(v, dict) else v for k, v in given.items() if v is not None}


def _fields(raw: bytes) -> dict[str, msgspec.Raw]:
    try:
        return msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError:
        raise invalid_params("Params are taken by name: send an object, not an array.") from None


def _value(name: str, raw: msgspec.Raw) -> Any:
    try:
        return msgspec.json.decode(raw)
    except msgspec.ValidationError:  # well-formed, and more than any float holds
        raise invalid_params(f"`{name[:80]}`: a number is out of range.") from None


def decode_params(kind: type[P], raw: bytes | None) -> P:
    """Params by name, strictly. An explicit `null` means the default (contract 9).

    Raises RpcError -32602, naming the field, for anything unknown, mistyped or out of range.
    """
    try:
        given = {name: _value(name, raw_value) for name, raw_value in _fields(raw or b"{}").items()}
    except (msgspec.DecodeError, RecursionError):
        raise invalid_params("The params cannot be read: text or nesting is broken.") from None
    for name in given:
        if name not in kind.__struct_fields__:
            raise invalid_params(f"Unknown parameter `{name[:80]}`.")
    try:
        return msgspec.convert(_without_nulls(given), kind)
    except msgspec.ValidationError as error:
        raise invalid_params(f"{error}.".replace("`$.", "`")) from None
