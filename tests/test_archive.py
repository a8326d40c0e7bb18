"""archive: what is told of a run that ends in the very moment in which it is looked up."""

import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio
from msgspec import structs

from sidecar.contract import FileFailure, Reason, RpcError, RunStatus, RunSummary
from sidecar.demo import standin
from sidecar.library import run_reads
from sidecar.library.lock import RunLock
from sidecar.library.store import Library, open_library
from sidecar.runs import archive
from sidecar.runs.archive import Archive
from sidecar.runs.run_lock import give_back, take_run_lock
from tests import harness

RUNNING = "UPDATE auto_tag_runs SET status = 'running', ended_at = NULL"
ENDED = "UPDATE auto_tag_runs SET status = 'completed'"


@pytest.fixture
async def tagged(tmp_path: Path) -> AsyncIterator[harness.Library]:
    """A library that one run has tagged, and whose row says that it goes on."""
    library = harness.library(tmp_path, 10)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        await subject.tag()
    execute(library, RUNNING)
    yield library


def execute(library: harness.Library, statement: str) -> None:
    with closing(library.connect()) as connection:
        connection.execute(statement)
        connection.commit()


async def statuses(library: harness.Library) -> list[RunStatus]:
    """As `get_run` and `list_runs` of another process tell it."""
    async with open_library(library.path) as opened:
        looked_up = Archive(opened)
        return [(await looked_up.summary(None)).status, *(run.status for run in await looked_up.recent(20))]


async def test_a_run_whose_process_died_is_interrupted(tagged: harness.Library) -> None:
    assert await statuses(tagged) == [RunStatus.INTERRUPTED] * 2


async def test_a_run_whose_process_died_says_how_far_it_came_and_what_to_do(tagged: harness.Library) -> None:
    execute(tagged, "UPDATE auto_tag_runs SET message = '', total_files = 30")
    async with open_library(tagged.path) as opened:
        [run] = await Archive(opened).recent(20)
    assert run.message == "Interrupted: 10 files tagged, 20 remaining. Start tagging again to go on."


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        ("kind = 'named'", "10 files tagged, 20 remaining. Start tagging the same files again to go on."),
        ("kind = 'apply'", "10 files tagged, 20 remaining. Apply the proposals again to go on."),
        ("kind = 'dry', dry_run = 1", "10 files given proposals, 20 remaining. Nothing has been written: look"),
        ("kind = NULL, dry_run = 1", "10 files given proposals, 20 remaining. Nothing has been written: look"),
        ("kind = 'of a newer sidecar'", "10 files tagged, 20 remaining. Start tagging again to go on."),
    ],
)
async def test_what_to_do_about_a_run_whose_process_died_depends_on_its_kind(
    tagged: harness.Library, edit: str, words: str
) -> None:
    execute(tagged, f"UPDATE auto_tag_runs SET message = '', total_files = 30, {edit}")
    async with open_library(tagged.path) as opened:
        [run] = await Archive(opened).recent(20)
        assert await Archive(opened).summary(run.run_id) == run
    assert run.message.startswith(f"Interrupted: {words}")


async def test_runs_of_an_older_sidecar_are_told_and_later_ones_are_booked_beside_them(
    tagged: harness.Library,
) -> None:
    execute(tagged, "UPDATE auto_tag_runs SET message = '', total_files = 30")
    execute(tagged, "ALTER TABLE auto_tag_runs DROP COLUMN kind")
    execute(tagged, "UPDATE audio_files SET auto_tagged = 0, genre = NULL")
    async with standin.running() as gemini, harness.start(tagged.path, gemini) as subject:
        [run] = await subject.result("list_runs")
        assert run["message"] == "Interrupted: 10 files tagged, 20 remaining. Start tagging again to go on."
        assert (await subject.tag())["processed_files"] == 10
        assert len(await subject.result("list_runs")) == 2


async def test_words_of_a_newer_sidecar_are_in_no_calls_way(tagged: harness.Library) -> None:
    execute(tagged, "UPDATE auto_tag_runs SET status = 'paused', mode = 'blend', message = 'Paused.'")
    execute(tagged, "INSERT INTO auto_tag_failures SELECT id, 3, 'x', 'too_long', 'Too long.' FROM auto_tag_runs")
    async with harness.start(tagged.path, env={"GEMINI_API_KEY": "a-key"}) as subject:
        [run] = await subject.result("list_runs")
        assert (run["status"], run["mode"], run["message"]) == ("interrupted", "merge", "Paused.")
        details = await subject.result("get_run")
        assert details["status"] == "interrupted"
        [failure] = details["failures"]
        assert (failure["reason"], failure["message"]) == ("service_unavailable", "Too long.")
        assert (await subject.result("report"))["run"] == run
        assert (await subject.result("retry_failed"))["status"] == "nothing_to_do", "it was tagged since"
        assert (await subject.result("undo_run", run_id=run["run_id"]))["restored_files"] == 10


async def test_nobody_is_kept_from_starting_while_runs_are_counted_up(
    tagged: harness.Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    list_runs = run_reads.list_runs

    def count_up(connection: sqlite3.Connection, limit: int) -> list[RunSummary]:
        other = RunLock(tagged.path)
        assert other.take()
        other.release()
        return list_runs(connection, limit)

    monkeypatch.setattr(run_reads, "list_runs", count_up)
    assert await statuses(tagged) == [RunStatus.INTERRUPTED] * 2


async def test_a_run_of_another_process_goes_on(tagged: harness.Library) -> None:
    lock = RunLock(tagged.path)
    assert lock.take()
    assert await statuses(tagged) == [RunStatus.RUNNING] * 2
    lock.release()


async def test_who_holds_the_lock_for_a_moment_is_no_run(
    tagged: harness.Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = RunLock(tagged.path)
    monkeypatch.setattr(time, "sleep", lambda _: lock.release())
    assert lock.take()
    assert await statuses(tagged) == [RunStatus.INTERRUPTED] * 2


async def test_while_the_lock_is_held_for_another_run_of_this_process_one_that_goes_on_is_dead(
    tagged: harness.Library,
) -> None:
    async with open_library(tagged.path) as opened:
        looked_up = Archive(opened)
        lock = await take_run_lock(opened)
        [run] = await looked_up.recent(20)
        assert run.status is RunStatus.INTERRUPTED
        lock.run_id = run.run_id
        assert (await looked_up.summary(None)).status is RunStatus.RUNNING
        await give_back(opened, lock)


async def test_a_run_that_ends_between_its_row_and_its_lock_was_not_interrupted(
    tagged: harness.Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = RunLock(tagged.path)

    class Late(RunLock):
        """The holder ends its run while this one is about to be taken."""

        def take(self) -> bool:
            execute(tagged, ENDED)
            holder.release()
            return super().take()

    monkeypatch.setattr(archive, "RunLock", Late)
    assert holder.take()
    assert await statuses(tagged) == [RunStatus.COMPLETED] * 2


async def test_a_run_that_begins_when_the_lock_is_given_back_was_not_interrupted(
    tagged: harness.Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Followed(RunLock):
        """Another process's run begins as soon as this one is given back."""

        def release(self) -> None:
            super().release()
            execute(tagged, "UPDATE auto_tag_runs SET run_id = 'another run'")

    monkeypatch.setattr(archive, "RunLock", Followed)
    async with open_library(tagged.path) as opened:
        [run] = await Archive(opened).recent(20)
    assert (run.run_id, run.status) == ("another run", RunStatus.RUNNING)


async def test_the_latest_ends_are_remembered_and_not_more_of_them_than_are_kept(tagged: harness.Library) -> None:
    async with open_library(tagged.path) as opened:
        looked_up = Archive(opened)
        assert looked_up.last_ended is None
        saved = await looked_up.summary(None)
        ended = [structs.replace(saved, run_id=f"run {number}") for number in range(archive.KEPT_SUMMARIES + 1)]
        for run in ended:
            looked_up.remember(run, [])
            assert looked_up.last_ended is run
        for run in ended[1:]:
            assert await looked_up.summary(run.run_id) is run
        with pytest.raises(RpcError, match="no run"):
            await looked_up.summary("run 0")


async def test_failures_that_no_table_has_are_told_once_also_when_the_run_ends_meanwhile(
    tagged: harness.Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = [FileFailure(1, "a.mp3", Reason.DATABASE_ERROR, "The database is locked.")]
    async with open_library(tagged.path) as opened:
        looked_up = Archive(opened)
        summary = await looked_up.summary(None)
        read = Library.read

        async def read_and_end(self: Library, query: Any) -> Any:
            found: Any = await read(self, query)
            looked_up.remember(summary, lost)
            return found

        assert (await looked_up.lists(summary.run_id, lost, dry_run=False)).failures == lost
        monkeypatch.setattr(Library, "read", read_and_end)
        with trio.fail_after(10):
            assert (await looked_up.lists(summary.run_id, lost, dry_run=False)).failures == lost
