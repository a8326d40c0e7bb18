"""What is told of tags afterwards: a run's report, where a file's tags come from, and what is stale by now."""

from enum import StrEnum
from typing import Literal

from msgspec import Struct

from sidecar.contract.notifications import Usage
from sidecar.contract.results import RunSummary
from sidecar.contract.words import TagType


class Sources(Struct, frozen=True):
    """How the tags in a run's answers came out, counted tag by tag."""

    valid: int = 0
    normalised: int = 0
    mapped_by_cache: int = 0
    mapped_by_gemini: int = 0
    dropped: int = 0


class TagCount(Struct, frozen=True):
    """How many of a run's files carry a tag."""

    tag_type: TagType
    tag_value: str
    files: int


class Worry(StrEnum):
    """Why a file is worth a look."""

    ONLY_MAPPED = "only_mapped"
    FEW_TAGS = "few_tags"
    UNLIKE_FOLDER = "unlike_folder"
    UNLIKE_UCS_CATEGORY = "unlike_ucs_category"


class WorryingFile(Struct, frozen=True):
    """A file to look at first, with the reasons in words and in sentences."""

    file_id: int
    file_path: str
    worries: list[Worry]
    messages: list[str]


class BatchRow(Struct, frozen=True):
    """One finished batch of a run. `elapsed_seconds` is since the run's start, `seconds` its own time."""

    batch: int
    elapsed_seconds: float
    seconds: float
    tagged: int
    failed: int
    skipped: int
    usage: Usage


class ReasonCount(Struct, frozen=True):
    """How many files were not tagged for a reason."""

    reason: str
    files: int


class Report(Struct, frozen=True, kw_only=True):
    """How a run came out. `worries` holds the worst first, at most 200."""

    run: RunSummary
    sources: Sources
    tags: list[TagCount]
    failures: list[ReasonCount]
    batches: list[BatchRow]
    worries: list[WorryingFile]
    worrying_files: int


class ExplainedTag(Struct, frozen=True, kw_only=True):
    """Where a tag of a file comes from. The rest is null for a person's; `mapped_from` where it was mapped."""

    tag_type: TagType
    tag_value: str
    set_by: Literal["person", "run"]
    run_id: str | None = None
    model: str | None = None
    tagged_at: str | None = None
    mapped_from: str | None = None


class TagName(Struct, frozen=True):
    """A tag of the vocabulary."""

    tag_type: TagType
    tag_value: str


class RetiredTag(TagName, frozen=True):
    """A tag that has left the vocabulary, and how many files carry it from our runs."""

    files: int


class Stale(Struct, frozen=True):
    """What has changed since the last run, and the files to tag again because of it.

    `changed_since_run` is that run's id, null when nothing has changed since.
    """

    changed_since_run: str | None
    added_tags: list[TagName]
    retired_tags: list[RetiredTag]
    file_ids: list[int]
