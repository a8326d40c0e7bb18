"""All rows of a batch in one statement: SQLite's form of stored procedures.

`INSERT INTO temp.auto_tag_files VALUES (…)` goes into a view that holds nothing; its trigger writes the
tables. All of that is temporary: it lives in the writer's connection, never in the shell's file. sqlite3 gives
the GIL away for each statement and each row that it steps over, and gets it back late from a busy event
loop, with the library locked meanwhile; so a batch is one step. There are three such procedures, because a
statement that could write to a table with AUTOINCREMENT leaves a mark in `sqlite_sequence` even if it
adds no row.

Writes exactly the columns that CONTRACT section 5 lets us write; everything else keeps its bytes. What a row of
`rpg_tags` that goes holds besides is kept for the undo.
"""

import sqlite3
from collections.abc import Iterable, Sequence

from msgspec import Struct, structs

from sidecar.contract import Sources, Usage
from sidecar.library.connections import Shape


class Rows(Struct, frozen=True, kw_only=True):
    """What is to be written. These texts are JSON; `batch` may be None:

    files       {file id: [genre, mood]}
    records     {file id: `tags_applied` of its history row}
    gone, new   {tag type: {file id: [value, …]}}: rows of rpg_tags that go, that come
    kept        {file id: {tag type: [value, …]}}: all occasions and keywords of a file but these go
    proposals   {file id: proposal}
    mappings    [[invalid tag, its type, uses, valid tag or null, valid tag that it replaces or null], …]
    failures    [[file id, path, reason, message], …]
    batch       {column: value} of the batch's own row, if it gets one
    """

    run: int
    model: str = ""
    version: str = ""
    date: str = ""
    updated_at: str = ""
    count: int = 0
    files: str = "{}"
    records: str = "{}"
    gone: str = "{}"
    kept: str = "{}"
    new: str = "{}"
    proposals: str = "{}"
    mappings: str = "[]"
    failures: str = "[]"
    batch: str | None = None


BATCH_COLUMNS = (
    "batch", "ended_at", "elapsed_seconds", "seconds", "tagged", "failed", "skipped",
    *Usage.__struct_fields__, *Sources.__struct_fields__,
)  # fmt: skip
_NAMES = Rows.__struct_fields__
_VALUES = f"(?{', ?' * (len(_NAMES) - 1)})"


def write_rows(connection: sqlite3.Connection, rows: Rows) -> None:
    """Writes all of it. Raises sqlite3.Error.

    IntegrityError: a constraint or a trigger has refused a row, and the caller has to roll back: what a
    trigger's RAISE(FAIL) stops half-way leaves its first half behind.
    """
    values = structs.astuple(rows)
    procedure = "auto_tag_files" if rows.count else "auto_tag_batch"
    connection.execute(f"INSERT INTO temp.{procedure} VALUES {_VALUES}", values)
    if rows.mappings != "[]":
        connection.execute(f"INSERT INTO temp.auto_tag_mappings VALUES {_VALUES}", values)


def create_procedures(connection: sqlite3.Connection, shape: Shape) -> None:
    """Makes them for this connection and a library of this shape. Raises sqlite3.Error."""
    connection.execute("CREATE TEMP TABLE auto_tag_history_end (id INTEGER)")
    create_procedure(connection, "auto_tag_file", _FILE, _file_steps(shape))
    create_procedure(connection, "auto_tag_gone", _TAG, _gone_steps(shape))
    create_procedure(connection, "auto_tag_kept", ("run", "file_id", "tags"), _kept_steps(shape))
    create_procedure(connection, "auto_tag_use", _USE, _use_steps(shape))
    file_steps = (_FILES, *_tag_steps(shape), *_HISTORY_STEPS)
    create_procedure(connection, "auto_tag_files", _NAMES, (*file_steps, *_BATCH_STEPS))
    create_procedure(connection, "auto_tag_batch", _NAMES, _BATCH_STEPS)
    create_procedure(connection, "auto_tag_mappings", _NAMES, (_USES,))


def identifier(name: str) -> str:
    """Any name, for a statement; where it is read, behind its table's, or SQLite may take it for a text."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Any text, for a statement that takes no parameters."""
    return "'" + text.replace("'", "''") + "'"


def create_procedure(
    connection: sqlite3.Connection, name: str, parameters: Sequence[str], steps: Iterable[str]
) -> None:
    """Makes one, where it is missing, whose steps know its parameters as `NEW.…`. Raises sqlite3.Error."""
    columns = ", ".join(f"0 AS {parameter}" for parameter in parameters)
    body = "".join(f"{step};" for step in steps)
    connection.execute(f"CREATE TEMP VIEW IF NOT EXISTS {name} AS SELECT {columns}")
    connection.execute(f"CREATE TEMP TRIGGER IF NOT EXISTS {name} INSTEAD OF INSERT ON {name} BEGIN {body} END")


# --- row by row ---------------------------------------------------------------------------------
# Rows are looked up by `=`: for `IN` or a join SQLite would look through the whole table wherever ANALYZE has last
# seen it nearly empty.

_FILE = ("run", "file_id", "genre", "mood", "version", "date", "updated_at")
_TAG = ("run", "file_id", "tag_type", "tag_value")
_USE = ("invalid_tag", "tag_type", "count", "valid_tag", "stale_tag", "updated_at")

# A trigger's RAISE(IGNORE) drops a row without an error.
_LEFT_OUT = "SELECT RAISE(ABORT, 'a file was left out') WHERE changes() != "


def _file_steps(shape: Shape) -> tuple[str, ...]:
    dated = shape.has("audio_files", "updated_at")
    return (
        f"""INSERT OR REPLACE INTO auto_tag_before
            SELECT NEW.run, id, genre, mood, auto_tagged, auto_tag_date, auto_tag_version,
                {"updated_at" if dated else "NULL"}
            FROM audio_files WHERE id = NEW.file_id""",
        f"""UPDATE audio_files SET genre = NEW.genre, mood = NEW.mood, auto_tagged = 1,
                auto_tag_date = NEW.date, auto_tag_version = NEW.version
                {", updated_at = NEW.updated_at" if dated else ""}
            WHERE id = NEW.file_id""",
        f"{_LEFT_OUT} 1",
    )


def _gone_steps(shape: Shape) -> tuple[str, ...]:
    this = "WHERE audio_file_id = NEW.file_id AND tag_type = NEW.tag_type AND tag_value = NEW.tag_value"
    return *_keep_for_undo(shape, this), f"DELETE FROM rpg_tags {this}"


def _kept_steps(shape: Shape) -> tuple[str, ...]:
    # NULLs and values with bytes that are no text, or with a NUL, have to go too; a list could not name them.
    # A blob that reads as a kept tag counts as that tag: deleting it could lose the tag.
    all_but_these = """WHERE audio_file_id = NEW.file_id AND +tag_type IN ('occasion', 'keyword')
        AND (tag_type, CAST(tag_value AS TEXT)) IN (
            SELECT kinds.key, tags.value FROM json_each(NEW.tags) kinds, json_each(kinds.value) tags
        ) IS NOT TRUE"""
    return *_keep_for_undo(shape, all_but_these), f"DELETE FROM rpg_tags {all_but_these}"


def _keep_for_undo(shape: Shape, these: str) -> tuple[str, ...]:
    created = "created_at" if shape.has("rpg_tags", "created_at") else "NULL"
    row_id = "id" if shape.has("rpg_tags", "id") else "NULL"
    rows = f"""INSERT INTO auto_tag_removed (run, row_id, file_id, tag_type, tag_value, created_at)
        SELECT NEW.run, {row_id}, audio_file_id, tag_type, tag_value, {created} FROM rpg_tags {these}"""
    values = (
        f"""INSERT OR REPLACE INTO auto_tag_removed_values (run, file_id, row_id, name, value)
            SELECT NEW.run, audio_file_id, id, {literal(name)}, rpg_tags.{identifier(name)} FROM rpg_tags
            {these} AND id IS NOT NULL"""
        for name in shape.further
    )
    return rows, *values


def _use_steps(shape: Shape) -> tuple[str, ...]:
    """Counts uses, and adds what Gemini said, also to a row that says nothing. One that the shell has changed or
    removed stays so.
    """
    dated = shape.has("tag_mapping_cache", "created_at")
    this = "invalid_tag = NEW.invalid_tag AND tag_type = NEW.tag_type"
    return (
        f"""INSERT INTO tag_mapping_cache
                (invalid_tag, tag_type, valid_tag, usage_count{", created_at" if dated else ""})
            SELECT NEW.invalid_tag, NEW.tag_type, NEW.valid_tag, 0{", NEW.updated_at" if dated else ""}
            WHERE NEW.valid_tag IS NOT NULL AND NOT EXISTS (SELECT 1 FROM tag_mapping_cache WHERE {this})""",
        f"""UPDATE tag_mapping_cache SET usage_count = ifnull(usage_count, 0) + NEW.count,
                valid_tag = CASE WHEN valid_tag = NEW.stale_tag OR ifnull(CAST(valid_tag AS TEXT), '') = ''
                    THEN ifnull(NEW.valid_tag, valid_tag) ELSE valid_tag END
            WHERE {this}""",
    )


# --- all of a batch -----------------------------------------------------------------------------

_FILES = """INSERT INTO auto_tag_file
    SELECT NEW.run, CAST(key AS INTEGER), json_extract(value, '$[0]'), json_extract(value, '$[1]'),
        NEW.version, NEW.date, NEW.updated_at
    FROM json_each(NEW.files)"""
_USES = f"""INSERT INTO auto_tag_use
    SELECT {", ".join(f"json_extract(value, '$[{index}]')" for index in range(5))}, NEW.updated_at
    FROM json_each(NEW.mappings)"""


def _tag_steps(shape: Shape) -> tuple[str, ...]:
    dated = shape.has("rpg_tags", "created_at")
    return (
        f"INSERT INTO auto_tag_gone SELECT NEW.run, file_id, tag_type, tag_value FROM ({_tags('gone')})",
        "INSERT INTO auto_tag_kept SELECT NEW.run, CAST(key AS INTEGER), value FROM json_each(NEW.kept)",
        f"""INSERT INTO rpg_tags (audio_file_id, tag_type, tag_value{", created_at" if dated else ""})
            SELECT *{", NEW.updated_at" if dated else ""} FROM ({_tags("new")})""",
    )


def _tags(column: str) -> str:
    """File id, type and value of every tag in `gone` or `new`."""
    return f"""SELECT CAST(files.key AS INTEGER) AS file_id, kinds.key AS tag_type, tags.value AS tag_value
        FROM json_each(NEW.{column}) kinds, json_each(kinds.value) files, json_each(files.value) tags"""


# Nobody else writes within this statement, but triggers of the shell's may: rows of their own, among ours. Of a
# file's rows that are alike the first is ours, and replaces the others.
_HISTORY_STEPS = (
    "DELETE FROM auto_tag_history_end",
    "INSERT INTO auto_tag_history_end SELECT ifnull(max(id), 0) FROM auto_tag_history",
    """INSERT INTO auto_tag_history (file_id, tagged_at, tags_applied, api_version)
        SELECT CAST(key AS INTEGER), NEW.date, value, NEW.model FROM json_each(NEW.records)""",
    f"{_LEFT_OUT} NEW.count",
    """INSERT OR REPLACE INTO auto_tag_latest (file_id, history_id, run)
        SELECT file_id, id, NEW.run FROM auto_tag_history
        WHERE id > (SELECT id FROM auto_tag_history_end) AND (
            (SELECT max(id) FROM auto_tag_history) - (SELECT id FROM auto_tag_history_end) = NEW.count
            OR (file_id, tags_applied) IN (SELECT CAST(key AS INTEGER), value FROM json_each(NEW.records))
        ) ORDER BY id DESC""",
)


_BATCH_STEPS = (
    """INSERT OR REPLACE INTO auto_tag_proposals (run, file_id, proposal)
        SELECT NEW.run, CAST(key AS INTEGER), value FROM json_each(NEW.proposals)""",
    f"""INSERT OR REPLACE INTO auto_tag_failures (run, file_id, file_path, reason, message)
        SELECT NEW.run, {", ".join(f"json_extract(value, '$[{index}]')" for index in range(4))}
        FROM json_each(NEW.failures)""",
    f"""INSERT INTO auto_tag_batches (run, {", ".join(BATCH_COLUMNS)})
        SELECT NEW.run, {", ".join(f"json_extract(NEW.batch, '$.{name}')" for name in BATCH_COLUMNS)}
        WHERE NEW.batch IS NOT NULL""",
)
