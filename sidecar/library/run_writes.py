"""What is written of runs: a row at their start, one for each batch, and how they have ended."""

import sqlite3
from collections.abc import Iterable, Sequence
from enum import StrEnum

import msgspec
from msgspec import Struct, structs

from sidecar.contract import FileFailure, Mode, RunStatus, RunSummary, Sources, Usage
from sidecar.library.faults import Fault, LibraryError
from sidecar.library.own_tables import has_own_tables
from sidecar.library.procedures import Rows, write_rows
from sidecar.library.writer import Transaction
from sidecar.tagging.vocabulary import Vocabulary

COUNTERS = ("processed_files", "failed_files", "skipped_files", "current_batch", "elapsed_seconds")
NO_BATCH = 0
"""The number in the row of what no batch's own row has: requests that the run's end has cut off, and batches whose
transaction was rolled back.
"""


class RunKind(StrEnum):
    """What a run is over, and what becomes of its tags: whoever starts it again needs to know."""

    UNTAGGED = "untagged"
    """What is untagged, or failed before."""
    NAMED = "named"
    """Files that a person has named, tagged ones perhaps among them."""
    DRY = "dry"
    APPLY = "apply"
    """What a dry run has proposed."""


class RunTerms(Struct, frozen=True, kw_only=True):
    """How a run works. `rules` is the fingerprint of what the prompt says, the hints of the person with it."""

    run_id: str
    mode: Mode
    dry_run: bool
    model: str
    rules: str
    batch_size: int


class NewRun(RunTerms, frozen=True, kw_only=True):
    """What is known of a run when it starts."""

    kind: RunKind
    started_at: str
    total_files: int
    total_batches: int


class BatchCount(Struct, frozen=True, kw_only=True):
    """What one finished batch came to. `seconds` is its own time, `elapsed_seconds` since the run's start."""

    batch: int
    ended_at: str
    elapsed_seconds: float
    seconds: float
    tagged: int
    failed: int
    skipped: int
    usage: Usage
    sources: Sources = Sources()


def insert_run(connection: sqlite3.Connection, run: NewRun, vocabulary: str) -> int:
    """Adds a running run that works by the vocabulary of that fingerprint; its row id.

    Only for the holder of the run lock: nobody else can be running then. Needs the tables.
    """
    interrupt_dead(connection)
    names = NewRun.__struct_fields__
    cursor = connection.execute(
        f"""INSERT INTO auto_tag_runs (status, vocabulary, first_history_id, {", ".join(names)})
            VALUES (?, ?, (SELECT ifnull(max(id), 0) + 1 FROM auto_tag_history){", ?" * len(names)})""",
        (RunStatus.RUNNING, vocabulary, *(getattr(run, name) for name in names)),
    )
    assert cursor.lastrowid is not None  # after an INSERT of one row
    return cursor.lastrowid


def interrupt_dead(connection: sqlite3.Connection) -> None:
    """Runs that a dead process left running become `interrupted`. Only for the holder of the run lock."""
    connection.execute(
        "UPDATE auto_tag_runs SET status = ? WHERE status = ?", (RunStatus.INTERRUPTED, RunStatus.RUNNING)
    )


def has_run(connection: sqlite3.Connection, row: int, run_id: str) -> bool:
    """Whether that row is that run's."""
    if not has_own_tables(connection):
        return False
    found = connection.execute("SELECT 1 FROM auto_tag_runs WHERE id = ? AND run_id = ?", (row, run_id)).fetchone()
    return found is not None


class RunRow:
    """The row of a run in which something is to be written. For the writer thread."""

    def __init__(self, row: int, run_id: str) -> None:
        self.row = row
        self._run_id = run_id
        self._generation = -1

    def require(self, transaction: Transaction) -> None:
        """Raises LibraryError REPLACED where that row is not that run's: a backup or another library lies there.

        Looks only where that may have changed since the last look.
        """
        if transaction.generation == self._generation:
            return
        if not has_run(transaction.connection, self.row, self._run_id):
            raise LibraryError(Fault.REPLACED)
        self._generation = transaction.generation


def keep_vocabulary(connection: sqlite3.Connection, vocabulary: Vocabulary) -> None:
    """Remembers the tags behind a fingerprint, for `find_stale`."""
    connection.execute(
        "INSERT OR IGNORE INTO auto_tag_vocabularies (fingerprint, tags) VALUES (?, ?)",
        (vocabulary.fingerprint, msgspec.json.encode(vocabulary.tags).decode()),
    )


def batch_row(count: BatchCount) -> str:
    """A finished batch as the procedure writes it."""
    values = structs.asdict(count)
    values |= structs.asdict(values.pop("usage")) | structs.asdict(values.pop("sources"))
    return msgspec.json.encode(values).decode()


def failure_rows(failures: Iterable[FileFailure]) -> str:
    """Files that were not tagged as the procedure writes them."""
    return msgspec.json.encode([(f.file_id, f.file_path, f.reason, f.message) for f in failures]).decode()


def end_run(
    connection: sqlite3.Connection, row: int, summary: RunSummary, rest: Usage, unsaved: Sequence[FileFailure]
) -> None:
    """The run's last state; `rest` is what was spent beside the batches whose rows are there, `unsaved` are the
    files of those that could not be saved.

    Nothing in a database that has no such run: it has replaced the run's own.
    """
    if not has_run(connection, row, summary.run_id):
        return
    if rest != Usage() or unsaved:
        skipped = sum(failure.reason.is_skip for failure in unsaved)
        count = BatchCount(
            batch=NO_BATCH,
            ended_at=summary.ended_at or summary.started_at,
            elapsed_seconds=summary.elapsed_seconds,
            seconds=0,
            tagged=0,
            failed=len(unsaved) - skipped,
            skipped=skipped,
            usage=rest,
        )
        write_rows(connection, Rows(run=row, failures=failure_rows(unsaved), batch=batch_row(count)))
    names = ("status", "message", "ended_at", *COUNTERS)
    connection.execute(
        f"UPDATE auto_tag_runs SET {', '.join(f'{name} = ?' for name in names)} WHERE id = ?",
        (*(getattr(summary, name) for name in names), row),
    )
