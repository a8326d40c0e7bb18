"""Words that params, results and notifications share."""

from enum import StrEnum

PROTOCOL_VERSION = 1
NAME = "ligeia-sidecar"


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

    @property
    def is_skip(self) -> bool:
        """Whether the file was skipped rather than failed: someone else was at it."""
        return self in (Reason.CHANGED, Reason.DELETED)


CONTENT_REASONS = frozenset({Reason.BLOCKED, Reason.BAD_RESPONSE, Reason.REQUEST_REJECTED})
"""What lies in the file's own texts: later runs batch such files apart (CONTRACT section 8)."""


class RunStatus(StrEnum):
    """Where a run stands. `running` and `interrupted` are only seen in `get_run` and `list_runs`."""

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


class TagType(StrEnum):
    """The four kinds of tags, as `rpg_tags.tag_type` and Gemini's answers spell them."""

    GENRE = "genre"
    MOOD = "mood"
    OCCASION = "occasion"
    KEYWORD = "keyword"

    # Enum's own is a Python function; it would be called several times for each tag of a library.
    __hash__ = str.__hash__


class ServiceTier(StrEnum):
    """What Gemini is asked to run on: `flex` costs half and may be shed when Gemini is busy."""

    STANDARD = "standard"
    FLEX = "flex"


class BudgetPeriod(StrEnum):
    """What a budget counts: one run, or one day (UTC) of all runs of the library."""

    RUN = "run"
    DAY = "day"


def duration(seconds: float) -> str:
    """`0.8 s`, `42 s`, `3 min 5 s`, `2 h 4 min`; what would be zero is left out."""
    if seconds < 9.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes, "min"), (0 if hours else rest, "s")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count)
