"""The statements of an undo, as procedures (see `procedures`): rows are looked up file by file, by `=`."""

import sqlite3
from collections.abc import Sequence

import msgspec

from sidecar.library.connections import Shape
from sidecar.library.procedures import create_procedure, identifier, literal


def create_undo_procedures(connection: sqlite3.Connection, shape: Shape) -> None:
    """Makes them for this connection and a library of this shape. Raises sqlite3.Error.

    They are called one after the other: a row can get its old id where none of the run's has it any more.

    auto_tag_undo_columns   the columns of a file; `tagged_at` dates the tagging that is taken back
    auto_tag_undo_tag       a tag that the run has added goes
    auto_tag_undo_removed   the tags that the run has taken away come back, and the tagging before counts as the
                            latest again; `previous` is its history row. Columns that are the shell's alone get
                            their defaults: see `create_put_back`
    """
    create_procedure(
        connection, "auto_tag_undo_columns", ("run", "file_id", "tagged_at"), (_columns(shape), *_COLUMNS_DONE)
    )
    create_procedure(connection, "auto_tag_undo_tag", ("file_id", "tag_type", "tag_value"), (_TAG,))
    create_put_back(connection, shape, ())


def create_put_back(connection: sqlite3.Connection, shape: Shape, further: Sequence[str]) -> str:
    """Makes the `auto_tag_undo_removed`, where it is missing, that puts these of `shape.further` back too.

    Its name. Raises sqlite3.Error.

    One for each set of columns: any other gets its default, which SQLite finds only where no value is named.
    """
    name = "auto_tag_undo_removed"
    steps = [f"{_put_back(shape)} {_THESE} ORDER BY rowid", *_PUT_BACK_DONE]
    if further:
        name = identifier(f"{name} {msgspec.json.encode(further).decode()}")
        kept = f"{_put_back(shape, further)} {_KEPT} ORDER BY rowid"
        steps = [kept, f"DELETE FROM auto_tag_removed {_KEPT}", *steps]
    if shape.further:
        steps.append("DELETE FROM auto_tag_removed_values WHERE run = NEW.run AND file_id = NEW.file_id")
    create_procedure(connection, name, ("run", "file_id", "previous"), steps)
    return name


def _columns(shape: Shape) -> str:
    """Columns that hold no tags are restored only where they still are as the run left them."""
    columns = {
        "auto_tagged": "audio_files.auto_tagged IS 1",
        "auto_tag_date": "audio_files.auto_tag_date IS NEW.tagged_at",
        # By the date: the version may well be the same in the tagging of somebody else.
        "auto_tag_version": "audio_files.auto_tag_date IS NEW.tagged_at",
    }
    if shape.has("audio_files", "updated_at"):
        # As the run wrote it: `tagged_at` in the shell's own format.
        columns["updated_at"] = "audio_files.updated_at IS replace(substr(NEW.tagged_at, 1, 19), 'T', ' ')"
    restored = ", ".join(
        f"{name} = CASE WHEN {unchanged} THEN b.{name} ELSE audio_files.{name} END"
        for name, unchanged in columns.items()
    )
    return f"""UPDATE audio_files SET genre = b.genre, mood = b.mood, {restored} FROM auto_tag_before b
        WHERE audio_files.id = NEW.file_id AND b.run = NEW.run AND b.file_id = NEW.file_id"""


_COLUMNS_DONE = (
    "SELECT RAISE(ABORT, 'a file was left out') WHERE changes() != 1",
    "DELETE FROM auto_tag_before WHERE run = NEW.run AND file_id = NEW.file_id",
)

_TAG = """DELETE FROM rpg_tags
    WHERE audio_file_id = NEW.file_id AND tag_type = NEW.tag_type AND tag_value = NEW.tag_value"""


_THESE = "WHERE run = NEW.run AND file_id = NEW.file_id"
_KEPT = f"""{_THESE} AND EXISTS (SELECT 1 FROM auto_tag_removed_values v
    WHERE v.run = NEW.run AND v.file_id = NEW.file_id AND v.row_id = auto_tag_removed.row_id)"""


def _put_back(shape: Shape, further: Sequence[str] = ()) -> str:
    """The very rows that the run took away.

    What they held besides takes no other row's place, whatever the shell's constraints say of conflicts.
    """
    columns = {"audio_file_id": "file_id", "tag_type": "tag_type", "tag_value": "tag_value"}
    if shape.has("rpg_tags", "id"):  # taken by another row meanwhile: then it gets a new one
        columns["id"] = "CASE WHEN row_id IN (SELECT id FROM rpg_tags) THEN NULL ELSE row_id END"
    if shape.has("rpg_tags", "created_at"):
        columns["created_at"] = "created_at"
    for name in further:
        columns[identifier(name)] = f"""(SELECT v.value FROM auto_tag_removed_values v
            WHERE v.run = NEW.run AND v.file_id = NEW.file_id AND v.row_id = auto_tag_removed.row_id
                AND v.name = {literal(name)})"""
    insert = "INSERT OR ABORT" if further else "INSERT"
    return (
        f"{insert} INTO rpg_tags ({', '.join(columns)}) SELECT {', '.join(columns.values())} FROM auto_tag_removed"
    )


# The tagging before counts as the latest again, unless its history row is gone or no record of ours any more: the
# history is the shell's. CASE, because SQLite may look at the conditions of a join in any order.
_PUT_BACK_DONE = (
    "DELETE FROM auto_tag_removed WHERE run = NEW.run AND file_id = NEW.file_id",
    "DELETE FROM auto_tag_latest WHERE file_id = NEW.file_id",
    """INSERT INTO auto_tag_latest (file_id, history_id, run)
        SELECT h.file_id, h.id, r.id FROM auto_tag_history h
        JOIN auto_tag_runs r ON r.run_id = CASE WHEN json_valid(CAST(h.tags_applied AS TEXT))
            THEN json_extract(CAST(h.tags_applied AS TEXT), '$.run_id') END
        WHERE h.id = NEW.previous""",
)
