"""library.faults: what sqlite3's errors are called."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from sidecar.library.faults import Fault, translated


def test_who_has_lost_the_race_for_a_transaction_too_often_is_told_of_a_lock(tmp_path: Path) -> None:
    error = sqlite3.OperationalError("locking protocol")
    error.sqlite_errorcode = sqlite3.SQLITE_PROTOCOL
    assert translated(error, tmp_path / "library.db").fault is Fault.LOCKED


def test_a_search_index_of_the_shell_that_has_lost_step_is_not_a_reason_for_a_backup(tmp_path: Path) -> None:
    path = tmp_path / "library.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as shell:
        shell.executescript("""
            CREATE TABLE audio_files (id INTEGER PRIMARY KEY, title TEXT);
            INSERT INTO audio_files VALUES (1, 'Drips');
            CREATE VIRTUAL TABLE search USING fts5 (title, content='audio_files', content_rowid='id');
            CREATE TRIGGER searched AFTER UPDATE ON audio_files BEGIN
                INSERT INTO search (search, rowid, title) VALUES ('delete', OLD.id, OLD.title);
            END;
        """)
        with pytest.raises(sqlite3.DatabaseError) as caught:
            shell.execute("UPDATE audio_files SET title = 'Drops'")
        assert shell.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    told = translated(caught.value, path)
    assert told.fault is Fault.CORRUPT and told.ends_run
    assert "search index" in told.sentence and "Restore" not in told.sentence
