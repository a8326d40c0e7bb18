"""A library of nine files whose batches are written, and what stands in it."""

import sqlite3
from collections.abc import Callable
from typing import Any

import msgspec

from sidecar.contract import Mode, Sources, TagType, Usage
from sidecar.library.changes import FileChange, Stamp
from sidecar.library.run_writes import BatchCount
from sidecar.tagging.mappings import Mapping
from sidecar.tagging.records import Dropped, Mapped, Snapshot
from sidecar.tagging.tags import AudioFile, Before, Change, Kept, Suggestion, Tags

STAMP = Stamp("run-1", 7, "gemini-x", Mode.MERGE, "1.0", "2026-01-02T03:04:05Z", "2026-01-02 03:04:05")
REPLACE = msgspec.structs.replace(STAMP, mode=Mode.REPLACE)

SHELL = """
CREATE TABLE audio_files (
    id INTEGER PRIMARY KEY AUTOINCREMENT, file_path TEXT UNIQUE NOT NULL, title TEXT, artist TEXT, album TEXT,
    genre TEXT, mood TEXT, auto_tagged BOOLEAN DEFAULT FALSE, auto_tag_date TEXT, auto_tag_version TEXT
);
CREATE TABLE rpg_tags (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    audio_file_id INTEGER NOT NULL REFERENCES audio_files(id) ON DELETE CASCADE,
    tag_type TEXT, tag_value TEXT, created_at DATETIME DEFAULT 'by the shell',
    UNIQUE (audio_file_id, tag_type, tag_value)
);
CREATE TABLE tag_vocabulary (tag_type TEXT, tag_value TEXT, is_active BOOLEAN);
CREATE TABLE tag_mapping_cache (
    id INTEGER PRIMARY KEY AUTOINCREMENT, invalid_tag TEXT NOT NULL, valid_tag TEXT NOT NULL,
    tag_type TEXT NOT NULL, created_at DATETIME DEFAULT 'by the shell', usage_count INTEGER DEFAULT 1,
    UNIQUE (invalid_tag, tag_type)
);
CREATE TABLE auto_tag_history (
    id INTEGER PRIMARY KEY AUTOINCREMENT, file_id INTEGER NOT NULL REFERENCES audio_files(id) ON DELETE CASCADE,
    tagged_at TEXT NOT NULL, tags_applied TEXT, api_version TEXT
);
"""
TAGS_WITHOUT_ID = "CREATE TABLE rpg_tags (audio_file_id INTEGER, tag_type TEXT, tag_value TEXT, created_at)"
TAGS_WITHOUT_DATE = "CREATE TABLE rpg_tags (id INTEGER PRIMARY KEY, audio_file_id INTEGER, tag_type, tag_value)"
BARE_CACHE = "CREATE TABLE tag_mapping_cache (invalid_tag, valid_tag, tag_type, usage_count)"
DATED_FILES = "ALTER TABLE audio_files ADD COLUMN updated_at DATETIME"

OLD = Tags("old")
NEW = Tags("new", "eerie", (), ("biome:cave",))
NOTHING_KEPT = Kept()

Opened = Callable[..., sqlite3.Connection]
BEFORE = Tags("old", None, ("camp", "rest"), ("cave", "wet"))
AFTER = Tags("new", "eerie", ("rest",), ("cave", "dark"))
EDITED = (
    "INSERT INTO rpg_tags (audio_file_id, tag_type, tag_value, created_at) VALUES "
    "(3, 'occasion', 'camp', 'd1'), (3, 'occasion', 'rest', 'd2'), (3, 'keyword', 'cave', 'd3'), "
    "(3, 'keyword', 'wet', 'd4'), (3, 'genre', 'wet', 'd5'), (4, 'keyword', 'wet', 'd6')"
)
SAVED = Mapping(TagType.KEYWORD, "cavern", "biome:cave", "keywords")
LEARNT = Mapping(TagType.MOOD, "odd", "eerie", "mood", saved=False)
CACHED = "INSERT INTO tag_mapping_cache (invalid_tag, valid_tag, tag_type, usage_count) VALUES "
COUNT = BatchCount(
    batch=2,
    ended_at=STAMP.date,
    elapsed_seconds=1.25,
    seconds=0.5,
    tagged=3,
    failed=4,
    skipped=5,
    usage=Usage(11, 12, 13, 14, 15, 16),
    sources=Sources(21, 22, 23, 24, 25),
)


def rows(connection: sqlite3.Connection, query: str) -> list[tuple[Any, ...]]:
    """`query` after SELECT."""
    return connection.execute(f"SELECT {query}").fetchall()


def tagged(
    file_id: int,
    before: Tags = OLD,
    after: Tags = NEW,
    *,
    record_id: int | None = None,
    mapped: tuple[Mapped, ...] = (),
    dropped: tuple[Dropped, ...] = (),
    person: Kept = NOTHING_KEPT,
) -> FileChange:
    """A file that had these tags and gets those."""
    held = Before(before.genre, before.mood, before.occasions, before.keywords)
    snapshot = Snapshot(AudioFile(file_id, f"/s/{file_id}"), held, record_id=record_id)
    return FileChange(snapshot, Change(after, person), Suggestion(), mapped, dropped, Sources())


def contents(connection: sqlite3.Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table."""
    names = [name for (name,) in rows(connection, "name FROM sqlite_master WHERE type = 'table'")]
    return {name: rows(connection, f"* FROM {name}") for name in names}


def work(connection: sqlite3.Connection, step: Callable[[], object]) -> int:
    """What SQLite's virtual machine does for a step, which is rolled back."""
    count = 0

    def counts() -> int:
        nonlocal count
        count += 1
        return 0

    connection.execute("BEGIN")
    connection.set_progress_handler(counts, 1)
    step()
    connection.set_progress_handler(None, 1)
    connection.execute("ROLLBACK")
    return count
