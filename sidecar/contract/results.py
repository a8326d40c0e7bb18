"""Every method's result, but those of `reports`."""

from __future__ import annotations  # built at the first need, as for `rpc.discover`, not at every start

from typing import Annotated, Literal

from msgspec import UNSET, Struct, UnsetType

from sidecar.contract.notifications import FileFailure, Progress, Usage
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
    USAGE,
    VALID_TAG,
    CurrentBatch,
    ElapsedSeconds,
    FailedFiles,
    FilePath,
    OutputTokens,
    ProcessedFiles,
    PromptTokens,
    RemainingFiles,
    Requests,
    RunId,
    SkippedFiles,
    TotalBatches,
    TotalFiles,
    means,
)
from sidecar.contract.words import BudgetPeriod, Mode, RunStatus


class DatabaseStatus(Struct, frozen=True):
    """`path` as configured; `error` is a sentence when `ok` is false."""

    path: Annotated[str | None, means("As configured; null when no library was named.")]
    ok: Annotated[
        bool,
        means("Whether a library is there that can be written. The calls that need its vocabulary look at that."),
    ]
    error: Annotated[
        str | None, means("Why the library cannot be tagged and what to do, in a sentence; null when it can.")
    ]


class Status(Struct, frozen=True):
    """Who answers, and what it has to work with."""

    name: Annotated[str, means("What answers: `ligeia-sidecar`.")]
    version: Annotated[str, means("The sidecar's own version.")]
    protocol_version: Annotated[int, means("The version of these methods and notifications: 1.")]
    pid: Annotated[int, means("The id of the process that answers.")]
    database: Annotated[DatabaseStatus, means("The library, and whether it can be used.")]
    api_key_present: Annotated[bool, means("Whether there is a key for Gemini; not whether it is good.")]
    model: Annotated[str, means("The id of the Gemini model that later runs ask.")]
    active_run_id: Annotated[
        str | None, means("The run of this process that has not ended; null when there is none.")
    ]


class UntaggedFile(Struct, frozen=True, gc=False):
    """A file that waits for its tags."""

    id: Annotated[int, FILE_ID]
    file_path: FilePath
    title: Annotated[str | None, means("Its title; null where the library has none.")]
    artist: Annotated[str | None, means("Its artist; null where the library has none.")]
    album: Annotated[str | None, means("Its album; null where the library has none.")]
    genre: Annotated[
        str | None, means("Its genre as it stands in the library, valid or not; null where there is none.")
    ]
    mood: Annotated[
        str | None, means("Its moods as they stand in the library, valid or not; null where there are none.")
    ]


class Count(Struct, frozen=True):
    """How many untagged files there are."""

    count: Annotated[int, means("Untagged files, without the excluded ones.")]


class Started(Struct, frozen=True):
    """The answer to `auto_tag_files`; `run_id` is null when there is nothing to do."""

    run_id: Annotated[
        str | None, means("The run's name, as in all of its notifications; null when there is nothing to do.")
    ]
    status: Annotated[
        Literal["started", "nothing_to_do"], means("`started`, or `nothing_to_do`: then no notification follows.")
    ]
    message: Annotated[str, means("`Auto-tagging started`, or that there is nothing to do.")]
    total_files: TotalFiles
    total_batches: TotalBatches


class Cancelled(Struct, frozen=True):
    """The answer to `cancel`. `cancelled` is false when the run had ended by itself."""

    run_id: RunId
    cancelled: Annotated[bool, means("Whether the run was stopped; false when it had ended by itself.")]
    status: Annotated[RunStatus, means("How the run ended.")]
    processed_files: ProcessedFiles
    failed_files: FailedFiles
    skipped_files: SkippedFiles
    remaining_files: RemainingFiles


class Proposal(Struct, frozen=True):
    """What a dry run would make of a file: all the tags that it would have afterwards."""

    file_id: Annotated[int, FILE_ID]
    file_path: FilePath
    genre: Annotated[str | None, means("The genre that the file would have.")]
    moods: Annotated[list[str], means("The moods that the file would have.")]
    occasions: Annotated[list[str], means("The occasions that the file would have.")]
    keywords: Annotated[list[str], means("The keywords that the file would have.")]


class RunDetails(Progress, frozen=True, kw_only=True):
    """The answer to `get_run`: the latest progress; once the run has ended, `status` is its RunStatus.

    `proposals` is there for dry runs only.
    """

    status: Annotated[str, means("A sentence while a run of this process goes on, else a word of `RunStatus`.")]
    failures: Annotated[list[FileFailure], means("The failed and skipped files so far, each with its reason.")]
    proposals: Annotated[
        list[Proposal] | UnsetType, means("What a dry run would write; left out of other runs.")
    ] = UNSET


class RunSummary(Struct, frozen=True, kw_only=True):
    """A row of `list_runs`. Times are RFC 3339 UTC."""

    run_id: RunId
    status: Annotated[RunStatus, means("Where it stands.")]
    message: Annotated[str, means("How it ended, in a sentence for the person; empty where no end is known.")]
    mode: Annotated[Mode, MODE]
    dry_run: Annotated[bool, means("Whether the run stored proposals and wrote no tag.")]
    model: Annotated[str, MODEL]
    started_at: Annotated[str, means("When it began, RFC 3339 in UTC.")]
    ended_at: Annotated[str | None, means("When it ended, RFC 3339 in UTC; null where no end is known.")]
    total_files: TotalFiles
    processed_files: ProcessedFiles
    failed_files: FailedFiles
    skipped_files: SkippedFiles
    remaining_files: RemainingFiles
    current_batch: CurrentBatch
    total_batches: TotalBatches
    elapsed_seconds: ElapsedSeconds
    usage: Annotated[Usage, USAGE]


class HistoryEntry(Struct, frozen=True):
    """A row of `auto_tag_history` as it stands; `tags_applied` is JSON text when the sidecar wrote it."""

    id: Annotated[int, means("A row id of `auto_tag_history`.")]
    tagged_at: Annotated[str | None, means("RFC 3339 in UTC when the sidecar wrote it.")]
    tags_applied: Annotated[
        str | None, means("As it stands in the row: JSON text, tags before and after, when the sidecar wrote it.")
    ]
    api_version: Annotated[
        str | None, means("As it stands in the row: the id of the Gemini model when the sidecar wrote it.")
    ]


class Undone(Struct, frozen=True):
    """The answer to `undo_run`. Skipped: deleted, or changed since by someone else or a newer run."""

    run_id: Annotated[str, means("The run that was taken back.")]
    restored_files: Annotated[int, means("Files that got back what they had before the run.")]
    skipped_files: Annotated[
        int, means("Files that stayed as they are: changed since then, deleted, or restored before.")
    ]


class Applied(Struct, frozen=True):
    """The answer to `apply_proposals`; `run_id` is the new run, null when there was nothing to write."""

    run_id: Annotated[
        str | None, means("The run that wrote them, which `undo_run` takes; null when there was nothing to write.")
    ]
    applied_files: Annotated[int, means("Files whose proposals were written.")]
    skipped_files: Annotated[
        int,
        means(
            "Files left as they are: changed, deleted or excluded since, refused, or without valid tags by now."
        ),
    ]


class Estimate(Struct, frozen=True):
    """What a run would take, when nothing has to be asked twice. Tokens are estimates."""

    total_files: TotalFiles
    total_batches: TotalBatches
    requests: Requests
    prompt_tokens: PromptTokens
    output_tokens: OutputTokens


class CostEstimate(Estimate, frozen=True):
    """The estimate in money. `cached_tokens` are the part of `prompt_tokens` counted at the cached price."""

    cached_tokens: Annotated[int, means("The part of `prompt_tokens` that is counted at the cached price.")]
    currency: Annotated[str, CURRENCY]
    input_cost: Annotated[float, means("What the other prompt tokens cost.")]
    cached_cost: Annotated[float, means("What the cached prompt tokens cost.")]
    output_cost: Annotated[float, means("What the tokens of the answers cost.")]
    total_cost: Annotated[float, means("All three costs together.")]


class PreviewedRequest(Struct, frozen=True):
    """One request as it would be sent: both texts, the size of its body, its tokens as estimated."""

    system_instruction: Annotated[str, means("The instruction, as it would be sent: rules, vocabulary, hints.")]
    contents: Annotated[str, means("The text about the files, as it would be sent: JSON.")]
    bytes: Annotated[int, means("Size of the request's body in bytes.")]
    prompt_tokens: Annotated[int, means("Tokens of both texts, as estimated.")]


class Preview(Struct, frozen=True):
    """`fields_sent` names what these requests tell of a file."""

    requests: Annotated[list[PreviewedRequest], means("The first request of each batch.")]
    fields_sent: Annotated[list[str], means("Names of all that these requests tell of a file.")]


class Budget(Struct, frozen=True):
    """The budget in force for later runs."""

    max_requests: Annotated[int | None, MAX_REQUESTS]
    max_tokens: Annotated[int | None, MAX_TOKENS]
    per: Annotated[BudgetPeriod, PER]


class TagMapping(Struct, frozen=True):
    """An entry of the mapping cache; `valid_tag` is `REMOVE` where the invalid tag is dropped."""

    tag_type: Annotated[str, TAG_TYPE]
    invalid_tag: Annotated[str, INVALID_TAG]
    valid_tag: Annotated[str, VALID_TAG]
    usage_count: Annotated[int, means("How often it has been used.")]


class Removed(Struct, frozen=True):
    """Whether there was something to remove."""

    removed: Annotated[bool, means("Whether there was something to remove.")]


class Exclusion(Struct, frozen=True):
    """Files that no request may name: those that a glob covers, or one file."""

    glob: Annotated[str | None, means("The glob that is excluded; null when a file is.")]
    file_id: Annotated[int | None, means("The file that is excluded; null when a glob is.")]
    created_at: Annotated[str, means("When it was added, RFC 3339 in UTC.")]
