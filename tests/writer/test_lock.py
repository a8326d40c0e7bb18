"""The lock: waited for in small steps, held two thirds of the time at most."""

import inspect
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
import trio
import trio.testing

from sidecar.library.faults import Fault, LibraryError
from sidecar.library.writer import Transaction, Writer
from tests.writer.scenes import PATIENCE_SECONDS, Clock, Job, foreign, until_cancelled, writing


@pytest.mark.parametrize(
    ("held", "idle", "rest"),
    [(0.06, 0.0, 0.03), (0.06, 0.01, 0.02), (0.06, 1.0, 0.0), (10.0, 0.0, 1.0)],
)
async def test_a_job_waits_until_the_lock_was_free_for_half_the_time_that_it_was_held_at_most_a_second(
    path: Path, held: float, idle: float, rest: float
) -> None:
    clock = Clock()
    async with writing(path, clock) as writer:
        await writer.write(clock.passes(held))
        clock.now += idle
        await writer.write(Job(1, 5))
    assert clock.waits == [0.0, pytest.approx(rest)]


async def test_a_rest_that_was_too_long_shortens_the_next_by_five_milliseconds_at_most(path: Path) -> None:
    clock = Clock()
    async with writing(path, clock) as writer:
        await writer.write(clock.passes(0.06))
        clock.now += 0.032
        await writer.write(clock.passes(0.06))  # 2 ms in hand
        clock.now += 1.0
        await writer.write(clock.passes(0.06))  # 5 ms
        await writer.write(clock.passes(0.06))
        await writer.write(Job(1, 5))
    assert clock.waits == [0.0, 0.0, 0.0, pytest.approx(0.025), pytest.approx(0.03)]


async def test_the_lock_is_free_for_a_third_of_the_time_when_rests_are_never_exact(path: Path) -> None:
    clock = Clock()
    async with writing(path, clock) as writer:
        for number in range(100):
            clock.now += 0.003 * (number % 3)
            await writer.write(clock.passes(0.006))
    assert clock.now == pytest.approx(0.6 * 3 / 2, abs=0.005)


async def test_for_a_second_after_another_programs_write_the_lock_is_free_for_half_of_the_time(path: Path) -> None:
    clock = Clock()
    with foreign(path) as other:
        async with writing(path, clock) as writer:
            await writer.write(clock.passes(0.06))
            other.execute("UPDATE audio_files SET rating = 1")
            await writer.write(clock.passes(0.4))  # from 0.09 on: this one finds the edit
            await writer.write(clock.passes(0.2))  # from 0.89
            await writer.write(clock.passes(0.06))  # from 1.29
            await writer.write(Job(1, 5))
    assert clock.waits == [0.0, *map(pytest.approx, (0.03, 0.4, 0.2, 0.03))]


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


async def test_a_foreign_lock_is_tried_in_the_steps_of_sqlites_own_busy_handler(path: Path) -> None:
    milliseconds = [1, 2, 5, 10, 15, 20, 25, 25, 25, 50, 50, 100, 100, 100]

    def release_after_the_last(_gone: threading.Event) -> None:
        if len(clock.waits) == 1 + len(milliseconds):
            other.execute("COMMIT")

    clock = Clock(release_after_the_last)
    with foreign(path) as other:
        other.execute("BEGIN IMMEDIATE")
        async with writing(path, clock) as writer:
            assert await writer.write(Job(1, 5)) == 5
    assert clock.waits == [0.0, *(step / 1000 for step in milliseconds)]


@pytest.mark.parametrize(("patience", "waits"), [(0.0, []), (0.001, [0.001]), (0.0011, [0.001, 0.002])])
async def test_a_lock_that_outlasts_the_patience_is_an_error(
    path: Path, patience: float, waits: list[float]
) -> None:
    clock = Clock()
    with foreign(path) as other:
        other.execute("BEGIN IMMEDIATE")
        async with writing(path, clock) as writer:
            with pytest.raises(LibraryError) as caught:
                await writer.write(Job(1, 5), patience)
            assert caught.value.fault is Fault.LOCKED
            assert clock.waits == [0.0, *waits]
            other.execute("ROLLBACK")
            assert await writer.write(Job(1, 5)) == 5


async def test_a_writer_is_as_patient_as_the_shell_thirty_seconds(path: Path) -> None:
    clock = Clock()
    with foreign(path) as other:
        other.execute("BEGIN IMMEDIATE")
        async with writing(path, clock) as writer:
            with pytest.raises(LibraryError):
                await writer.write(Job(1, 5))
    assert 30 <= clock.now < 30.1


async def test_waiting_for_another_programs_lock_can_be_cancelled(path: Path) -> None:
    clock, waiting = until_cancelled()
    job = Job(1, 77)
    with foreign(path) as other:
        async with writing(path, clock) as writer:
            other.execute("BEGIN IMMEDIATE")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(writer.write, job)
                assert await trio.to_thread.run_sync(waiting.wait, PATIENCE_SECONDS)
                nursery.cancel_scope.cancel()
            other.execute("ROLLBACK")
            await writer.write(Job(2, 2))
    assert not job.begun.is_set()


async def test_only_a_foreign_lock_is_waited_for_other_troubles_are_told_at_once(path: Path) -> None:
    async with writing(path) as writer:
        await writer.write(lambda transaction: transaction.connection.execute("PRAGMA query_only=ON"))
        with pytest.raises(LibraryError) as caught:
            await writer.write(Job(1, 5), patience_seconds=10 * PATIENCE_SECONDS)
        assert caught.value.fault is Fault.READ_ONLY


async def test_a_commit_waits_for_readers_where_the_library_could_not_be_switched_to_wal(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as reader:
        reader.execute("PRAGMA journal_mode=DELETE")
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM audio_files").fetchone()
        waits: list[float] = []

        def meanwhile(_: threading.Event) -> None:
            waits.append(clock.now)
            if len(waits) == 3:
                reader.execute("COMMIT")

        clock = Clock(meanwhile)
        async with writing(path, clock) as writer:
            await writer.write(Job(1, 5))
        assert len(waits) == 3
        assert reader.execute("SELECT rating FROM audio_files WHERE id = 1").fetchone() == (5,)


def test_the_writers_own_clock_sees_the_shortest_transaction() -> None:
    clock = inspect.signature(Writer).parameters["monotonic"].default
    assert time.get_clock_info(clock.__name__).resolution <= 0.0001
