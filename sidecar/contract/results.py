"""Every method's result, but those of `reports`."""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from sidecar.contract.notifications import FileFailure, Progress, Usage
from sidecar.contract.words import BudgetPeriod, Mode, RunStatus


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
    """The answer to `auto_tag_files`; `run_id` is null when there is nothing to do."""

    run_id: str | None
    status: Literal["started", "nothing_to_do"]
    message: str
    total_files: int
    total_batches: int


class Cancelled(Struct, frozen=True):
    """The answer to `cancel`. `cancelled` is false when the run had ended by itself."""

    run_id: str
    cancelled: bool
    status: RunStatus
    processed_files: int
    failed_files: int
    skipped_files: int
    remaining_files: int


class Proposal(Struct, frozen=True):
    """What a dry run would make of a file: all the tags that it would have afterwards."""

    file_id: int
    file_path: str
    genre: str | None
    moods: list[str]
    occasions: list[str]
    keywords: list[str]


class RunDetails(Progress, frozen=True, kw_only=True):
    """The answer to `get_run`: the latest progress; once the run has ended, `status` is its RunStatus.

    `proposals` is there for dry runs only.
    """

    failures: list[FileFailure]
    proposals: list[Proposal] | UnsetType = UNSET


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


class Undone(Struct, frozen=True):
    """The answer to `undo_run`. Skipped: deleted, or changed since by someone else or a newer run."""

    run_id: str
    restored_files: int
    skipped_files: int


class Applied(Struct, frozen=True):
    """The answer to `apply_proposals`; `run_id` is the new run, null when there was nothing to write."""

    run_id: str | None
    applied_files: int
    skipped_files: int


class Estimate(Struct, frozen=True):
    """What a run would take, when nothing has to be asked twice. Tokens are estimates."""

    total_files: int
    total_batches: int
    requests: int
    prompt_tokens: int
    output_tokens: int


class CostEstimate(Estimate, frozen=True):
    """The estimate in money. `cached_tokens` are the part of `prompt_tokens` counted at the cached price."""

    cached_tokens: int
    currency: str
    input_cost: float
    cached_cost: float
    output_cost: float
    total_cost: float


class PreviewedRequest(Struct, frozen=True):
    """One request as it would be sent: both texts, the size of its body, its tokens as estimated."""

    system_instruction: str
    contents: str
    bytes: int
    prompt_tokens: int


class Preview(Struct, frozen=True):
    """`fields_sent` names what these requests tell of a file."""

    requests: list[PreviewedRequest]
    fields_sent: list[str]


class Budget(Struct, frozen=True):
    """The budget in force for later runs."""

    max_requests: int | None
    max_tokens: int | None
    per: BudgetPeriod


class TagMapping(Struct, frozen=True):
    """An entry of the mapping cache; `valid_tag` is `REMOVE` where the invalid tag is dropped."""

    tag_type: str
    invalid_tag: str
    valid_tag: str
    usage_count: int


class Removed(Struct, frozen=True):
    """Whether there was something to remove."""

    removed: bool


class Exclusion(Struct, frozen=True):
    """Files that no request may name: those that a glob covers, or one file."""

    glob: str | None
    file_id: int | None
    created_at: str
