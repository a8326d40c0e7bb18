"""CONTRACT sections 2, 5 and 8: dry runs cut off, and applications that are refused, held up or cut off."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
import trio

from sidecar.demo import standin
from sidecar.demo.standin import Reply
from tests import harness
from tests.contract.scenes import propose, slowed, stopped_after
from tests.harness import NO_KEY, Client, Library


async def test_the_proposals_of_a_cancelled_dry_run_may_be_applied(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 40)
    async with stopped_after(2, library, dry_run=True) as subject:
        cancelled = await subject.result("cancel")
        assert (cancelled["status"], cancelled["processed_files"]) == ("cancelled", 20)
        assert len((await subject.result("get_run"))["proposals"]) == 20
        applied = await subject.result("apply_proposals", run_id=cancelled["run_id"])
        assert applied["applied_files"] == library.tagged == 20


async def test_the_proposals_of_a_killed_dry_run_may_be_applied(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 40)
    async with stopped_after(2, library, dry_run=True) as subject:
        await subject.kill()
    async with harness.start(library, env=NO_KEY) as subject:
        details = await subject.result("get_run")
        assert (details["status"], len(details["proposals"])) == ("interrupted", 20)
        applied = await subject.result("apply_proposals", run_id=details["run_id"])
        assert applied["applied_files"] == library.tagged == 20


async def test_while_a_run_is_active_here_or_elsewhere_nothing_is_applied(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 40)
    gate = trio.Event()
    async with (
        standin.running() as gemini,
        harness.start(library, gemini) as first,
        harness.start(library, gemini) as second,
    ):
        dry, _ = await propose(first, file_ids=[1, 2])
        gemini.script = lambda _: Reply(gate=gate)
        run_id = (await first.result("auto_tag_files", file_ids=[3, 4]))["run_id"]
        for subject in (first, second):
            error = await subject.error("apply_proposals", run_id=dry)
            assert (error["code"], error["data"]) == (-32001, {"run_id": run_id}) and error["message"]
        gate.set()
        await first.complete(run_id)
        assert (await second.result("apply_proposals", run_id=dry))["applied_files"] == 2
        # A dry run is a run too.
        gate = trio.Event()
        dry = (await second.result("auto_tag_files", file_ids=[5, 6], dry_run=True))["run_id"]
        for subject in (first, second):
            error = await subject.error("apply_proposals", run_id=dry)
            assert (error["code"], error["data"]) == (-32001, {"run_id": dry})
        gate.set()
        await second.complete(dry)


async def test_an_application_waits_for_the_shells_transaction_and_sees_what_it_did(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    async with (
        standin.running() as gemini,
        harness.start(library, gemini) as subject,
        harness.start(library, gemini) as second,
    ):
        run_id, _ = await propose(subject, batch_size=5)
        with library.edited() as shell:
            asked = await subject.send("apply_proposals", run_id=run_id)
            for _ in range(20):  # each is a round of the sidecar's event loop: by then it waits for us
                await subject.result("status")
            error = await second.error("apply_proposals", run_id=run_id)
            assert error["code"] == -32001 and error["message"]
            shell.execute("UPDATE audio_files SET genre = 'jazz:noir' WHERE id = 7")
        answer = await subject.wait_for(lambda m: harness.is_answer(m, asked))
        assert (answer["result"]["applied_files"], answer["result"]["skipped_files"]) == (19, 1)
        assert library.file(7)["genre"] == "jazz:noir"


async def test_killed_in_the_middle_whole_batches_are_written_and_the_rest_can_be(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 400)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        run_id, _ = await propose(subject, batch_size=4, max_parallel=8)
        before = library.shell_rows()
    async with harness.start(library, env=NO_KEY) as subject:
        with slowed(library, 500_000):
            await subject.send("apply_proposals", run_id=run_id)
            await harness.eventually(lambda: library.tagged > 0)
            await subject.kill()
    written = library.tagged
    assert 0 < written < 400 and written % 4 == 0
    async with harness.start(library, env=NO_KEY) as subject:
        killed = (await subject.result("list_runs"))[0]
        assert (killed["status"], killed["processed_files"]) == ("interrupted", written)
        assert killed["message"].endswith("remaining. Apply the proposals again to go on.")
        applied = await subject.result("apply_proposals", run_id=run_id)
        assert (applied["applied_files"], applied["skipped_files"]) == (400 - written, written)
        for each in (killed["run_id"], applied["run_id"]):
            await subject.result("undo_run", run_id=each)
    after = library.shell_rows()
    for table in ("audio_files", "rpg_tags"):
        assert after[table] == before[table]


@asynccontextmanager
async def held_up(library: Library, subject: Client, run_id: str) -> AsyncIterator[tuple[str, int]]:
    """An application that has written something and waits for another program: its run, and its call's id."""
    with slowed(library, 500_000):
        asked = await subject.send("apply_proposals", run_id=run_id)
        await harness.eventually(lambda: library.tagged > 0)
        with closing(library.connect()) as other:
            other.execute("BEGIN IMMEDIATE")
            yield (await subject.result("list_runs"))[0]["run_id"], asked


async def test_an_application_is_the_active_run_and_can_be_cancelled(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 200)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        run_id, _ = await propose(subject, batch_size=2, max_parallel=8)
        async with held_up(library, subject, run_id) as (applying, asked):
            assert (await subject.result("status"))["active_run_id"] == applying != run_id
            for method in ("auto_tag_files", "undo_run"):
                error = await subject.error(method, **({"run_id": run_id} if method == "undo_run" else {}))
                assert (error["code"], error["data"]) == (-32001, {"run_id": applying})
            cancelled = await subject.result("cancel", run_id=applying)
            assert (cancelled["cancelled"], cancelled["status"]) == (True, "cancelled")
        answer = (await subject.wait_for(lambda m: harness.is_answer(m, asked)))["result"]
        assert answer["run_id"] == applying and answer["applied_files"] == cancelled["processed_files"]
        assert 0 < cancelled["processed_files"] == library.tagged < 200
        assert (await subject.result("status"))["active_run_id"] is None
        rest = await subject.result("apply_proposals", run_id=run_id)
        assert rest["applied_files"] == 200 - answer["applied_files"]


@pytest.mark.parametrize("end", ["shutdown", "end of stdin"])
async def test_at_the_end_an_application_is_cancelled_and_its_call_answered(tmp_path: Path, end: str) -> None:
    library = harness.library(tmp_path, 200)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        run_id, _ = await propose(subject, batch_size=2, max_parallel=8)
        with slowed(library, 500_000):
            await subject.send("apply_proposals", run_id=run_id)
            await harness.eventually(lambda: library.tagged > 0)
            if end == "shutdown":
                await subject.send("shutdown")
            await subject.close_stdin()  # from here on every call must have got its answer
            assert await subject.exit_code(seconds=2) == 0
    async with harness.start(library, env=NO_KEY) as subject:
        applying = (await subject.result("list_runs"))[0]
        assert (applying["status"], applying["processed_files"]) == ("cancelled", library.tagged)
        applied = await subject.result("apply_proposals", run_id=run_id)
        assert applied["applied_files"] == 200 - applying["processed_files"]


async def test_a_cancel_behind_the_call_finds_the_application(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 60)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        run_id, _ = await propose(subject, batch_size=2)
        call = {"jsonrpc": "2.0", "id": "a", "method": "apply_proposals", "params": {"run_id": run_id}}
        await subject.send_line(json.dumps(call).encode() + b'\n{"jsonrpc":"2.0","id":"b","method":"cancel"}')
        cancelled = (await subject.wait_for(lambda m: m.get("id") == "b"))["result"]
        after = library.snapshot()
        assert (cancelled["cancelled"], cancelled["status"]) == (True, "cancelled")
        applied = (await subject.wait_for(lambda m: m.get("id") == "a"))["result"]
        assert applied["run_id"] == cancelled["run_id"] != run_id
        assert applied["applied_files"] == cancelled["processed_files"] == library.tagged < 60
        assert library.snapshot() == after


async def test_a_cancel_cuts_off_an_application_that_waits_for_the_shell_to_begin(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        run_id, _ = await propose(subject)
        before = library.snapshot()
        with library.edited():
            asked = await subject.send("apply_proposals", run_id=run_id)
            cancelled = await subject.result("cancel")
            assert (cancelled["run_id"], cancelled["cancelled"]) == (run_id, False), "none had begun"
        answer = (await subject.wait_for(lambda m: harness.is_answer(m, asked)))["result"]
        assert answer == {"run_id": None, "applied_files": 0, "skipped_files": 0}
        assert library.snapshot() == before
