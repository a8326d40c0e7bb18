"""SQLite's log beside the library: moved into it now and then, and bounded though readers keep it long."""

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from sidecar.demo.library import create_library
from sidecar.library.writer import Transaction
from tests.harness import eventually, never
from tests.writer.scenes import Clock, writing

FILES = 400
BIG_JOBS = 8
SMALL_JOBS = 400
MB = 1024 * 1024


def _rows(count: int, kilobytes: int = 1) -> Callable[[Transaction], object]:
    """A job that adds rows of that size to a table of its own."""

    def job(transaction: Transaction) -> None:
        transaction.connection.execute("CREATE TABLE IF NOT EXISTS scratch (content BLOB)")
        transaction.connection.executemany(
            "INSERT INTO scratch VALUES (zeroblob(?))", [(kilobytes * 1024,)] * count
        )

    return job


async def test_the_log_is_moved_into_the_database_after_some_thousand_rows_not_after_every_job(
    tmp_path: Path,
) -> None:
    path = tmp_path / "library.db"
    create_library(path, files=3)
    empty = path.stat().st_size
    async with writing(path) as writer:

        async def settled() -> int:
            """The size of the database itself once the thread has dealt with everything so far."""
            await writer.write(lambda _: None)
            return path.stat().st_size

        await writer.write(_rows(1000))
        assert await settled() == empty
        await writer.write(_rows(3000))
        moved = await settled()
        assert moved > empty + 3_000_000
        await writer.write(_rows(1000))
        assert await settled() == moved
        await writer.write(_rows(2000))
        assert await settled() > moved + 2_000_000


WITHOUT_WAITING = ["PRAGMA wal_checkpoint(PASSIVE)", "PRAGMA busy_timeout=0"]
FOR_50_MS_AT_MOST = ["PRAGMA busy_timeout=50", "PRAGMA wal_checkpoint(RESTART)", "PRAGMA busy_timeout=0"]


class Rest(Clock):
    """A clock whose writer does something before each job's lock."""

    def __init__(self) -> None:
        super().__init__()
        self.act: Callable[[], None] = lambda: None

    def wait(self, gone: threading.Event, seconds: float) -> None:
        """The writer rests before each job, if only for no time."""
        super().wait(gone, seconds)
        self.act()


async def test_only_for_a_long_log_are_readers_waited_for_and_only_until_it_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "library.db"
    create_library(path, files=3)
    seen: list[str] = []

    def watch(statement: str) -> None:
        if statement.startswith("PRAGMA") and "data_version" not in statement:
            seen.append(statement)

    rest = Rest()
    async with writing(path, rest) as writer:

        async def seen_before(
            job: Callable[[Transaction], object], meanwhile: Callable[[], object] = lambda: None
        ) -> list[str]:
            """What was done about the log since the last job; then `meanwhile`, then the job."""
            found: list[str] = []

            def before_the_lock() -> None:
                found.extend(seen)
                seen.clear()
                meanwhile()

            rest.act = before_the_lock
            await writer.write(job)
            return found

        await writer.write(lambda transaction: transaction.connection.set_trace_callback(watch))
        with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM audio_files").fetchone()
            assert await seen_before(_rows(3000, kilobytes=4)) == []
            assert await seen_before(_rows(1)) == WITHOUT_WAITING
            assert await seen_before(_rows(1), lambda: reader.execute("COMMIT")) == FOR_50_MS_AT_MOST
            assert await seen_before(_rows(1)) == FOR_50_MS_AT_MOST
            assert await seen_before(_rows(1)) == []


def _edit(transaction: Transaction, files: int, text: str) -> None:
    transaction.connection.execute("UPDATE audio_files SET title = ? WHERE id <= ?", (text, files))


async def test_a_log_that_readers_made_long_is_begun_anew_when_they_have_gone(tmp_path: Path) -> None:
    path = tmp_path / "library.db"
    create_library(path, files=FILES)
    log = Path(f"{path}-wal")
    async with writing(path) as writer:
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            await writer.write(partial(_edit, files=1, text="first"))
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM audio_files").fetchone()
            for number in range(BIG_JOBS):
                await writer.write(partial(_edit, files=FILES, text=f"{number} " * 1000))
            await writer.write(lambda _: None)  # and what follows the last of them has been done
            reader.execute("COMMIT")
            long = log.stat().st_size
            assert long > 8 * MB, "the reader was in the way"
            for number in range(SMALL_JOBS):
                await writer.write(partial(_edit, files=3, text=f"small {number}"))
            # One more was added before the log could begin anew.
            assert log.stat().st_size < long + MB, "the log went on growing"
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT title FROM audio_files WHERE id = 1").fetchone() == ("small 399",)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_in_a_quiet_moment_the_log_is_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.library.writer._IDLE_SECONDS", 0.01)
    path = tmp_path / "library.db"
    create_library(path, files=3)
    log = Path(f"{path}-wal")
    emptied: list[str] = []
    async with writing(path) as writer:
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            await writer.write(partial(_edit, files=1, text="first"))
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM audio_files").fetchone()
            await writer.write(partial(_edit, files=1, text="second"))
            await never(lambda: log.stat().st_size == 0, 0.2)
            reader.execute("COMMIT")
            await eventually(lambda: log.stat().st_size == 0)
        await writer.write(lambda transaction: transaction.connection.set_trace_callback(emptied.append))
        await eventually(lambda: any("TRUNCATE" in statement for statement in emptied))
        seen = len(emptied)
        await never(lambda: len(emptied) > seen + 2, 0.2)  # nothing is done where there is nothing to do
        copied = tmp_path / "copy.db"
        copied.write_bytes(path.read_bytes())
        await writer.write(partial(_edit, files=1, text="third"))
        await eventually(lambda: log.stat().st_size == 0)
    with closing(sqlite3.connect(copied)) as connection:
        assert connection.execute("SELECT title FROM audio_files WHERE id = 1").fetchone() == ("second",)


async def test_a_log_that_nothing_can_be_done_about_stops_no_later_job(tmp_path: Path) -> None:
    path = tmp_path / "library.db"
    create_library(path, files=3)

    def refuse_to_wait(transaction: Transaction) -> None:
        _rows(3000)(transaction)
        transaction.connection.set_authorizer(
            lambda _action, name, *_: sqlite3.SQLITE_DENY if name == "busy_timeout" else sqlite3.SQLITE_OK
        )

    async with writing(path) as writer:
        await writer.write(refuse_to_wait)
        assert await writer.write(lambda _: "done") == "done"
