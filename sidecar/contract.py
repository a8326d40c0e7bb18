"""The wire: every method's params and result, the notifications, the reasons and the error codes.

The one source of what a shell may send and will see. The structs decode and validate every call
(strictly: unknown fields are refused by name) and encode every answer; nothing here does I/O.
"""

from enum import IntEnum, StrEnum
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

PROTOCOL_VERSION = 1
NAME = "ligeia-sidecar"

FileId = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""A row id of `audio_files`: what SQLite can hold."""
BatchSize = Annotated[int, Meta(ge=1, le=500)]
Parallel = Annotated[int, Meta(ge=1, le=32)]
ModelId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$")]
Seconds = Annotated[float, Meta(ge=0, le=86_400)]


class Code(IntEnum):
    """Error codes: the JSON-RPC 2.0 ones, then the sidecar's own."""

    PARSE_ERROR = -32700
    INVALID_REQUEST = -32600
    METHOD_NOT_FOUND = -32601
    INVALID_PARAMS = -32602
    INTERNAL_ERROR = -32603
    RUN_ACTIVE = -32001
    NO_SUCH_RUN = -32002
    DATABASE_UNAVAILABLE = -32010
    NO_API_KEY = -32011
    KEY_REFUSED = -32012
    REQUEST_REFUSED = -32013


class DatabaseKind(StrEnum):
    """Why the database cannot be used: `data.kind` of error -32010."""

    MISSING = "missing"
    NOT_A_LIBRARY = "not_a_library"
    READ_ONLY = "read_only"
    LOCKED = "locked"
    CORRUPT = "corrupt"
    NO_VOCABULARY = "no_vocabulary"


class Reason(StrEnum):
    """Why a file was not tagged."""

    MISSING_IN_RESPONSE = "missing_in_response"
    INVALID_TAGS = "invalid_tags"
    BLOCKED = "blocked"
    BAD_RESPONSE = "bad_response"
    RATE_LIMITED = "rate_limited"
    SERVICE_UNAVAILABLE = "service_unavailable"
    TIMEOUT = "timeout"
    REQUEST_REJECTED = "request_rejected"
    DATABASE_ERROR = "database_error"
    CHANGED = "changed"
    DELETED = "deleted"


class RunStatus(StrEnum):
    """Where a run stands. RUNNING and INTERRUPTED are only seen in `get_run` and `list_runs`."""

    RUNNING = "running"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"
    QUOTA_EXHAUSTED = "quota_exhausted"
    INTERRUPTED = "interrupted"


class Mode(StrEnum):
    """What a run does with tags that are there already."""

    MERGE = "merge"
    REPLACE = "replace"


class RpcError(Exception):
    """A call's failure as the shell sees it: a code, a sentence to act on, and data for programs."""

    def __init__(self, code: Code, message: str, data: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


# --- params -------------------------------------------------------------------------------------


class Params(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all params: by name only, nothing unknown."""


P = TypeVar("P", bound=Params)


class NoParams(Params, frozen=True, kw_only=True):
    """For methods that take nothing."""


class ConfigureParams(Params, frozen=True, kw_only=True):
    """New defaults; what is left out stays. An empty `api_key` forgets the key."""

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


class CheckKeyParams(Params, frozen=True, kw_only=True):
    """`verify`: try the key against the API instead of only looking whether there is one."""

    verify: bool = False


class UntaggedParams(Params, frozen=True, kw_only=True):
    """A page of untagged files: at most `limit`, with ids above `after_id`."""

    limit: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None
    after_id: FileId = 0


class AutoTagParams(Params, frozen=True, kw_only=True):
    """A run. None means: the configured default, or for `file_ids` all untagged files."""

    batch_size: BatchSize | None = None
    max_parallel: Parallel | None = None
    file_ids: list[FileId] | None = None
    mode: Mode = Mode.MERGE
    dry_run: bool = False
    model: ModelId | None = None


class RunParams(Params, frozen=True, kw_only=True):
    """`run_id`: None means the active run for `cancel`, the latest one for `get_run`."""

    run_id: str | None = None


class ListRunsParams(Params, frozen=True, kw_only=True):
    """How many runs, newest first."""

    limit: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 20


class FileParams(Params, frozen=True, kw_only=True):
    """One file of the library."""

    file_id: FileId


# --- results ------------------------------------------------------------------------------------


class DatabaseStatus(Struct, frozen=True):
    """`path` as configured; `error` is a sentence when `ok` is false."""

    path: str | None
    ok: bool
    error: str | None


class Status(Struct, frozen=True):
    """Who answers, and what it has to work with."""

    name: str
    version: str
    protocol_version: int
    pid: int
    database: DatabaseStatus
    api_key_present: bool
    model: str
    active_run_id: str | None


class UntaggedFile(Struct, frozen=True):
    """A file that waits for its tags."""

    id: int
    file_path: str
    title: str | None
    artist: str | None
    album: str | None
    genre: str | None
    mood: str | None


class Count(Struct, frozen=True):
    """How many untagged files there are."""

    count: int


class Started(Struct, frozen=True):
    """The answer to `auto_tag_files`; `run_id` is None when there is nothing to do."""

    run_id: str | None
    status: Literal["started", "nothing_to_do"]
    message: str
    total_files: int
    total_batches: int


class Cancelled(Struct, frozen=True):
    """The answer to `cancel`. `cancelled` is False when the run had ended by itself."""

    run_id: str
    cancelled: bool
    status: RunStatus
    processed_files: int
    failed_files: int
    skipped_files: int
    remaining_files: int


class FileFailure(Struct, frozen=True):
    """A file that was not tagged, and why, in a word and in a sentence."""

    file_id: int
    file_path: str
    reason: Reason
    message: str


class Usage(Struct, frozen=True):
    """What Gemini was asked and what it counted. `cached_tokens` are part of `prompt_tokens`."""

    requests: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    thoughts_tokens: int = 0


class Progress(Struct, frozen=True, kw_only=True):
    """`tagging-progress`. `status` is a sentence; `current_batch` counts finished batches."""

    run_id: str
    total_files: int
    processed_files: int
    failed_files: int
    skipped_files: int
    remaining_files: int
    current_batch: int
    total_batches: int
    status: str
    elapsed_seconds: float
    eta_seconds: float | None
    files_per_minute: float
    waiting_seconds: float
    usage: Usage


class RunDetails(Progress, frozen=True, kw_only=True):
    """The answer to `get_run`: the latest progress; once the run has ended, `status` is its RunStatus."""

    failures: list[FileFailure]


class BatchReport(Struct, frozen=True, kw_only=True):
    """`tagging-batch`. `failures` lists failed and skipped files."""

    run_id: str
    batch: int
    ok: bool
    tagged: int
    failed: int
    skipped: int
    attempts: int
    seconds: float
    failures: list[FileFailure]


class Completion(Struct, frozen=True, kw_only=True):
    """`tagging-complete`: exactly one a run, its last word."""

    run_id: str
    success: bool
    status: RunStatus
    message: str
    total_files: int
    processed_files: int
    failed_files: int
    skipped_files: int
    remaining_files: int
    current_batch: int
    total_batches: int
    elapsed_seconds: float
    usage: Usage


class RunSummary(Struct, frozen=True, kw_only=True):
    """A row of `list_runs`. Times are RFC 3339 UTC."""

    run_id: str
    status: RunStatus
    message: str
    mode: Mode
    dry_run: bool
    model: str
    started_at: str
    ended_at: str | None
    total_files: int
    processed_files: int
    failed_files: int
    skipped_files: int
    remaining_files: int
    current_batch: int
    total_batches: int
    elapsed_seconds: float
    usage: Usage


class HistoryEntry(Struct, frozen=True):
    """A row of `auto_tag_history` as it stands; `tags_applied` is JSON text when the sidecar wrote it."""

    id: int
    tagged_at: str | None
    tags_applied: str | None
    api_version: str | None


# --- notifications ------------------------------------------------------------------------------

PROGRESS = "tagging-progress"
BATCH = "tagging-batch"
COMPLETE = "tagging-complete"

Event = Progress | BatchReport | Completion


def event_name(event: Event) -> str:
    """The notification's method, which is also the Tauri event's name."""
    match event:
        case Completion():
            return COMPLETE
        case BatchReport():
            return BATCH
        case _:
            return PROGRESS


def invalid_params(message: str) -> RpcError:
    """-32602 with a sentence."""
    return RpcError(Code.INVALID_PARAMS, message)


def decode_params(kind: type[P], raw: bytes | None) -> P:
    """Params by name, strictly. An explicit `null` means the default (contract 9).

    Raises RpcError -32602, naming the field, for anything unknown, mistyped or out of range.
    """
    try:
        given = msgspec.json.decode(raw or b"{}", type=dict[str, Any])
    except msgspec.ValidationError:
        raise invalid_params("Params are taken by name: send an object, not an array.") from None
    except (msgspec.DecodeError, RecursionError):
        raise invalid_params("The params cannot be read: text or nesting is broken.") from None
    for name in given:
        if name not in kind.__struct_fields__:
            raise invalid_params(f"Unknown parameter `{name[:80]}`.")
    try:
        return msgspec.convert({k: v for k, v in given.items() if v is not None}, kind)
    except msgspec.ValidationError as error:
        raise invalid_params(f"{error}.".replace("`$.", "`")) from None
