"""A shell that migrates its library while the writer lives."""

import sqlite3
from pathlib import Path

import pytest

from sidecar.library.faults import Fault, LibraryError
from sidecar.library.writer import Transaction
from tests.writer.scenes import Job, foreign, ratings, second_try, writing

NO_LIBRARY = "ALTER TABLE tag_mapping_cache RENAME TO away"
LIBRARY_AGAIN = "ALTER TABLE away RENAME TO tag_mapping_cache"


def has_stars(transaction: Transaction) -> bool:
    """A job."""
    return transaction.shape.has("audio_files", "stars")


async def test_a_job_works_by_the_columns_that_are_there_when_it_begins(path: Path) -> None:
    with foreign(path) as other:
        async with writing(path) as writer:
            assert not await writer.write(has_stars)
            other.execute("ALTER TABLE audio_files ADD COLUMN stars INTEGER")
            assert await writer.write(has_stars)
            other.execute("ALTER TABLE audio_files DROP COLUMN stars")
            assert not await writer.write(has_stars)


async def test_an_edit_that_is_no_migration_leaves_the_connection_as_it_is(path: Path) -> None:
    connections: list[sqlite3.Connection] = []
    with foreign(path) as other:
        async with writing(path) as writer:
            for _ in range(2):
                await writer.write(lambda transaction: connections.append(transaction.connection))
                other.execute("UPDATE audio_files SET rating = 9")
    assert connections[0] is connections[1]


async def test_a_library_that_stops_being_one_is_told_and_used_again_when_it_is_one(path: Path) -> None:
    with foreign(path) as other:
        async with writing(path) as writer:
            await writer.write(Job(1, 5))
            other.execute(NO_LIBRARY)
            for _ in range(2):
                with pytest.raises(LibraryError) as caught:
                    await writer.write(Job(1, 77))
                assert caught.value.fault is Fault.NOT_A_LIBRARY
            other.execute(LIBRARY_AGAIN)
            assert await writer.write(Job(2, 6)) == 6
    assert ratings(path)[:2] == [5, 6]


async def test_a_second_try_works_by_the_columns_that_it_finds(path: Path) -> None:
    found: list[bool] = []
    async with second_try(path, "ALTER TABLE audio_files ADD COLUMN stars INTEGER") as (writer, job, _):

        def tries(transaction: Transaction) -> str:
            found.append(has_stars(transaction))
            return job(transaction)

        assert await writer.write(tries) == "in the second try"
    assert found == [False, True]


async def test_a_library_that_stops_being_one_before_a_second_try_is_told(path: Path) -> None:
    async with second_try(path, NO_LIBRARY) as (writer, job, other):
        await writer.write(Job(1, 5))
        with pytest.raises(LibraryError) as caught:
            await writer.write(job)
        assert caught.value.fault is Fault.NOT_A_LIBRARY
        assert len(job.tries) == 1
        other.execute(LIBRARY_AGAIN)
        assert ratings(path)[0] == 5
        assert await writer.write(Job(1, 4)) == 4
