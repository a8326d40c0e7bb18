"""Which files make which batches."""

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.runs.selection import select


def test_suspects_are_batched_together_at_the_end() -> None:
    selection = select(array("q", [1, 2, 3, 4, 5, 6]), {2, 5}, 3)
    assert list(selection.batches()) == [[1, 3, 4], [6], [2, 5]]
    assert selection.total_batches == 3
    assert selection.total_files == 6


def test_without_suspects_the_order_stays() -> None:
    assert list(select(array("q", [3, 1, 2]), set(), 2).batches()) == [[3, 1], [2]]


def test_suspects_that_are_not_asked_for_do_not_come_in() -> None:
    assert list(select(array("q", [1]), {9}, 2).batches()) == [[1]]


def test_nothing_makes_no_batches() -> None:
    selection = select(array("q"), {1}, 50)
    assert (selection.total_files, selection.total_batches, list(selection.batches())) == (0, 0, [])


@pytest.mark.parametrize(
    ("ids", "each_bytes"), [([1, 2**32 - 1], 4), ([1, 2**32], 8), ([-1, 1], 8), ([2**63 - 1], 8)]
)
def test_ids_take_half_of_the_memory_where_they_can(ids: list[int], each_bytes: int) -> None:
    for suspects in (set[int](), {7}):
        selection = select(array("q", ids), suspects, 50)
        assert list(selection.batches()) == [ids]
        assert selection.ids.itemsize == each_bytes


@given(st.lists(st.integers(1, 200), unique=True), st.sets(st.integers(1, 200)), st.integers(1, 7))
def test_every_file_is_in_one_batch_and_no_batch_mixes(ids: list[int], suspects: set[int], size: int) -> None:
    selection = select(array("q", ids), suspects, size)
    batches = list(selection.batches())
    assert sorted(file_id for batch in batches for file_id in batch) == sorted(ids)
    assert len(batches) == selection.total_batches
    assert all(1 <= len(batch) <= size for batch in batches)
    assert all(len({file_id in suspects for file_id in batch}) == 1 for batch in batches)
