"""CONTRACT sections 2, 3 and 9: a run that is cancelled, what is sent and written then, and the run after it."""

import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import trio

from sidecar.demo import standin
from sidecar.demo.standin import Reply
from tests import harness
from tests.contract.scenes import answering


async def test_answer_then_notifications_then_completion_then_the_answer_to_cancel(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 60)
    async with standin.running(script=answering(2)) as gemini, harness.start(library, gemini) as subject:
        started = await subject.send("auto_tag_files", batch_size=10, max_parallel=2)
        with trio.fail_after(20):
            await gemini.wait_for(4)
        await subject.wait_for(lambda m: m.get("method") == "tagging-progress")
        assert (await subject.request("cancel"))["result"]["cancelled"] is True
        methods = [m.get("method", m.get("id")) for m in subject.transcript]
        assert methods[0] == started and methods[-2:] == [harness.COMPLETE, started + 1]
        assert methods[1:-2] == ["tagging-batch", "tagging-progress"] * ((len(methods) - 3) // 2)
        again = await subject.result("cancel")
        assert again["cancelled"] is False and again["status"] == "cancelled"


async def test_a_cancel_behind_the_start_finds_its_run(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 60)
    async with standin.running(latency_seconds=60) as gemini, harness.start(library, gemini, anew=True) as subject:
        await subject.send_line(
            b'{"jsonrpc":"2.0","id":"a","method":"auto_tag_files"}\n{"jsonrpc":"2.0","id":"b","method":"cancel"}'
        )
        answer = await subject.wait_for(lambda m: m.get("id") == "b")
        assert answer["result"]["cancelled"] and answer["result"]["remaining_files"] == 60
        assert [m.get("method", m.get("id")) for m in subject.transcript] == ["a", harness.COMPLETE, "b"]
        assert library.tagged == 0


async def test_a_cancel_behind_a_long_batch_finds_the_run_that_its_last_member_starts(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 60)
    status = b'{"jsonrpc":"2.0","id":"s","method":"status"},' * 50
    async with standin.running(latency_seconds=60) as gemini, harness.start(library, gemini, anew=True) as subject:
        await subject.send_line(
            b"[" + status + b'{"jsonrpc":"2.0","id":"a","method":"auto_tag_files"}]\n'
            b'{"jsonrpc":"2.0","id":"b","method":"cancel"}'
        )
        answer = await subject.wait_for(lambda m: m.get("id") == "b")
        assert answer["result"]["cancelled"] and answer["result"]["remaining_files"] == 60
        assert library.tagged == 0


async def test_a_run_that_a_notification_started_waits_for_no_answer_to_its_batch(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 60)
    gate = trio.Event()
    async with (
        standin.running(script=lambda _: Reply(gate=gate)) as gemini,
        harness.start(library, gemini) as subject,
    ):
        await subject.send_line(
            b'[{"jsonrpc":"2.0","method":"auto_tag_files"},'
            b'{"jsonrpc":"2.0","id":"v","method":"check_gemini_api_key","params":{"verify":true}}]'
        )
        with trio.fail_after(20):
            await gemini.wait_for(2)
        await subject.result("cancel")
        assert [m.get("method", m.get("id")) for m in subject.transcript][-2] == harness.COMPLETE
        gate.set()


async def test_cancel_is_quick_and_nothing_is_sent_or_written_after_its_answer(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 400)
    took: list[float] = []
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        for _ in range(3):
            gate = trio.Event()
            gemini.script = lambda _, gate=gate: Reply(gate=gate)
            seen = gemini.arrived
            await subject.result("auto_tag_files", batch_size=10, max_parallel=8)
            with trio.fail_after(20):
                await gemini.wait_for(seen + 8)
            began = time.monotonic()
            answer = await subject.result("cancel")
            took.append(time.monotonic() - began)
            assert answer["cancelled"] and answer["status"] == "cancelled" and answer["remaining_files"] == 400
            assert subject.transcript[-2]["method"] == harness.COMPLETE
            after = library.snapshot()
            with trio.fail_after(1):
                await gemini.wait_until_idle()
            gate.set()
            await harness.never(lambda seen=seen: gemini.arrived > seen + 8, seconds=0.3)  # type: ignore[misc]
            assert library.snapshot() == after
            ended = await subject.result("cancel", run_id=answer["run_id"])
            assert not ended["cancelled"] and ended["status"] == "cancelled"
        assert max(took) < 1, took
        assert library.tagged == 0
        harness.check_invariants(library, [subject])
        gemini.script = None
        assert (await subject.tag())["processed_files"] == 400
    assert library.tagged == 400


async def test_the_next_run_takes_exactly_the_rest(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 100)
    async with standin.running(script=answering(4)) as gemini, harness.start(library, gemini) as subject:
        await subject.result("auto_tag_files", batch_size=10, max_parallel=2)
        with trio.fail_after(20):
            await gemini.wait_for(6)
        await subject.wait_until(lambda: len(subject.events("tagging-progress")) == 4)
        stopped = await subject.result("cancel")
        assert (stopped["processed_files"], stopped["remaining_files"]) == (40, 60)
        assert (await subject.result("count_untagged_files"))["count"] == 60
        rest = {file["file_path"] for file in await subject.result("get_untagged_files")}
        gemini.script, since = None, len(gemini.journal)
        done = await subject.tag(batch_size=7)
        assert done["total_files"] == done["processed_files"] == 60
        sent = Counter(file["path"] for received in gemini.journal[since:] for file in received.files)
        assert sent == Counter(path.removeprefix(f"{harness.HOME}/") for path in rest)
        assert library.tagged == 100
    assert library.scalar("SELECT count(*) FROM auto_tag_history") == 100


async def test_a_cancel_does_not_wait_for_another_calls_write(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 40)
    async with standin.running(latency_seconds=60) as gemini, harness.start(library, gemini) as subject:
        await subject.result("auto_tag_files")
        with trio.fail_after(20):
            await gemini.wait_for(1)
        with closing(library.connect()) as other:
            other.execute("BEGIN IMMEDIATE")
            deleting = await subject.send("delete_tag_mapping", tag_type="mood", invalid_tag="vibey")
            assert (await subject.result("cancel"))["status"] == "cancelled"
            assert not any(harness.is_answer(message, deleting) for message in subject.transcript)
            other.execute("ROLLBACK")
        await subject.wait_for(lambda m: harness.is_answer(m, deleting))


async def test_a_cancelled_run_whose_end_cannot_be_written_is_written_later(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 40)
    async with standin.running(latency_seconds=60) as gemini:
        async with harness.start(library, gemini) as subject:
            run_id = (await subject.result("auto_tag_files"))["run_id"]
            with trio.fail_after(20):
                await gemini.wait_for(1)
            with closing(library.connect()) as other:
                other.execute("BEGIN IMMEDIATE")
                assert (await subject.result("cancel"))["status"] == "cancelled"
                other.execute("ROLLBACK")
            statement = "SELECT status FROM auto_tag_runs WHERE run_id = ?"
            await harness.eventually(lambda: library.scalar(statement, run_id) == "cancelled")
        async with harness.start(library) as subject:
            [run] = await subject.result("list_runs")
            assert (run["run_id"], run["status"]) == (run_id, "cancelled")
