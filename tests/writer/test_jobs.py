"""The writer thread: one transaction a job, in order; cancelled until it has begun, finished once it has."""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
import trio
import trio.testing

from sidecar.library.faults import Fault, LibraryError
from sidecar.library.file import log_of, look_at
from sidecar.library.own_tables import create_tables
from sidecar.library.procedures import Rows, write_rows
from sidecar.library.writer import Transaction
from tests.harness import eventually, never
from tests.writer.scenes import PATIENCE_SECONDS, Job, begun, cancel_in_vain, foreign, ratings, writing


async def test_a_result_comes_after_its_commit(path: Path) -> None:
    async with writing(path) as writer:
        assert await writer.write(Job(1, 5)) == 5
        assert ratings(path)[0] == 5


async def test_a_commit_reaches_the_disk_itself_on_macos_too(path: Path) -> None:
    def synced(transaction: Transaction) -> list[int]:
        pragmas = ("synchronous", "fullfsync")
        return [transaction.connection.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas]

    async with writing(path) as writer:
        assert await writer.write(synced) == [2, 1]


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


async def test_how_a_job_has_left_the_file_is_known_unless_it_failed(path: Path) -> None:
    async with writing(path) as writer:
        assert writer.left is None
        for rating in (3, 4):
            await writer.write(Job(1, rating))
            await eventually(lambda: writer.left is not None)
            assert writer.left == look_at(path, log_of(path))
        with foreign(path) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(LibraryError):
                await writer.write(Job(1, 5), patience_seconds=0)
        assert writer.left is None, "it could not begin"
        await writer.write(Job(1, 5))
        await eventually(lambda: writer.left is not None)
        with pytest.raises(LibraryError):
            await writer.write(lambda transaction: transaction.connection.execute("SELECT nothing"))
        await never(lambda: writer.left is not None, seconds=0.1)


async def test_a_job_finds_the_procedures_in_its_connection(path: Path) -> None:
    def job(transaction: Transaction) -> list[tuple[str]]:
        create_tables(transaction.connection)
        write_rows(transaction.connection, Rows(run=1, proposals='{"3": "it"}'))
        return transaction.connection.execute("SELECT proposal FROM auto_tag_proposals").fetchall()

    async with writing(path) as writer:
        assert await writer.write(job) == [("it",)]


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
        await cancel_in_vain(nursery)
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


async def test_a_job_may_date_what_was_read_before_it(path: Path) -> None:
    async with writing(path) as writer:
        await writer.write(Job(1, 5))
        before = writer.generation
        await writer.write(Job(1, 6), dates_reads=True)
        assert writer.generation > before


async def test_before_its_first_transaction_a_writer_has_seen_no_generation(path: Path) -> None:
    async with writing(path) as writer:
        before = writer.generation
        assert before < await writer.write(lambda transaction: transaction.generation)
