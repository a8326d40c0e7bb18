"""tagging.vocabulary: spellings that are found, spellings that are not, and the fingerprint."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.contract import TagType
from sidecar.tagging.vocabulary import Vocabulary, VocabularyTag, normalise, tag_type

TAGS = (
    VocabularyTag(TagType.GENRE, "orchestral"),
    VocabularyTag(TagType.GENRE, "orchestral:cinematic", "big screen", "orchestral"),
    VocabularyTag(TagType.MOOD, "eerie"),
    VocabularyTag(TagType.OCCASION, "dungeon-crawl"),
    VocabularyTag(TagType.KEYWORD, "biome:cave"),
)


@pytest.mark.parametrize(
    ("spelling", "kind"),
    [
        ("keywords", TagType.KEYWORD),
        ("keyword", TagType.KEYWORD),
        (" Genre ", TagType.GENRE),
        ("moods", TagType.MOOD),
        ("OCCASIONS", TagType.OCCASION),
        ("tempo", None),
        ("", None),
        ("s", None),
    ],
)
def test_a_type_is_known_in_singular_and_plural(spelling: str, kind: TagType | None) -> None:
    assert tag_type(spelling) is kind


@pytest.mark.parametrize(
    "raw",
    [
        "orchestral:cinematic",
        " Orchestral / Cinematic",
        "ORCHESTRAL > CINEMATIC",
        "orchestral : cinematic",
        '"orchestral:cinematic".',
        "#orchestral:cinematic",
        "\uff4frchestral\uff1acinematic",
    ],
)
def test_spellings_of_people_and_models_find_the_tag(raw: str) -> None:
    assert Vocabulary(TAGS).find(TagType.GENRE, raw) == "orchestral:cinematic"


@pytest.mark.parametrize("raw", ["Dungeon Crawl", "dungeon_crawl", "dungeon  -  crawl", "-dungeon-crawl-"])
def test_spaces_underscores_and_hyphens_are_the_same(raw: str) -> None:
    assert Vocabulary(TAGS).find(TagType.OCCASION, raw) == "dungeon-crawl"


@pytest.mark.parametrize("raw", ["", " ", "cinematic", "orchestral:", "biome:cave", "orchestral:cinema"])
def test_what_only_resembles_a_tag_is_not_found(raw: str) -> None:
    assert Vocabulary(TAGS[1:]).find(TagType.GENRE, raw) is None


def test_a_tag_is_found_under_its_own_type_only() -> None:
    vocabulary = Vocabulary(TAGS)
    assert vocabulary.find(TagType.KEYWORD, "biome:cave") == "biome:cave"
    assert vocabulary.find(TagType.OCCASION, "biome:cave") is None


def test_a_parent_without_a_row_of_its_own_is_no_genre() -> None:
    vocabulary = Vocabulary([TAGS[1]])
    assert not vocabulary.has(TagType.GENRE, "orchestral")
    assert vocabulary.find(TagType.GENRE, "orchestral") is None


def test_having_a_tag_is_letter_for_letter() -> None:
    vocabulary = Vocabulary(TAGS)
    assert vocabulary.has(TagType.MOOD, "eerie")
    assert not vocabulary.has(TagType.MOOD, "Eerie")
    assert not vocabulary.has(TagType.MOOD, None)


def test_of_two_tags_with_the_same_normalised_spelling_only_the_exact_ones_are_found() -> None:
    vocabulary = Vocabulary([VocabularyTag(TagType.MOOD, "Dark"), VocabularyTag(TagType.MOOD, "dark")])
    assert vocabulary.find(TagType.MOOD, "Dark") == "Dark"
    assert vocabulary.find(TagType.MOOD, "dark") == "dark"
    assert vocabulary.find(TagType.MOOD, "DARK") is None


def test_three_spellings_of_one_tag_are_ambiguous_too() -> None:
    vocabulary = Vocabulary(VocabularyTag(TagType.MOOD, value) for value in ("Dark", "dark", "DARK"))
    assert vocabulary.find(TagType.MOOD, "dArk") is None


CAVES = (
    VocabularyTag(TagType.KEYWORD, "biome:cave"),
    VocabularyTag(TagType.KEYWORD, "biome:cave", "below ground"),
    VocabularyTag(TagType.KEYWORD, "biome:cave", "below"),
)


@given(st.permutations(CAVES))
def test_a_tag_with_several_rows_is_told_once_with_a_description(rows: list[VocabularyTag]) -> None:
    vocabulary = Vocabulary([*TAGS[:2], *rows])
    assert vocabulary.tags == (*TAGS[:2], CAVES[1])
    assert vocabulary.fingerprint == Vocabulary([*TAGS[:2], CAVES[1]]).fingerprint
    assert vocabulary.find(TagType.KEYWORD, "Biome / Cave") == "biome:cave"


@pytest.mark.parametrize(
    "told",
    [VocabularyTag(TagType.GENRE, "metal", "A heavy sort"), VocabularyTag(TagType.GENRE, "metal", None, "Rock")],
)
def test_of_rows_of_one_tag_the_one_that_says_more_is_told(told: VocabularyTag) -> None:
    rows = [VocabularyTag(TagType.GENRE, "metal"), told]
    assert Vocabulary(rows).tags == Vocabulary(rows[::-1]).tags == (told,)


def test_a_mood_that_the_mood_column_would_cut_in_two_is_none() -> None:
    cut = [VocabularyTag(kind, "dark; cold") for kind in TagType]
    vocabulary = Vocabulary([*TAGS, *cut])
    assert not vocabulary.has(TagType.MOOD, "dark; cold")
    assert vocabulary.find(TagType.MOOD, "dark; cold") is None
    others = [tag.type for tag in vocabulary.tags if tag.value == "dark; cold"]
    assert others == [TagType.GENRE, TagType.KEYWORD, TagType.OCCASION]


@given(st.permutations(TAGS))
def test_the_fingerprint_does_not_depend_on_the_order_of_rows(tags: list[VocabularyTag]) -> None:
    assert Vocabulary(tags).fingerprint == Vocabulary(TAGS).fingerprint
    assert Vocabulary(tags).tags == Vocabulary(TAGS).tags


def test_the_fingerprint_changes_with_a_tag_and_with_a_description() -> None:
    described = [VocabularyTag(TagType.MOOD, "eerie", "uncanny"), *TAGS[:2], *TAGS[3:]]
    prints = {Vocabulary(tags).fingerprint for tags in (TAGS, TAGS[1:], described, ())}
    assert len(prints) == 4


def test_a_file_can_be_tagged_only_with_a_genre_a_mood_and_an_occasion_or_a_keyword() -> None:
    genre, mood, occasion, keyword = TAGS[0], TAGS[2], TAGS[3], TAGS[4]
    assert Vocabulary([genre, mood, occasion]).can_tag
    assert Vocabulary([genre, mood, keyword]).can_tag
    assert not Vocabulary([genre, mood]).can_tag
    assert not Vocabulary([genre, occasion, keyword]).can_tag
    assert not Vocabulary([mood, occasion, keyword]).can_tag
    assert not Vocabulary(()).can_tag


@given(st.text())
def test_any_text_can_be_looked_up(raw: str) -> None:
    assert normalise(raw) == normalise(f" {raw}\n")
    assert Vocabulary(TAGS).find(TagType.GENRE, raw) in (None, "orchestral", "orchestral:cinematic")


@given(st.text(min_size=1))
def test_every_tag_finds_itself(value: str) -> None:
    assert Vocabulary([VocabularyTag(TagType.KEYWORD, value)]).find(TagType.KEYWORD, value) == value


def test_spellings_are_brought_into_the_vocabularys_own_form() -> None:
    assert normalise(" Orchestral / Cinematic") == "orchestral:cinematic"
    assert normalise("X ray__X") == "x-ray-x"


def test_the_fingerprint_stays_what_earlier_versions_have_left_in_libraries() -> None:
    known = "742501cbc83e212703d1ef83cfb9e1e33bfd6e9b99425797b8951b53e5b60c13"
    assert Vocabulary(TAGS).fingerprint == known
    assert Vocabulary([VocabularyTag(TagType.MOOD, "half \ud800 a pair")]).fingerprint
