"""What an undo leaves in the sidecar's own tables."""

import sqlite3
from collections.abc import Sequence

from msgspec.structs import replace

from sidecar.library.changes import rows_of
from sidecar.library.connections import judge
from sidecar.library.procedures import write_rows
from sidecar.library.queries import snapshots
from sidecar.library.undo import undo_files, undoable_ids
from sidecar.library.undo_procedures import create_undo_procedures
from sidecar.library.writer import Transaction
from tests.procedures.scenes import AFTER, EDITED, NEW, REPLACE, STAMP, Opened, contents, rows, tagged

FIRST, SECOND = REPLACE, replace(REPLACE, run_id="run-2", row=STAMP.row + 1)
IDS = (3, 4, 5)


def twice_tagged(opened: Opened) -> tuple[sqlite3.Connection, dict[str, list[tuple[object, ...]]]]:
    """A library that two runs have tagged, and all that stood in it between them."""
    connection = opened(EDITED)
    create_undo_procedures(connection, judge(connection))
    before = {}
    for stamp, after in ((FIRST, NEW), (SECOND, AFTER)):
        before = contents(connection)
        connection.execute(
            """INSERT INTO auto_tag_runs (id, run_id, status, mode, dry_run, model, vocabulary, rules, batch_size,
                started_at, total_files, total_batches, first_history_id)
                VALUES (?, ?, 'completed', 'replace', 0, '', '', '', 3, '', 3, 1, 1)""",
            (stamp.row, stamp.run_id),
        )
        found = snapshots(connection, judge(connection), IDS)
        changes = [replace(tagged(entry.file.id, after=after), snapshot=entry) for entry in found]
        write_rows(connection, rows_of(stamp, changes))
    return connection, before


def undo(connection: sqlite3.Connection, run: int, ids: Sequence[int] = IDS) -> int:
    return undo_files(Transaction(connection, judge(connection), generation=1, careful=False), run, ids)


def test_a_run_that_is_taken_back_leaves_nothing_of_what_was_kept_for_that(opened: Opened) -> None:
    connection, before = twice_tagged(opened)
    assert rows(connection, f"count(*) FROM auto_tag_removed WHERE run = {SECOND.row}") != [(0,)]
    assert undo(connection, SECOND.row) == len(IDS)
    after = contents(connection)
    for name in ("audio_files", "auto_tag_before", "auto_tag_removed", "auto_tag_latest"):
        assert after[name] == before[name], name
    assert sorted(after["rpg_tags"]) == sorted(before["rpg_tags"])
    assert undoable_ids(connection, FIRST.row) == [*IDS]


def test_a_run_takes_nothing_back_that_another_has_written(opened: Opened) -> None:
    connection, _ = twice_tagged(opened)
    before = contents(connection)
    assert undo(connection, FIRST.row) == 0
    assert contents(connection) == before
