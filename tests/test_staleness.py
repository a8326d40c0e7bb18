"""What a change of the vocabulary touches."""

from sidecar.contract import Mode, TagType
from sidecar.tagging.records import Dropped, Mapped, Record, ours
from sidecar.tagging.staleness import Additions, Pair, added, carried_from, redefined, retired
from sidecar.tagging.tags import Before, Kept, Tags
from sidecar.tagging.vocabulary import Vocabulary, VocabularyTag

LEFT = Tags("ambient", "calm; eerie", ("tavern",), ("biome:cave", "sfx:water"))


def record(
    person: Kept | None = None, mapped: tuple[Mapped, ...] = (), dropped: tuple[Dropped, ...] = ()
) -> Record:
    return Record(
        run_id="r",
        model="m",
        mode=Mode.MERGE,
        before=Before(),
        applied=LEFT,
        person=person or Kept(),
        mapped=mapped,
        dropped=dropped,
    )


def retired_from(record: Record, now: Tags, vocabulary: Vocabulary) -> set[Pair]:
    return retired(carried_from(record, now), vocabulary)


def vocabulary(*without: str) -> Vocabulary:
    return Vocabulary(VocabularyTag(kind, value) for kind, value in LEFT.pairs() if value not in without)


def test_a_retired_tag_touches_the_files_that_carry_it_from_a_run() -> None:
    assert retired_from(record(), LEFT, vocabulary()) == set()
    assert retired_from(record(), LEFT, vocabulary("calm", "sfx:water")) == {
        (TagType.MOOD, "calm"),
        (TagType.KEYWORD, "sfx:water"),
    }


def test_a_retired_tag_that_a_person_chose_or_took_away_touches_nothing() -> None:
    person = Kept(genre=True, mood=True, occasions=("tavern",), keywords=("sfx:water",))
    assert retired_from(record(person), LEFT, vocabulary("ambient", "calm", "tavern", "sfx:water")) == set()
    assert retired_from(record(), Tags("ambient"), vocabulary("calm")) == set()


def test_an_added_tag_touches_files_where_gemini_meant_it_before() -> None:
    additions = Additions([(TagType.KEYWORD, "biome:cavern"), (TagType.MOOD, "tense")])
    assert not additions.touch(record())
    assert additions.touch(record(mapped=(Mapped(TagType.KEYWORD, "biome:cave", "Biome: Cavern"),)))
    assert additions.touch(record(dropped=(Dropped(TagType.MOOD, "Tense"),)))
    assert not additions.touch(record(dropped=(Dropped(TagType.KEYWORD, "tense"),)))


def test_an_added_genre_touches_files_with_the_genre_above_it() -> None:
    additions = Additions([(TagType.GENRE, "ambient:drone")])
    assert additions.touch(record())
    assert not additions.touch(record(Kept(genre=True)))
    assert not Additions([(TagType.GENRE, "ambiental")]).touch(record())


def test_a_genre_stands_above_another_by_the_tree_too() -> None:
    parents = {"hum": "ambient:machine", "ambient:machine": "ambient", "loop": "pool", "pool": "loop"}
    assert Additions([(TagType.GENRE, "hum")], parents).touch(record())
    assert not Additions([(TagType.GENRE, "loop")], parents).touch(record())
    assert Additions([(TagType.GENRE, "ambient:machine:hum")]).touch(record())


def test_added_is_what_the_old_vocabulary_had_not() -> None:
    assert added(vocabulary("calm"), vocabulary()) == [(TagType.MOOD, "calm")]
    assert added(vocabulary(), vocabulary("calm")) == []


def test_a_tag_is_redefined_where_gemini_is_told_of_it_in_other_words() -> None:
    def described(**notes: str | None) -> Vocabulary:
        return Vocabulary(VocabularyTag(TagType.MOOD, value, note) for value, note in notes.items())

    old = described(calm="at  peace", eerie="of ghosts", tense=None, warm="a" * 120)
    new = described(calm="at peace\n", eerie="of the dead", tense="before a fight", warm="a" * 121, vast="wide")
    assert redefined(old, new) == redefined(new, old) == {(TagType.MOOD, "eerie"), (TagType.MOOD, "tense")}
    assert redefined(described(calm=None), described(calm="calm")) == set(), "which says nothing"


def test_ours_are_the_tags_that_no_person_chose() -> None:
    assert list(ours(record(Kept(genre=True, keywords=("biome:cave",))))) == [
        (TagType.MOOD, "calm"),
        (TagType.MOOD, "eerie"),
        (TagType.OCCASION, "tavern"),
        (TagType.KEYWORD, "sfx:water"),
    ]
