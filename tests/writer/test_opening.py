"""A library that another program has to itself when the writer opens it: waited for like any other lock."""

import shutil
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from sidecar.library.faults import Fault, LibraryError
from tests.writer.scenes import PATIENCE_SECONDS, Clock, Job, foreign, ratings, until_cancelled, writing

posix = pytest.mark.skipif(sys.platform == "win32", reason="replaces an open file")


@contextmanager
def exclusively(path: Path) -> Iterator[sqlite3.Connection]:
    """Another program, which has the library to itself: nobody else may even read. It keeps no log (WAL)."""
    with foreign(path) as other:
        other.execute("PRAGMA journal_mode=DELETE")
        other.execute("BEGIN EXCLUSIVE")
        yield other


async def test_the_first_job_waits_for_the_lock_in_the_usual_steps(path: Path) -> None:
    milliseconds = [1, 2, 5, 10, 15, 20, 25, 25, 25, 50, 50, 100, 100]

    def release_after_the_last(_gone: threading.Event) -> None:
        if len(clock.waits) == 1 + len(milliseconds):
            other.execute("ROLLBACK")

    clock = Clock(release_after_the_last)
    with exclusively(path) as other:
        async with writing(path, clock) as writer:
            assert await writer.write(Job(1, 5)) == 5
    assert clock.waits == [0.0, *(step / 1000 for step in milliseconds)]
    assert ratings(path)[0] == 5


async def test_opening_and_beginning_share_the_thirty_seconds(path: Path) -> None:
    """The lock that nobody can read beside becomes one that nobody can write beside."""

    def half_release(_gone: threading.Event) -> None:
        if clock.now >= 20 and not halves:
            halves.append(clock.now)
            other.execute("ROLLBACK")
            other.execute("BEGIN IMMEDIATE")

    halves: list[float] = []
    clock = Clock(half_release)
    with exclusively(path) as other:
        async with writing(path, clock) as writer:
            with pytest.raises(LibraryError) as caught:
                await writer.write(Job(1, 5))
            assert caught.value.fault is Fault.LOCKED
            assert halves and 30 <= clock.now < 30.2
            other.execute("ROLLBACK")
            assert await writer.write(Job(1, 6)) == 6


async def test_waiting_for_the_opening_can_be_cancelled(path: Path) -> None:
    clock, waiting = until_cancelled()
    job = Job(1, 77)
    with exclusively(path) as other:
        async with writing(path, clock) as writer:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(writer.write, job)
                assert await trio.to_thread.run_sync(waiting.wait, PATIENCE_SECONDS)
                nursery.cancel_scope.cancel()
            other.execute("ROLLBACK")
            assert await writer.write(Job(2, 2)) == 2
    assert not job.begun.is_set()


@posix
async def test_what_is_deleted_between_two_jobs_is_not_written_any_more(path: Path) -> None:
    job = Job(2, 77)
    async with writing(path) as writer:
        await writer.write(Job(1, 5))
        path.unlink()
        with pytest.raises(LibraryError) as caught:
            await writer.write(job)
        assert caught.value.fault is Fault.MISSING and not job.begun.is_set()


@posix
async def test_what_is_put_in_its_place_between_two_jobs_is_written_from_then_on(path: Path) -> None:
    other = path.with_suffix(".other")
    shutil.copy(path, other)
    async with writing(path) as writer:
        await writer.write(Job(1, 5))
        before = writer.generation
        other.replace(path)
        await writer.write(Job(2, 77))
        assert writer.generation > before, "what was read in the other one is not so in this one"
    assert ratings(path)[1] == 77
