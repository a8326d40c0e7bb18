"""Taking back what a run wrote: each file gets what it had before, to the byte.

Only files whose latest tagging is that run's and whose tags are still what it left: anything else was
changed since, by a person, the shell or a newer run, and stays (CONTRACT sections 2 and 9).
"""

import sqlite3
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from sidecar.library.own_tables import LATEST
from sidecar.library.queries import current_tags
from sidecar.library.refusals import refused
from sidecar.library.wanted import WANTED, as_json
from sidecar.library.writer import Transaction
from sidecar.tagging.records import Record, read_record


class _Undo(Struct, frozen=True):
    """One file's way back. `tagged_at` dates the tagging."""

    file_id: int
    record: Record
    tagged_at: str


def undoable_ids(connection: sqlite3.Connection, run: int) -> list[int]:
    """The files whose latest tagging is that run's, in ascending order."""
    rows = connection.execute("SELECT file_id FROM auto_tag_latest WHERE run = ? ORDER BY file_id", (run,))
    return [file_id for (file_id,) in rows]


def undo_files(transaction: Transaction, run: int, ids: Sequence[int]) -> int:
    """Restores those of `ids` that nobody has changed since and that the database lets us; how many."""
    connection = transaction.connection
    undos = _unchanged(connection, run, ids)
    if transaction.careful:
        return len(undos) - len(refused(connection, undos, lambda undo: _restore(connection, run, [undo])))
    if undos:
        _restore(connection, run, undos)
    return len(undos)


def _unchanged(connection: sqlite3.Connection, run: int, ids: Sequence[int]) -> list[_Undo]:
    now = current_tags(connection, ids)
    rows = connection.execute(
        f"""SELECT auto_tag_latest.file_id, auto_tag_latest.run,
                CAST(tags_applied AS TEXT), CAST(tagged_at AS TEXT)
            FROM {WANTED} {LATEST} WHERE auto_tag_latest.file_id = auto_tag_wanted""",
        (as_json(ids),),
    )
    undos = []
    for file_id, latest_run, text, tagged_at in rows.fetchall():
        record = read_record(text)
        if latest_run == run and record is not None and now.get(file_id) == record.applied:
            undos.append(_Undo(file_id, record, tagged_at))
    return undos


def _restore(connection: sqlite3.Connection, run: int, undos: Sequence[_Undo]) -> None:
    added = [
        (undo.file_id, kind, value)
        for undo in undos
        for kind, before, after in (
            ("occasion", undo.record.before.occasions, undo.record.applied.occasions),
            ("keyword", undo.record.before.keywords, undo.record.applied.keywords),
        )
        for value in after
        if value not in before
    ]
    _call(connection, "auto_tag_undo_columns", [(run, undo.file_id, undo.tagged_at) for undo in undos])
    _call(connection, "auto_tag_undo_tag", added)
    _call(connection, "auto_tag_undo_removed", [(run, undo.file_id, undo.record.previous) for undo in undos])


def _call(connection: sqlite3.Connection, procedure: str, rows: Sequence[tuple[object, ...]]) -> None:
    """Once for each row, in one statement."""
    if rows:
        values = ", ".join(f"json_extract(value, '$[{index}]')" for index in range(len(rows[0])))
        connection.execute(
            f"INSERT INTO temp.{procedure} SELECT {values} FROM json_each(?)",
            (msgspec.json.encode(rows).decode(),),
        )
