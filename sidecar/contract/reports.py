"""What is told of tags afterwards: a run's report, where a file's tags come from, and what is stale by now."""

from __future__ import annotations  # built at the first need, as for `rpc.discover`, not at every start

from enum import StrEnum
from typing import Annotated, Literal

from msgspec import Struct

from sidecar.contract.notifications import Usage
from sidecar.contract.results import RunSummary
from sidecar.contract.values import (
    FILE_ID,
    TAG_TYPE,
    USAGE,
    BatchNumber,
    FailedInBatch,
    FilePath,
    SkippedInBatch,
    TaggedInBatch,
    TagValue,
    means,
)
from sidecar.contract.words import Reason, TagType


class Sources(Struct, frozen=True):
    """How the tags in a run's answers came out, counted tag by tag."""

    valid: Annotated[int, means("Tags just as the vocabulary has them.")] = 0
    normalised: Annotated[int, means("Tags of the vocabulary in another spelling: case, blanks, quotes.")] = 0
    mapped_by_cache: Annotated[int, means("Tags in whose place the mapping cache had a valid one.")] = 0
    mapped_by_gemini: Annotated[int, means("Tags in whose place Gemini, asked for it, named a valid one.")] = 0
    dropped: Annotated[int, means("Tags outside the vocabulary for which nothing in it stands.")] = 0


class TagCount(Struct, frozen=True):
    """How many of a run's files carry a tag."""

    tag_type: Annotated[TagType, TAG_TYPE]
    tag_value: TagValue
    files: Annotated[int, means("Files of the run that got it.")]


class Worry(StrEnum):
    """Why a file is worth a look."""

    ONLY_MAPPED = "only_mapped"
    FEW_TAGS = "few_tags"
    UNLIKE_FOLDER = "unlike_folder"
    UNLIKE_UCS_CATEGORY = "unlike_ucs_category"


class WorryingFile(Struct, frozen=True):
    """A file to look at first, with the reasons in words and in sentences."""

    file_id: Annotated[int, FILE_ID]
    file_path: FilePath
    worries: Annotated[list[Worry], means("Why it is worth a look.")]
    messages: Annotated[list[str], means("The same in sentences, one for each of `worries`.")]


class BatchRow(Struct, frozen=True):
    """One finished batch of a run. `elapsed_seconds` is since the run's start, `seconds` its own time."""

    batch: BatchNumber
    elapsed_seconds: Annotated[float, means("Seconds from the run's beginning until the batch could be saved.")]
    seconds: Annotated[float, means("From the batch's reading until it could be saved, in seconds.")]
    tagged: TaggedInBatch
    failed: FailedInBatch
    skipped: SkippedInBatch
    usage: Annotated[Usage, USAGE]


class ReasonCount(Struct, frozen=True):
    """How many files were not tagged for a reason."""

    reason: Annotated[Reason, means("A word of `Reason`.")]
    files: Annotated[int, means("Files that were not tagged for it.")]


class Report(Struct, frozen=True, kw_only=True):
    """How a run came out. `worries` holds the worst first, at most 200."""

    run: Annotated[RunSummary, means("The run.")]
    sources: Annotated[Sources, means("How the tags in the run's answers came out.")]
    tags: Annotated[
        list[TagCount], means("The tags that the run set, with how many files got each; the most frequent first.")
    ]
    failures: Annotated[
        list[ReasonCount], means("How many files were not tagged for each reason, the most frequent first.")
    ]
    batches: Annotated[list[BatchRow], means("The finished batches, in the order in which they finished.")]
    worries: Annotated[list[WorryingFile], means("Files to look at first, the most worrying first; at most 200.")]
    worrying_files: Annotated[
        int, means("How many files there are to look at; `worries` may not have all of them.")
    ]


class ExplainedTag(Struct, frozen=True, kw_only=True):
    """Where a tag of a file comes from. The rest is null for a person's; `mapped_from` where it was mapped."""

    tag_type: Annotated[TagType, TAG_TYPE]
    tag_value: TagValue
    set_by: Annotated[Literal["person", "run"], means("Who set it: `person`, or `run` for a run of the sidecar.")]
    run_id: Annotated[str | None, means("The run that set it; null for a person's tag.")] = None
    model: Annotated[str | None, means("The Gemini model that chose it; null for a person's tag.")] = None
    tagged_at: Annotated[
        str | None,
        means("When the run set it, RFC 3339 in UTC; null for a person's tag."),
    ] = None
    mapped_from: Annotated[str | None, means("What Gemini had called it; null when it was not mapped.")] = None


class TagName(Struct, frozen=True):
    """A tag of the vocabulary."""

    tag_type: Annotated[TagType, TAG_TYPE]
    tag_value: TagValue


class RetiredTag(TagName, frozen=True):
    """A tag that has left the vocabulary, and how many files carry it from our runs."""

    files: Annotated[int, means("Files that still carry it from a run.")]


class Stale(Struct, frozen=True):
    """What has changed since the last run, and the files to tag again because of it.

    `changed_since_run` is that run's id, null when nothing has changed since.
    """

    changed_since_run: Annotated[
        str | None, means("The last run, if vocabulary, rules, hints or model differ from what it had; else null.")
    ]
    added_tags: Annotated[list[TagName], means("Tags that the vocabulary has gained since the last run.")]
    retired_tags: Annotated[list[RetiredTag], means("Tags that have left the vocabulary.")]
    file_ids: Annotated[
        list[int], means("The files to tag again, for `auto_tag_files`: row ids of `audio_files`.")
    ]
