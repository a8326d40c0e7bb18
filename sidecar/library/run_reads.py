"""What is read of runs: how they stand, what they took, and which files they did not tag."""

import sqlite3
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any, TypeVar

import msgspec

from sidecar.contract import BatchRow, FileFailure, Mode, Reason, RunStatus, RunSummary, Sources, Usage
from sidecar.library.own_tables import has_column, has_own_tables
from sidecar.library.run_writes import COUNTERS, NO_BATCH, RunKind, RunTerms
from sidecar.tagging.vocabulary import Vocabulary, VocabularyTag

Word = TypeVar("Word", bound=StrEnum)


class BookedRun(RunTerms, frozen=True, kw_only=True):
    """A run's row as far as later calls need it. `row` is its number in the other tables.

    `vocabulary` is the fingerprint of the one that it worked by.
    """

    row: int
    vocabulary: str
    first_history_id: int


_UNANSWERED = (Reason.RATE_LIMITED, Reason.SERVICE_UNAVAILABLE, Reason.TIMEOUT, Reason.REQUEST_REJECTED)
"""Why a file failed for which Gemini has answered nothing: no output tokens were spent on it."""
_USAGE = Usage.__struct_fields__
_SOURCES = Sources.__struct_fields__
_COLUMNS = tuple(
    name for name in RunSummary.__struct_fields__ if name not in ("remaining_files", "usage", *COUNTERS)
)
_COUNTED = {
    "processed_files": "total(tagged)",
    "failed_files": "total(failed)",
    "skipped_files": "total(skipped)",
    "current_batch": f"total(batch != {NO_BATCH})",
    "elapsed_seconds": "ifnull(max(auto_tag_batches.elapsed_seconds), 0)",
}
"""What a run's counters are while its own columns are empty: it goes on, or its process was killed."""
_SUMMARY = f"""
    SELECT {", ".join(_COLUMNS)}, {", ".join(f"ifnull(r.{name}, b.{name})" for name in _COUNTED)},
        {", ".join(f"b.{name}" for name in _USAGE)}
    FROM auto_tag_runs r JOIN (
        SELECT auto_tag_runs.id AS run, {", ".join(f"{text} AS {name}" for name, text in _COUNTED.items())},
            {", ".join(f"total({name}) AS {name}" for name in _USAGE)}
        FROM auto_tag_runs LEFT JOIN auto_tag_batches ON run = auto_tag_runs.id
        {{which}} GROUP BY auto_tag_runs.id
    ) b ON b.run = r.id ORDER BY r.id DESC"""
_BOOKED_NAMES = BookedRun.__struct_fields__
_BOOKED = f"SELECT {', '.join('id' if name == 'row' else name for name in _BOOKED_NAMES)} FROM auto_tag_runs"
_LATEST = "ORDER BY id DESC LIMIT 1"


def list_runs(connection: sqlite3.Connection, limit: int) -> list[RunSummary]:
    """The latest runs, newest first."""
    if not has_own_tables(connection):
        return []
    which = "WHERE auto_tag_runs.id IN (SELECT id FROM auto_tag_runs ORDER BY id DESC LIMIT ?)"
    return [_summary(row) for row in connection.execute(_SUMMARY.format(which=which), (limit,))]


def summary(connection: sqlite3.Connection, row: int) -> RunSummary:
    """The run in that row."""
    found = connection.execute(_SUMMARY.format(which="WHERE auto_tag_runs.id = ?"), (row,)).fetchone()
    return _summary(found)


def kind(connection: sqlite3.Connection, run_id: str) -> RunKind | None:
    """That of a run; None where its row does not tell, as of one of an older sidecar."""
    if not has_own_tables(connection) or not has_column(connection, "auto_tag_runs", "kind"):
        return None
    found = connection.execute("SELECT kind FROM auto_tag_runs WHERE run_id = ?", (run_id,)).fetchone()
    return _word(RunKind, found[0]) if found else None


def find_run(connection: sqlite3.Connection, run_id: str | None) -> BookedRun | None:
    """A run (None: the latest); None when there is none."""
    if not has_own_tables(connection):
        return None
    where, values = ("WHERE run_id = ?", (run_id,)) if run_id is not None else ("", ())
    found = connection.execute(f"{_BOOKED} {where} {_LATEST}", values).fetchone()
    return None if found is None else _booked(found)


def booked_runs(connection: sqlite3.Connection) -> dict[int, BookedRun]:
    """All runs but dry runs, by number. Needs the tables."""
    rows = connection.execute(f"{_BOOKED} WHERE NOT dry_run ORDER BY id")
    return {run.row: run for run in map(_booked, rows)}


def last_tagging_run(connection: sqlite3.Connection) -> int | None:
    """The number of the latest run that tagged a file; None when there is none."""
    if not has_own_tables(connection):
        return None
    latest: int | None = connection.execute(
        """SELECT max(run) FROM auto_tag_batches JOIN auto_tag_runs ON auto_tag_runs.id = run
            WHERE NOT dry_run AND tagged > 0"""
    ).fetchone()[0]
    return latest


def kept_vocabulary(connection: sqlite3.Connection, fingerprint: str) -> Vocabulary:
    """The tags behind a fingerprint; none if it is unknown."""
    found = connection.execute(
        "SELECT tags FROM auto_tag_vocabularies WHERE fingerprint = ?", (fingerprint,)
    ).fetchone()
    return Vocabulary(msgspec.json.decode(found[0], type=list[VocabularyTag]) if found else ())


def spent(connection: sqlite3.Connection) -> tuple[Usage, int]:
    """What all runs have spent, and how many files they had answers for. (Proposals are applied without one.)"""
    if not has_own_tables(connection):
        return Usage(), 0
    files = connection.execute(
        f"""SELECT (SELECT ifnull(sum(tagged + failed), 0) FROM auto_tag_batches WHERE requests > 0)
            - (SELECT count(*) FROM auto_tag_failures WHERE reason IN ({", ".join("?" * len(_UNANSWERED))})
                AND run IN (SELECT run FROM auto_tag_batches WHERE requests > 0))""",
        _UNANSWERED,
    ).fetchone()[0]
    return _spent(connection), int(files)


def batches(connection: sqlite3.Connection, row: int) -> list[BatchRow]:
    """A run's finished batches in the order in which they finished."""
    own = ("batch", "elapsed_seconds", "seconds", "tagged", "failed", "skipped")
    rows = connection.execute(
        f"""SELECT {", ".join((*own, *_USAGE))} FROM auto_tag_batches
            WHERE run = ? AND batch != ? ORDER BY elapsed_seconds, batch""",
        (row, NO_BATCH),
    )
    return [BatchRow(**dict(zip(own, values, strict=False)), usage=Usage(*values[len(own) :])) for values in rows]


def sources(connection: sqlite3.Connection, row: int) -> Sources:
    """How the tags in a run's answers came out."""
    sums = ", ".join(f"ifnull(sum({name}), 0)" for name in _SOURCES)
    return Sources(*connection.execute(f"SELECT {sums} FROM auto_tag_batches WHERE run = ?", (row,)).fetchone())


def spent_on(connection: sqlite3.Connection, day: str) -> Usage:
    """What all runs have spent on that day (`YYYY-MM-DD` in UTC). Needs the tables."""
    # Not all since its beginning: where the clock was wrong, rows of days to come would count on every one.
    return _spent(connection, "WHERE substr(ended_at, 1, 10) = ?", day)


def failures(connection: sqlite3.Connection, row: int) -> list[FileFailure]:
    """Which files a run did not tag, and why, by file id."""
    rows = connection.execute(
        "SELECT file_id, file_path, reason, message FROM auto_tag_failures WHERE run = ? ORDER BY file_id",
        (row,),
    )
    same: dict[str, str] = {}  # of a message that many files have, one text is kept
    return [
        FileFailure(
            file_id, path, _word(Reason, reason) or Reason.SERVICE_UNAVAILABLE, same.setdefault(message, message)
        )
        for file_id, path, reason, message in rows
    ]


def failed_before(connection: sqlite3.Connection, reasons: Iterable[Reason]) -> set[int]:
    """Files that a run failed to tag for one of these reasons, and none has tagged since."""
    if not has_own_tables(connection):
        return set()
    names = sorted(reasons)
    marks = ", ".join("?" * len(names))
    rows = connection.execute(
        f"""SELECT file_id FROM auto_tag_failures f WHERE reason IN ({marks})
            AND run > ifnull((SELECT run FROM auto_tag_latest l WHERE l.file_id = f.file_id), 0)""",
        names,
    )
    return {file_id for (file_id,) in rows}


def running_run(connection: sqlite3.Connection) -> str | None:
    """The run_id of the run that is marked as running."""
    if not has_own_tables(connection):
        return None
    row = connection.execute(
        f"SELECT run_id FROM auto_tag_runs WHERE status = ? {_LATEST}", (RunStatus.RUNNING,)
    ).fetchone()
    return None if row is None else str(row[0])


def _spent(connection: sqlite3.Connection, where: str = "", *values: str) -> Usage:
    sums = ", ".join(f"ifnull(sum({name}), 0)" for name in _USAGE)
    return Usage(*connection.execute(f"SELECT {sums} FROM auto_tag_batches {where}", values).fetchone())


def _word(kind: type[Word], text: str | None) -> Word | None:
    """The word that a row holds; None where it holds none, or one that only a newer sidecar knows."""
    return kind(text) if text is not None and text in kind.__members__.values() else None


def _booked(values: Sequence[Any]) -> BookedRun:
    columns = dict(zip(_BOOKED_NAMES, values, strict=True))
    columns["mode"] = _word(Mode, columns["mode"]) or Mode.MERGE
    return msgspec.convert(columns, BookedRun, strict=False)


def _summary(row: Sequence[Any]) -> RunSummary:
    columns = dict(zip((*_COLUMNS, *_COUNTED, *_USAGE), row, strict=True))
    columns["status"] = _word(RunStatus, columns["status"]) or RunStatus.INTERRUPTED
    columns["mode"] = _word(Mode, columns["mode"]) or Mode.MERGE
    for name in (*COUNTERS[:-1], *_USAGE):
        columns[name] = int(columns[name])
    closed = sum(columns[name] for name in COUNTERS[:3])
    columns["remaining_files"] = columns["total_files"] - closed
    columns["usage"] = {name: columns.pop(name) for name in _USAGE}
    return msgspec.convert(columns, RunSummary, strict=False)
