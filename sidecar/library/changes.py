"""Writing files' tags: their rows, history and mappings, in the caller's transaction.

Names exactly the columns that CONTRACT section 5 lets us write; everything else keeps its bytes. What can
be done before the lock is taken is done in `encoded`: the texts that the statements unpack.
"""

import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from sidecar.contract import Mode, Sources
from sidecar.library.connections import Shape
from sidecar.tagging.mappings import Mapping
from sidecar.tagging.records import Dropped, Mapped, Record, Snapshot
from sidecar.tagging.tags import Change, Suggestion

_encoder = msgspec.json.Encoder()

T = TypeVar("T")


class Stamp(Struct, frozen=True):
    """Who writes and when. `date` is RFC 3339 UTC, `updated_at` the shell's `YYYY-MM-DD HH:MM:SS`."""

    run_id: str
    row: int
    model: str
    mode: Mode
    version: str
    date: str
    updated_at: str


class FileChange(Struct, frozen=True):
    """What becomes of one file, from which suggestion, and how its tags came about."""

    snapshot: Snapshot
    change: Change
    suggestion: Suggestion
    mapped: tuple[Mapped, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    sources: Sources = Sources()


class Encoded(Struct, frozen=True):
    """Changes as JSON texts: the files with their records, the tags that go, the tags that come.

    In `replace` all tags go but those that are `kept`.
    """

    count: int
    files: str
    gone: str | None
    kept: str | None
    new: str


def encoded(changes: Sequence[FileChange], stamp: Stamp) -> Encoded:
    """Pure. A tag that stays is neither gone nor new: it keeps its row, id and date."""
    files: list[tuple[int, str | None, str | None, str]] = []
    gone: list[tuple[int, str, str]] = []
    kept: list[tuple[int, str, str]] = []
    new: list[tuple[int, str, str]] = []
    for entry in changes:
        file_id, before, after = entry.snapshot.file.id, entry.snapshot.before, entry.change.after
        files.append((file_id, after.genre, after.mood, _record(entry, stamp)))
        for kind, old, now in (
            ("occasion", before.occasions, after.occasions),
            ("keyword", before.keywords, after.keywords),
        ):
            gone.extend((file_id, kind, value) for value in old if value not in now)
            kept.extend((file_id, kind, value) for value in old if value in now)
            new.extend((file_id, kind, value) for value in now if value not in old)
    if stamp.mode is Mode.REPLACE:
        return Encoded(len(files), _text(files), None, _text(kept), _text(new))
    return Encoded(len(files), _text(files), _text(gone) if gone else None, None, _text(new))


def write_files(
    connection: sqlite3.Connection, shape: Shape, changes: Sequence[FileChange], texts: Encoded, stamp: Stamp
) -> list[int]:
    """Writes the changes, whose `texts` are; ids of files that the database itself refused."""
    if written(connection, lambda: _write_rows(connection, shape, texts, stamp)):
        return []
    return refused(
        connection,
        changes,
        lambda entry: _write_rows(connection, shape, encoded([entry], stamp), stamp),
        lambda entry: entry.snapshot.file.id,
    )


def written(connection: sqlite3.Connection, write: Callable[[], None]) -> bool:
    """Whether the database took it (a trigger or a constraint may not); if not, nothing has changed."""
    connection.execute("SAVEPOINT files")
    try:
        write()
    except sqlite3.IntegrityError:
        connection.execute("ROLLBACK TO files")
        return False
    finally:
        connection.execute("RELEASE files")
    return True


def refused(
    connection: sqlite3.Connection,
    entries: Sequence[T],
    write: Callable[[T], None],
    file_id: Callable[[T], int],
) -> list[int]:
    """Writes each on its own, so that one refused file does not take the others with it; the refused."""
    return [file_id(entry) for entry in entries if not written(connection, partial(write, entry))]


def _write_rows(connection: sqlite3.Connection, shape: Shape, texts: Encoded, stamp: Stamp) -> None:
    """One statement for each table, its rows as one JSON text.

    sqlite3 gives the GIL away for every row that it steps over, and gets it back late from a busy event
    loop; a statement over `json_each` is one step for the whole batch.
    """
    dated = shape.has("audio_files", "updated_at")
    connection.execute(
        f"""INSERT OR REPLACE INTO auto_tag_before SELECT :run, id, genre, mood, auto_tagged, auto_tag_date,
                auto_tag_version, {"updated_at" if dated else "NULL"}
            FROM audio_files WHERE id IN (SELECT value ->> 0 FROM json_each(:rows))""",
        {"rows": texts.files, "run": stamp.row},
    )
    updated = connection.execute(
        f"""UPDATE audio_files SET genre = value ->> 1, mood = value ->> 2, auto_tagged = 1,
                auto_tag_date = :date, auto_tag_version = :version{", updated_at = :updated" if dated else ""}
            FROM json_each(:rows) WHERE audio_files.id = value ->> 0""",
        {"rows": texts.files, "date": stamp.date, "version": stamp.version, "updated": stamp.updated_at},
    )
    if updated.rowcount != texts.count:  # a trigger's RAISE(IGNORE) drops a row without an error
        raise sqlite3.IntegrityError
    if texts.gone is not None:
        _remove_tags(connection, shape, _THESE, {"tags": texts.gone, "run": stamp.row})
    if texts.kept is not None:
        values = {"tags": texts.kept, "rows": texts.files, "run": stamp.row}
        _remove_tags(connection, shape, _ALL_BUT_THESE, values)
    dated = shape.has("rpg_tags", "created_at")
    connection.execute(
        f"""INSERT INTO rpg_tags (audio_file_id, tag_type, tag_value{", created_at" if dated else ""})
            SELECT value ->> 0, value ->> 1, value ->> 2{", :date" if dated else ""}
            FROM json_each(:rows)""",
        {"rows": texts.new, "date": stamp.updated_at},
    )
    last = connection.execute(
        """INSERT INTO auto_tag_history (file_id, tagged_at, tags_applied, api_version)
            SELECT value ->> 0, :date, value ->> 3, :model FROM json_each(:rows)""",
        {"rows": texts.files, "date": stamp.date, "model": stamp.model},
    ).lastrowid
    # Nobody else writes within this transaction, so the new rows' ids are consecutive.
    connection.execute(
        """INSERT OR REPLACE INTO auto_tag_latest (file_id, history_id, run)
            SELECT value ->> 0, :first + key, :run FROM json_each(:rows)""",
        {"rows": texts.files, "first": (last or 0) - texts.count + 1, "run": stamp.row},
    )


_THESE = """(audio_file_id, tag_type, tag_value) IN
    (SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(:tags))"""
_ALL_BUT_THESE = f"""audio_file_id IN (SELECT value ->> 0 FROM json_each(:rows))
    AND tag_type IN ('occasion', 'keyword') AND NOT {_THESE}"""
"""For `replace`: values with bytes that are no text, or with a NUL, have to go too."""


def _remove_tags(connection: sqlite3.Connection, shape: Shape, which: str, values: dict[str, Any]) -> None:
    """Keeps the very rows, for an undo."""
    row_id = "id" if shape.has("rpg_tags", "id") else "NULL"
    created = "created_at" if shape.has("rpg_tags", "created_at") else "NULL"
    connection.execute(
        f"""INSERT INTO auto_tag_removed (run, row_id, file_id, tag_type, tag_value, created_at)
            SELECT :run, {row_id}, audio_file_id, tag_type, tag_value, {created} FROM rpg_tags WHERE {which}""",
        values,
    )
    connection.execute(f"DELETE FROM rpg_tags WHERE {which}", values)


def write_mappings(connection: sqlite3.Connection, shape: Shape, used: "Counter[Mapping]", date: str) -> None:
    """Counts uses, and adds what Gemini said. A row that the shell has changed or removed stays so."""
    known = [(count, entry.invalid, entry.type_text) for entry, count in used.items() if entry.saved]
    if known:
        connection.executemany(
            "UPDATE tag_mapping_cache SET usage_count = usage_count + ? WHERE invalid_tag = ? AND tag_type = ?",
            known,
        )
    dated = shape.has("tag_mapping_cache", "created_at")
    learnt = [
        (entry.invalid, entry.valid, entry.type_text, count, *((date,) if dated else ()), entry.stale)
        for entry, count in used.items()
        if not entry.saved
    ]
    if learnt:
        connection.executemany(
            f"""INSERT INTO tag_mapping_cache
                    (invalid_tag, valid_tag, tag_type, usage_count{", created_at" if dated else ""})
                VALUES (?, ?, ?, ?{", ?" if dated else ""})
                ON CONFLICT (invalid_tag, tag_type) DO UPDATE SET
                    usage_count = usage_count + excluded.usage_count,
                    valid_tag = CASE WHEN valid_tag = ? THEN excluded.valid_tag ELSE valid_tag END""",
            learnt,
        )


def _record(entry: FileChange, stamp: Stamp) -> str:
    return _text(
        Record(
            run_id=stamp.run_id,
            model=stamp.model,
            mode=stamp.mode,
            before=entry.snapshot.before,
            applied=entry.change.after,
            person=entry.change.person,
            previous=entry.snapshot.record_id,
            mapped=entry.mapped,
            dropped=entry.dropped,
        )
    )


def _text(value: object) -> str:
    return _encoder.encode(value).decode()
