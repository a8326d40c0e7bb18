"""What became of a file that was not tagged, and of a batch's files together. Pure."""

from collections.abc import Mapping

from msgspec import Struct

from sidecar.contract import FileFailure, Reason


class NotTagged(Struct, frozen=True):
    """A file's outcome without tags: failed or, for some reasons, skipped."""

    reason: Reason
    message: str


GONE = NotTagged(Reason.DELETED, "The file was deleted while it was being tagged.")
GONE_SINCE = NotTagged(Reason.DELETED, "The file was deleted since the dry run.")
CHANGED = NotTagged(
    Reason.CHANGED, "Someone changed the file's tags while it was being tagged; their tags were kept."
)
CHANGED_SINCE = NotTagged(Reason.CHANGED, "The file's tags have changed since the dry run; they were kept.")
ELSEWHERE = NotTagged(
    Reason.CHANGED,
    "The file was renamed or moved while it was being tagged, or is another sound now; its tags were kept.",
)
ELSEWHERE_SINCE = NotTagged(
    Reason.CHANGED,
    "The file was renamed or moved since the dry run, or is another sound now; its tags were kept.",
)
EXCLUDED = NotTagged(Reason.CHANGED, "Someone excluded the file from tagging meanwhile.")
LEFT_OUT = NotTagged(Reason.MISSING_IN_RESPONSE, "Gemini's answer left this file out, twice.")
BLOCKED = NotTagged(Reason.BLOCKED, "Gemini's content filter blocked this file.")
UNUSABLE = NotTagged(Reason.BAD_RESPONSE, "Gemini's answer for this file could not be used.")
NO_TAGS = NotTagged(
    Reason.INVALID_TAGS,
    "Gemini gave this file no valid genre, no valid mood, or neither a valid occasion nor a valid keyword.",
)
RETIRED_SINCE = NotTagged(
    Reason.INVALID_TAGS,
    "Tags that the dry run relied on have left the vocabulary since then; what is left has no genre, no mood, or "
    "neither an occasion nor a keyword.",
)
REFUSED = NotTagged(Reason.DATABASE_ERROR, "The database refused this file's tags.")


class BatchOutcome(Struct, frozen=True):
    """What became of a batch's files: so many tagged (or proposed), each of the others with a reason."""

    tagged: int
    failures: list[FileFailure]

    @property
    def skipped(self) -> int:
        """Files that someone else was at."""
        return sum(failure.reason.is_skip for failure in self.failures)

    @property
    def failed(self) -> int:
        """Files that were neither tagged nor skipped."""
        return len(self.failures) - self.skipped


def failures_of(not_tagged: Mapping[int, NotTagged], paths: Mapping[int, str]) -> list[FileFailure]:
    """Outcomes without tags by file id, as the shell sees them. A file that is gone may have no path."""
    return [
        FileFailure(file_id, paths.get(file_id, ""), outcome.reason, outcome.message)
        for file_id, outcome in sorted(not_tagged.items())
    ]
