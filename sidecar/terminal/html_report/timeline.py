"""A run's batches as a few equal spans of time, so that thousands of them make a chart that can be read. Pure."""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from sidecar.contract import BatchRow, Usage

MOST_SPANS: Final = 24
_SECONDS: Final = (
    0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400,
)  # fmt: skip
"""How long a span may be: lengths that make round times on an axis."""


class Span(Struct, frozen=True):
    """What finished from `begins_at` seconds after the run's start on."""

    begins_at: float
    batches: int
    tagged: int
    failed: int
    skipped: int
    usage: Usage


def span_seconds(batches: Sequence[BatchRow]) -> float:
    """The shortest round length with which all batches fit into MOST_SPANS spans."""
    last = max((batch.elapsed_seconds for batch in batches), default=0.0)
    return next((length for length in _SECONDS if last < length * MOST_SPANS), last / MOST_SPANS + 1)


def spans(batches: Sequence[BatchRow]) -> list[Span]:
    """All spans from the start to the last batch; those in which nothing finished too."""
    if not batches:
        return []
    length = span_seconds(batches)
    last = max(batch.elapsed_seconds for batch in batches)
    parts: list[list[BatchRow]] = [[] for _ in range(int(last / length) + 1)]
    for batch in batches:
        parts[int(batch.elapsed_seconds / length)].append(batch)
    return [_span(index * length, part) for index, part in enumerate(parts)]


def _span(begins_at: float, part: Sequence[BatchRow]) -> Span:
    return Span(
        begins_at=begins_at,
        batches=len(part),
        tagged=sum(batch.tagged for batch in part),
        failed=sum(batch.failed for batch in part),
        skipped=sum(batch.skipped for batch in part),
        usage=sum((batch.usage for batch in part), Usage()),
    )


def labels(parts: Sequence[Span]) -> list[str]:
    """When each span begins, all in the same manner: `12 s`, `1:30`, `2:05 h`."""
    last = parts[-1].begins_at
    return [_clock(part.begins_at, last) for part in parts]


def _clock(seconds: float, last: float) -> str:
    if last < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02} h" if last >= 3600 else f"{minutes}:{rest:02}"
