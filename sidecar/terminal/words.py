"""Numbers, times and reasons as a person reads them. Pure."""

import re
from typing import Final

from sidecar.contract import Mode, Reason, RunStatus, RunSummary, Sources, TagType

STATUS_WORDS: Final = {
    RunStatus.RUNNING: "Running",
    RunStatus.COMPLETED: "Completed",
    RunStatus.CANCELLED: "Cancelled",
    RunStatus.FAILED: "Failed",
    RunStatus.QUOTA_EXHAUSTED: "Quota exhausted",
    RunStatus.INTERRUPTED: "Interrupted",
}
MODE_WORDS: Final = {Mode.MERGE: "kept what people had set", Mode.REPLACE: "replaced what was there"}
TYPE_WORDS: Final = {
    TagType.GENRE: "Genres",
    TagType.MOOD: "Moods",
    TagType.OCCASION: "Occasions",
    TagType.KEYWORD: "Keywords",
}
REASON_WORDS: Final = {
    Reason.MISSING_IN_RESPONSE: "Left out of the answer",
    Reason.INVALID_TAGS: "No valid tags",
    Reason.BLOCKED: "Blocked by Gemini",
    Reason.BAD_RESPONSE: "Unusable answer",
    Reason.RATE_LIMITED: "Rate limit",
    Reason.SERVICE_UNAVAILABLE: "Gemini not available",
    Reason.TIMEOUT: "No answer in time",
    Reason.REQUEST_REJECTED: "Request rejected",
    Reason.DATABASE_ERROR: "Database error",
    Reason.CHANGED: "Changed meanwhile",
    Reason.DELETED: "Deleted meanwhile",
}
_SOURCE_WORDS: Final = {
    "valid": "Valid at once",
    "normalised": "Spelling corrected",
    "mapped_by_cache": "Mapped, known before",
    "mapped_by_gemini": "Mapped by Gemini",
    "dropped": "Dropped",
}

# C0, DEL and C1 steer a terminal; the last nine turn the direction of what follows them.
_UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """The text without what could steer a terminal or disorder a page: file names are anybody's."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def source_counts(sources: Sources) -> list[tuple[str, int]]:
    """How the answers' tags came out, in words."""
    return [(words, getattr(sources, name)) for name, words in _SOURCE_WORDS.items()]


def outcome(run: RunSummary) -> str:
    """How a run came out, in its own words; one that goes on has only figures."""
    if run.message:
        return run.message
    done = "given proposals" if run.dry_run else "tagged"
    rest = [(run.failed_files, "failed"), (run.skipped_files, "skipped"), (run.remaining_files, "remaining")]
    parts = [f"{counted(run.processed_files, 'file')} {done}"]
    return f"So far: {', '.join([*parts, *(f'{number(count)} {word}' for count, word in rest if count)])}."


def number(value: float) -> str:
    """A whole number, its thousands apart."""
    return f"{value:,.0f}"


def counted(count: int, singular: str, plural: str | None = None) -> str:
    """`1 file`, `2 files`."""
    return f"{number(count)} {singular if count == 1 else plural or singular + 's'}"


def moment(rfc3339: str) -> str:
    """`2026-01-31 08:15 UTC` of an RFC 3339 time in UTC."""
    return f"{rfc3339[:10]} {rfc3339[11:16]} UTC"


def money(amount: float, currency: str) -> str:
    """With the digits that matter: cents, and less than cents where there are none."""
    digits = 2 if amount >= 1 or amount == 0 else 4
    return f"{amount:,.{digits}f} {currency}"
