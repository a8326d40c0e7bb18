"""What the database refuses is rolled back and tried once more, carefully."""

import sqlite3
import threading
from pathlib import Path

import pytest
import trio
import trio.testing

from sidecar.library.faults import Fault, LibraryError
from sidecar.library.writer import Transaction
from tests.writer.scenes import (
    PATIENCE_SECONDS,
    Clock,
    Job,
    Refused,
    cancel_in_vain,
    ratings,
    second_try,
    until_cancelled,
    writing,
)


async def test_what_the_database_refuses_is_rolled_back_and_runs_again_told_to_be_careful(path: Path) -> None:
    job = Refused()
    async with writing(path) as writer:
        await writer.write(Job(1, 5))
        assert await writer.write(job) == "in the second try"
        assert ratings(path)[0] == 77
    [(first, generation, found), second] = job.tries
    assert not first and found == 5
    assert second == (True, generation, 5)


async def test_what_is_refused_twice_has_changed_nothing_and_is_told(path: Path) -> None:
    job = Refused(always=True)
    async with writing(path) as writer:
        await writer.write(Job(1, 5))
        with pytest.raises(LibraryError) as caught:
            await writer.write(job)
        assert caught.value.fault is Fault.REFUSED
        assert ratings(path)[0] == 5
        assert await writer.write(Job(1, 4)) == 4
    assert [careful for careful, *_ in job.tries] == [False, True]


async def test_the_error_of_the_second_try_arrives_not_that_of_the_first(path: Path) -> None:
    job = Refused()

    def fails_otherwise(transaction: Transaction) -> None:
        job(transaction)
        raise KeyError("second")

    async with writing(path) as writer:
        await writer.write(Job(1, 5))
        with pytest.raises(KeyError, match="second"):
            await writer.write(fails_otherwise)
    assert len(job.tries) == 2
    assert ratings(path)[0] == 5


@pytest.mark.parametrize("error", [KeyError("mine"), sqlite3.OperationalError("odd"), sqlite3.DataError("odd")])
async def test_other_errors_get_no_second_try(path: Path, error: Exception) -> None:
    tries = []

    def job(transaction: Transaction) -> None:
        tries.append(transaction.careful)
        raise error

    async with writing(path) as writer:
        with pytest.raises((KeyError, LibraryError)):
            await writer.write(job)
    assert tries == [False]


async def test_a_commit_that_is_refused_has_changed_nothing_and_gets_a_second_try(path: Path) -> None:
    found: list[list[int | None]] = []

    def orphan(transaction: Transaction) -> None:
        found.append(ratings(path))
        transaction.connection.execute("PRAGMA defer_foreign_keys=ON")
        transaction.connection.execute("UPDATE audio_files SET rating = 7 WHERE id = 1")
        if not transaction.careful:
            transaction.connection.execute(
                "INSERT INTO rpg_tags (audio_file_id, tag_type, tag_value) VALUES (999, 'keyword', 'x')"
            )

    before = ratings(path)
    async with writing(path) as writer:
        await writer.write(orphan)
    assert found == [before, before]
    assert ratings(path) == [7, *before[1:]]


async def test_a_second_try_sees_what_another_program_wrote_after_the_first(path: Path) -> None:
    async with second_try(path, "UPDATE audio_files SET rating = 9 WHERE id = 1") as (writer, job, _):
        await writer.write(job)
        [(_, first, _), (_, second, found)] = job.tries
        assert found == 9
        assert first < second == writer.generation


async def test_a_second_try_waits_for_another_programs_lock(path: Path) -> None:
    async with second_try(path, "BEGIN IMMEDIATE", Clock(lambda _: other.execute("COMMIT"))) as (
        writer,
        job,
        other,
    ):
        await writer.write(job)
        assert len(job.tries) == 2
        assert ratings(path)[0] == 77


async def test_a_cancel_between_two_tries_takes_effect_at_once(path: Path) -> None:
    clock, waiting = until_cancelled()
    async with second_try(path, "BEGIN IMMEDIATE", clock) as (writer, job, other):
        before = ratings(path)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(writer.write, job)
                assert await trio.to_thread.run_sync(waiting.wait, PATIENCE_SECONDS)
                scope.cancel()
        assert scope.cancelled_caught
        assert len(job.tries) == 1
        other.execute("ROLLBACK")
        assert ratings(path) == before
        assert await writer.write(Job(1, 4)) == 4


async def test_a_cancel_within_a_second_try_waits_for_its_end(path: Path) -> None:
    begun, gate = threading.Event(), threading.Event()
    job = Refused()

    def slow(transaction: Transaction) -> str:
        told = job(transaction)
        begun.set()
        assert gate.wait(PATIENCE_SECONDS)
        return told

    async with writing(path) as writer, trio.open_nursery() as nursery:
        nursery.start_soon(writer.write, slow)
        assert await trio.to_thread.run_sync(begun.wait, PATIENCE_SECONDS)
        await cancel_in_vain(nursery)
        gate.set()
    assert ratings(path)[0] == 77


async def test_a_lock_that_outlasts_the_patience_of_a_second_try_is_an_error(path: Path) -> None:
    async with second_try(path, "BEGIN IMMEDIATE", Clock()) as (writer, job, other):
        await writer.write(Job(1, 5))
        with pytest.raises(LibraryError) as caught:
            await writer.write(job)
        assert caught.value.fault is Fault.LOCKED
        assert len(job.tries) == 1
        other.execute("ROLLBACK")
        assert ratings(path)[0] == 5
        assert await writer.write(Job(1, 4)) == 4
