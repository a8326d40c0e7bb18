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
    dated = shape.has("audio_files", "updated_at")
    connection.executemany(
        f"""UPDATE audio_files SET genre = ?, mood = ?, auto_tagged = 1, auto_tag_date = ?,
            auto_tag_version = ?{", updated_at = ?" if dated else ""} WHERE id = ?""",
        [
            (
                change.after.genre,
                change.after.mood,
                stamp.date,
                stamp.version,
                *((stamp.updated_at,) if dated else ()),
                snapshot.file.id,
            )
            for snapshot, change in changes
        ],
    )
    _write_tags(connection, shape, changes, stamp)
    connection.executemany(
        "INSERT INTO auto_tag_history (file_id, tagged_at, tags_applied, api_version) VALUES (?, ?, ?, ?)",
        [
            (snapshot.file.id, stamp.date, _record(snapshot, change, stamp), stamp.model)
            for snapshot, change in changes
        ],
    )
    # Nobody else writes within this transaction, so the new rows' ids are consecutive.
    last = connection.execute("SELECT last_insert_rowid()").fetchone()[0]
    connection.executemany(
        "INSERT OR REPLACE INTO auto_tag_latest (file_id, history_id, run) VALUES (?, ?, ?)",
        [
            (snapshot.file.id, last - len(changes) + number, stamp.row)
            for number, (snapshot, _) in enumerate(changes, 1)
        ],
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
    connection.executemany("DELETE FROM rpg_tags WHERE audio_file_id = ? AND tag_type = ? AND tag_value = ?", gone)
    if shape.has("rpg_tags", "created_at"):
        connection.executemany(
            "INSERT INTO rpg_tags (audio_file_id, tag_type, tag_value, created_at) VALUES (?, ?, ?, ?)",
            [(*row, stamp.updated_at) for row in new],
        )
    else:
        connection.executemany("INSERT INTO rpg_tags (audio_file_id, tag_type, tag_value) VALUES (?, ?, ?)", new)


def write_mappings(connection: sqlite3.Connection, shape: Shape, used: "Counter[Mapping]", stamp: Stamp) -> None:
    """Counts uses, and adds what Gemini said. A row that the shell has changed or removed stays so."""
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
