"""SQLite's log beside the library: bounded, though readers keep it from being begun anew for a while."""

import itertools
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import trio

from sidecar.demo.library import create_library
from sidecar.library.writer import Transaction, Writer

PATIENCE_SECONDS = 60.0
FILES = 400
BIG_JOBS = 8
SMALL_JOBS = 400
MB = 1024 * 1024


def _edit(transaction: Transaction, files: int, text: str) -> None:
    transaction.connection.execute("UPDATE audio_files SET title = ? WHERE id <= ?", (text, files))


async def test_a_log_that_readers_made_long_is_begun_anew_when_they_have_gone(tmp_path: Path) -> None:
    path = tmp_path / "library.db"
    create_library(path, files=FILES)
    log = Path(f"{path}-wal")
    writer = Writer(path, itertools.count(1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run)
        try:
            with trio.fail_after(PATIENCE_SECONDS), closing(sqlite3.connect(path, isolation_level=None)) as reader:
                await writer.write(partial(_edit, files=1, text="first"))
                reader.execute("BEGIN")
                reader.execute("SELECT count(*) FROM audio_files").fetchone()
                for number in range(BIG_JOBS):
                    await writer.write(partial(_edit, files=FILES, text=f"{number} " * 1000))
                reader.execute("COMMIT")
                long = log.stat().st_size
                assert long > 8 * MB, "the reader was in the way"
                for number in range(SMALL_JOBS):
                    await writer.write(partial(_edit, files=3, text=f"small {number}"))
                # One more was added before the log could begin anew.
                assert log.stat().st_size < long + MB, "the log went on growing"
        finally:
            writer.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT title FROM audio_files WHERE id = 1").fetchone() == ("small 399",)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
