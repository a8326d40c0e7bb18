"""The writer thread: one transaction a job, in order; cancelled until it has begun, finished once it has."""

import itertools
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import psutil
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


async def test_a_task_that_leaves_while_its_transaction_begins_leaves_no_transaction_behind(path: Path) -> None:
    begins, gate = threading.Event(), threading.Event()

    def hold_begin(statement: str) -> None:
        if statement.startswith("BEGIN") and not gate.is_set():
            begins.set()
            assert gate.wait(PATIENCE_SECONDS)

    job = Job(1, 77)
    async with writing(path) as writer:
        await writer.write(lambda transaction: transaction.connection.set_trace_callback(hold_begin))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.write, job)
            assert await trio.to_thread.run_sync(begins.wait, PATIENCE_SECONDS)
            nursery.cancel_scope.cancel()
        gate.set()
        assert await writer.write(Job(2, 5)) == 5
    assert not job.begun.is_set()
    assert ratings(path)[0] != 77


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


async def test_before_its_first_transaction_a_writer_has_seen_no_generation(path: Path) -> None:
    async with writing(path) as writer:
        before = writer.generation
        assert before < await writer.write(lambda transaction: transaction.generation)


async def test_another_program_gets_its_turn_while_jobs_come_without_a_pause(path: Path) -> None:
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


# --- the lock, its rest and the log ---------------------------------------------------------------


async def test_between_two_jobs_the_lock_is_free_for_half_the_time_that_it_was_held_not_longer(
    path: Path,
) -> None:
    """The shortest of several rests: what this machine does beside can only make one longer."""
    held_seconds = 0.06
    begins: list[float] = []
    ends: list[float] = []

    def hold(_transaction: Transaction) -> None:
        begins.append(time.monotonic())
        threading.Event().wait(held_seconds)
        ends.append(time.monotonic())

    async with writing(path) as writer:
        for _ in range(8):
            await writer.write(hold)
    rests = [begin - end for end, begin in zip(ends, begins[1:], strict=False)]
    assert held_seconds / 2 <= min(rests) < held_seconds


async def test_a_job_that_comes_after_the_rest_does_not_wait(path: Path) -> None:
    async with writing(path) as writer:
        await writer.write(Job(1, 1))
        waits = []
        for _ in range(5):
            await trio.sleep(0.05)
            began = time.monotonic()
            await writer.write(Job(1, 1))
            waits.append(time.monotonic() - began)
    assert min(waits) < 0.5


async def test_a_foreign_lock_is_waited_for_and_its_end_is_found_soon(path: Path) -> None:
    """The shortest of three waits; each lock is held longer than the growing steps between tries add up to."""
    waits: list[float] = []
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        async with writing(path) as writer:
            await writer.write(Job(1, 1))
            for rating in (2, 3, 4):
                other.execute("BEGIN IMMEDIATE")
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(writer.write, Job(1, rating))
                    await trio.sleep(0.4)
                    other.execute("COMMIT")
                    released = time.monotonic()
                waits.append(time.monotonic() - released)
    assert ratings(path)[0] == 4
    assert min(waits) < 0.5


async def test_only_a_foreign_lock_is_waited_for_other_troubles_are_told_at_once(path: Path) -> None:
    async with writing(path) as writer:
        await writer.write(lambda transaction: transaction.connection.execute("PRAGMA query_only=ON"))
        with pytest.raises(LibraryError) as caught:
            await writer.write(Job(1, 5), patience_seconds=10 * PATIENCE_SECONDS)
        assert caught.value.fault is Fault.READ_ONLY


async def test_a_job_whose_commit_is_refused_has_changed_nothing(path: Path) -> None:
    def orphan(transaction: Transaction) -> None:
        transaction.connection.execute("PRAGMA defer_foreign_keys=ON")
        transaction.connection.execute("UPDATE audio_files SET rating = 7")
        transaction.connection.execute(
            "INSERT INTO rpg_tags (audio_file_id, tag_type, tag_value) VALUES (999, 'keyword', 'x')"
        )

    before = ratings(path)
    async with writing(path) as writer:
        with pytest.raises(LibraryError):
            await writer.write(orphan)
        assert ratings(path) == before
        assert await writer.write(Job(1, 4)) == 4


def rows(count: int, kilobytes: int = 1) -> Callable[[Transaction], object]:
    """A job that adds rows of that size to a table of its own."""

    def job(transaction: Transaction) -> None:
        transaction.connection.execute("CREATE TABLE IF NOT EXISTS scratch (content BLOB)")
        transaction.connection.executemany(
            "INSERT INTO scratch VALUES (zeroblob(?))", [(kilobytes * 1024,)] * count
        )

    return job


async def test_the_log_is_moved_into_the_database_after_some_thousand_rows_not_after_every_job(
    path: Path,
) -> None:
    async def settled() -> int:
        """The size of the database itself once the thread has dealt with everything so far."""
        await writer.write(lambda _: None)
        return path.stat().st_size

    async with writing(path) as writer:
        empty = await settled()
        await writer.write(rows(1000))
        assert await settled() == empty
        await writer.write(rows(3000))
        moved = await settled()
        assert moved > empty + 3_000_000
        await writer.write(rows(1000))
        assert await settled() == moved
        await writer.write(rows(2000))
        assert await settled() > moved + 2_000_000


# --- other troubles -------------------------------------------------------------------------------


def is_open(path: Path) -> bool:
    return str(path.resolve()) in [file.path for file in psutil.Process().open_files()]


async def test_a_database_that_is_no_library_is_refused_and_not_kept_open(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE notes (text)")
    async with writing(path) as writer:
        with pytest.raises(LibraryError) as caught:
            await writer.write(lambda _: None)
        assert caught.value.fault is Fault.NOT_A_LIBRARY
        assert not is_open(path)


async def test_the_database_is_open_from_the_first_job_until_the_writer_has_ended(path: Path) -> None:
    async with writing(path) as writer:
        assert not is_open(path)
        await writer.write(Job(1, 5))
        assert is_open(path)
        await writer.write(Job(1, 6))
    assert not is_open(path)


async def test_a_read_only_file_is_told_and_may_be_mended(path: Path) -> None:
    path.chmod(0o444)
    async with writing(path) as writer:
        with pytest.raises(LibraryError) as caught:
            await writer.write(Job(1, 5))
        assert caught.value.fault is Fault.READ_ONLY
        path.chmod(0o644)
        assert await writer.write(Job(1, 5)) == 5


async def test_an_error_of_the_file_system_within_a_job_is_a_library_error(path: Path) -> None:
    def refused(_transaction: Transaction) -> None:
        raise PermissionError

    def gone(_transaction: Transaction) -> None:
        raise FileNotFoundError

    async with writing(path) as writer:
        for job, fault in ((refused, Fault.READ_ONLY), (gone, Fault.MISSING)):
            with pytest.raises(LibraryError) as caught:
                await writer.write(job)
            assert caught.value.fault is fault


async def test_a_task_that_is_cancelled_already_hands_nothing_over(path: Path) -> None:
    job = Job(1, 5)
    prepared: list[None] = []
    async with writing(path) as writer:
        with trio.CancelScope() as scope:
            scope.cancel()
            await writer.write(job, prepare=lambda: prepared.append(None))
        assert scope.cancelled_caught
        await writer.write(lambda _: None)
    assert not job.begun.is_set()
    assert not prepared


async def test_jobs_that_were_handed_over_before_the_close_are_dealt_with(path: Path) -> None:
    gate = threading.Event()
    first, second = Job(1, 5, gate), Job(2, 6)
    async with writing(path) as writer, trio.open_nursery() as nursery:
        nursery.start_soon(writer.write, first)
        await begun(first)
        nursery.start_soon(writer.write, second)
        await trio.testing.wait_all_tasks_blocked()
        writer.close()
        assert not writer.ended.is_set()
        gate.set()
    assert writer.ended.is_set()
    assert ratings(path)[:2] == [5, 6]


async def test_an_error_whose_task_has_left_reaches_nobody_and_harms_nobody(path: Path) -> None:
    gate = threading.Event()
    away = path.with_suffix(".away")
    path.rename(away)

    def prepare() -> None:
        assert gate.wait(PATIENCE_SECONDS)

    def prepare_in_vain() -> None:
        prepare()
        raise ValueError("not ready")

    async with writing(path) as writer:
        for preparation in (prepare, prepare_in_vain):
            with trio.move_on_after(0.05) as scope:
                await writer.write(Job(1, 5), prepare=preparation)
            assert scope.cancelled_caught
        gate.set()
        with pytest.raises(LibraryError):  # handed over after the two, so they have been dealt with
            await writer.write(Job(2, 6))
        away.rename(path)
        assert await writer.write(Job(2, 6)) == 6
