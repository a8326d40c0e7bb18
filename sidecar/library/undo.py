"""Taking back what a run wrote: each file gets what it had before, to the byte.

Only files whose latest tagging is that run's and whose tags are still what it left: anything else was
changed since, by a person, the shell or a newer run, and stays (CONTRACT sections 2 and 9).
"""

import sqlite3
from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct

from sidecar.library.connections import Shape
from sidecar.library.own_tables import LATEST
from sidecar.library.queries import current_tags
from sidecar.library.refusals import refused
from sidecar.library.undo_procedures import create_put_back
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
        stopped = refused(connection, undos, lambda undo: _restore(connection, run, [undo], transaction.shape))
        if transaction.shape.further:  # the shell may since forbid what it held there then
            stopped = refused(connection, stopped, lambda undo: _restore(connection, run, [undo]))
        return len(undos) - len(stopped)
    if undos:
        _restore(connection, run, undos, transaction.shape)
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


def _restore(connection: sqlite3.Connection, run: int, undos: Sequence[_Undo], shape: Shape | None = None) -> None:
    """With the columns of `rpg_tags` that are the shell's alone, in a library of that shape; without one these get
    their defaults.
    """
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
    removed = {undo.file_id: (run, undo.file_id, undo.record.previous) for undo in undos}
    if shape is not None and shape.further:
        for names, ids in _kept(connection, run, removed, shape):
            _call(connection, create_put_back(connection, shape, names), [removed.pop(file_id) for file_id in ids])
    _call(connection, "auto_tag_undo_removed", [*removed.values()])


def _kept(
    connection: sqlite3.Connection, run: int, ids: Iterable[int], shape: Shape
) -> list[tuple[list[str], list[int]]]:
    """Sets of columns of `shape.further`, each with the files of whose rows they were kept.

    The rows of a file have gone in one transaction, so with the same columns.
    """
    rows = connection.execute(
        """SELECT names, json_group_array(file_id) FROM (
            SELECT wanted.value AS file_id, (
                SELECT json_group_array(DISTINCT name) FROM auto_tag_removed_values
                WHERE run = ? AND file_id = wanted.value
            ) AS names FROM json_each(?) wanted
        ) GROUP BY names""",
        (run, as_json(ids)),
    ).fetchall()
    there = ((sorted({*msgspec.json.decode(names)} & {*shape.further}), ids) for names, ids in rows)
    return [(names, msgspec.json.decode(ids)) for names, ids in there if names]


def _call(connection: sqlite3.Connection, procedure: str, rows: Sequence[tuple[object, ...]]) -> None:
    """Once for each row, in one statement."""
    if rows:
        values = ", ".join(f"json_extract(value, '$[{index}]')" for index in range(len(rows[0])))
        connection.execute(
            f"INSERT INTO temp.{procedure} SELECT {values} FROM json_each(?)",
            (msgspec.json.encode(rows).decode(),),
        )
