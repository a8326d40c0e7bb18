"""tagging.records: what a history row holds, and what is read back from it."""

import json

import msgspec
import pytest

from sidecar.contract import Mode, TagType
from sidecar.tagging.records import Dropped, Mapped, Record, Snapshot, ours, read_record
from sidecar.tagging.tags import AudioFile, Before, Change, Kept, Tags

BEFORE = Before("Soundtrack", "calm", ("tavern",), (), auto_tagged=0)
APPLIED = Tags("ambient", "calm; eerie", ("tavern",), ("biome:cave",))
PLAIN = Record(run_id="r", model="m", mode=Mode.MERGE, before=BEFORE, applied=APPLIED)
FULL = Record(
    run_id="r",
    model="m",
    mode=Mode.REPLACE,
    before=BEFORE,
    applied=APPLIED,
    person=Kept(genre=True, occasions=("tavern",)),
    previous=41,
    mapped=(Mapped(TagType.KEYWORD, "biome:cave", "cavern"),),
    dropped=(Dropped(TagType.MOOD, "meh"),),
)


def written(record: Record) -> str:
    """The text that stands in the history row."""
    return msgspec.json.encode(record).decode()


@pytest.mark.parametrize("record", [PLAIN, FULL])
def test_what_was_written_is_read_back(record: Record) -> None:
    assert read_record(written(record)) == record


def test_what_a_tagging_did_not_need_takes_no_room_in_the_row() -> None:
    assert set(json.loads(written(PLAIN))) == {"run_id", "model", "mode", "before", "applied"}


def test_rows_written_by_this_version_stay_readable() -> None:
    """The text is in users' libraries: whoever changes its form changes what an undo can take back."""
    row = json.loads(written(FULL))
    before = {
        "genre": "Soundtrack",
        "mood": "calm",
        "occasions": ["tavern"],
        "keywords": [],
        "auto_tagged": 0,
        "auto_tag_date": None,
        "auto_tag_version": None,
    }
    assert before.items() <= row.pop("before").items()
    assert row == {
        "run_id": "r",
        "model": "m",
        "mode": "replace",
        "applied": {
            "genre": "ambient",
            "mood": "calm; eerie",
            "occasions": ["tavern"],
            "keywords": ["biome:cave"],
        },
        "person": {"genre": True, "occasions": ["tavern"]},
        "previous": 41,
        "mapped": [["keyword", "biome:cave", "cavern"]],
        "dropped": [["mood", "meh"]],
    }


def test_a_record_of_a_later_version_with_more_in_it_is_still_read() -> None:
    row = json.loads(written(PLAIN))
    row["before"]["later"] = row["later"] = 1
    assert read_record(json.dumps(row)) == PLAIN


@pytest.mark.parametrize("text", [None, "", "ambient", "[]", "{}", "\ud800", '{"x":' + "[" * 100_000])
def test_what_another_program_wrote_is_no_record(text: str | None) -> None:
    assert read_record(text) is None


def test_a_record_without_its_model_or_with_an_unknown_mode_is_none() -> None:
    fields = json.loads(written(PLAIN))
    assert read_record(json.dumps({**fields, "mode": "add"})) is None
    del fields["model"]
    assert read_record(json.dumps(fields)) is None


def test_a_later_run_sees_what_was_left_and_whose_it_is() -> None:
    assert PLAIN.change == Change(APPLIED, Kept())
    assert FULL.change == Change(APPLIED, Kept(genre=True, occasions=("tavern",)))


def test_a_snapshot_knows_its_tags_and_no_record_unless_there_is_one() -> None:
    snapshot = Snapshot(AudioFile(1, "a.ogg"), BEFORE)
    assert snapshot.tags == Tags("Soundtrack", "calm", ("tavern",), ())
    assert (snapshot.record, snapshot.record_id) == (None, None)


def test_a_run_that_left_a_person_their_genre_and_mood_set_neither() -> None:
    record = msgspec.structs.replace(PLAIN, person=Kept(genre=True, mood=True))
    assert list(ours(record)) == [(TagType.OCCASION, "tavern"), (TagType.KEYWORD, "biome:cave")]


def test_without_a_person_every_tag_is_the_runs() -> None:
    assert list(ours(PLAIN)) == [
        (TagType.GENRE, "ambient"),
        (TagType.MOOD, "calm"),
        (TagType.MOOD, "eerie"),
        (TagType.OCCASION, "tavern"),
        (TagType.KEYWORD, "biome:cave"),
    ]


def test_a_tag_of_a_persons_occasions_and_keywords_is_not_the_runs() -> None:
    record = msgspec.structs.replace(PLAIN, person=Kept(occasions=("tavern",), keywords=("biome:cave",)))
    assert [kind for kind, _ in ours(record)] == [TagType.GENRE, TagType.MOOD, TagType.MOOD]
