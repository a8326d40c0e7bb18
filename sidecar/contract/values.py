"""Values that structs of several kinds hold: their bounds, and what they mean."""

from typing import Annotated, Final

from msgspec import Meta


def means(sentence: str) -> Meta:
    """What a field means, for `rpc.discover`; the last one in an `Annotated` counts. It bounds nothing.

    JavaScript reads it: nothing is called None, True or False there.
    """
    return Meta(description=sentence)


# --- bounds ---------------------------------------------------------------------------------------

FileId = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""A row id of `audio_files`: what SQLite can hold."""
Limit = Annotated[int, Meta(ge=0, le=2**63 - 1)]
BatchSize = Annotated[int, Meta(ge=1, le=500)]
Parallel = Annotated[int, Meta(ge=1, le=32)]
MODEL_PATTERN: Final = r"^(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$(?!\n)"
"""`$` alone also stands before a last line feed, in Python's dialect."""
ModelId = Annotated[str, Meta(pattern=MODEL_PATTERN)]
Seconds = Annotated[float, Meta(ge=0, le=86_400)]

# --- plain fields that several structs have -------------------------------------------------------

RunId = Annotated[str, means("The name of a run.")]

TotalFiles = Annotated[int, means("Files that the run is about.")]
ProcessedFiles = Annotated[int, means("Files whose tags are committed; in a dry run, whose proposals are.")]
FailedFiles = Annotated[int, means("Files that could not be tagged, each with a reason.")]
SkippedFiles = Annotated[int, means("Files that someone else changed, deleted or excluded in the meantime.")]
RemainingFiles = Annotated[int, means("Files that are neither processed nor failed nor skipped.")]
CurrentBatch = Annotated[int, means("How many batches are finished.")]
TotalBatches = Annotated[int, means("Batches that the files make.")]
ElapsedSeconds = Annotated[float, means("Seconds since the run began, waits included.")]

Requests = Annotated[int, means("Requests to Gemini; tries that found no connection count, too.")]
PromptTokens = Annotated[int, means("Tokens of the requests, cached ones included.")]
OutputTokens = Annotated[int, means("Tokens of the answers.")]

BatchNumber = Annotated[int, means("The batch's number in its run, from 1.")]
TaggedInBatch = Annotated[
    int, means("Files of the batch whose tags are committed; in a dry run, whose proposals are.")
]
FailedInBatch = Annotated[int, means("Files of the batch that could not be tagged.")]
SkippedInBatch = Annotated[
    int, means("Files of the batch that someone else changed, deleted or excluded in the meantime.")
]
BatchSeconds = Annotated[float, means("From the batch's reading to its commit, in seconds.")]

FilePath = Annotated[str, means("Where the file lies, as the library has it.")]
TagValue = Annotated[str, means("The tag, as the vocabulary or the library spells it.")]

# --- what fields mean that several structs have, each with a type to be seen there ----------------

USAGE: Final = means("What Gemini was asked for this, and what it counted.")
FILE_ID: Final = means("A row id of `audio_files`.")
MODEL: Final = means("The id of a Gemini model.")
MODE: Final = means("`merge` keeps what a person chose, `replace` does not.")
TAG_TYPE: Final = means("Genre, mood, occasion or keyword.")
INVALID_TAG: Final = means("A tag outside the vocabulary.")
VALID_TAG: Final = means("The tag of the vocabulary that is used instead, or `REMOVE` for none.")
CURRENCY: Final = means("The currency of all prices and costs.")
MAX_REQUESTS: Final = means("Requests to Gemini that may be sent; null: no bound.")
MAX_TOKENS: Final = means("Tokens that may be used, of prompts, answers and thoughts together; null: no bound.")
PER: Final = means("What the budget is for: each run, or each day (UTC) of all runs.")
