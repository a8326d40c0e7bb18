"""tagging.answers: what models do to JSON, and what can still be used of it."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.contract import Reason, TagType
from sidecar.tagging.answers import (
    MAX_TAG_LENGTH,
    MappedTag,
    RawTags,
    Reading,
    Reply,
    read_mapping,
    read_tagging,
)


def item(number: Any, genre: Any = "ambient", **more: Any) -> dict[str, Any]:
    return {
        "id": number, "genre": genre, "moods": ["eerie"], "occasions": ["tavern"], "keywords": ["a:b"], **more
    }  # fmt: skip


def without_id(whole: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in whole.items() if name != "id"}


TAGS = RawTags("ambient", ("eerie",), ("tavern",), ("a:b",))
BOTH = json.dumps([item(1), item(2)])
WHOLE = Reading({0: TAGS, 1: TAGS}, (), ())


def read(value: Any, count: int = 2, fault: Reason | None = None) -> Reading:
    return read_tagging(Reply(value if isinstance(value, str) else json.dumps(value), fault), count)


def test_a_clean_answer_serves_every_file() -> None:
    assert read(BOTH) == WHOLE


@pytest.mark.parametrize(
    "text",
    [
        f"```json\n{BOTH}\n```",
        f"```\n{BOTH}\n```",
        f"Here is the list:\n\n{BOTH}",
        f"{BOTH}\n\nLet me know if you need more!",
        f"{BOTH}]",
        f"{BOTH}}}",
        f"{BOTH}```",
        f"\ufeff{BOTH}",
        f"\n\n  {BOTH}  \n",
        f'{{"files": {BOTH}}}',
        f'{{"note": "ok", "files": {BOTH}}}',
        f'{{"status": "ok", "note": [], "files": {BOTH}, "hints": ["none"], "usage": {{"files": 2}}}}',
        f'{{"response": {{"files": {BOTH}}}}}',
        f"[{BOTH}]",
        f'[{{"files": {BOTH}}}]',
        f"As you asked [see {{1}} and [2], [] or {{}}]:\n{BOTH}\n[end]",
        "\n".join(json.dumps(item(number)) for number in (1, 2)),
        ", ".join(json.dumps(item(number)) for number in (1, 2)),
        "\n".join(json.dumps([item(number)]) for number in (1, 2)),
        json.dumps({"1": item(1), "2": item(2)}),
        json.dumps({"status": "ok", "0": {}, "1": item(1), "2": without_id(item(2)), "3": "none"}),
        f"[[[[{BOTH}]]]]",
        json.dumps({"files": {"1": {**item(1), "id": "1"}, " 2 ": without_id(item(2))}}),
    ],
)
def test_fences_prose_tails_and_wrappers_do_no_harm(text: str) -> None:
    assert read(text) == WHOLE


def test_of_lines_without_end_the_whole_ones_are_used_and_the_rest_is_broken() -> None:
    lines = "\n".join(json.dumps(item(number)) for number in (1, 2))
    assert read(lines[:-9], count=3) == Reading({0: TAGS}, (), (1, 2))
    assert read(lines, count=3) == Reading({0: TAGS, 1: TAGS}, (2,), ()), "whole: the third was left out"


def test_an_answer_cut_off_in_its_wrappers_serves_the_files_before_the_cut() -> None:
    text = f'{{"response": {{"files": [{BOTH}'
    assert read(text[: -len("]}") - 9]) == Reading({0: TAGS}, (), (1,))


def test_behind_an_item_that_is_no_json_the_others_are_served() -> None:
    text = json.dumps([item(1), item(2), item(3)]).replace('"id": 2', '"id": two')
    assert read(text, count=3) == Reading({0: TAGS, 2: TAGS}, (), (1,))


def test_a_wrapper_is_looked_through_a_few_times_only() -> None:
    def wrapped(times: int) -> Any:
        return [item(1)] if times == 0 else {"in": wrapped(times - 1)}

    assert read(wrapped(4), count=1) == Reading({0: TAGS}, (), ())
    assert read(wrapped(5), count=1) == Reading({}, (), (0,))
    assert read(f"[[[[[{BOTH}]]]]]") == Reading({}, (), (0, 1))


def test_what_follows_a_whole_list_does_not_break_what_the_list_left_out() -> None:
    assert read(json.dumps([item(1)]) + ' {"') == Reading({0: TAGS}, (1,), ())
    assert read('{" ' + json.dumps([item(1)])) == Reading({0: TAGS}, (), (1,)), "something may have come before"


def test_of_several_genres_the_first_is_taken() -> None:
    assert read([item(1, genre=["ambient"]), item(2, genre=["ambient", "folk"])]) == WHOLE
    assert read([item(1, genre=[])], count=1).usable[0].genre is None


@pytest.mark.parametrize("genre", ["ambient, dark", "ambient; dark", "ambient"])
def test_a_genre_is_the_same_whether_or_not_the_answer_around_it_is_well_formed(genre: str) -> None:
    well_formed, loose = [item(1, genre=genre), item(2)], [item(1, genre=genre), item("2")]
    assert read(well_formed).usable[0].genre == read(loose).usable[0].genre == genre


def test_one_object_alone_counts_as_a_list_of_it() -> None:
    assert read(item(1), count=1) == Reading({0: TAGS}, (), ())
    assert read(item(1)) == Reading({0: TAGS}, (1,), ()), "whole, so the other file is asked for once more"


def test_a_list_in_a_wrapper_is_whole_but_of_two_neither_is_believed() -> None:
    assert read({"files": [item(1)]}) == Reading({0: TAGS}, (1,), ())
    assert read({"files": [item(1)], "others": [item(2)]}) == Reading({}, (), (0, 1))


def test_an_answer_cut_off_in_the_middle_serves_the_files_before_the_cut() -> None:
    reading = read(BOTH[: BOTH.index('"id": 2') + 12])
    assert reading == Reading({0: TAGS}, (), (1,), Reason.BAD_RESPONSE)


def test_every_whole_item_before_the_cut_is_served_however_they_are_set_apart() -> None:
    items = [json.dumps(item(number)) for number in (1, 2, 3)]
    for between in (",", ", ", " ,\n\t"):
        text = "[" + between.join(items)
        reading = read(text[:-9], count=4)
        assert reading == Reading({0: TAGS, 1: TAGS}, (), (2, 3), Reason.BAD_RESPONSE)


@given(st.integers(0, len(BOTH) - 1))
def test_wherever_an_answer_is_cut_the_files_not_served_are_broken(cut: int) -> None:
    reading = read(BOTH[:cut])
    assert all(tags == TAGS for tags in reading.usable.values())
    assert reading.missing == ()
    assert {*reading.usable, *reading.broken} == {0, 1}


def test_what_max_tokens_left_is_used_and_the_rest_is_broken() -> None:
    reading = read(BOTH[:-20], fault=Reason.BAD_RESPONSE)
    assert reading == Reading({0: TAGS}, (), (1,), Reason.BAD_RESPONSE)


def test_a_whole_list_under_max_tokens_breaks_what_it_lacks_instead_of_asking_again() -> None:
    assert read([item(1)], fault=Reason.BAD_RESPONSE) == Reading({0: TAGS}, (), (1,), Reason.BAD_RESPONSE)


def test_a_blocked_answer_breaks_its_files_as_blocked() -> None:
    assert read("", fault=Reason.BLOCKED) == Reading({}, (), (0, 1), Reason.BLOCKED)


@pytest.mark.parametrize("number", ["2", "02", 2.0, " 2 ", "2\n"])
def test_ids_as_text_or_with_a_point_count(number: Any) -> None:
    assert read([item(1), item(number)]) == WHOLE


def test_of_two_items_with_one_id_the_first_wins() -> None:
    assert read([item(1), item(1, "other"), item(2)]) == WHOLE
    assert read([item("1"), item(1, "other"), item(2)]) == WHOLE


def test_ids_that_were_not_asked_for_are_ignored() -> None:
    assert read([item(1), item(3), item(2), item(99), item(-1), item(0), item(10**30)]) == WHOLE
    assert read([item("1"), item("3"), item(2), item(99)]) == WHOLE


@pytest.mark.parametrize("number", [0, -1, 0.0, 10**6, 10**30, 1e300])
def test_an_id_that_no_file_can_have_takes_no_files_place(number: Any) -> None:
    assert read([item(number, "other"), item("1"), item(2)]) == WHOLE


def test_ids_that_were_not_asked_for_do_not_break_what_is_missing() -> None:
    assert read([item(1), item(3)]) == Reading({0: TAGS}, (1,), ())
    assert read([item("1"), item("3")]) == Reading({0: TAGS}, (1,), ())


def test_files_left_out_of_a_whole_answer_are_missing() -> None:
    assert read([item(2)]) == Reading({1: TAGS}, (0,), ())
    for text in ("[]", "```json\n[]\n```", '{"files": []}', '{"files": [], "note": []}'):
        assert read(text) == Reading({}, (0, 1), ())


@pytest.mark.parametrize("number", [None, True, 1.5, "one", "", "-1", [1], {"id": 1}, "9" * 5000])
def test_an_id_that_is_none_is_a_wrong_shape(number: Any) -> None:
    assert read([item(number), item(1)]) == Reading({0: TAGS}, (), (1,))


@pytest.mark.parametrize(
    "wrong",
    [
        item(2, genre=[7]),
        item(2, genre=7),
        item(2, moods={"a": 1}),
        item(2, moods=[1]),
        item(2, occasions=[1], keywords=[["a:b"]]),
        item(2, occasions=True),
        {"id": 2},
        "ambient",
        7,
        None,
        [],
    ],
)
def test_an_item_of_wrong_shape_breaks_what_is_not_served(wrong: Any) -> None:
    assert read([item(1), wrong]) == Reading({0: TAGS}, (), (1,))


@pytest.mark.parametrize(
    "odd",
    [
        item(1, genre=["ambient", 7]),
        item(1, moods=[None, "eerie"]),
        item(1, occasions=["tavern", {"a": 1}]),
        item(1, keywords=["a:b", ["c:d"], 1]),
    ],
)
def test_what_is_no_text_among_a_files_tags_is_left_out(odd: Any) -> None:
    assert read([odd, item(2)]) == WHOLE


@pytest.mark.parametrize("field", ["occasions", "keywords"])
def test_occasions_or_keywords_that_hold_no_text_at_all_are_left_out_too(field: str) -> None:
    odd = msgspec.structs.replace(TAGS, **{field: ()})
    assert read([item(1, **{field: [7]}), item(2)]) == Reading({0: odd, 1: TAGS}, (), ())


def test_of_texts_that_no_tag_is_as_long_as_nothing_is_kept() -> None:
    longest = "x" * MAX_TAG_LENGTH
    tags = msgspec.structs.replace(TAGS, moods=("eerie", longest))
    assert read([item(1, moods=["eerie", longest, longest + "x"]), item(2)]).usable[0] == tags


@pytest.mark.parametrize("text", ["", "null", "42", '"text"', "Sorry, I can't.", "<html></html>", "{", "["])
def test_text_without_a_list_breaks_every_file(text: str) -> None:
    assert read(text) == Reading({}, (), (0, 1))


def test_a_string_in_place_of_a_list_is_a_list_of_it() -> None:
    assert read([item(1, moods="eerie"), item(2)]) == WHOLE


@pytest.mark.parametrize("several", ["eerie; calm", "eerie, calm", ";eerie;calm,"])
def test_a_string_may_hold_several(several: str) -> None:
    assert read([item(1, moods=several)], count=1).usable[0].moods == ("eerie", "calm")


def test_absent_and_null_fields_are_empty() -> None:
    assert read([{"id": 1, "genre": None, "moods": None}], count=1) == Reading({0: RawTags()}, (), ())


@pytest.mark.parametrize(
    ("field", "tags"),
    [
        ("genre", RawTags("ambient")),
        ("moods", RawTags(moods=("eerie",))),
        ("occasions", RawTags(occasions=("tavern",))),
        ("keywords", RawTags(keywords=("a:b",))),
    ],
)
def test_one_field_of_tags_is_enough_for_an_item(field: str, tags: RawTags) -> None:
    assert read([{"id": 1, field: item(1)[field]}], count=1) == Reading({0: tags}, (), ())


def test_an_empty_list_is_no_tags_also_where_the_id_is_text() -> None:
    assert read([item("1", moods=[]), item(2)]).usable[0] == RawTags("ambient", (), ("tavern",), ("a:b",))


def test_control_characters_in_strings_do_not_break_the_list() -> None:
    text = BOTH.replace("tavern", "ta\x01vern", 1)
    assert read(text) == Reading({0: RawTags("ambient", ("eerie",), (), ("a:b",)), 1: TAGS}, (), ())


@pytest.mark.parametrize("between", ["\t", "\n ", "\u00a0", "\u200b ", " \ufeff"])
def test_spaces_of_any_kind_and_what_has_no_width_are_one_space(between: str) -> None:
    assert read([item(1, moods=[f"boss{between}X"])], count=1).usable[0].moods == ("boss X",)


def test_blank_long_repeated_and_unprintable_tags_are_dropped() -> None:
    moods = [" eerie ", "eerie", "", "  ", "x" * (MAX_TAG_LENGTH + 1), "a\x00b", "\ud800"]
    assert read([item(1, moods=moods)], count=1).usable[0].moods == ("eerie",)
    assert read([item(1, genre="  ")], count=1).usable[0].genre is None


def test_nan_and_infinity_are_no_ids() -> None:
    text = f'[{{"id": NaN, "genre": "x"}}, {{"id": Infinity}}, {json.dumps(item(1))}]'
    assert read(text, count=1) == Reading({0: TAGS}, (), ())


def test_pairs_name_every_tag_with_its_type() -> None:
    assert list(TAGS.pairs()) == [
        (TagType.GENRE, "ambient"),
        (TagType.MOOD, "eerie"),
        (TagType.OCCASION, "tavern"),
        (TagType.KEYWORD, "a:b"),
    ]


def test_an_object_without_any_tags_is_a_wrong_shape_not_a_file_without_tags() -> None:
    reading = read_tagging(Reply('{"id": 1}'), 2)
    assert reading.usable == {}
    assert reading.broken == (0, 1)


# --- mapping answers ---------------------------------------------------------------------------------


def test_of_a_mapping_answer_the_well_formed_entries_are_read() -> None:
    entries = [
        {"type": "keyword", "invalid": "cavern", "valid": "biome:cave"},
        {"type": "mood", "invalid": "meh", "valid": None},
        {"type": "mood", "invalid": "no valid"},
        {"type": 1, "invalid": "x", "valid": "y"},
        "text",
    ]
    expected = [MappedTag("keyword", "cavern", "biome:cave"), MappedTag("mood", "meh", None)]
    assert read_mapping(Reply(json.dumps(entries))) == expected
    assert read_mapping(Reply(f"```json\n{json.dumps(entries)}\n```")) == expected


def test_a_single_mapping_counts_as_a_list_of_it() -> None:
    reply = Reply('{"type": "keyword", "invalid": "cavern", "valid": "biome:cave"}')
    assert read_mapping(reply) == [MappedTag("keyword", "cavern", "biome:cave")]
