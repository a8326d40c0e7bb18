"""tagging.answers: whatever a text is, nothing raises, no file is lost, and the time is bounded."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.contract import Reason
from sidecar.tagging.answers import (
    MOST_ENTRIES,
    MOST_FALSE_STARTS,
    MOST_VALUES,
    Reading,
    Reply,
    read_mapping,
    read_tagging,
)

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["id", "genre", "moods", "occasions", "keywords", "type", "invalid", "valid"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
TEXTS = (
    st.text()
    | st.text(st.characters(codec=None, categories=["Cs", "Cc", "Lu"]))
    | st.text('[]{}",:id1 \\u0e-.tnNaI')
    | JSON_VALUES.map(json.dumps)
    | st.builds(lambda value, cut: json.dumps(value)[:cut], JSON_VALUES, st.integers(0, 60))
)


ITEM = '{"id": 1, "genre": "ambient"}'


def test_so_many_values_and_places_that_are_no_values_are_looked_at() -> None:
    for before, most in (("{} ", MOST_VALUES - 1), ('{" ', MOST_FALSE_STARTS)):
        assert read_tagging(Reply(before * most + ITEM), 1).usable
        assert read_tagging(Reply(before * (most + 1) + ITEM), 1) == Reading({}, (), (0,))


@pytest.mark.parametrize(
    ("opened", "entry", "closed"),
    [("[", "{}, ", ITEM + "]"), ("{", '"x": {}, ', f'"1": {ITEM}}}')],
    ids=["a list", "a map by id"],
)
def test_so_many_entries_are_sorted_and_one_more_is_no_answer(opened: str, entry: str, closed: str) -> None:
    def answer(entries: int) -> Reply:
        numbered = "".join(entry.replace("x", f"x{number}") for number in range(entries - 1))
        return Reply(opened + numbered + closed)

    assert read_tagging(answer(MOST_ENTRIES), 1).usable
    assert read_tagging(answer(MOST_ENTRIES + 1), 1) == Reading({}, (), (0,))


@given(TEXTS, st.integers(1, 5), st.sampled_from([None, Reason.BLOCKED, Reason.BAD_RESPONSE]))
def test_no_text_raises_and_every_file_is_sorted_exactly_once(text: str, count: int, fault: Reason | None) -> None:
    reading = read_tagging(Reply(text, fault), count)
    assert sorted([*reading.usable, *reading.missing, *reading.broken]) == list(range(count))
    assert isinstance(read_mapping(Reply(text, fault)), list)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000,
        '{"a":' * 200_000,
        "[{" * 100_000,
        '[{"a":' + "[" * 200_000,
        "\ud800",
        "[" + "9" * 10_000,
        "{}" * 500_000,
        "[[]{" * 500_000,
        '{"' * 500_000,
        '[{"a":"' * 200_000,
        "[" + " " * 1_000_000 + "[" + " " * 1_000_000,
    ],
)
def test_monstrous_texts_are_broken_not_raised(text: str) -> None:
    assert read_tagging(Reply(text), 2) == Reading({}, (), (0, 1))
    assert read_mapping(Reply(text)) == []
