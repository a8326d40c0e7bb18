"""When and by whom: moments and days as messages and rows have them, and the stamp on what a run writes."""

from datetime import UTC, datetime

from sidecar import __version__
from sidecar.contract import Mode
from sidecar.library.changes import Stamp


def rfc3339(when: datetime) -> str:
    """A moment in UTC as RFC 3339, to the second."""
    return when.astimezone(UTC).isoformat(timespec="seconds")


def day(when: datetime) -> str:
    """The day in UTC, by which a day's budget counts: what `rfc3339` begins with."""
    return rfc3339(when)[:10]


def stamp_at(now: datetime, run_id: str, row: int, model: str, mode: Mode) -> Stamp:
    """The stamp of what a run writes at that moment (in UTC)."""
    return Stamp(run_id, row, model, mode, __version__, rfc3339(now), f"{now:%Y-%m-%d %H:%M:%S}")
