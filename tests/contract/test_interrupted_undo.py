"""CONTRACT sections 2, 5 and 9: runs that were cut off are taken back; an undo is refused, held up or cut off."""

import random
from pathlib import Path

import trio

from sidecar.demo import standin
from sidecar.demo.standin import Reply
from tests import harness
from tests.contract.scenes import files_and_tags, slowed, stopped_after, undo
from tests.harness import NO_KEY


async def test_an_edit_in_the_shells_open_transaction_is_seen(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        run_id = (await subject.tag())["run_id"]
        with library.edited() as shell:
            asked = await subject.send("undo_run", run_id=run_id)
            for _ in range(20):  # each is a round of the sidecar's event loop: by then it waits for us
                await subject.result("status")
            shell.execute("UPDATE audio_files SET genre = 'jazz:noir' WHERE id = 7")
        answer = await subject.wait_for(lambda m: harness.is_answer(m, asked))
        assert (answer["result"]["restored_files"], answer["result"]["skipped_files"]) == (19, 1)
        assert library.file(7)["genre"] == "jazz:noir" and library.tagged == 1


async def test_while_a_run_is_active_here_or_elsewhere_nothing_is_undone(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 30)
    gate = trio.Event()
    async with (
        standin.running() as gemini,
        harness.start(library, gemini) as first,
        harness.start(library, gemini) as second,
    ):
        old = (await first.tag(file_ids=[1, 2]))["run_id"]
        gemini.script = lambda _: Reply(gate=gate)
        run_id = (await first.result("auto_tag_files"))["run_id"]
        for subject in (first, second):
            for asked in (old, run_id):
                error = await subject.error("undo_run", run_id=asked)
                assert (error["code"], error["data"]) == (-32001, {"run_id": run_id}) and error["message"]
        assert library.tagged == 2
        gate.set()
        await first.complete(run_id)
        assert await undo(second, run_id) == (28, 0)
        assert await undo(first, old) == (2, 0)
        # And the lock is free again.
        assert (await second.tag(file_ids=[1]))["processed_files"] == 1


async def test_while_a_run_is_taken_back_a_start_is_told_to_wait_for_that(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 60)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        run_id = (await subject.tag())["run_id"]
        with slowed(library, 1_000_000):
            asked = await subject.send("undo_run", run_id=run_id)
            error = await subject.error("auto_tag_files", file_ids=[1])
            await subject.wait_for(lambda m: harness.is_answer(m, asked))
    assert error["code"] == -32001 and "being taken back" in error["message"]
    assert "cancel" not in error["message"], "no cancel reaches it"


async def test_a_cancelled_run_is_undone(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 60)
    before = files_and_tags(library)
    async with stopped_after(3, library) as subject:
        cancelled = await subject.result("cancel")
        assert (cancelled["status"], library.tagged) == ("cancelled", 30)
        assert await undo(subject, cancelled["run_id"]) == (30, 0)
    assert files_and_tags(library) == before


async def test_a_run_that_was_killed_is_undone_by_another_process(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 60)
    before = files_and_tags(library)
    async with stopped_after(3, library) as subject:
        run_id = subject.events("tagging-progress")[-1]["run_id"]
        await subject.kill()
    async with harness.start(library, env=NO_KEY) as subject:
        assert (await subject.result("get_run"))["status"] == "interrupted"
        assert await undo(subject, run_id) == (30, 0)
        assert (await subject.result("count_untagged_files"))["count"] == 60
    assert files_and_tags(library) == before
    # Already while the undo held the run lock: it did not pass for the run of a process that lives.
    assert library.scalar("SELECT status FROM auto_tag_runs") == "interrupted"


async def test_a_run_that_the_quota_ended_is_undone(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 60)
    before = files_and_tags(library)
    async with (
        standin.running(script=lambda r: None if r.number <= 2 else standin.per_day()) as gemini,
        harness.start(library, gemini) as subject,
    ):
        done = await subject.tag(batch_size=10, max_parallel=1)
        assert (done["status"], done["processed_files"]) == ("quota_exhausted", 20)
        assert await undo(subject, done["run_id"]) == (20, 0)
    assert files_and_tags(library) == before


async def test_killed_again_and_again_every_file_is_wholly_one_or_the_other(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 1200, with_dates=True)
    before = files_and_tags(library)
    instants = random.Random(20261124)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        run_id = (await subject.tag(batch_size=100, max_parallel=8))["run_id"]
    tagged = files_and_tags(library)
    left = [1200]
    while left[-1]:
        async with harness.start(library, env=NO_KEY) as subject:
            await subject.send("undo_run", run_id=run_id)
            await harness.eventually(lambda: library.tagged < left[-1])
            with trio.move_on_after(instants.uniform(0, 0.03)):
                await subject.wait_until(lambda: bool(subject.transcript))
            await subject.kill()
        now = files_and_tags(library)
        undone = [row["id"] for row in now["audio_files"].values() if not row["auto_tagged"]]
        assert len(undone) % 100 == 0, "whole transactions only"
        for table, key in (("audio_files", "id"), ("rpg_tags", "audio_file_id")):
            expected = _mixed(before[table], tagged[table], key, {*undone})
            assert now[table] == expected
        left.append(1200 - len(undone))
    assert len(left) > 2, "no kill came in the middle of an undo"
    async with harness.start(library, env=NO_KEY) as subject:
        assert await undo(subject, run_id) == (0, 1200)
    assert files_and_tags(library) == before


async def test_at_the_end_of_the_process_an_undo_is_answered_with_what_it_did(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 1200)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        run_id = (await subject.tag(batch_size=100, max_parallel=8))["run_id"]
        with slowed(library, 50_000):
            asked = await subject.send("undo_run", run_id=run_id)
            await harness.eventually(lambda: library.tagged < 1200)
            await subject.close_stdin()
            assert await subject.exit_code(seconds=2) == 0
        [answer] = [message for message in subject.transcript if harness.is_answer(message, asked)]
        assert answer["result"] == {
            "run_id": run_id, "restored_files": 1200 - library.tagged, "skipped_files": 0,
        }  # fmt: skip
    async with harness.start(library, env=NO_KEY) as subject:
        rest = 1200 - answer["result"]["restored_files"]
        assert (await undo(subject, run_id))[0] == rest


def _mixed(before: harness.Rows, tagged: harness.Rows, key: str, undone: set[int]) -> harness.Rows:
    """The rows of files that are undone as they were before, those of the others as the run left them."""
    return {id_: row for id_, row in before.items() if row[key] in undone} | {
        id_: row for id_, row in tagged.items() if row[key] not in undone
    }
