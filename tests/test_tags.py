"""tagging.tags: what merge and replace make of a file's tags, row by row (CONTRACT sections 5 and 9)."""

from hypothesis import given
from hypothesis import strategies as st

from sidecar.contract import Mode, TagType
from sidecar.tagging.records import read_record
from sidecar.tagging.tags import (
    Before,
    Change,
    Kept,
    Suggestion,
    Tags,
    decide,
    tags_of,
)
from sidecar.tagging.vocabulary import Vocabulary, VocabularyTag

GENRES = ("ambient", "ambient:drone", "orchestral", "orchestral:cinematic")
MOODS = ("calm", "eerie", "tense")
OCCASIONS = ("combat", "dungeon-crawl", "tavern")
KEYWORDS = ("biome:cave", "biome:forest", "sfx:water")

VOCABULARY = Vocabulary(
    VocabularyTag(kind, value)
    for kind, values in (
        (TagType.GENRE, GENRES),
        (TagType.MOOD, MOODS),
        (TagType.OCCASION, OCCASIONS),
        (TagType.KEYWORD, KEYWORDS),
    )
    for value in values
)
OFFER = Suggestion("ambient:drone", ("eerie", "tense"), ("dungeon-crawl",), ("biome:cave",))


def left(after: Tags, person: Kept | None = None) -> Change:
    """What an earlier tagging left."""
    return Change(after, person or Kept())


def decided(
    before: Tags,
    earlier: Change | None = None,
    offer: Suggestion = OFFER,
    mode: Mode = Mode.MERGE,
) -> Change:
    change = decide(before, earlier, offer, mode, VOCABULARY)
    assert change is not None
    return change


# --- merge, a file that no run has tagged -----------------------------------------------------------


def test_an_empty_file_gets_everything_that_was_offered() -> None:
    assert decided(Tags()) == Change(
        Tags("ambient:drone", "eerie; tense", ("dungeon-crawl",), ("biome:cave",)), Kept()
    )


def test_a_genre_of_the_vocabulary_was_chosen_by_a_person_and_stays() -> None:
    change = decided(Tags(genre="orchestral"))
    assert change.after.genre == "orchestral"
    assert change.person.genre


def test_a_raw_id3_genre_is_replaced() -> None:
    for raw in ("Soundtrack", "Unknown", "", "Ambient", " ambient"):
        change = decided(Tags(genre=raw))
        assert change.after.genre == "ambient:drone"
        assert not change.person.genre


def test_a_mood_of_the_vocabulary_stays() -> None:
    change = decided(Tags(mood="calm"))
    assert change.after.mood == "calm"
    assert change.person.mood


def test_a_mood_column_of_valid_moods_stays_to_the_byte() -> None:
    for mood in ("calm;tense", " calm ;  tense;", "tense; calm"):
        assert decided(Tags(mood=mood)).after.mood == mood


def test_of_a_mixed_mood_column_only_the_moods_of_the_vocabulary_stay() -> None:
    change = decided(Tags(mood="calm; Chill Vibes ;tense"))
    assert change.after.mood == "calm; tense"
    assert change.person.mood


def test_a_mood_column_without_a_valid_mood_is_replaced() -> None:
    for mood in ("Chill Vibes", "", " ; ;"):
        change = decided(Tags(mood=mood))
        assert change.after.mood == "eerie; tense"
        assert not change.person.mood


def test_occasions_and_keywords_without_history_are_a_persons_and_stay_beside_the_new_ones() -> None:
    change = decided(Tags(occasions=("tavern",), keywords=("sfx:water",)))
    assert change.after.occasions == ("dungeon-crawl", "tavern")
    assert change.after.keywords == ("biome:cave", "sfx:water")
    assert change.person == Kept(occasions=("tavern",), keywords=("sfx:water",))


def test_a_persons_tag_outside_the_vocabulary_stays_in_merge() -> None:
    assert decided(Tags(keywords=("my own",))).after.keywords == ("biome:cave", "my own")


def test_a_tag_that_is_there_and_offered_is_not_doubled() -> None:
    assert decided(Tags(occasions=("dungeon-crawl",))).after.occasions == ("dungeon-crawl",)


# --- merge, a file that an earlier run tagged ----------------------------------------------------------

OURS = Tags("orchestral", "calm", ("combat",), ("biome:forest",))


def test_all_tags_of_an_earlier_run_are_replaced() -> None:
    assert decided(OURS, left(OURS)) == Change(
        Tags("ambient:drone", "eerie; tense", ("dungeon-crawl",), ("biome:cave",)), Kept()
    )


def test_a_genre_that_a_person_set_since_the_earlier_run_stays() -> None:
    change = decided(Tags("orchestral:cinematic", "calm", ("combat",), ("biome:forest",)), left(OURS))
    assert change.after == Tags("orchestral:cinematic", "eerie; tense", ("dungeon-crawl",), ("biome:cave",))
    assert change.person == Kept(genre=True)


def test_a_mood_that_a_person_set_since_the_earlier_run_stays() -> None:
    change = decided(Tags("orchestral", "tense", ("combat",), ("biome:forest",)), left(OURS))
    assert change.after.mood == "tense"
    assert change.person == Kept(mood=True)


def test_a_genre_outside_the_vocabulary_set_since_the_earlier_run_is_replaced() -> None:
    change = decided(Tags("Soundtrack", "calm"), left(OURS))
    assert change.after.genre == "ambient:drone"


def test_a_mood_outside_the_vocabulary_set_since_the_earlier_run_is_replaced() -> None:
    change = decided(Tags("orchestral", "Chill Vibes"), left(OURS))
    assert change.after.mood == "eerie; tense"
    assert not change.person.mood


def test_tags_that_a_person_added_since_the_earlier_run_stay() -> None:
    now = Tags("orchestral", "calm", ("combat", "tavern"), ("biome:forest", "sfx:water"))
    change = decided(now, left(OURS))
    assert change.after.occasions == ("dungeon-crawl", "tavern")
    assert change.after.keywords == ("biome:cave", "sfx:water")


def test_what_an_earlier_merge_kept_is_still_a_persons() -> None:
    earlier = left(OURS, Kept(genre=True, mood=True, occasions=("combat",), keywords=("biome:forest",)))
    change = decided(OURS, earlier)
    assert change.after == Tags("orchestral", "calm", ("combat", "dungeon-crawl"), ("biome:cave", "biome:forest"))
    assert change.person == earlier.person


def test_a_persons_tags_outlive_any_number_of_merges() -> None:
    before = Tags("orchestral", "calm ;tense", ("tavern",), ())
    first = decided(before)
    second = decided(first.after, left(first.after, first.person))
    assert second == first


def test_a_persons_tag_that_was_removed_since_does_not_come_back() -> None:
    earlier = left(OURS, Kept(occasions=("combat",)))
    change = decided(Tags("orchestral", "calm", (), ("biome:forest",)), earlier)
    assert change.after.occasions == ("dungeon-crawl",)
    assert change.person.occasions == ()


# --- replace --------------------------------------------------------------------------------------


def test_replace_replaces_even_what_a_person_chose() -> None:
    before = Tags("orchestral", "calm", ("tavern",), ("sfx:water", "my own"))
    for earlier in (None, left(OURS, Kept(genre=True, mood=True, occasions=("tavern",)))):
        assert decided(before, earlier, mode=Mode.REPLACE) == Change(
            Tags("ambient:drone", "eerie; tense", ("dungeon-crawl",), ("biome:cave",)), Kept()
        )


def test_replace_does_not_fall_back_to_a_persons_genre() -> None:
    offer = Suggestion(None, ("eerie",), ("tavern",))
    assert decide(Tags(genre="orchestral"), None, offer, Mode.REPLACE, VOCABULARY) is None


# --- what is not enough ------------------------------------------------------------------------------


def test_without_genre_mood_or_any_occasion_and_keyword_nothing_is_decided() -> None:
    for offer in (
        Suggestion(),
        Suggestion(None, ("eerie",), ("tavern",), ()),
        Suggestion("ambient", (), ("tavern",), ()),
        Suggestion("ambient", ("eerie",), (), ()),
    ):
        for mode in Mode:
            assert decide(Tags(), None, offer, mode, VOCABULARY) is None


def test_one_occasion_or_one_keyword_is_enough() -> None:
    assert decided(Tags(), offer=Suggestion("ambient", ("eerie",), ("tavern",), ())).after.keywords == ()
    assert decided(Tags(), offer=Suggestion("ambient", ("eerie",), (), ("sfx:water",))).after.occasions == ()


def test_a_persons_tags_fill_what_the_offer_lacks_in_merge() -> None:
    before = Tags("orchestral", "calm", ("tavern",), ())
    assert decided(before, offer=Suggestion()).after == before


def test_a_persons_keyword_outside_the_vocabulary_alone_does_not_make_a_file_tagged() -> None:
    offer = Suggestion("ambient", ("eerie",))
    assert decide(Tags(keywords=("my own",)), None, offer, Mode.MERGE, VOCABULARY) is None


# --- laws -----------------------------------------------------------------------------------------


def some(values: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from((*values, "foreign")), unique=True, max_size=3).map(tuple)


def maybe(values: tuple[str, ...]) -> st.SearchStrategy[str | None]:
    return st.none() | st.sampled_from((*values, "Foreign", ""))


def offered(values: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(values), unique=True, max_size=3).map(tuple)


SUGGESTIONS = st.builds(
    Suggestion,
    st.none() | st.sampled_from(GENRES),
    offered(MOODS),
    offered(OCCASIONS),
    offered(KEYWORDS),
)
TAGS = st.builds(
    Tags,
    maybe(GENRES),
    st.none() | some(MOODS).map("; ".join),
    some(OCCASIONS).map(lambda values: tuple(sorted(values))),
    some(KEYWORDS).map(lambda values: tuple(sorted(values))),
)


@given(TAGS, SUGGESTIONS, st.sampled_from(Mode))
def test_every_tag_that_is_new_is_in_the_vocabulary(before: Tags, offer: Suggestion, mode: Mode) -> None:
    change = decide(before, None, offer, mode, VOCABULARY)
    if change is None:
        return
    after = change.after
    assert VOCABULARY.has(TagType.GENRE, after.genre)
    assert after.moods
    assert all(VOCABULARY.has(TagType.MOOD, mood) for mood in after.moods)
    assert all(VOCABULARY.has(TagType.OCCASION, tag) for tag in {*after.occasions} - {*before.occasions})
    assert all(VOCABULARY.has(TagType.KEYWORD, tag) for tag in {*after.keywords} - {*before.keywords})


@given(TAGS, SUGGESTIONS, SUGGESTIONS)
def test_the_last_of_two_merges_leaves_what_it_alone_would_have_left(
    before: Tags, one: Suggestion, other: Suggestion
) -> None:
    first = decide(before, None, one, Mode.MERGE, VOCABULARY)
    alone = decide(before, None, other, Mode.MERGE, VOCABULARY)
    if first is None or alone is None:
        return
    second = decide(first.after, left(first.after, first.person), other, Mode.MERGE, VOCABULARY)
    assert second == alone


# --- records ---------------------------------------------------------------------------------------


def test_a_history_row_of_another_program_is_no_left() -> None:
    for text in (None, "", "ambient, eerie", "[]", "{}", '{"run_id": 1}', "\ud800", "[" * 100_000):
        assert read_record(text) is None


def test_moods_are_split_at_semicolons_without_blanks() -> None:
    assert Tags().moods == ()
    assert Tags(mood=" calm ;;tense; ").moods == ("calm", "tense")


def test_tags_of_leaves_the_columns_of_auto_tagging_out() -> None:
    before = Before("ambient", "calm", ("tavern",), ("sfx:water",), 1, "2026-01-01T00:00:00Z", "m")
    assert tags_of(before) == Tags("ambient", "calm", ("tavern",), ("sfx:water",))
