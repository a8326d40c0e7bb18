"""What is read, written and taken back for a batch is no more work in a large library than in a small one,
whatever ANALYZE has told SQLite of the library when it was new.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from sidecar.demo.library import create_library
from sidecar.library import queries
from sidecar.library.changes import rows_of
from sidecar.library.opened import Opened
from sidecar.library.own_tables import create_tables
from sidecar.library.procedures import write_rows
from sidecar.library.proposals import stored_proposals
from sidecar.library.undo import undo_files
from sidecar.library.writer import Transaction
from tests.procedures.scenes import AFTER, COUNT, NEW, REPLACE, STAMP, tagged, work

SMALL, LARGE = range(100, 400), range(1000, 4000)
BATCH = range(200, 220)


def add_tagged(connection: sqlite3.Connection, ids: Sequence[int]) -> None:
    """Files of the shell's, each tagged by a run of ours."""
    connection.execute("BEGIN")
    connection.executemany(
        "INSERT INTO audio_files (id, file_path, genre) VALUES (?, ?, 'old')", [(n, f"/s/{n}.wav") for n in ids]
    )
    connection.executemany(
        "INSERT INTO rpg_tags (audio_file_id, tag_type, tag_value) VALUES (?, 'keyword', 'k')", [(n,) for n in ids]
    )
    write_rows(connection, rows_of(REPLACE, [tagged(n) for n in ids]))
    connection.execute("COMMIT")


@pytest.fixture(params=["", "weight, note DEFAULT 'none'"], ids=["", "further columns"])
def further(request: pytest.FixtureRequest) -> str:
    """Columns of tags that are the shell's alone."""
    columns: str = request.param
    return columns


@pytest.fixture(params=[0, 3, 30, 300], ids="statistics of {} files".format)
def opened(tmp_path: Path, request: pytest.FixtureRequest, further: str) -> Iterator[Opened]:
    """A small library; ANALYZE has seen so many files of it, or has never been called."""
    path, seen = tmp_path / "library.db", SMALL[: request.param]
    create_library(path, files=1)
    with closing(sqlite3.connect(path)) as shell:
        for column in filter(None, further.split(", ")):
            shell.execute(f"ALTER TABLE rpg_tags ADD COLUMN {column}")
    with closing(Opened(path)) as first:
        create_tables(first.connection)
        add_tagged(first.connection, seen)
        if seen:
            first.connection.execute("ANALYZE")
    with closing(Opened(path)) as found:
        add_tagged(found.connection, SMALL[len(seen) :])
        yield found


def test_the_work_for_a_batch_does_not_grow_with_the_library(opened: Opened) -> None:
    connection, shape = opened.connection, opened.shape
    transaction = Transaction(connection, shape, generation=1, careful=False)

    def takes_back() -> None:
        assert undo_files(transaction, STAMP.row, BATCH) == len(BATCH)

    steps: dict[str, Callable[[], object]] = {
        "snapshots": lambda: queries.snapshots(connection, shape, BATCH),
        "audio_files": lambda: queries.audio_files(connection, shape, BATCH),
        "current_tags": lambda: queries.current_tags(connection, BATCH),
        "paths": lambda: queries.paths(connection, BATCH),
        "unknown_ids": lambda: queries.unknown_ids(connection, BATCH),
        "stored_proposals": lambda: stored_proposals(connection, STAMP.row, BATCH),
        "merge": lambda: write_rows(
            connection, rows_of(STAMP, [tagged(n, NEW, AFTER) for n in BATCH], batch=COUNT)
        ),
        "replace": lambda: write_rows(
            connection, rows_of(REPLACE, [tagged(n, NEW, AFTER) for n in BATCH], batch=COUNT)
        ),
        "undo": takes_back,
    }
    before = {name: work(connection, step) for name, step in steps.items()}
    add_tagged(connection, LARGE)
    after = {name: work(connection, step) for name, step in steps.items()}
    grown = {name: (before[name], after[name]) for name in steps if after[name] > 1.1 * before[name]}
    assert not grown


def test_the_work_for_a_batch_does_not_grow_with_the_files_that_are_excluded_one_by_one(opened: Opened) -> None:
    connection = opened.connection

    def exclude(ids: Sequence[int]) -> None:
        connection.executemany(
            "INSERT INTO auto_tag_exclusions (file_id, created_at) VALUES (?, 'd')", [(n,) for n in ids]
        )

    def allowed() -> int:
        return len(queries.without_excluded(connection, BATCH))

    exclude([BATCH[0], *SMALL[-20:]])
    before = work(connection, allowed)
    connection.execute("BEGIN")
    exclude(LARGE)
    connection.execute("COMMIT")
    assert work(connection, allowed) < 1.1 * before
    assert allowed() == len(BATCH) - 1
