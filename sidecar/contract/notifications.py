"""What is sent unasked: the three notifications, named as the shell's Tauri events."""

from __future__ import annotations  # built at the first need, as for `rpc.discover`, not at every start

import operator
from typing import Annotated, assert_never

from msgspec import Struct
from msgspec.structs import astuple

from sidecar.contract.values import (
    FILE_ID,
    USAGE,
    BatchNumber,
    BatchSeconds,
    CurrentBatch,
    ElapsedSeconds,
    FailedFiles,
    FailedInBatch,
    OutputTokens,
    ProcessedFiles,
    PromptTokens,
    RemainingFiles,
    Requests,
    RunId,
    SkippedFiles,
    SkippedInBatch,
    TaggedInBatch,
    TotalBatches,
    TotalFiles,
    means,
)
from sidecar.contract.words import Reason, RunStatus

PROGRESS = "tagging-progress"
BATCH = "tagging-batch"
COMPLETE = "tagging-complete"


class FileFailure(Struct, frozen=True, gc=False):
    """A file that was not tagged, and why, in a word and in a sentence."""

    file_id: Annotated[int, FILE_ID]
    file_path: Annotated[
        str, means("Where the file lies, as the library has it; empty when it was deleted before it was read.")
    ]
    reason: Annotated[Reason, means("Why it was not tagged.")]
    message: Annotated[str, means("The same in a sentence for the person.")]


class Usage(Struct, frozen=True):
    """What Gemini was asked and what it counted. `cached_tokens` are part of `prompt_tokens`."""

    requests: Requests = 0
    retries: Annotated[int, means("Requests that repeated one; `requests` counts them too.")] = 0
    prompt_tokens: PromptTokens = 0
    cached_tokens: Annotated[int, means("Part of `prompt_tokens`: those that Gemini had in its cache.")] = 0
    output_tokens: OutputTokens = 0
    thoughts_tokens: Annotated[int, means("Tokens that the model spent on thinking.")] = 0

    @property
    def tokens(self) -> int:
        """All that is paid for: prompt, output and thoughts."""
        return self.prompt_tokens + self.output_tokens + self.thoughts_tokens

    def __add__(self, other: Usage) -> Usage:
        """Both together, number by number."""
        return Usage(*map(operator.add, astuple(self), astuple(other)))

    def __sub__(self, other: Usage) -> Usage:
        """What is left without `other`, number by number."""
        return Usage(*map(operator.sub, astuple(self), astuple(other)))


class Progress(Struct, frozen=True, kw_only=True):
    """`tagging-progress`. `status` is a sentence; `current_batch` counts finished batches."""

    run_id: RunId
    total_files: TotalFiles
    processed_files: ProcessedFiles
    failed_files: FailedFiles
    skipped_files: SkippedFiles
    remaining_files: RemainingFiles
    current_batch: CurrentBatch
    total_batches: TotalBatches
    status: Annotated[str, means("How far the run is or what it waits for: a sentence, to be shown as it is.")]
    elapsed_seconds: ElapsedSeconds
    eta_seconds: Annotated[
        float | None,
        means(
            "Seconds that the remaining files take at the rate so far, after the wait; null before the first "
            "batch and in an outage."
        ),
    ]
    files_per_minute: Annotated[float, means("Files finished per minute since the run began.")]
    waiting_seconds: Annotated[float, means("Seconds until Gemini is asked again; 0 when the run is not waiting.")]
    usage: Annotated[Usage, USAGE]


class BatchReport(Struct, frozen=True, kw_only=True):
    """`tagging-batch`. `failures` lists failed and skipped files."""

    run_id: RunId
    batch: BatchNumber
    ok: Annotated[bool, means("Whether no file of the batch failed.")]
    tagged: TaggedInBatch
    failed: FailedInBatch
    skipped: SkippedInBatch
    attempts: Annotated[int, means("Requests that the batch took.")]
    seconds: BatchSeconds
    failures: Annotated[list[FileFailure], means("The batch's failed and skipped files, each with its reason.")]


class Completion(Struct, frozen=True, kw_only=True):
    """`tagging-complete`: exactly one a run, its last word."""

    run_id: RunId
    success: Annotated[bool, means("Whether the run completed, with a file tagged or none failed.")]
    status: Annotated[RunStatus, means("How the run ended.")]
    message: Annotated[
        str, means("How many files were tagged, what failed and why, and what to do: to be shown as it is.")
    ]
    total_files: TotalFiles
    processed_files: ProcessedFiles
    failed_files: FailedFiles
    skipped_files: SkippedFiles
    remaining_files: RemainingFiles
    current_batch: CurrentBatch
    total_batches: TotalBatches
    elapsed_seconds: ElapsedSeconds
    usage: Annotated[Usage, USAGE]


Event = Progress | BatchReport | Completion


def event_name(event: Event) -> str:
    """The notification's method, which is also the Tauri event's name."""
    match event:
        case Completion():
            return COMPLETE
        case BatchReport():
            return BATCH
        case Progress():
            return PROGRESS
        case _:
            assert_never(event)
