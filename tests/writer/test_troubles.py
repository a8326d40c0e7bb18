"""Libraries that are gone, refused or read-only; tasks that have left; the writer's end."""

import errno
import itertools
import sqlite3
import sys
import threading
from contextlib import closing
from pathlib import Path

import psutil
import pytest
import trio
import trio.testing

from sidecar.library.faults import Fault, LibraryError
from sidecar.library.log import Log
from sidecar.library.writer import Transaction, Writer
from tests.writer.scenes import (
    PATIENCE_SECONDS,
    Job,
    begun,
    ratings,
    writing,
)


async def test_a_missing_file_is_told_and_a_later_one_is_used(path: Path) -> None:
    away = path.with_suffix(".away")
    path.rename(away)
    async with writing(path) as writer:
        with pytest.raises(LibraryError) as caught:
            await writer.write(Job(1, 5))
        assert caught.value.fault is Fault.MISSING
        away.rename(path)
        assert await writer.write(Job(1, 5)) == 5


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


@pytest.mark.skipif(sys.platform == "win32", reason="Windows lets only some users make links")
async def test_a_place_that_cannot_even_be_looked_at_any_more_is_told_and_the_writer_goes_on(path: Path) -> None:
    away = path.with_suffix(".away")

    def share_goes_away(transaction: Transaction) -> None:
        path.rename(away)
        path.symlink_to("x" * 300)  # a name too long: no look at it says whether there is a file
        transaction.connection.execute("ATTACH 'file:/nowhere/library.db?mode=ro' AS other")

    async with writing(path) as writer:
        with pytest.raises(LibraryError) as caught:
            await writer.write(share_goes_away)
        assert caught.value.fault is Fault.MISSING
        away.replace(path)
        assert await writer.write(Job(1, 5)) == 5


async def test_a_disk_with_errors_is_told_as_that(path: Path) -> None:
    def breaks(_transaction: Transaction) -> None:
        raise OSError(errno.EIO, "Input/output error")

    async with writing(path) as writer:
        with pytest.raises(LibraryError) as caught:
            await writer.write(breaks)
    assert caught.value.fault is Fault.BROKEN_DISK


async def test_an_error_while_the_library_is_opened_reaches_the_task_whatever_it_is(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("while opening")

    async with writing(path) as writer:
        with monkeypatch.context() as patch:
            patch.setattr("sidecar.library.opened.create_procedures", broken)
            with pytest.raises(RuntimeError, match="while opening"):
                await writer.write(Job(1, 5))
        assert await writer.write(Job(1, 5)) == 5


async def test_when_the_thread_dies_waiting_and_later_jobs_fail_instead_of_waiting(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_log: Log) -> None:
        raise RuntimeError("of its own")

    async def dies() -> None:
        with pytest.raises(RuntimeError, match="of its own"):
            await writer.run()

    async def fails(job: Job) -> None:
        with pytest.raises(trio.BrokenResourceError):
            await writer.write(job)

    monkeypatch.setattr(Log, "checkpoint", broken)
    gate = threading.Event()
    first, waiting = Job(1, 5, gate), Job(2, 6)
    writer = Writer(path, itertools.count(1))
    before = ratings(path)[1]
    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(dies)
            nursery.start_soon(writer.write, first)
            await begun(first)
            async with trio.open_nursery() as gone:
                gone.start_soon(writer.write, Job(4, 8))
                await trio.testing.wait_all_tasks_blocked()
                gone.cancel_scope.cancel()
            nursery.start_soon(fails, waiting)
            await trio.testing.wait_all_tasks_blocked()
            gate.set()
        await fails(Job(3, 7))
        writer.close()
        await fails(Job(3, 7))
    assert ratings(path)[:2] == [5, before]


async def test_a_task_that_is_cancelled_already_hands_nothing_over(path: Path) -> None:
    job = Job(1, 5)
    async with writing(path) as writer:
        with trio.CancelScope() as scope:
            scope.cancel()
            await writer.write(job)
        assert scope.cancelled_caught
        await writer.write(lambda _: None)
    assert not job.begun.is_set()


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
    away = path.with_suffix(".away")
    path.rename(away)
    writer = Writer(path, itertools.count(1))
    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.write, Job(1, 5))
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.run)
            with pytest.raises(LibraryError):  # handed over after the other, so that has been dealt with
                await writer.write(Job(2, 6))
            away.rename(path)
            assert await writer.write(Job(2, 6)) == 6
            writer.close()
