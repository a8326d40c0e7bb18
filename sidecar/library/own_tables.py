"""The sidecar's own tables, all named `auto_tag_…`.

No foreign keys: a shell that deletes files with foreign keys off would leave violations behind.
"""

import sqlite3

LATEST = """auto_tag_latest CROSS JOIN auto_tag_history
    ON auto_tag_history.id = auto_tag_latest.history_id AND auto_tag_history.file_id = auto_tag_latest.file_id"""
"""To select from: the history row that our latest tagging of each file left, where it is that one still: a cleared
history begins its ids anew.
"""

_TABLES = """
CREATE TABLE IF NOT EXISTS auto_tag_runs (
    id INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL UNIQUE,
    status TEXT NOT NULL,
    message TEXT NOT NULL DEFAULT '',
    mode TEXT NOT NULL,
    dry_run INTEGER NOT NULL,
    model TEXT NOT NULL,
    vocabulary TEXT NOT NULL,
    rules TEXT NOT NULL,
    batch_size INTEGER NOT NULL,
    started_at TEXT NOT NULL,
    ended_at TEXT,
    elapsed_seconds REAL,
    total_files INTEGER NOT NULL,
    total_batches INTEGER NOT NULL,
    processed_files INTEGER,
    failed_files INTEGER,
    skipped_files INTEGER,
    current_batch INTEGER,
    first_history_id INTEGER NOT NULL,
    kind TEXT
);
CREATE TABLE IF NOT EXISTS auto_tag_batches (
    run INTEGER NOT NULL,
    batch INTEGER NOT NULL,
    ended_at TEXT NOT NULL,
    elapsed_seconds REAL NOT NULL,
    seconds REAL NOT NULL,
    tagged INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    skipped INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    retries INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    thoughts_tokens INTEGER NOT NULL,
    valid INTEGER NOT NULL,
    normalised INTEGER NOT NULL,
    mapped_by_cache INTEGER NOT NULL,
    mapped_by_gemini INTEGER NOT NULL,
    dropped INTEGER NOT NULL,
    PRIMARY KEY (run, batch)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS auto_tag_failures (
    run INTEGER NOT NULL,
    file_id INTEGER NOT NULL,
    file_path TEXT NOT NULL,
    reason TEXT NOT NULL,
    message TEXT NOT NULL,
    PRIMARY KEY (run, file_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS auto_tag_latest (
    file_id INTEGER PRIMARY KEY,
    history_id INTEGER NOT NULL,
    run INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS auto_tag_before (
    run INTEGER NOT NULL,
    file_id INTEGER NOT NULL,
    genre,
    mood,
    auto_tagged,
    auto_tag_date,
    auto_tag_version,
    updated_at,
    PRIMARY KEY (run, file_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS auto_tag_removed (
    run INTEGER NOT NULL,
    row_id,
    file_id INTEGER NOT NULL,
    tag_type,
    tag_value,
    created_at
);
CREATE INDEX IF NOT EXISTS auto_tag_removed_by_file ON auto_tag_removed (run, file_id);
CREATE TABLE IF NOT EXISTS auto_tag_removed_values (
    run INTEGER NOT NULL,
    file_id INTEGER NOT NULL,
    row_id,
    name TEXT NOT NULL,
    value,
    PRIMARY KEY (run, file_id, row_id, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS auto_tag_proposals (
    run INTEGER NOT NULL,
    file_id INTEGER NOT NULL,
    proposal TEXT NOT NULL,
    PRIMARY KEY (run, file_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS auto_tag_vocabularies (
    fingerprint TEXT PRIMARY KEY,
    tags TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS auto_tag_exclusions (
    id INTEGER PRIMARY KEY,
    glob TEXT UNIQUE,
    file_id INTEGER UNIQUE,
    created_at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS auto_tag_exclusion_roots (
    glob TEXT NOT NULL,
    root TEXT NOT NULL,
    PRIMARY KEY (glob, root)
) WITHOUT ROWID;
"""
"""
auto_tag_runs       one row a run; its counters stay NULL until it has ended, `kind` in those of an older sidecar
auto_tag_batches    one row a finished batch; batch 0 holds what belongs to none: requests that were cut off
auto_tag_latest     which history row our latest tagging of a file left; undone taggings are not in it
auto_tag_before     the very values that a run wrote over, for its undo: JSON would not keep every byte of them
auto_tag_removed    the very rows of rpg_tags that a run took away, for its undo
auto_tag_removed_values     what these held in columns that are the shell's alone; their names are data, for they
                            come and go. Of rows that an older sidecar has kept nothing is here
auto_tag_vocabularies   the active tags as a run knew them, by fingerprint
auto_tag_exclusion_roots    the common roots below which paths were sent while that glob was an exclusion
"""

_ADDED = (("auto_tag_runs", "kind", "TEXT"),)
"""Columns that the tables of an older sidecar lack."""
_FIRST_OF_RUNS = (
    "auto_tag_batches", "auto_tag_failures", "auto_tag_latest", "auto_tag_before", "auto_tag_removed",
    "auto_tag_proposals",
)  # fmt: skip
_OF_RUNS = (*_FIRST_OF_RUNS, "auto_tag_removed_values")
"""Those that name runs by the ids of `auto_tag_runs`."""
_FIRST = ("auto_tag_runs", *_FIRST_OF_RUNS, "auto_tag_vocabularies", "auto_tag_exclusions")
"""Those that every sidecar has made."""


def create_tables(connection: sqlite3.Connection) -> None:
    """Makes the sidecar's tables and columns where they are missing. Inside the caller's transaction."""
    if not has_own_table(connection, "auto_tag_runs"):
        # Its ids begin anew: what is left of runs that are gone would be taken for that of new ones.
        for name in _OF_RUNS:
            connection.execute(f"DROP TABLE IF EXISTS {name}")
    for statement in _TABLES.split(";"):
        if statement.strip():
            connection.execute(statement)
    for table, column, kind in _ADDED:
        if not has_column(connection, table, column):
            connection.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")


def has_own_tables(connection: sqlite3.Connection) -> bool:
    """Whether the sidecar has ever written to this library. Not where a table has been removed since: the next
    write makes that anew.
    """
    found = connection.execute(
        f"SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN (?{', ?' * (len(_FIRST) - 1)})",
        _FIRST,
    )
    return bool(found.fetchone()[0] == len(_FIRST))


def has_own_table(connection: sqlite3.Connection, name: str) -> bool:
    """Whether that table is there: an older sidecar may have written the others only."""
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (name,)).fetchone() is not None


def has_column(connection: sqlite3.Connection, table: str, column: str) -> bool:
    """Whether that table has that column: an older sidecar may have made it."""
    found = connection.execute("SELECT 1 FROM pragma_table_info(?) WHERE name = ?", (table, column))
    return found.fetchone() is not None
