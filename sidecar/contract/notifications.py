"""What is sent unasked: the three notifications, named as the shell's Tauri events."""

import operator
from typing import assert_never

from msgspec import Struct
from msgspec.structs import astuple

from sidecar.contract.words import Reason, RunStatus

PROGRESS = "tagging-progress"
BATCH = "tagging-batch"
COMPLETE = "tagging-complete"


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

    @property
    def tokens(self) -> int:
        """All that is paid for: prompt, output and thoughts."""
        return self.prompt_tokens + self.output_tokens + self.thoughts_tokens

    def __add__(self, other: "Usage") -> "Usage":
        """Both together, number by number."""
        return Usage(*map(operator.add, astuple(self), astuple(other)))

    def __sub__(self, other: "Usage") -> "Usage":
        """What is left without `other`, number by number."""
        return Usage(*map(operator.sub, astuple(self), astuple(other)))


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
