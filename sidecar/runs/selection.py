"""Which files a run takes, and in which batches. Pure.

Files that failed before for what their own texts say are batched together at the end, so that they never
cost healthy neighbours a halving (CONTRACT section 8).
"""

from array import array
from collections.abc import Iterator, Sequence

from msgspec import Struct


class Selection(Struct, frozen=True):
    """Ids in the order in which they are asked for: 4 bytes each, or 8. `suspects` come last, apart."""

    ids: "array[int]"
    suspects: "array[int]"
    batch_size: int

    @property
    def total_files(self) -> int:
        """How many files there are."""
        return len(self.ids) + len(self.suspects)

    @property
    def total_batches(self) -> int:
        """How many batches they make."""
        return sum(-(-len(part) // self.batch_size) for part in (self.ids, self.suspects))

    def batches(self) -> Iterator[Sequence[int]]:
        """Their ids, batch by batch."""
        for part in (self.ids, self.suspects):
            for start in range(0, len(part), self.batch_size):
                yield part[start : start + self.batch_size].tolist()


def select(ids: "array[int]", failed_before: set[int], batch_size: int) -> Selection:
    """`ids` in their order, those that failed before last."""
    if not failed_before:
        return Selection(_compact(ids), array("I"), batch_size)
    return Selection(
        _compact(array("q", (file_id for file_id in ids if file_id not in failed_before))),
        _compact(array("q", (file_id for file_id in ids if file_id in failed_before))),
        batch_size,
    )


def _compact(ids: "array[int]") -> "array[int]":
    """In half of the memory where all of them fit, as those do that SQLite has given."""
    try:
        return array("I", ids)
    except OverflowError:
        return ids
