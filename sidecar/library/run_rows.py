"""The sidecar's own tables: runs, why files failed, and each file's latest tagging.

No foreign keys: a shell that deletes files with foreign keys off would leave violations behind.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from sidecar.contract import FileFailure, Mode, Reason, RunStatus, RunSummary, Usage

_TABLES = """
CREATE TABLE IF NOT EXISTS auto_tag_runs (
    id INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL UNIQUE,
    status TEXT NOT NULL,
    message TEXT NOT NULL DEFAULT '',
    mode TEXT NOT NULL,
    dry_run INTEGER NOT NULL DEFAULT 0,
    model TEXT NOT NULL,
    vocabulary TEXT NOT NULL,
    rules TEXT NOT NULL,
    batch_size INTEGER NOT NULL,
    max_parallel INTEGER NOT NULL,
    started_at TEXT NOT NULL,
    ended_at TEXT,
    elapsed_seconds REAL NOT NULL DEFAULT 0,
    total_files INTEGER NOT NULL,
    total_batches INTEGER NOT NULL,
    processed_files INTEGER NOT NULL DEFAULT 0,
    failed_files INTEGER NOT NULL DEFAULT 0,
    skipped_files INTEGER NOT NULL DEFAULT 0,
    current_batch INTEGER NOT NULL DEFAULT 0,
    requests INTEGER NOT NULL DEFAULT 0,
    retries INTEGER NOT NULL DEFAULT 0,
    prompt_tokens INTEGER NOT NULL DEFAULT 0,
    cached_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0,
    thoughts_tokens INTEGER NOT NULL DEFAULT 0
);
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
"""


class NewRun(Struct, frozen=True, kw_only=True):
    """What is known of a run when it starts. `vocabulary` and `rules` are fingerprints."""

    run_id: str
    mode: Mode
    model: str
    vocabulary: str
    rules: str
    batch_size: int
    max_parallel: int
    started_at: str
    total_files: int
    total_batches: int


class BatchCount(Struct, frozen=True):
    """What one batch adds to its run's row."""

    processed: int
    failed: int
    skipped: int
    elapsed_seconds: float
    usage: Usage


def create_tables(connection: sqlite3.Connection) -> None:
    """Makes the sidecar's tables where they are missing. Inside the caller's transaction."""
    for statement in _TABLES.split(";"):
        if statement.strip():
            connection.execute(statement)


def insert_run(connection: sqlite3.Connection, run: NewRun) -> int:
    """Adds a running run; its row id. Runs that a dead process left running become `interrupted`.

    Only for the holder of the run lock: nobody else can be running then.
    """
    connection.execute(
        "UPDATE auto_tag_runs SET status = ? WHERE status = ?", (RunStatus.INTERRUPTED, RunStatus.RUNNING)
    )
    names = NewRun.__struct_fields__
    cursor = connection.execute(
        f"INSERT INTO auto_tag_runs (status, {', '.join(names)}) VALUES (?{', ?' * len(names)})",
        (RunStatus.RUNNING, *(getattr(run, name) for name in names)),
    )
    return cursor.lastrowid or 0


def count_batch(connection: sqlite3.Connection, row: int, count: BatchCount) -> None:
    """Adds a finished batch to its run."""
    connection.execute(
        """UPDATE auto_tag_runs SET
            processed_files = processed_files + ?, failed_files = failed_files + ?,
            skipped_files = skipped_files + ?, current_batch = current_batch + 1, elapsed_seconds = ?,
            requests = requests + ?, retries = retries + ?, prompt_tokens = prompt_tokens + ?,
            cached_tokens = cached_tokens + ?, output_tokens = output_tokens + ?,
            thoughts_tokens = thoughts_tokens + ?
            WHERE id = ?""",
        (
            count.processed,
            count.failed,
            count.skipped,
            count.elapsed_seconds,
            *(getattr(count.usage, name) for name in Usage.__struct_fields__),
            row,
        ),
    )


def insert_failures(connection: sqlite3.Connection, row: int, failures: Iterable[FileFailure]) -> None:
    """Remembers why files were not tagged."""
    connection.executemany(
        "INSERT OR REPLACE INTO auto_tag_failures (run, file_id, file_path, reason, message) "
        "VALUES (?, ?, ?, ?, ?)",
        [(row, f.file_id, f.file_path, f.reason, f.message) for f in failures],
    )


def end_run(connection: sqlite3.Connection, row: int, summary: RunSummary) -> None:
    """The run's last state, counters of batches whose own write failed included."""
    names = (
        "status",
        "message",
        "ended_at",
        "elapsed_seconds",
        "processed_files",
        "failed_files",
        "skipped_files",
        "current_batch",
    )
    connection.execute(
        f"UPDATE auto_tag_runs SET {', '.join(f'{name} = ?' for name in (*names, *_USAGE))} WHERE id = ?",
        (
            *(getattr(summary, name) for name in names),
            *(getattr(summary.usage, name) for name in _USAGE),
            row,
        ),
    )


_USAGE = Usage.__struct_fields__
_COLUMNS = tuple(name for name in RunSummary.__struct_fields__ if name not in ("remaining_files", "usage"))
_SUMMARY = f"SELECT id, {', '.join((*_COLUMNS, *_USAGE))} FROM auto_tag_runs"


def list_runs(connection: sqlite3.Connection, limit: int) -> list[RunSummary]:
    """The latest runs, newest first. Needs the tables."""
    rows = connection.execute(f"{_SUMMARY} ORDER BY id DESC LIMIT ?", (limit,))
    return [_summary(row)[0] for row in rows]


def find_run(connection: sqlite3.Connection, run_id: str | None) -> tuple[RunSummary, int] | None:
    """A run (None: the latest) and its row id; None when there is none. Needs the tables."""
    where, values = ("WHERE run_id = ?", (run_id,)) if run_id is not None else ("", ())
    row = connection.execute(f"{_SUMMARY} {where} ORDER BY id DESC LIMIT 1", values).fetchone()
    return None if row is None else _summary(row)


def failures(connection: sqlite3.Connection, row: int) -> list[FileFailure]:
    """Which files a run did not tag, and why, by file id."""
    rows = connection.execute(
        "SELECT file_id, file_path, reason, message FROM auto_tag_failures WHERE run = ? ORDER BY file_id",
        (row,),
    )
    return [FileFailure(file_id, path, Reason(reason), message) for file_id, path, reason, message in rows]


def running_run(connection: sqlite3.Connection) -> str | None:
    """The run_id of the run that is marked as running. Needs the tables."""
    row = connection.execute(
        "SELECT run_id FROM auto_tag_runs WHERE status = ? ORDER BY id DESC LIMIT 1", (RunStatus.RUNNING,)
    ).fetchone()
    return None if row is None else str(row[0])


def _summary(row: Sequence[Any]) -> tuple[RunSummary, int]:
    row_id, *values = row
    columns = dict(zip((*_COLUMNS, *_USAGE), values, strict=True))
    closed = sum(int(columns[name]) for name in ("processed_files", "failed_files", "skipped_files"))
    columns["remaining_files"] = int(columns["total_files"]) - closed
    columns["usage"] = {name: columns.pop(name) for name in _USAGE}
    return msgspec.convert(columns, RunSummary, strict=False), int(row_id)
