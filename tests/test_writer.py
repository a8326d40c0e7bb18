"""The writer thread: one transaction a job, in order; cancelled until it has begun, finished once it has."""

import itertools
import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
import trio
import trio.testing

from sidecar.demo.library import create_library
from sidecar.library.faults import Fault, LibraryError
from sidecar.library.writer import Transaction, Writer

PATIENCE_SECONDS = 20.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "library.db"
    create_library(found, files=3)
    return found


@asynccontextmanager
async def writing(path: Path) -> AsyncIterator[Writer]:
    writer = Writer(path, itertools.count(1))
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


def ratings(path: Path) -> list[int | None]:
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT rating FROM audio_files ORDER BY id")]


async def begun(job: Job) -> None:
    assert await trio.to_thread.run_sync(job.begun.wait, PATIENCE_SECONDS)


async def test_a_result_comes_after_its_commit(path: Path) -> None:
    async with writing(path) as writer:
        assert await writer.write(Job(1, 5)) == 5
        assert ratings(path)[0] == 5


async def test_jobs_run_in_the_order_of_their_hand_over(path: Path) -> None:
    order: list[int] = []
    async with writing(path) as writer, trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(writer.write, lambda _, number=number: order.append(number))
            await trio.testing.wait_all_tasks_blocked()
    assert order == list(range(20))


async def test_a_job_that_raises_changes_nothing_and_its_error_arrives(path: Path) -> None:
    def job(transaction: Transaction) -> None:
        transaction.connection.execute("UPDATE audio_files SET rating = 1")
        raise KeyError("mine")

    before = ratings(path)
    async with writing(path) as writer:
        with pytest.raises(KeyError, match="mine"):
            await writer.write(job)
        assert ratings(path) == before
        assert await writer.write(Job(2, 4)) == 4


async def test_an_error_of_sqlite_is_a_library_error(path: Path) -> None:
    async with writing(path) as writer:
        with pytest.raises(LibraryError) as caught:
            await writer.write(lambda transaction: transaction.connection.execute("SELECT nothing"))
        assert caught.value.fault is Fault.REFUSED
        assert await writer.write(Job(1, 3)) == 3


async def test_what_is_prepared_is_prepared_before_the_lock_is_taken(path: Path) -> None:
    async with writing(path) as writer:

        def prepare() -> None:
            with closing(sqlite3.connect(path, timeout=0)) as other, other:
                other.execute("UPDATE audio_files SET rating = 9 WHERE id = 3")

        await writer.write(Job(1, 5), prepare=prepare)
    assert ratings(path)[::2] == [5, 9]


async def test_an_error_while_preparing_belongs_to_its_task(path: Path) -> None:
    def prepare() -> None:
        raise ValueError("not ready")

    async with writing(path) as writer:
        with pytest.raises(ValueError, match="not ready"):
            await writer.write(Job(1, 77), prepare=prepare)
        assert await writer.write(Job(2, 5)) == 5
    assert ratings(path)[0] != 77


async def test_a_job_that_waits_in_the_queue_is_cancelled_at_once_and_never_runs(path: Path) -> None:
    gate = threading.Event()
    first, second = Job(1, 5, gate), Job(2, 5)
    before = ratings(path)[1]
    async with writing(path) as writer, trio.open_nursery() as nursery:
        nursery.start_soon(writer.write, first)
        await begun(first)
        with trio.move_on_after(0) as scope:
            await writer.write(second)
        assert scope.cancelled_caught
        gate.set()
    assert not second.begun.is_set()
    assert ratings(path)[:2] == [5, before]


async def test_a_transaction_under_way_is_finished_before_its_task_is_cancelled(path: Path) -> None:
    gate = threading.Event()
    job = Job(1, 5, gate)
    async with writing(path) as writer, trio.open_nursery() as nursery:
        nursery.start_soon(writer.write, job)
        await begun(job)
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await trio.testing.wait_all_tasks_blocked()
            assert nursery.child_tasks
        gate.set()
    assert ratings(path)[0] == 5


async def test_waiting_for_another_programs_lock_can_be_cancelled(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        async with writing(path) as writer:
            await writer.write(Job(1, 1))
            other.execute("BEGIN IMMEDIATE")
            began = time.monotonic()
            with trio.move_on_after(0.05) as scope:
                await writer.write(Job(1, 5))
            assert scope.cancelled_caught
            assert time.monotonic() - began < 5
            other.execute("ROLLBACK")
            await writer.write(Job(2, 2))
    assert ratings(path)[:2] == [1, 2]


async def test_a_lock_that_outlasts_the_patience_is_an_error(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        async with writing(path) as writer:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(LibraryError) as caught:
                await writer.write(Job(1, 5), 0.05)
            assert caught.value.fault is Fault.LOCKED
            other.execute("ROLLBACK")


async def test_the_generation_rises_only_when_another_program_has_written(path: Path) -> None:
    def generation(transaction: Transaction) -> int:
        return transaction.generation

    async with writing(path) as writer:
        first = await writer.write(generation)
        await writer.write(Job(1, 5))
        assert await writer.write(generation) == first == writer.generation
        with closing(sqlite3.connect(path)) as other, other:
            other.execute("UPDATE audio_files SET rating = 2 WHERE id = 2")
        assert await writer.write(generation) > first
        assert writer.generation > first


async def test_the_lock_rests_half_as_long_as_it_was_held(path: Path) -> None:
    """Seen from outside: while jobs come without a pause, another program finds the lock free again and again."""
    held_seconds = 0.03
    async with writing(path) as writer, trio.open_nursery() as nursery:

        def hold(_transaction: Transaction) -> None:
            threading.Event().wait(held_seconds)

        async def keep_busy() -> None:
            for _ in range(20):
                await writer.write(hold)

        nursery.start_soon(keep_busy)
        nursery.start_soon(keep_busy)

        def edit() -> int:
            edits = 0
            with closing(sqlite3.connect(path, timeout=PATIENCE_SECONDS, isolation_level=None)) as other:
                for _ in range(10):
                    other.execute("UPDATE audio_files SET rating = ifnull(rating, 0) + 1 WHERE id = 3")
                    edits += 1
            return edits

        found = await trio.to_thread.run_sync(edit)
    assert found == 10


async def test_a_missing_file_is_told_and_a_later_one_is_used(path: Path) -> None:
    away = path.with_suffix(".away")
    path.rename(away)
    async with writing(path) as writer:
        with pytest.raises(LibraryError) as caught:
            await writer.write(Job(1, 5))
        assert caught.value.fault is Fault.MISSING
        away.rename(path)
        assert await writer.write(Job(1, 5)) == 5
