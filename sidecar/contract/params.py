"""Every method's params, and how they are decoded: strictly, unknown fields refused by name."""

from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from sidecar.contract.addresses import base_url_fault
from sidecar.contract.errors import invalid_params
from sidecar.contract.in_words import in_words
from sidecar.contract.values import (
    CURRENCY,
    FILE_ID,
    INVALID_TAG,
    MAX_REQUESTS,
    MAX_TOKENS,
    MODE,
    MODEL,
    PER,
    TAG_TYPE,
    VALID_TAG,
    BatchSize,
    FileId,
    Limit,
    ModelId,
    Parallel,
    Seconds,
    means,
)
from sidecar.contract.words import BudgetPeriod, Mode, Reason, ServiceTier

TagTypeWord = Literal["genre", "mood", "occasion", "keyword", "keywords"]
"""`keywords` is how `tag_vocabulary` spells the keyword type."""
TagText = Annotated[str, Meta(min_length=1, max_length=200)]
Glob = Annotated[str, Meta(min_length=1, max_length=4096)]
Price = Annotated[float, Meta(ge=0, le=1e9)]
Currency = Annotated[str, Meta(max_length=16)]
ApiKey = Annotated[str, Meta(max_length=4096)]
BaseUrl = Annotated[str, Meta(pattern=r"^https?://[^\s]+$(?!\n)", max_length=2048)]
Hints = Annotated[str, Meta(max_length=2000)]
Attempts = Annotated[int, Meta(ge=1, le=100)]
Timeout = Annotated[float, Meta(gt=0, le=3600)]

BATCH_SIZE: Final = means("Files in one request to Gemini; null: as configured.")
MAX_PARALLEL: Final = means("Requests to Gemini that are open at the same time; null: as configured.")
FILE_IDS: Final = means("Row ids of `audio_files`, tagged files too; null: all untagged files.")


class Params(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all params: by name only, nothing unknown."""


P = TypeVar("P", bound=Params)


class NoParams(Params, frozen=True, kw_only=True):
    """For methods that take nothing."""


class ConfigureParams(Params, frozen=True, kw_only=True):
    """New defaults; what is left out stays. An empty `api_key` or `hints` forgets it.

    `hints`: house words and language for Gemini, placed after the stable instruction.
    """

    api_key: Annotated[ApiKey | None, means("The key for Gemini. Empty: the key is forgotten.")] = None
    model: Annotated[ModelId | None, MODEL] = None
    base_url: Annotated[
        BaseUrl | None,
        means("Where requests to Gemini go: a host that can exist, with or without a port and a path."),
    ] = None
    batch_size: Annotated[BatchSize | None, means("Files in one request to Gemini; at first 50.")] = None
    max_parallel: Annotated[
        Parallel | None, means("Requests to Gemini that are open at the same time; at first 3.")
    ] = None
    request_timeout_seconds: Annotated[
        Timeout | None, means("How long one attempt may take, in seconds, slow answers included; at first 120.")
    ] = None
    max_attempts: Annotated[
        Attempts | None, means("How often a request is sent before its files fail; at first 5.")
    ] = None
    backoff_base_seconds: Annotated[
        Seconds | None,
        means("The longest first wait after a failure, in seconds, doubled from one to the next; at first 1."),
    ] = None
    backoff_max_seconds: Annotated[
        Seconds | None, means("The longest wait between two attempts, in seconds; at first 60.")
    ] = None
    outage_max_seconds: Annotated[
        Seconds | None, means("How long an outage is waited out, in seconds, before the run ends; at first 600.")
    ] = None
    hints: Annotated[
        Hints | None,
        means("House words, language: put after the part of the instruction that stays the same. Empty: none."),
    ] = None
    service_tier: Annotated[
        ServiceTier | None, means("`flex` costs half; where Gemini sheds it, `standard` is used for that request.")
    ] = None

    def __post_init__(self) -> None:
        """Raises ValueError for a `base_url` to which no request can be sent: more than a pattern can say."""
        if self.base_url is not None and (fault := base_url_fault(self.base_url)):
            raise ValueError(f"`base_url` cannot be used: {fault}")


class CheckKeyParams(Params, frozen=True, kw_only=True):
    """`verify`: try the key against the API instead of only looking whether there is one."""

    verify: Annotated[bool, means("Tries the key against the API.")] = False


class UntaggedParams(Params, frozen=True, kw_only=True):
    """A page of untagged files: at most `limit`, with ids above `after_id`."""

    limit: Annotated[Limit | None, means("At most so many files; null: all.")] = None
    after_id: Annotated[FileId, means("Only files with a higher id.")] = 0


class AutoTagParams(Params, frozen=True, kw_only=True):
    """A run. Null means: the configured default, or for `file_ids` all untagged files.

    `dry_run`: nothing is written but proposals, which `get_run` shows and `apply_proposals` writes.
    """

    batch_size: Annotated[BatchSize | None, BATCH_SIZE] = None
    max_parallel: Annotated[Parallel | None, MAX_PARALLEL] = None
    file_ids: Annotated[list[FileId] | None, FILE_IDS] = None
    mode: Annotated[Mode, MODE] = Mode.MERGE
    dry_run: Annotated[bool, means("Stores what the run proposes and writes no tag.")] = False
    model: Annotated[ModelId | None, means("The id of a Gemini model; null: the configured one.")] = None


class CancelParams(Params, frozen=True, kw_only=True):
    """The run to stop; null: the active one."""

    run_id: Annotated[str | None, means("The run to stop; null: the active one.")] = None


class RunParams(Params, frozen=True, kw_only=True):
    """The run to tell of; null: the latest."""

    run_id: Annotated[str | None, means("The run; null: the latest.")] = None


class RetryParams(Params, frozen=True, kw_only=True):
    """The failed files of a run (null: the latest), of these reasons only (null: all)."""

    run_id: Annotated[str | None, means("The run whose failed files are tried again; null: the latest.")] = None
    reasons: Annotated[
        list[Reason] | None, means("Only files that were not tagged for these; null: all that failed.")
    ] = None


class UndoParams(Params, frozen=True, kw_only=True):
    """The run to take back."""

    run_id: Annotated[str, means("The run to take back.")]


class ApplyParams(Params, frozen=True, kw_only=True):
    """Which of a dry run's proposals are written: all or these files, without the rejected ones."""

    run_id: Annotated[str, means("The dry run.")]
    accept: Annotated[
        Literal["all"] | list[FileId], means("Which files' proposals are written: `all` of them, or these.")
    ] = "all"
    reject: Annotated[list[FileId], means("Files whose proposals are not written.")] = []


class ListRunsParams(Params, frozen=True, kw_only=True):
    """How many runs, newest first."""

    limit: Annotated[Limit, means("At most so many runs.")] = 20


class FileParams(Params, frozen=True, kw_only=True):
    """One file of the library."""

    file_id: Annotated[FileId, FILE_ID]


class EstimateParams(Params, frozen=True, kw_only=True):
    """What a run over these files (null: all untagged) would take."""

    batch_size: Annotated[BatchSize | None, BATCH_SIZE] = None
    file_ids: Annotated[list[FileId] | None, FILE_IDS] = None


class Prices(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Money per million tokens. `cached` is the price of prompt tokens that Gemini had in its cache."""

    input: Annotated[Price, means("Price of a million prompt tokens.")]
    output: Annotated[Price, means("Price of a million tokens of answers.")]
    cached: Annotated[
        Price | None,
        means("Price of a million prompt tokens that Gemini has in its cache; null: that of `input`."),
    ] = None
    currency: Annotated[Currency, CURRENCY] = "USD"


class EstimateCostParams(EstimateParams, frozen=True, kw_only=True):
    """As `estimate`, with the prices to count in."""

    prices: Annotated[Prices, means("What tokens cost, per million.")]


class PreviewParams(Params, frozen=True, kw_only=True):
    """The files whose requests are to be shown."""

    file_ids: Annotated[list[FileId], means("Row ids of `audio_files`; files that are tagged may be among them.")]
    batch_size: Annotated[BatchSize | None, BATCH_SIZE] = None


class BudgetParams(Params, frozen=True, kw_only=True):
    """What runs may spend from now on; null: no bound. Tokens are prompt, output and thoughts together."""

    max_requests: Annotated[Limit | None, MAX_REQUESTS] = None
    max_tokens: Annotated[Limit | None, MAX_TOKENS] = None
    per: Annotated[BudgetPeriod, PER] = BudgetPeriod.RUN


class DeleteMappingParams(Params, frozen=True, kw_only=True):
    """One entry of the mapping cache."""

    tag_type: Annotated[TagTypeWord, TAG_TYPE]
    invalid_tag: Annotated[TagText, INVALID_TAG]


class SetMappingParams(DeleteMappingParams, frozen=True, kw_only=True):
    """`valid_tag`: an active tag of that type, or `REMOVE` to drop the invalid one."""

    valid_tag: Annotated[TagText, VALID_TAG]


class ExclusionParams(Params, frozen=True, kw_only=True):
    """A glob or a file, one of the two. A glob is tried on the path as sent and on the whole path."""

    glob: Annotated[Glob | None, means("Files whose path fits it: the path as sent, or the whole path.")] = None
    file_id: Annotated[FileId | None, FILE_ID] = None


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
        raise invalid_params(in_words(str(error), kind)) from None
