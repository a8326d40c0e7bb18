"""What becomes of Gemini's tags: looked up, mapped or dropped, and what is remembered of it."""

from sidecar.contract import Sources, TagType
from sidecar.tagging.answers import RawTags
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
