"""runs: the end of a run is written, also where another program holds the database meanwhile."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
import trio

from sidecar.contract import AutoTagParams, Completion, Event, RpcError, RunStatus
from sidecar.library.lock import RunLock
from sidecar.library.store import Library, open_library
from sidecar.runs import ends
from sidecar.runs.runs import Runs
from sidecar.runs.under_way import ActiveRun
from sidecar.settings import Settings
from tests import harness

SETTINGS = Settings(api_key="AIza-none-is-asked-with-it")


class Scene:
    """A run that was booked and has not begun, and another program that can lock the database."""

    def __init__(self, library: Library, runs: Runs, active: ActiveRun, events: list[Event]) -> None:
        self.library = library
        self.runs = runs
        self.active = active
        self.events = events
        assert library.path is not None
        self.path = library.path
        self.other = sqlite3.connect(library.path, isolation_level=None)

    def end(self) -> None:
        """A cancel comes just when the run is let go."""
        self.active.scope.cancel()
        self.active.release()

    @property
    def written(self) -> str:
        """The run's status in the database."""
        [(status,)] = self.other.execute("SELECT status FROM auto_tag_runs").fetchall()
        return str(status)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    events: list[Event] = []
    async with open_library(harness.library(tmp_path, 20).path) as library, trio.open_nursery() as nursery:
        runs = Runs(library, events.append, nursery)
        _, active = await runs.start(AutoTagParams(), SETTINGS)
        assert active is not None
        found = Scene(library, runs, active, events)
        with closing(found.other):
            yield found
        nursery.cancel_scope.cancel()


async def test_a_run_keeps_the_others_out_until_its_end_is_written(scene: Scene) -> None:
    scene.other.execute("BEGIN IMMEDIATE")
    scene.end()
    await trio.sleep(0.1)
    assert not scene.active.stopped.is_set() and scene.events == []
    assert not RunLock(scene.path).take(), "another process would take it for dead"
    scene.other.execute("ROLLBACK")
    with trio.fail_after(5):
        await scene.active.announced.wait()
    assert scene.written == RunStatus.CANCELLED
    lock = RunLock(scene.path)
    assert lock.take()
    lock.release()


async def test_an_end_that_cannot_be_written_in_time_is_told_at_once_and_written_later(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ends, "LAST_WRITE_PAUSE_SECONDS", 0.05)
    scene.other.execute("BEGIN IMMEDIATE")
    scene.end()
    with trio.fail_after(2):  # what an exit has
        await scene.active.announced.wait()
    assert scene.written == RunStatus.RUNNING
    assert (await scene.runs.archive.summary(scene.active.run_id)).status is RunStatus.CANCELLED
    assert [run.status for run in await scene.runs.archive.recent(20)] == [RunStatus.CANCELLED]
    scene.other.execute("ROLLBACK")
    with trio.fail_after(5):
        while scene.written != RunStatus.CANCELLED:  # noqa: ASYNC110 - another process has no event either
            await trio.sleep(0.02)


async def test_once_the_process_is_about_to_end_no_run_starts_any_more(scene: Scene) -> None:
    scene.active.release()
    await scene.runs.stop()
    assert scene.written == RunStatus.CANCELLED
    with pytest.raises(RpcError, match="about to end"):
        await scene.runs.start(AutoTagParams(), SETTINGS)
    assert scene.written == RunStatus.CANCELLED, "no other run was booked"


async def test_the_first_cause_of_an_end_is_told(scene: Scene) -> None:
    scene.active.run.fail("The first cause.")
    scene.active.run.fail("What came of it.")
    scene.end()
    with trio.fail_after(5):
        await scene.active.announced.wait()
    [completion] = scene.events
    assert isinstance(completion, Completion) and completion.status is RunStatus.FAILED
    assert completion.message.startswith("The first cause. So far: 0 files tagged")
