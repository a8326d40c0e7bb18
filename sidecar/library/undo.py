"""Taking back what a run wrote: each file gets what it had before, to the byte.

Only files whose latest tagging is that run's and whose tags are still what it left: anything else was
changed since, by a person, the shell or a newer run, and stays (CONTRACT sections 2 and 9).
"""

import sqlite3
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from sidecar.library.connections import Shape
from sidecar.library.own_tables import LATEST
from sidecar.library.queries import IDS, as_json, current_tags
from sidecar.library.refusals import refused
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
    connection, shape = transaction.connection, transaction.shape
    undos = _unchanged(connection, run, ids)
    if transaction.careful:
        return len(undos) - len(refused(connection, undos, lambda undo: _restore(connection, shape, run, [undo])))
    if undos:
        _restore(connection, shape, run, undos)
    return len(undos)


def _unchanged(connection: sqlite3.Connection, run: int, ids: Sequence[int]) -> list[_Undo]:
    now = current_tags(connection, ids)
    rows = connection.execute(
        f"""SELECT auto_tag_latest.file_id, CAST(tags_applied AS TEXT), CAST(tagged_at AS TEXT)
            FROM {LATEST} WHERE auto_tag_latest.file_id IN ({IDS}) AND run = ?""",
        (as_json(ids), run),
    )
    undos = []
    for file_id, text, tagged_at in rows.fetchall():
        record = read_record(text)
        if record is not None and now.get(file_id) == record.applied:
            undos.append(_Undo(file_id, record, tagged_at))
    return undos


def _restore(connection: sqlite3.Connection, shape: Shape, run: int, undos: Sequence[_Undo]) -> None:
    ids = as_json(undo.file_id for undo in undos)
    _restore_columns(connection, shape, run, undos)
    _restore_tags(connection, shape, run, undos, ids)
    # The tagging before counts as the latest again, unless its history row is gone or no record of ours any more:
    # the history is the shell's. CASE, because SQLite may look at the conditions of a join in any order.
    connection.execute(f"DELETE FROM auto_tag_latest WHERE file_id IN ({IDS})", (ids,))
    previous = [undo.record.previous for undo in undos if undo.record.previous is not None]
    if previous:
        connection.execute(
            f"""INSERT INTO auto_tag_latest (file_id, history_id, run)
                SELECT h.file_id, h.id, r.id FROM auto_tag_history h
                JOIN auto_tag_runs r ON r.run_id = CASE WHEN json_valid(CAST(h.tags_applied AS TEXT))
                    THEN json_extract(CAST(h.tags_applied AS TEXT), '$.run_id') END
                WHERE h.id IN ({IDS})""",
            (as_json(previous),),
        )


def _restore_columns(connection: sqlite3.Connection, shape: Shape, run: int, undos: Sequence[_Undo]) -> None:
    """Columns that hold no tags are restored only where they still are as the run left them."""
    columns = {
        "auto_tagged": "audio_files.auto_tagged IS 1",
        "auto_tag_date": "audio_files.auto_tag_date IS json_extract(undone.value, '$[1]')",
        # By the date: the version may well be the same in the tagging of somebody else.
        "auto_tag_version": "audio_files.auto_tag_date IS json_extract(undone.value, '$[1]')",
    }
    if shape.has("audio_files", "updated_at"):
        # As the run wrote it: `tagged_at` in the shell's own format.
        written = "replace(substr(json_extract(undone.value, '$[1]'), 1, 19), 'T', ' ')"
        columns["updated_at"] = f"audio_files.updated_at IS {written}"
    restored = ", ".join(
        f"{name} = CASE WHEN {unchanged} THEN b.{name} ELSE audio_files.{name} END"
        for name, unchanged in columns.items()
    )
    values = {"run": run, "rows": msgspec.json.encode([(u.file_id, u.tagged_at) for u in undos]).decode()}
    # CROSS JOIN: else SQLite looks through all of the run's files for each of these (optoverview.html, 5.4).
    updated = connection.execute(
        f"""UPDATE audio_files SET genre = b.genre, mood = b.mood, {restored}
            FROM json_each(:rows) undone
                CROSS JOIN auto_tag_before b ON b.run = :run AND b.file_id = json_extract(undone.value, '$[0]')
            WHERE audio_files.id = b.file_id""",
        values,
    )
    if updated.rowcount != len(undos):
        raise sqlite3.IntegrityError
    connection.execute(
        """DELETE FROM auto_tag_before WHERE run = :run
            AND file_id IN (SELECT json_extract(value, '$[0]') FROM json_each(:rows))""",
        values,
    )


def _restore_tags(
    connection: sqlite3.Connection, shape: Shape, run: int, undos: Sequence[_Undo], ids: str
) -> None:
    """Takes away what the run added, and puts back the very rows that it took away."""
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
    connection.execute(
        """DELETE FROM rpg_tags WHERE (audio_file_id, tag_type, tag_value) IN
            (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]')
            FROM json_each(?))""",
        (msgspec.json.encode(added).decode(),),
    )
    names, values = ["audio_file_id", "tag_type", "tag_value"], ["file_id", "tag_type", "tag_value"]
    if shape.has("rpg_tags", "id"):  # taken by another row meanwhile: then it gets a new one
        names.append("id")
        values.append("CASE WHEN row_id IN (SELECT id FROM rpg_tags) THEN NULL ELSE row_id END")
    if shape.has("rpg_tags", "created_at"):
        names.append("created_at")
        values.append("created_at")
    connection.execute(
        f"""INSERT INTO rpg_tags ({", ".join(names)}) SELECT {", ".join(values)} FROM auto_tag_removed
            WHERE run = ? AND file_id IN ({IDS}) ORDER BY rowid""",
        (run, ids),
    )
    connection.execute(f"DELETE FROM auto_tag_removed WHERE run = ? AND file_id IN ({IDS})", (run, ids))
