"""procedures: a history row for each tagging, and which one is the latest."""

import msgspec
import pytest

from sidecar.contract import Mode, TagType
from sidecar.library.changes import rows_of
from sidecar.library.procedures import write_rows
from sidecar.tagging.records import Dropped, Mapped, Record
from sidecar.tagging.tags import Before, Kept
from tests.procedures.scenes import NEW, STAMP, Opened, rows, tagged


def test_each_file_gets_a_history_row_which_is_its_latest(opened: Opened) -> None:
    library = opened()
    write_rows(library, rows_of(STAMP, [tagged(3), tagged(4), tagged(5)]))
    later = msgspec.structs.replace(STAMP, row=8, run_id="run-2")
    mapped, dropped = (Mapped(TagType.MOOD, "eerie", "odd"),), (Dropped(TagType.KEYWORD, "what"),)
    person = Kept(genre=True, keywords=("biome:cave",))
    entry = tagged(4, NEW, record_id=2, mapped=mapped, dropped=dropped, person=person)
    write_rows(library, rows_of(later, [entry]))
    history = rows(library, "id, file_id, tagged_at, api_version FROM auto_tag_history")
    assert history == [(n, n + 2, STAMP.date, "gemini-x") for n in (1, 2, 3)] + [(4, 4, STAMP.date, "gemini-x")]
    assert rows(library, "* FROM auto_tag_latest") == [(3, 1, 7), (4, 4, 8), (5, 3, 7)]
    texts = [text for (text,) in rows(library, "tags_applied FROM auto_tag_history")]
    assert msgspec.json.decode(texts[0], type=Record) == Record(
        run_id="run-1",
        model="gemini-x",
        mode=Mode.MERGE,
        before=Before("old"),
        applied=NEW,
    )
    assert msgspec.json.decode(texts[3], type=Record) == Record(
        run_id="run-2",
        model="gemini-x",
        mode=Mode.MERGE,
        before=Before(NEW.genre, NEW.mood, NEW.occasions, NEW.keywords),
        applied=NEW,
        person=person,
        previous=2,
        mapped=mapped,
        dropped=dropped,
    )


AUDIT = """
    CREATE TRIGGER audit_{when} {when} INSERT ON auto_tag_history WHEN NEW.api_version != 'audit' BEGIN
        INSERT INTO auto_tag_history (file_id, tagged_at, tags_applied, api_version)
        VALUES (NEW.file_id, 'now', {text}, 'audit');
    END
"""


@pytest.mark.parametrize("text", ["NULL", "'{}'", "'tagged ' || NEW.tags_applied"])
@pytest.mark.parametrize("when", ["BEFORE", "AFTER"])
def test_rows_that_a_trigger_adds_to_the_history_are_nobodys_latest(opened: Opened, when: str, text: str) -> None:
    library = opened(AUDIT.format(when=when, text=text))
    write_rows(library, rows_of(STAMP, [tagged(3), tagged(4)]))
    write_rows(library, rows_of(STAMP, [tagged(5), tagged(3, NEW)]))
    latest = rows(
        library,
        """auto_tag_latest.file_id, auto_tag_history.file_id, api_version, tags_applied LIKE '{"run_id"%'
            FROM auto_tag_latest JOIN auto_tag_history ON auto_tag_history.id = history_id""",
    )
    assert latest == [(file_id, file_id, "gemini-x", 1) for file_id in (3, 4, 5)]
    newest = rows(library, "max(id) FROM auto_tag_history WHERE file_id = 3 AND api_version = 'gemini-x'")
    assert rows(library, "history_id FROM auto_tag_latest WHERE file_id = 3") == newest


def test_of_a_history_row_that_a_trigger_copies_ours_is_the_latest(opened: Opened) -> None:
    library = opened(AUDIT.format(when="AFTER", text="NEW.tags_applied"))
    write_rows(library, rows_of(STAMP, [tagged(3), tagged(4)]))
    assert rows(library, "api_version FROM auto_tag_latest JOIN auto_tag_history ON id = history_id") == [
        ("gemini-x",),
        ("gemini-x",),
    ]
