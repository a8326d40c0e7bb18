"""CONTRACT section 5: another file in the place of the library, or other sounds under its ids."""

import shutil
import sys
from pathlib import Path

import pytest
import trio

from sidecar.demo import standin
from sidecar.demo.standin import Received, Reply
from tests import harness
from tests.harness import Client

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="replaces an open file")


def put_in_its_place(other: Path, path: Path) -> None:
    """As a restored backup is: by a rename."""
    for kind in ("-wal", "-shm"):
        path.with_name(path.name + kind).unlink(missing_ok=True)
    other.replace(path)


async def run_over_a_replacement(
    subject: Client, other: Path, path: Path, gate: trio.Event, *, is_written_first: bool = False
) -> harness.Message:
    """A run in batches of ten whose library is replaced when its second request has been sent.

    `is_written_first`: something else is written into the replacement before the run's next batch.
    """
    run_id = (await subject.result("auto_tag_files", batch_size=10, max_parallel=1))["run_id"]
    await subject.wait_for(lambda m: m.get("method") == "tagging-batch")
    put_in_its_place(other, path)
    if is_written_first:
        await subject.result("set_tag_mapping", tag_type="mood", invalid_tag="spooked", valid_tag="eerie")
    gate.set()
    return await subject.complete(run_id)


@pytest.mark.parametrize("is_written_first", [False, True], ids=["by the run", "by a setting"])
@pytest.mark.parametrize("other", ["a backup", "another library"])
async def test_a_run_writes_nothing_into_the_file_that_has_replaced_its_library(
    tmp_path: Path, other: str, is_written_first: bool
) -> None:
    path, gate = harness.library(tmp_path, 40).path, trio.Event()
    replacement = tmp_path / "replacement.db"
    if other == "a backup":
        shutil.copy(path, replacement)
    else:
        (tmp_path / "other").mkdir()
        strange = harness.library(tmp_path / "other", 30)
        async with standin.running() as gemini, harness.start(strange, gemini) as subject:
            await subject.tag(file_ids=[1])
        strange.path.replace(replacement)

    def script(received: Received) -> Reply | None:
        return None if received.number == 1 else Reply(gate=gate)

    async with standin.running(script=script) as gemini, harness.start(path, gemini) as subject:
        done = await run_over_a_replacement(subject, replacement, path, gate, is_written_first=is_written_first)
        assert done["status"] == "failed" and "was replaced" in done["message"]
        library = harness.Library(path)
        runs = await subject.result("list_runs")
        assert [run["processed_files"] for run in runs] == ([] if other == "a backup" else [1])
        assert library.scalar("SELECT count(*) FROM audio_files WHERE auto_tagged = 1") == len(runs)
        gemini.script = None
        again = await subject.tag()
        assert (again["status"], again["failed_files"]) == ("completed", 0)
        assert (await subject.result("undo_run", run_id=again["run_id"]))["skipped_files"] == 0


async def test_an_undo_of_a_run_that_the_library_does_not_have_is_refused(tmp_path: Path) -> None:
    path = harness.library(tmp_path, 20).path
    shutil.copy(path, tmp_path / "backup.db")
    async with standin.running() as gemini, harness.start(path, gemini) as subject:
        run_id = (await subject.tag())["run_id"]
        put_in_its_place(tmp_path / "backup.db", path)
        assert (await subject.error("undo_run", run_id=run_id))["code"] == -32002


NUMBER = "UPDATE audio_files SET file_path = '/home/ann/Rain ' || id || '/01.wav' WHERE id <= 5"
RENAME = "UPDATE audio_files SET file_path = '/new/other-' || id || '.mp3' WHERE id <= 5"
SWAP = "UPDATE audio_files SET file_path = '/home/ann/War ' || (6 - id) || '/01.wav' WHERE id <= 5"
MOVE = "UPDATE audio_files SET file_path = '/media/disk' || file_path"
edits = pytest.mark.parametrize(
    ("edit", "skipped"), [(RENAME, 5), (SWAP, 5), (MOVE, 0)], ids=["other sounds", "other folders", "moved"]
)


def check_told(done: harness.Message) -> None:
    for failure in done["failures"]:
        assert failure["reason"] == "changed" and "renamed or moved" in failure["message"]


@edits
async def test_a_library_that_was_scanned_anew_has_other_sounds_under_the_ids(
    tmp_path: Path, edit: str, skipped: int
) -> None:
    library, gate = harness.library(tmp_path, 20), trio.Event()
    library.execute(NUMBER)
    async with (
        standin.running(script=lambda _: Reply(gate=gate)) as gemini,
        harness.start(library, gemini) as subject,
    ):
        run_id = (await subject.result("auto_tag_files"))["run_id"]
        with trio.fail_after(20):
            await gemini.wait_for(1)
        library.execute(edit)
        gate.set()
        done = await subject.complete(run_id)
        assert (done["processed_files"], done["skipped_files"]) == (20 - skipped, skipped)
        check_told(await subject.result("get_run"))


@edits
async def test_proposals_are_for_the_sounds_that_they_were_made_for(
    tmp_path: Path, edit: str, skipped: int
) -> None:
    library = harness.library(tmp_path, 20)
    library.execute(NUMBER)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        run_id = (await subject.tag(dry_run=True))["run_id"]
        library.execute(edit)
        applied = await subject.result("apply_proposals", run_id=run_id)
        assert (applied["applied_files"], applied["skipped_files"]) == (20 - skipped, skipped)
        check_told(await subject.result("get_run", run_id=applied["run_id"]))
