"""runs: a start chooses its files while no other process can tag them, and takes the lock from nobody for long."""

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

import pytest
import trio

from sidecar.contract import AutoTagParams, RetryParams
from sidecar.demo import standin
from sidecar.library import queries
from sidecar.library.faults import Fault, LibraryError
from sidecar.library.lock import RunLock
from sidecar.library.run_writes import RunKind
from sidecar.library.store import open_library
from sidecar.runs import run_lock
from sidecar.runs.runs import Runs
from sidecar.settings import Settings
from tests import harness

SETTINGS = Settings(api_key="AIza-none-is-asked-with-it")


class Late(RunLock):
    """Another process's run ends, and gives the lock back, in the moment in which this one is taken."""

    end: Callable[[], None]

    def take(self) -> bool:
        self.end()
        return super().take()


@pytest.fixture
async def failed(tmp_path: Path) -> AsyncIterator[harness.Library]:
    """A library whose files have all failed in a run."""
    library = harness.library(tmp_path, 20)
    blocked = standin.finish("SAFETY")
    async with standin.running(script=lambda _: blocked) as gemini, harness.start(library, gemini) as subject:
        await subject.tag(batch_size=1)
    yield library


@pytest.mark.parametrize("left", [5, 0])
@pytest.mark.parametrize("method", ["start", "retry"])
async def test_what_another_process_tags_until_the_lock_is_taken_is_not_tagged_again(
    failed: harness.Library, monkeypatch: pytest.MonkeyPatch, method: str, left: int
) -> None:
    def end_elsewhere() -> None:
        failed.execute("UPDATE audio_files SET auto_tagged = 1 WHERE id <= ?", 20 - left)

    monkeypatch.setattr(Late, "end", staticmethod(end_elsewhere), raising=False)
    monkeypatch.setattr(run_lock, "RunLock", Late)
    async with open_library(failed.path) as opened, trio.open_nursery() as nursery:
        runs = Runs(opened, lambda _: None, nursery)
        if method == "start":
            started, _ = await runs.start(AutoTagParams(), SETTINGS)
        else:
            started, _ = await runs.retry(RetryParams(), SETTINGS)
        nursery.cancel_scope.cancel()
    assert (started.status, started.total_files) == ("started" if left else "nothing_to_do", left)


async def test_who_holds_the_lock_for_a_moment_only_is_in_nobodys_way(tmp_path: Path) -> None:
    path = harness.library(tmp_path, 20).path
    other = RunLock(path)
    assert other.take()
    async with open_library(path) as opened, trio.open_nursery() as nursery:

        async def give_back() -> None:
            await trio.sleep(0.1)  # a start that finds nothing to do, in a library of 100,000 files
            other.release()

        nursery.start_soon(give_back)
        started, _ = await Runs(opened, lambda _: None, nursery).start(AutoTagParams(), SETTINGS)
        nursery.cancel_scope.cancel()
    assert started.status == "started"


async def test_a_library_that_cannot_be_read_is_waited_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0

    async def locked(*_: object) -> None:
        nonlocal tries
        tries += 1
        raise LibraryError(Fault.LOCKED)

    async with open_library(harness.library(tmp_path, 20).path) as opened, trio.open_nursery() as nursery:
        monkeypatch.setattr(opened, "read", locked)
        runs = Runs(opened, lambda _: None, nursery)
        with pytest.raises(LibraryError):
            await runs.start(AutoTagParams(), SETTINGS)
    assert tries == 1


async def test_a_file_that_is_deleted_while_a_retry_starts_is_no_unknown_id_of_the_callers(
    failed: harness.Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = queries.still_untagged

    def then_deleted(connection: sqlite3.Connection, ids: Iterable[int]) -> list[int]:
        found = find(connection, ids)
        failed.execute("DELETE FROM audio_files WHERE id = 3")
        return found

    monkeypatch.setattr(queries, "still_untagged", then_deleted)
    async with open_library(failed.path) as opened, trio.open_nursery() as nursery:
        started, _ = await Runs(opened, lambda _: None, nursery).retry(RetryParams(), SETTINGS)
        nursery.cancel_scope.cancel()
    assert (started.status, started.total_files) == ("started", 20)


async def test_files_that_a_person_has_named_are_told_from_those_of_a_retry(failed: harness.Library) -> None:
    async with open_library(failed.path) as opened, trio.open_nursery() as nursery:
        runs = Runs(opened, lambda _: None, nursery)
        for start, named in (
            (runs.retry(RetryParams(), SETTINGS), False),
            (runs.start(AutoTagParams(file_ids=[1]), SETTINGS), True),
        ):
            _, active = await start
            assert active is not None and (active.run.plan.run.kind is RunKind.NAMED) == named
            active.scope.cancel()
            active.release()
            await active.announced.wait()
        nursery.cancel_scope.cancel()
