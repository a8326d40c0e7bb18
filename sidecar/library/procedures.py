"""All rows of a batch in one statement: SQLite's form of stored procedures.

`INSERT INTO temp.auto_tag_files VALUES (…)` goes into a view that holds nothing; its trigger writes the
tables. All of that is temporary: it lives in the writer's connection, never in the shell's file. sqlite3 gives
the GIL away for each statement and each row that it steps over, and gets it back late from a busy event
loop, with the library locked meanwhile; so a batch is one step. There are three procedures, because a
statement that could write to a table with AUTOINCREMENT leaves a mark in `sqlite_sequence` even if it
adds no row.

Names exactly the columns that CONTRACT section 5 lets us write; everything else keeps its bytes.
"""

import sqlite3

from msgspec import Struct, structs

from sidecar.contract import Sources, Usage
from sidecar.library.connections import Shape


class Rows(Struct, frozen=True, kw_only=True):
    """What is to be written. These texts are JSON; `kept` and `batch` may be None:

    files       {file id: [genre, mood]}
    records     {file id: `tags_applied` of its history row}
    gone, new   {tag type: {file id: [value, …]}}: rows of rpg_tags that go, that come
    kept        the same; all occasions and keywords of `files` but these go. None: only those in `gone`
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
    kept: str | None = None
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
    columns = ", ".join(f"0 AS {name}" for name in _NAMES)
    for name, steps in {
        "auto_tag_files": (*_file_steps(shape), *_tag_steps(shape), *_HISTORY_STEPS, *_BATCH_STEPS),
        "auto_tag_batch": _BATCH_STEPS,
        "auto_tag_mappings": _mapping_steps(shape),
    }.items():
        connection.execute(f"CREATE TEMP VIEW {name} AS SELECT {columns}")
        body = "".join(f"{step};" for step in steps)
        connection.execute(f"CREATE TEMP TRIGGER {name} INSTEAD OF INSERT ON {name} BEGIN {body} END")


# A trigger's RAISE(IGNORE) drops a row without an error.
_ALL_FILES = "SELECT RAISE(ABORT, 'a file was left out') WHERE changes() != NEW.count"
_FILE_IDS = "SELECT CAST(key AS INTEGER) FROM json_each(NEW.files)"
# LIMIT keeps SQLite from taking such a subquery apart (flattenSubquery, rule 19). It would look through
# the whole table for each of these rows wherever ANALYZE has last seen the table nearly empty.
_FILES = "(SELECT CAST(key AS INTEGER) AS file_id, value AS tags FROM json_each(NEW.files) LIMIT -1) new_files"
_USES = "(SELECT value AS uses FROM json_each(NEW.mappings) LIMIT -1) new_uses"


def _file_steps(shape: Shape) -> tuple[str, ...]:
    dated = shape.has("audio_files", "updated_at")
    return (
        f"""INSERT OR REPLACE INTO auto_tag_before
            SELECT NEW.run, id, genre, mood, auto_tagged, auto_tag_date, auto_tag_version,
                {"updated_at" if dated else "NULL"}
            FROM {_FILES} CROSS JOIN audio_files WHERE audio_files.id = new_files.file_id""",
        f"""UPDATE audio_files SET genre = json_extract(new_files.tags, '$[0]'),
                mood = json_extract(new_files.tags, '$[1]'), auto_tagged = 1,
                auto_tag_date = NEW.date, auto_tag_version = NEW.version
                {", updated_at = NEW.updated_at" if dated else ""}
            FROM {_FILES} WHERE audio_files.id = new_files.file_id""",
        _ALL_FILES,
    )


def _tag_steps(shape: Shape) -> tuple[str, ...]:
    dated = shape.has("rpg_tags", "created_at")
    created = "created_at" if dated else "NULL"
    row_id = "id" if shape.has("rpg_tags", "id") else "NULL"
    keep_for_undo = f"""INSERT INTO auto_tag_removed (run, row_id, file_id, tag_type, tag_value, created_at)
        SELECT NEW.run, {row_id}, audio_file_id, tag_type, tag_value, {created} FROM rpg_tags"""
    gone = f"WHERE (audio_file_id, tag_type, tag_value) IN ({_tags('gone')})"
    # NULLs and values with bytes that are no text, or with a NUL, have to go too; a list could not name them.
    # A blob that reads as a kept tag counts as that tag: deleting it could lose the tag.
    all_but_kept = f"""WHERE NEW.kept IS NOT NULL AND audio_file_id IN ({_FILE_IDS})
        AND tag_type IN ('occasion', 'keyword')
        AND (audio_file_id, tag_type, CAST(tag_value AS TEXT)) IN ({_tags("kept")}) IS NOT TRUE"""
    return (
        f"{keep_for_undo} {gone}",
        f"DELETE FROM rpg_tags {gone}",
        f"{keep_for_undo} {all_but_kept}",
        f"DELETE FROM rpg_tags {all_but_kept}",
        f"""INSERT INTO rpg_tags (audio_file_id, tag_type, tag_value{", created_at" if dated else ""})
            SELECT *{", NEW.updated_at" if dated else ""} FROM ({_tags("new")})""",
    )


def _tags(column: str) -> str:
    """(file id, tag type, value) of every tag in `gone`, `kept` or `new`."""
    return f"""SELECT CAST(files.key AS INTEGER), kinds.key, tags.value
        FROM json_each(NEW.{column}) kinds, json_each(kinds.value) files, json_each(files.value) tags"""


# Nobody else writes within this statement, but triggers of the shell's may: rows of their own, among ours. Of a
# file's rows that are alike the first is ours, and replaces the others.
_HISTORY_STEPS = (
    "DELETE FROM auto_tag_history_end",
    "INSERT INTO auto_tag_history_end SELECT ifnull(max(id), 0) FROM auto_tag_history",
    """INSERT INTO auto_tag_history (file_id, tagged_at, tags_applied, api_version)
        SELECT CAST(key AS INTEGER), NEW.date, value, NEW.model FROM json_each(NEW.records)""",
    _ALL_FILES,
    """INSERT OR REPLACE INTO auto_tag_latest (file_id, history_id, run)
        SELECT file_id, id, NEW.run FROM auto_tag_history
        WHERE id > (SELECT id FROM auto_tag_history_end) AND (
            (SELECT max(id) FROM auto_tag_history) - (SELECT id FROM auto_tag_history_end) = NEW.count
            OR (file_id, tags_applied) IN (SELECT CAST(key AS INTEGER), value FROM json_each(NEW.records))
        ) ORDER BY id DESC""",
)


def _mapping_steps(shape: Shape) -> tuple[str, ...]:
    """Counts uses, and adds what Gemini said, also to a row that says nothing. One that the shell has changed or
    removed stays so.
    """
    dated = shape.has("tag_mapping_cache", "created_at")
    invalid, kind, count, valid, stale = (f"json_extract(new_uses.uses, '$[{index}]')" for index in range(5))
    this = f"invalid_tag = {invalid} AND tag_type = {kind}"
    return (
        f"""INSERT INTO tag_mapping_cache
                (invalid_tag, tag_type, valid_tag, usage_count{", created_at" if dated else ""})
            SELECT {invalid}, {kind}, {valid}, 0{", NEW.updated_at" if dated else ""} FROM {_USES}
            WHERE {valid} IS NOT NULL AND NOT EXISTS (SELECT 1 FROM tag_mapping_cache WHERE {this})""",
        f"""UPDATE tag_mapping_cache SET usage_count = ifnull(usage_count, 0) + {count},
                valid_tag = CASE WHEN valid_tag = {stale} OR ifnull(CAST(valid_tag AS TEXT), '') = ''
                    THEN ifnull({valid}, valid_tag) ELSE valid_tag END
            FROM {_USES} WHERE {this}""",
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
