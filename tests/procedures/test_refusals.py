"""procedures and refusals: what the shell's triggers and constraints do to a batch."""

import sqlite3
from collections import Counter
from collections.abc import Callable

import pytest

from sidecar.library.changes import FileChange, rows_of
from sidecar.library.procedures import write_rows
from sidecar.library.refusals import refused
from tests.procedures.scenes import (
    AFTER,
    BEFORE,
    CACHED,
    COUNT,
    DATED_FILES,
    EDITED,
    LEARNT,
    REPLACE,
    SAVED,
    STAMP,
    Opened,
    contents,
    rows,
    tagged,
)


def test_triggers_of_the_shell_do_their_work_and_disturb_nothing(opened: Opened) -> None:
    library = opened(
        "CREATE TABLE log (id INTEGER PRIMARY KEY, what TEXT UNIQUE)",
        DATED_FILES,
        """CREATE TRIGGER touch AFTER UPDATE ON audio_files BEGIN
            UPDATE audio_files SET updated_at = 'touched' WHERE id = NEW.id;
            INSERT OR REPLACE INTO log (what) VALUES ('all'), ('file ' || NEW.id);
            DELETE FROM log WHERE what = 'all';
        END""",
        """CREATE TRIGGER history AFTER INSERT ON auto_tag_history BEGIN
            INSERT INTO log (what) VALUES ('history ' || NEW.file_id), ('odd ' || NEW.id);
        END""",
        """CREATE TRIGGER tags AFTER INSERT ON rpg_tags BEGIN
            UPDATE audio_files SET title = 'changed' WHERE id = NEW.audio_file_id;
        END""",
    )
    write_rows(library, rows_of(STAMP, [tagged(3), tagged(5)]))
    assert (
        rows(library, "genre, title, updated_at FROM audio_files WHERE id IN (3, 5)")
        == [("new", "changed", "touched")] * 2
    )
    assert rows(library, "* FROM auto_tag_latest") == [(3, 1, 7), (5, 2, 7)]
    assert {what for (what,) in rows(library, "what FROM log")} == {
        *("file 3", "file 5", "history 3", "history 5", "odd 1", "odd 2")
    }


NOT_FOUR = {
    "update": "BEFORE UPDATE ON audio_files WHEN OLD.id = 4",
    "history": "BEFORE INSERT ON auto_tag_history WHEN NEW.file_id = 4",
    "tag": "BEFORE INSERT ON rpg_tags WHEN NEW.audio_file_id = 4",
}


def trigger(when: str, action: str) -> str:
    return f"CREATE TRIGGER not_four {NOT_FOUR[when]} BEGIN SELECT RAISE({action}); END"


REFUSALS = [
    trigger("update", "IGNORE"),
    trigger("history", "IGNORE"),
    *(trigger(when, f"{how}, 'no'") for when in NOT_FOUR for how in ("ABORT", "FAIL")),
    "DELETE FROM audio_files WHERE id = 4",
    "CREATE UNIQUE INDEX one_of_each ON audio_files (genre) WHERE id IN (2, 4) AND genre != 'old'",
]


@pytest.mark.parametrize("refusal", REFUSALS)
def test_what_a_trigger_or_constraint_refuses_is_an_integrity_error(opened: Opened, refusal: str) -> None:
    library = opened(refusal)
    write_rows(library, rows_of(STAMP, [tagged(2), tagged(8)]))
    before = contents(library)
    library.execute("BEGIN")
    with pytest.raises(sqlite3.IntegrityError):
        write_rows(library, rows_of(STAMP, [tagged(3), tagged(4), tagged(5)], batch=COUNT))
    library.execute("ROLLBACK")
    assert contents(library) == before


@pytest.mark.parametrize("refusal", REFUSALS)
def test_only_the_refused_are_left_out_when_each_is_written_on_its_own(opened: Opened, refusal: str) -> None:
    library = opened(refusal)
    write_rows(library, rows_of(STAMP, [tagged(2), tagged(8)]))
    library.execute("BEGIN")
    changes = [tagged(n) for n in (3, 4, 5)]
    stopped = refused(library, changes, lambda entry: write_rows(library, rows_of(STAMP, [entry])))
    assert stopped == [changes[1]]
    with pytest.raises(sqlite3.OperationalError, match="no such savepoint"):
        library.execute("RELEASE entry")
    library.execute("COMMIT")
    assert rows(library, "id FROM audio_files WHERE auto_tagged") == [(2,), (3,), (5,), (8,)]
    assert rows(library, "file_id, run FROM auto_tag_latest") == [(2, 7), (3, 7), (5, 7), (8, 7)]
    assert rows(library, "file_id FROM auto_tag_history ORDER BY id") == [(2,), (8,), (3,), (5,)]
    assert rows(library, "audio_file_id FROM rpg_tags ORDER BY id") == [(2,), (8,), (3,), (5,)]
    assert rows(library, "file_id FROM auto_tag_before") == [(2,), (3,), (5,), (8,)]


def test_a_row_that_is_refused_last_takes_the_whole_statement_back(opened: Opened) -> None:
    library = opened()
    write_rows(library, rows_of(STAMP, [tagged(2)], batch=COUNT))
    before = contents(library)
    with pytest.raises(sqlite3.IntegrityError):
        write_rows(library, rows_of(STAMP, [tagged(3)], batch=COUNT))
    assert contents(library) == before


def write(library: sqlite3.Connection) -> Callable[[FileChange], None]:
    return lambda entry: write_rows(library, rows_of(STAMP, [entry]))


def test_a_refusal_that_ends_the_transaction_itself_is_told_as_it_is(opened: Opened) -> None:
    library = opened(trigger("update", "ROLLBACK, 'not this one'"))
    before = contents(library)
    library.execute("BEGIN")
    with pytest.raises(sqlite3.IntegrityError, match="not this one"):
        refused(library, [tagged(n) for n in (3, 4, 5)], write(library))
    assert not library.in_transaction
    assert contents(library) == before


def test_what_is_no_refusal_keeps_its_name_though_it_ends_the_transaction(opened: Opened) -> None:
    library = opened("CREATE TRIGGER stop BEFORE INSERT ON rpg_tags BEGIN SELECT stop(); END")
    library.create_function("stop", 0, library.interrupt)
    before = contents(library)
    library.execute("BEGIN")
    with pytest.raises(sqlite3.OperationalError, match="interrupted"):
        refused(library, [tagged(3), tagged(4)], write(library))
    assert not library.in_transaction, "SQLite has rolled back by itself"
    assert contents(library) == before


def test_other_columns_of_the_shell_may_have_any_name(opened: Opened) -> None:
    names = (
        "key",
        "value",
        "type",
        "atom",
        "parent",
        "fullkey",
        "path",
        "json",
        "root",
        "file_id",
        "tags",
        "uses",
    )
    tables = ("audio_files", "rpg_tags", "tag_mapping_cache", "auto_tag_history")
    library = opened(
        CACHED + "('odd', 'by hand', 'mood', 3)",
        *(f"ALTER TABLE {table} ADD COLUMN {name}" for table in tables for name in names if name != "file_id"),
        *(f"ALTER TABLE {table} ADD COLUMN file_id" for table in tables if table != "auto_tag_history"),
        EDITED,
    )
    write_rows(library, rows_of(REPLACE, [tagged(3, BEFORE, AFTER)], used=Counter({LEARNT: 2, SAVED: 1})))
    assert rows(library, "genre, mood, key, value FROM audio_files WHERE id = 3") == [("new", "eerie", None, None)]
    assert len(rows(library, "* FROM rpg_tags WHERE audio_file_id = 3")) == 4
    assert rows(library, "valid_tag, usage_count, value FROM tag_mapping_cache") == [("by hand", 5, None)]
