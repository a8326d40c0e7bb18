"""Writers, jobs for them, their time, and another program in the same library."""

import itertools
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import NamedTuple

import trio
import trio.testing

from sidecar.library.writer import Transaction, Writer

PATIENCE_SECONDS = 20.0


class Clock:
    """Time for a writer's thread: it passes while the thread waits, and where a job says so."""

    def __init__(self, meanwhile: Callable[[threading.Event], object] = lambda _: None) -> None:
        self.now = 0.0
        self.waits: list[float] = []
        self._meanwhile = meanwhile

    def monotonic(self) -> float:
        return self.now

    def wait(self, gone: threading.Event, seconds: float) -> None:
        """Nothing waits in truth; what happens meanwhile, but for waits of no time at all, does."""
        self.waits.append(seconds)
        self.now += seconds
        if seconds:
            self._meanwhile(gone)

    def passes(self, seconds: float) -> Callable[[Transaction], None]:
        """A job that takes so long."""

        def job(_transaction: Transaction) -> None:
            self.now += seconds

        return job


def until_cancelled() -> tuple[Clock, threading.Event]:
    """A clock whose first wait lasts until its job is cancelled, and what is set when that wait begins."""
    waiting = threading.Event()

    def meanwhile(cancelled: threading.Event) -> None:
        if not waiting.is_set():
            waiting.set()
            assert cancelled.wait(PATIENCE_SECONDS)

    return Clock(meanwhile), waiting


@asynccontextmanager
async def writing(path: Path, clock: Clock | None = None) -> AsyncIterator[Writer]:
    timing = () if clock is None else (clock.monotonic, clock.wait)
    writer = Writer(path, itertools.count(1), *timing)
    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.run)
            try:
                yield writer
            finally:
                writer.close()
                with trio.CancelScope(shield=True):
                    await writer.ended.wait()


class Job:
    """Sets a file's rating; waits at its gate within the transaction, if it has one."""

    def __init__(self, number: int, rating: int, gate: threading.Event | None = None) -> None:
        self._number = number
        self._rating = rating
        self._gate = gate
        self.begun = threading.Event()

    def __call__(self, transaction: Transaction) -> int:
        self.begun.set()
        transaction.connection.execute(
            "UPDATE audio_files SET rating = ? WHERE id = ?", (self._rating, self._number)
        )
        if self._gate is not None:
            assert self._gate.wait(PATIENCE_SECONDS)
        return self._rating


async def cancel_in_vain(nursery: trio.Nursery) -> None:
    """Cancels what runs in the nursery, and sees that it stays: a transaction is under way."""
    nursery.cancel_scope.cancel()
    with trio.CancelScope(shield=True):
        await trio.testing.wait_all_tasks_blocked()
        assert nursery.child_tasks


def ratings(path: Path) -> list[int | None]:
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT rating FROM audio_files ORDER BY id")]


async def begun(job: Job) -> None:
    assert await trio.to_thread.run_sync(job.begun.wait, PATIENCE_SECONDS)


def foreign(path: Path) -> "closing[sqlite3.Connection]":
    """Another program, as far as SQLite can tell."""
    return closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0))


class Refused:
    """Sets a file's rating, then does what the database refuses, on the first try only unless `always`."""

    def __init__(self, before: Callable[[], object] = lambda: None, *, always: bool = False) -> None:
        self._before = before
        self._always = always
        self.tries: list[tuple[bool, int, int | None]] = []
        """(careful, generation, the rating that was found) of each."""

    def __call__(self, transaction: Transaction) -> str:
        connection = transaction.connection
        found = connection.execute("SELECT rating FROM audio_files WHERE id = 1").fetchone()[0]
        self.tries.append((transaction.careful, transaction.generation, found))
        connection.execute("UPDATE audio_files SET rating = 77 WHERE id = 1")
        if self._always or not transaction.careful:
            self._before()
            connection.execute("INSERT INTO audio_files (file_path) SELECT file_path FROM audio_files")
        return "in the second try"


class SecondTry(NamedTuple):
    """A writer, a job of its that is refused once, and another program."""

    writer: Writer
    job: Refused
    other: sqlite3.Connection


@asynccontextmanager
async def second_try(path: Path, statement: str, clock: Clock | None = None) -> AsyncIterator[SecondTry]:
    """The other program runs `statement` just before the job's second transaction takes the lock."""

    def watch(connection: sqlite3.Connection) -> None:
        def on_statement(seen: str) -> None:
            if seen.startswith("BEGIN"):
                connection.set_trace_callback(None)
                other.execute(statement)

        connection.set_trace_callback(on_statement)

    connections: list[sqlite3.Connection] = []
    with foreign(path) as other:
        async with writing(path, clock) as writer:
            await writer.write(lambda transaction: connections.append(transaction.connection))
            yield SecondTry(writer, Refused(lambda: watch(connections[0])), other)
