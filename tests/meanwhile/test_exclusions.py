"""Files that are excluded while their batches are under way.

One batch has been read before, one is read while the exclusion is not committed yet: both ask for the files.
"""

import sqlite3
import threading
import time
from pathlib import Path

import pytest
import trio
import trio.testing

from sidecar.contract import Exclusion
from sidecar.demo import standin
from sidecar.demo.standin import Received, Reply
from sidecar.library import exclusions
from sidecar.redaction import Redactor
from sidecar.rpc.methods import running_app
from sidecar.settings import Settings
from tests import harness
from tests.meanwhile.scenes import Runs


async def test_files_whose_exclusion_is_being_written_while_they_are_asked_for_stay_untagged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, add = harness.library(tmp_path, 40), exclusions.add_exclusion
    paths = library.query("SELECT id, file_path FROM audio_files WHERE file_path LIKE '%/Creatures/%'")
    excluded = {row["id"] for row in paths}
    assert excluded & {*range(1, 16)} and excluded & {*range(31, 41)}
    is_adding, may_commit = threading.Event(), threading.Event()

    def add_slowly(connection: sqlite3.Connection, entry: Exclusion) -> Exclusion:
        is_adding.set()
        assert may_commit.wait(20)
        return add(connection, entry)

    def script(received: Received) -> Reply:
        return Reply(gate=gates[received.number - 1])

    runs, gates = Runs(), [trio.Event() for _ in range(3)]
    monkeypatch.setattr(exclusions, "add_exclusion", add_slowly)
    async with standin.running(script=script) as gemini:
        settings = Settings(database=library.path, api_key="a-key", base_url=gemini.base_url)
        async with running_app(settings, runs.emit, Redactor()) as runs.app, trio.open_nursery() as nursery:
            with trio.fail_after(30):
                await runs.start(batch_size=15, max_parallel=1)
                await gemini.wait_for(1)
                nursery.start_soon(lambda: runs.call("add_exclusion", glob="Creatures"))
                while not is_adding.is_set():
                    await trio.lowlevel.checkpoint()
                gates[0].set()
                gates[1].set()
                await gemini.wait_for(3)  # which was read while the exclusion was uncommitted
                await trio.testing.wait_all_tasks_blocked(0.05)
                may_commit.set()
                wait_for_a_written_batch(library)  # before this thread hears of the exclusion
                gates[2].set()
                await runs.ended.wait()
    for received in (gemini.journal[0], gemini.journal[2]):
        assert any("Creatures/" in file["path"] for file in received.files)
    done = runs.completed
    assert (done.processed_files, done.skipped_files) == (40 - len(excluded), len(excluded))
    for file_id in excluded:
        assert library.file(file_id) == library.baseline["audio_files"][file_id]


def wait_for_a_written_batch(library: harness.Library) -> None:
    """Blocks the whole event loop meanwhile."""
    deadline = time.monotonic() + harness.DEADLINE_SECONDS
    while not library.query("SELECT batch FROM auto_tag_batches"):
        assert time.monotonic() < deadline
        time.sleep(0.001)
