"""What becomes of Gemini's tags: looked up, mapped or dropped, and what is remembered of it."""

import json
from collections.abc import Iterator

import pytest

from sidecar.contract import Sources, TagType
from sidecar.tagging.answers import RawTags, Reply, read_tagging
from sidecar.tagging.mappings import REMOVE, Mapping, Mappings
from sidecar.tagging.records import Dropped, Mapped
from sidecar.tagging.tags import Suggestion
from sidecar.tagging.vocabulary import Vocabulary, VocabularyTag

VOCABULARY = Vocabulary(
    [
        VocabularyTag(TagType.GENRE, "ambient:drone"),
        VocabularyTag(TagType.MOOD, "eerie"),
        VocabularyTag(TagType.OCCASION, "dungeon-crawl"),
        VocabularyTag(TagType.KEYWORD, "biome:cave"),
    ]
)
CAVERN = Mapping(TagType.KEYWORD, "cavern", "biome:cave", "keyword")
NOISES = Mapping(TagType.KEYWORD, "spooky noises", REMOVE, "keywords")


def test_each_tag_is_counted_by_how_it_came_out() -> None:
    mappings = Mappings([CAVERN, NOISES])
    mappings.learn(TagType.MOOD, "spine-tingling", "eerie")
    raw = RawTags("Ambient / Drone", ("spine-tingling",), ("dungeon-crawl",), ("cavern", "spooky noises", "what"))
    resolved = mappings.resolve(raw, VOCABULARY)
    assert resolved.suggestion == Suggestion("ambient:drone", ("eerie",), ("dungeon-crawl",), ("biome:cave",))
    assert resolved.sources == Sources(valid=1, normalised=1, mapped_by_cache=1, mapped_by_gemini=1, dropped=2)
    assert set(resolved.mapped) == {
        Mapped(TagType.MOOD, "eerie", "spine-tingling"),
        Mapped(TagType.KEYWORD, "biome:cave", "cavern"),
    }
    assert resolved.dropped == (
        Dropped(TagType.KEYWORD, "spooky noises"),
        Dropped(TagType.KEYWORD, "what"),
    )


def test_a_tag_that_is_also_given_by_its_own_name_did_not_come_through_a_mapping() -> None:
    for keywords in (("cavern", "biome:cave"), ("biome:cave", "cavern")):
        resolved = Mappings([CAVERN]).resolve(RawTags(keywords=keywords), VOCABULARY)
        assert resolved.suggestion.keywords == ("biome:cave",)
        assert resolved.mapped == ()
        assert resolved.used == [CAVERN]


def test_an_unknown_tag_of_a_hundred_characters_is_a_tag_and_a_longer_one_is_prose() -> None:
    mappings, raw = Mappings(), RawTags("g" * 101, ("m" * 100, "n" * 101))
    assert mappings.unknown([raw], VOCABULARY) == {(TagType.MOOD, "m" * 100): "m" * 100}
    resolved = mappings.resolve(raw, VOCABULARY)
    assert (resolved.dropped, resolved.sources) == ((Dropped(TagType.MOOD, "m" * 100),), Sources(dropped=1))


def test_a_tag_is_known_however_long_it_is() -> None:
    long = "a mood in so many words " * 8 + "end"
    vocabulary = Vocabulary([*VOCABULARY.tags, VocabularyTag(TagType.MOOD, long)])
    answer = [{"id": 1, "genre": "ambient:drone", "moods": [long.upper()], "occasions": [], "keywords": []}]
    raw = read_tagging(Reply(json.dumps(answer)), 1).usable[0]
    assert Mappings().unknown([raw], vocabulary) == {}
    assert Mappings().resolve(raw, vocabulary).suggestion.moods == (long,)
    person = Mapping(TagType.MOOD, "n" * 101, "eerie", "mood")
    assert Mappings([person]).resolve(RawTags(moods=("N" * 101,)), VOCABULARY).suggestion.moods == ("eerie",)


def test_a_mapping_to_a_tag_that_has_left_the_vocabulary_is_unknown_again() -> None:
    mappings = Mappings([Mapping(TagType.KEYWORD, "cavern", "biome:grotto", "keyword")])
    raw = RawTags(keywords=("cavern",))
    assert mappings.unknown([raw], VOCABULARY) == {(TagType.KEYWORD, "cavern"): "cavern"}
    mappings.learn(TagType.KEYWORD, "cavern", "biome:cave")
    [entry] = mappings.resolve(raw, VOCABULARY).used
    assert (entry.valid, entry.stale, entry.saved) == ("biome:cave", "biome:grotto", False)


def test_what_nobody_could_map_is_not_asked_again_until_it_is_removed() -> None:
    mappings, raw = Mappings(), RawTags(keywords=("what",))
    key = (TagType.KEYWORD, "what")
    mappings.give_up(key)
    assert mappings.unknown([raw], VOCABULARY) == {}
    mappings.remove(key)
    assert mappings.unknown([raw], VOCABULARY) == {key: "what"}


def test_rows_read_again_take_the_place_of_the_old_and_keep_what_is_not_saved_yet() -> None:
    mappings = Mappings([CAVERN])
    mappings.learn(TagType.MOOD, "creepy", "eerie")
    mappings.replace([NOISES])
    assert mappings.find((TagType.KEYWORD, "cavern"), VOCABULARY) is None
    assert mappings.find((TagType.KEYWORD, "spooky-noises"), VOCABULARY) == NOISES
    learnt = mappings.find((TagType.MOOD, "creepy"), VOCABULARY)
    assert learnt is not None and not learnt.saved
    mappings.saved([learnt])
    known = mappings.find((TagType.MOOD, "creepy"), VOCABULARY)
    assert known is not None and known.saved


def test_the_mappings_behind_proposals_are_known_ones_or_made_anew() -> None:
    mappings = Mappings([CAVERN])
    behind = list(
        mappings.behind(
            [
                Mapped(TagType.KEYWORD, "biome:cave", "cavern"),
                Mapped(TagType.MOOD, "eerie", "creepy"),
                Mapped(TagType.KEYWORD, "biome:other", "cavern"),
            ]
        )
    )
    assert behind == [CAVERN, Mapping(TagType.MOOD, "creepy", "eerie", "mood", saved=False)]


def test_a_mapping_whose_valid_tag_a_person_has_spelled_in_another_way_is_behind_its_proposals_too() -> None:
    by_hand = Mapping(TagType.KEYWORD, "cavern", "Biome: Cave", "keyword")
    assert [*Mappings([by_hand]).behind([Mapped(TagType.KEYWORD, "biome:cave", "cavern")])] == [by_hand]


# --- what is remembered ---------------------------------------------------------------------------

KEY = (TagType.KEYWORD, "cavern")


def known(mappings: Mappings, key: tuple[TagType, str] = KEY) -> Mapping:
    found = mappings.find(key, VOCABULARY)
    assert found is not None
    return found


def test_a_mapping_is_found_by_any_spelling_of_its_unknown_tag() -> None:
    row = Mapping(TagType.KEYWORD, " Dark_Cavern ", "biome:cave", "keyword")
    assert row.key == (TagType.KEYWORD, "dark-cavern")
    assert Mappings([row]).resolve(RawTags(keywords=("dark cavern",)), VOCABULARY).used == [row]


def test_a_mapping_of_another_type_does_not_count() -> None:
    assert Mappings([CAVERN]).resolve(RawTags(moods=("cavern",)), VOCABULARY).dropped == (
        Dropped(TagType.MOOD, "cavern"),
    )


def test_a_row_that_gemini_corrects_keeps_its_own_spellings() -> None:
    mappings = Mappings([Mapping(TagType.KEYWORD, "Cavern", "biome:grotto", "Keywords")])
    mappings.learn(TagType.KEYWORD, "cavern", "biome:cave")
    assert known(mappings) == Mapping(
        TagType.KEYWORD, "Cavern", "biome:cave", "Keywords", saved=False, stale="biome:grotto"
    )


def test_what_gemini_says_of_a_new_tag_replaces_nothing() -> None:
    mappings = Mappings()
    mappings.learn(TagType.KEYWORD, "cavern", "biome:cave")
    assert known(mappings) == Mapping(TagType.KEYWORD, "cavern", "biome:cave", "keyword", saved=False, stale=None)


def test_a_saved_mapping_replaces_nothing_any_more() -> None:
    mappings = Mappings([Mapping(TagType.KEYWORD, "cavern", "biome:grotto", "keyword")])
    mappings.learn(TagType.KEYWORD, "cavern", "biome:cave")
    mappings.saved([known(mappings)])
    assert known(mappings) == CAVERN


def test_what_was_learnt_anew_while_the_old_was_being_saved_is_not_saved_yet() -> None:
    mappings = Mappings()
    mappings.learn(TagType.KEYWORD, "cavern", REMOVE)
    being_saved = known(mappings)
    mappings.learn(TagType.KEYWORD, "cavern", "biome:cave")
    mappings.saved([being_saved])
    assert (known(mappings).valid, known(mappings).saved) == ("biome:cave", False)


def test_what_was_removed_while_it_was_being_saved_stays_removed() -> None:
    mappings = Mappings()
    mappings.learn(TagType.KEYWORD, "cavern", "biome:cave")
    being_saved = known(mappings)
    mappings.remove(KEY)
    mappings.saved([being_saved])
    assert mappings.find(KEY, VOCABULARY) is None


def test_a_row_of_the_database_wins_over_what_was_learnt_meanwhile_and_the_first_of_two() -> None:
    mappings = Mappings()
    mappings.learn(TagType.KEYWORD, "cavern", REMOVE)
    mappings.replace([CAVERN, Mapping(TagType.KEYWORD, "Cavern", REMOVE, "keyword")])
    assert known(mappings) == CAVERN


def test_a_removed_mapping_is_asked_for_again_and_removing_what_is_not_there_does_no_harm() -> None:
    mappings, raw = Mappings([CAVERN]), RawTags(keywords=("cavern",))
    assert mappings.unknown([raw], VOCABULARY) == {}
    mappings.remove(KEY)
    mappings.remove(KEY)
    assert mappings.unknown([raw], VOCABULARY) == {KEY: "cavern"}


def test_what_a_person_sets_counts_at_once_even_for_a_tag_that_nobody_could_map() -> None:
    mappings, raw = Mappings(), RawTags(keywords=("cavern",))
    mappings.give_up(KEY)
    mappings.put(CAVERN)
    assert mappings.resolve(raw, VOCABULARY).suggestion.keywords == ("biome:cave",)
    mappings.put(Mapping(TagType.KEYWORD, "cavern", "biome:grotto", "keyword"))
    assert mappings.unknown([raw], VOCABULARY) == {KEY: "cavern"}, "given up no longer"


# --- what is asked, what comes out ----------------------------------------------------------------


def test_each_unknown_tag_is_asked_once_in_its_first_spelling_and_known_ones_never() -> None:
    mappings = Mappings([CAVERN, NOISES])
    files = [
        RawTags("Ambient: Drone", ("eerie", "Meh"), ("dungeon crawl",), ("cavern", "spooky noises")),
        RawTags("polka", ("meh",)),
        RawTags(keywords=("meh",)),
    ]
    assert mappings.unknown(files, VOCABULARY) == {
        (TagType.MOOD, "meh"): "Meh",
        (TagType.GENRE, "polka"): "polka",
        (TagType.KEYWORD, "meh"): "meh",
    }


def test_two_unknown_tags_for_one_tag_count_twice_and_the_first_is_named() -> None:
    grotto = Mapping(TagType.KEYWORD, "grotto", "biome:cave", "keyword")
    resolved = Mappings([CAVERN, grotto]).resolve(RawTags(keywords=("grotto", "cavern")), VOCABULARY)
    assert resolved.suggestion.keywords == ("biome:cave",)
    assert resolved.used == [grotto, CAVERN]
    assert resolved.sources == Sources(mapped_by_cache=2)
    assert resolved.mapped == (Mapped(TagType.KEYWORD, "biome:cave", "grotto"),)


def test_a_tag_that_maps_to_nothing_is_dropped_and_its_mapping_counts_as_used() -> None:
    resolved = Mappings([NOISES]).resolve(RawTags(keywords=("Spooky Noises",)), VOCABULARY)
    assert resolved.used == [NOISES]
    assert resolved.sources == Sources(dropped=1)
    assert resolved.suggestion == Suggestion()


def test_an_unknown_genre_without_a_mapping_leaves_no_genre() -> None:
    resolved = Mappings().resolve(RawTags("polka"), VOCABULARY)
    assert resolved.suggestion.genre is None
    assert resolved.dropped == (Dropped(TagType.GENRE, "polka"),)


def test_what_was_learnt_for_a_stale_row_is_kept_when_the_rows_are_read_again() -> None:
    stale = Mapping(TagType.KEYWORD, "cavern", "biome:grotto", "keyword")
    mappings = Mappings([stale])
    mappings.learn(TagType.KEYWORD, "cavern", "biome:cave")
    mappings.replace([stale])
    found = mappings.find((TagType.KEYWORD, "cavern"), VOCABULARY)
    assert found is not None and (found.valid, found.saved) == ("biome:cave", False)


def test_a_row_that_someone_has_corrected_meanwhile_beats_what_was_learnt() -> None:
    mappings = Mappings([Mapping(TagType.KEYWORD, "cavern", "biome:grotto", "keyword")])
    mappings.learn(TagType.KEYWORD, "cavern", REMOVE)
    mappings.replace([CAVERN])
    assert mappings.find((TagType.KEYWORD, "cavern"), VOCABULARY) == CAVERN


def test_a_tag_spelt_as_in_the_vocabulary_is_valid_and_any_other_spelling_is_normalised() -> None:
    resolved = Mappings().resolve(RawTags("ambient:drone", ("eerie",), ("Dungeon Crawl",)), VOCABULARY)
    assert resolved.sources == Sources(valid=2, normalised=1)
    assert resolved.suggestion == Suggestion("ambient:drone", ("eerie",), ("dungeon-crawl",))


def test_the_shells_word_for_a_tag_without_a_match_is_understood() -> None:
    mappings = Mappings([Mapping(TagType.KEYWORD, "what", "REMOVE", "keyword")])
    assert mappings.unknown([RawTags(keywords=("what",))], VOCABULARY) == {}


def test_while_the_rows_are_read_again_everything_known_is_found() -> None:
    mappings = Mappings([CAVERN, NOISES])

    def rows() -> Iterator[Mapping]:
        for entry in (NOISES, CAVERN):
            # As the writer thread may, at any moment.
            assert mappings.find(CAVERN.key, VOCABULARY) and mappings.find(NOISES.key, VOCABULARY)
            yield entry

    mappings.replace(rows())


def test_a_valid_tag_that_a_person_spelled_in_another_way_is_found() -> None:
    mappings = Mappings([Mapping(TagType.GENRE, "droning", "Ambient / Drone", "genre")])
    raw = RawTags("droning", ("eerie",), ("dungeon-crawl",), ())
    resolved = mappings.resolve(raw, VOCABULARY)
    assert resolved.suggestion.genre == "ambient:drone" and resolved.used[0].saved
    assert not mappings.contradict(resolved.used)
    assert mappings.unknown([raw], VOCABULARY) == {}


def test_what_fits_as_it_stands_is_taken_as_it_stands() -> None:
    raw = RawTags("ambient:drone", ("eerie",), ("dungeon-crawl",), ("biome:cave",))
    resolved = Mappings([CAVERN]).resolve(raw, VOCABULARY)
    assert resolved.suggestion == Suggestion("ambient:drone", ("eerie",), ("dungeon-crawl",), ("biome:cave",))
    assert (resolved.used, resolved.mapped, resolved.dropped, resolved.sources) == ([], (), (), Sources(valid=4))
    moods = Mappings().resolve(RawTags(moods=("eerie",)), VOCABULARY)
    assert (moods.suggestion, moods.sources) == (Suggestion(moods=("eerie",)), Sources(valid=1))


@pytest.mark.parametrize("kind", TagType)
def test_a_tag_of_any_type_outside_the_vocabulary_is_noticed(kind: TagType) -> None:
    raw = {
        TagType.GENRE: RawTags("polka", ("eerie",), ("dungeon-crawl",), ("biome:cave",)),
        TagType.MOOD: RawTags("ambient:drone", ("polka",), ("dungeon-crawl",), ("biome:cave",)),
        TagType.OCCASION: RawTags("ambient:drone", ("eerie",), ("polka",), ("biome:cave",)),
        TagType.KEYWORD: RawTags("ambient:drone", ("eerie",), ("dungeon-crawl",), ("polka",)),
    }[kind]
    assert Mappings().unknown([raw], VOCABULARY) == {(kind, "polka"): "polka"}
    assert Mappings().resolve(raw, VOCABULARY).dropped == (Dropped(kind, "polka"),)


def test_rows_correct_what_is_known_and_nothing_else() -> None:
    grotto = Mapping(TagType.KEYWORD, "cavern", "biome:grotto", "keyword")
    mappings = Mappings([CAVERN, NOISES])
    assert mappings.corrected([CAVERN, NOISES]) is mappings
    assert mappings.corrected([Mapping(TagType.MOOD, "never met", "eerie", "mood")]) is mappings
    corrected = mappings.corrected([NOISES, grotto, CAVERN])
    assert corrected.contradict([CAVERN]) and corrected.contradict([NOISES, CAVERN])
    assert not corrected.contradict([NOISES]) and not corrected.contradict([grotto])
    assert not mappings.contradict([CAVERN, NOISES])
    assert corrected.find(NOISES.key, VOCABULARY) == NOISES


def test_a_row_that_a_learnt_mapping_replaces_corrects_nothing() -> None:
    stale = Mapping(TagType.KEYWORD, "cavern", "biome:grotto", "keyword")
    mappings = Mappings([stale])
    mappings.learn(TagType.KEYWORD, "cavern", "biome:cave")
    assert mappings.corrected([stale]) is mappings


def test_what_gemini_had_no_word_for_stays_given_up_when_rows_are_corrected() -> None:
    mappings = Mappings([CAVERN])
    mappings.give_up((TagType.KEYWORD, "what"))
    corrected = mappings.corrected([Mapping(TagType.KEYWORD, "cavern", REMOVE, "keyword")])
    assert corrected.unknown([RawTags(keywords=("what",))], VOCABULARY) == {}
