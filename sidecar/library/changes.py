"""Writing one batch: its files' tags, history and mappings, in the caller's transaction.

Names exactly the columns that CONTRACT section 5 lets us write; everything else keeps its bytes.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct

from sidecar.contract import Mode
from sidecar.library.connections import Shape
from sidecar.tagging.mappings import Mapping
from sidecar.tagging.tags import Change, Record, Snapshot

_encoder = msgspec.json.Encoder()


class Stamp(Struct, frozen=True):
    """Who writes and when. `date` is RFC 3339 UTC, `updated_at` the shell's `YYYY-MM-DD HH:MM:SS`."""

    run_id: str
    row: int
    model: str
    mode: Mode
    version: str
    date: str
    updated_at: str


FileChange = tuple[Snapshot, Change]


def write_files(
    connection: sqlite3.Connection, shape: Shape, changes: Sequence[FileChange], stamp: Stamp
) -> list[int]:
    """Writes the changes; ids of files that the database itself refused (a trigger, a constraint).

    One refused file does not take the others with it: then each is written on its own.
    """
    if _try_write(connection, shape, changes, stamp):
        return []
    return [change[0].file.id for change in changes if not _try_write(connection, shape, [change], stamp)]


def _try_write(connection: sqlite3.Connection, shape: Shape, changes: Sequence[FileChange], stamp: Stamp) -> bool:
    connection.execute("SAVEPOINT files")
    try:
        _write_rows(connection, shape, changes, stamp)
    except sqlite3.IntegrityError:
        connection.execute("ROLLBACK TO files")
        return False
    finally:
        connection.execute("RELEASE files")
    return True


def _write_rows(connection: sqlite3.Connection, shape: Shape, changes: Sequence[FileChange], stamp: Stamp) -> None:
    """One statement for each table, its rows as one JSON text.

    sqlite3 gives the GIL away for every row that it steps over, and gets it back late from a busy event
    loop; a statement over `json_each` is one step for the whole batch.
    """
    dated = shape.has("audio_files", "updated_at")
    rows = [(s.file.id, c.after.genre, c.after.mood, _record(s, c, stamp)) for s, c in changes]
    text = _encoder.encode(rows).decode()
    updated = connection.execute(
        f"""UPDATE audio_files SET genre = value ->> 1, mood = value ->> 2, auto_tagged = 1,
                auto_tag_date = :date, auto_tag_version = :version{", updated_at = :updated" if dated else ""}
            FROM json_each(:rows) WHERE audio_files.id = value ->> 0""",
        {"rows": text, "date": stamp.date, "version": stamp.version, "updated": stamp.updated_at},
    )
    if updated.rowcount != len(changes):  # a trigger's RAISE(IGNORE) drops a row without an error
        raise sqlite3.IntegrityError
    _write_tags(connection, shape, changes, stamp)
    connection.execute(
        """INSERT INTO auto_tag_history (file_id, tagged_at, tags_applied, api_version)
            SELECT value ->> 0, :date, value ->> 3, :model FROM json_each(:rows)""",
        {"rows": text, "date": stamp.date, "model": stamp.model},
    )
    # Nobody else writes within this transaction, so the new rows' ids are consecutive.
    first = connection.execute("SELECT last_insert_rowid()").fetchone()[0] - len(changes) + 1
    connection.execute(
        """INSERT OR REPLACE INTO auto_tag_latest (file_id, history_id, run)
            SELECT value ->> 0, :first + key, :run FROM json_each(:rows)""",
        {"rows": text, "first": first, "run": stamp.row},
    )


def _write_tags(connection: sqlite3.Connection, shape: Shape, changes: Iterable[FileChange], stamp: Stamp) -> None:
    """Only rows that go or come: a tag that stays keeps its row, id and date."""
    gone: list[tuple[int, str, str]] = []
    new: list[tuple[int, str, str]] = []
    for snapshot, change in changes:
        file_id, before, after = snapshot.file.id, snapshot.before, change.after
        for kind, old, now in (
            ("occasion", before.occasions, after.occasions),
            ("keyword", before.keywords, after.keywords),
        ):
            gone.extend((file_id, kind, value) for value in old if value not in now)
            new.extend((file_id, kind, value) for value in now if value not in old)
    if gone:
        connection.execute(
            """DELETE FROM rpg_tags WHERE (audio_file_id, tag_type, tag_value) IN
                (SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?))""",
            (_encoder.encode(gone).decode(),),
        )
    dated = shape.has("rpg_tags", "created_at")
    connection.execute(
        f"""INSERT INTO rpg_tags (audio_file_id, tag_type, tag_value{", created_at" if dated else ""})
            SELECT value ->> 0, value ->> 1, value ->> 2{", :date" if dated else ""}
            FROM json_each(:rows)""",
        {"rows": _encoder.encode(new).decode(), "date": stamp.updated_at},
    )


def write_mappings(connection: sqlite3.Connection, shape: Shape, used: "Counter[Mapping]", stamp: Stamp) -> None:
    """Counts uses, and adds what Gemini said. A row that the shell has changed or removed stays so."""
    if not used:
        return
    created = "created_at" if shape.has("tag_mapping_cache", "created_at") else None
    connection.executemany(
        "UPDATE tag_mapping_cache SET usage_count = usage_count + ? WHERE invalid_tag = ? AND tag_type = ?",
        [(count, entry.invalid, entry.type_text) for entry, count in used.items() if entry.saved],
    )
    connection.executemany(
        f"""INSERT INTO tag_mapping_cache
                (invalid_tag, valid_tag, tag_type, usage_count{", created_at" if created else ""})
            VALUES (?, ?, ?, ?{", ?" if created else ""})
            ON CONFLICT (invalid_tag, tag_type) DO UPDATE SET
                usage_count = usage_count + excluded.usage_count,
                valid_tag = CASE WHEN valid_tag = ? THEN excluded.valid_tag ELSE valid_tag END""",
        [
            (
                entry.invalid,
                entry.valid,
                entry.type_text,
                count,
                *((stamp.updated_at,) if created else ()),
                entry.stale,
            )
            for entry, count in used.items()
            if not entry.saved
        ],
    )


def _record(snapshot: Snapshot, change: Change, stamp: Stamp) -> str:
    return _encoder.encode(
        Record(
            run_id=stamp.run_id,
            model=stamp.model,
            mode=stamp.mode,
            before=snapshot.before,
            applied=change.after,
            person=change.person,
            previous=snapshot.record_id,
        )
    ).decode()
