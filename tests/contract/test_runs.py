"""CONTRACT sections 2, 3 and 9: runs from their answer to their completion, cancelled, killed, resumed."""

import json
import time
from collections import Counter
from pathlib import Path

import trio

from sidecar.demo import standin
from sidecar.demo.standin import Reply, StandIn
from tests import harness


def asked_paths(gemini: StandIn, since: int = 0) -> Counter[str]:
    """How often each path was sent, from request `since` on."""
    return Counter(file["path"] for received in gemini.journal[since:] for file in received.files)


async def test_every_file_is_tagged_and_whole_rows_are_otherwise_the_same(tmp_path: Path) -> None:
    database = harness.library(tmp_path, 130, with_dates=True)
    before = harness.snapshot(database)
    async with standin.running(hallucinate=0.3) as gemini, harness.start(database, gemini) as subject:
        started = await subject.result("auto_tag_files", batch_size=25)
        run_id = started["run_id"]
        assert started == {
            "run_id": run_id,
            "status": "started", "message": "Auto-tagging started",
            "total_files": 130, "total_batches": 6,
        }  # fmt: skip
        done = await subject.complete(run_id)
        assert done["success"] and done["status"] == "completed"
        assert [done[name] for name in ("processed_files", "failed_files", "skipped_files")] == [130, 0, 0]
        assert done["usage"]["requests"] == gemini.arrived
        batches = subject.events("tagging-batch")
        assert sorted(batch["batch"] for batch in batches) == [1, 2, 3, 4, 5, 6]
        assert sum(batch["tagged"] for batch in batches) == 130
        assert set(asked_paths(gemini).values()) == {1}
        assert not any(path.startswith("/") or "ann" in path.split("/")[0] for path in asked_paths(gemini))
        harness.check(database, before, subject, tagged=130)
        assert (await subject.result("auto_tag_files"))["status"] == "nothing_to_do"
        assert (await subject.result("list_runs"))[0]["run_id"] == run_id
    history = harness.query(database, "SELECT * FROM auto_tag_history ORDER BY file_id")
    assert [row["file_id"] for row in history] == list(range(1, 131))
    assert all(json.loads(row["tags_applied"])["run_id"] == run_id for row in history)


async def test_answer_then_notifications_then_completion_then_the_answer_to_cancel(tmp_path: Path) -> None:
    database = harness.library(tmp_path, 60)
    gate = trio.Event()
    async with (
        standin.running(script=lambda r: None if r.number <= 2 else Reply(gate=gate)) as gemini,
        harness.start(database, gemini) as subject,
    ):
        started = await subject.send("auto_tag_files", batch_size=10, max_parallel=2)
        with trio.fail_after(20):
            await gemini.wait_for(4)
        await subject.wait_for(lambda m: m.get("method") == "tagging-progress")
        assert (await subject.request("cancel"))["result"]["cancelled"] is True
        methods = [m.get("method", m.get("id")) for m in subject.transcript]
        assert methods[0] == started and methods[-2:] == [harness.COMPLETE, started + 1]
        assert methods[1:-2] == ["tagging-batch", "tagging-progress"] * ((len(methods) - 3) // 2)
        harness.check_transcript(subject)
        again = await subject.result("cancel")
        assert again["cancelled"] is False and again["status"] == "cancelled"


async def test_a_cancel_behind_the_start_finds_its_run(tmp_path: Path) -> None:
    database = harness.library(tmp_path, 60)
    before = harness.snapshot(database)
    async with standin.running(latency_seconds=60) as gemini, harness.start(database, gemini) as subject:
        await subject.send_line(
            b'{"jsonrpc":"2.0","id":"a","method":"auto_tag_files"}\n{"jsonrpc":"2.0","id":"b","method":"cancel"}'
        )
        answer = await subject.wait_for(lambda m: m.get("id") == "b")
        assert answer["result"]["cancelled"] and answer["result"]["remaining_files"] == 60
        assert [m.get("method", m.get("id")) for m in subject.transcript] == ["a", harness.COMPLETE, "b"]
        harness.check(database, before, subject, tagged=0)


async def test_cancel_is_quick_and_nothing_is_sent_or_written_after_its_answer(tmp_path: Path) -> None:
    database = harness.library(tmp_path, 400)
    before = harness.snapshot(database)
    took: list[float] = []
    async with standin.running() as gemini, harness.start(database, gemini) as subject:
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
            after = harness.snapshot(database)
            with trio.fail_after(1):
                await gemini.wait_until_idle()
            gate.set()
            await harness.never(lambda seen=seen: gemini.arrived > seen + 8, seconds=0.3)  # type: ignore[misc]
            assert harness.snapshot(database) == after
        assert min(took) < 0.15 and max(took) < 1, took
        harness.check(database, before, subject, tagged=0)


async def test_the_next_run_takes_exactly_the_rest(tmp_path: Path) -> None:
    database = harness.library(tmp_path, 100)
    before = harness.snapshot(database)
    gate = trio.Event()
    async with standin.running() as gemini, harness.start(database, gemini) as subject:
        gemini.script = lambda r: None if r.number <= 4 else Reply(gate=gate)
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
        sent = asked_paths(gemini, since)
        assert sent == Counter(path.removeprefix("/home/ann/Music/Ligeia/") for path in rest)
        harness.check(database, before, subject, tagged=100)
    assert harness.scalar(database, "SELECT count(*) FROM auto_tag_history") == 100


async def test_a_second_run_is_refused_in_the_same_and_in_another_process(tmp_path: Path) -> None:
    database = harness.library(tmp_path, 60)
    before = harness.snapshot(database)
    gate = trio.Event()
    async with (
        standin.running(script=lambda _: Reply(gate=gate)) as gemini,
        harness.start(database, gemini) as first,
        harness.start(database, gemini) as second,
    ):
        run_id = (await first.result("auto_tag_files"))["run_id"]
        assert (await first.result("status"))["active_run_id"] == run_id
        for subject in (first, second):
            error = await subject.error("auto_tag_files")
            assert error["code"] == -32001 and error["data"]["run_id"] == run_id and error["message"]
        gate.set()
        assert (await first.complete(run_id))["processed_files"] == 60
        # The run that has said its last word is in nobody's way.
        assert (await first.result("auto_tag_files"))["status"] == "nothing_to_do"
        assert (await second.tag(file_ids=[1]))["processed_files"] == 1
        harness.check(database, before, first, tagged=60)


async def test_a_run_may_follow_at_once_when_the_completion_was_read(tmp_path: Path) -> None:
    database = harness.library(tmp_path, 20)
    async with standin.running() as gemini, harness.start(database, gemini) as subject:
        for _ in range(15):
            assert (await subject.tag(file_ids=[1, 2]))["processed_files"] == 2
        harness.check_transcript(subject)


async def test_what_configure_sets_is_the_default_of_later_runs(tmp_path: Path) -> None:
    database = harness.library(tmp_path, 100)
    gate = trio.Event()
    async with (
        standin.running(script=lambda _: Reply(gate=gate)) as gemini,
        harness.start(database, gemini) as subject,
    ):
        status = await subject.result("configure", batch_size=10, max_parallel=5, model="gemini-3.8-flash")
        assert status["model"] == "gemini-3.8-flash"
        started = await subject.result("auto_tag_files")
        assert started["total_batches"] == 10
        with trio.fail_after(20):
            await gemini.wait_for(5)
        # A run under way keeps what it started with.
        await subject.result("configure", max_parallel=9, model=standin.MODELS[1], batch_size=100)
        await harness.never(lambda: gemini.arrived > 5, seconds=0.2)
        gate.set()
        await subject.complete(started["run_id"])
        assert {received.model for received in gemini.journal} == {"gemini-3.8-flash"}
        assert gemini.peak_open_requests == 5
        since = len(gemini.journal)
        assert (await subject.tag(file_ids=list(range(1, 101))))["total_batches"] == 1
        assert {received.model for received in gemini.journal[since:]} == {standin.MODELS[1]}
        since = len(gemini.journal)
        done = await subject.tag(file_ids=[1, 2], batch_size=1, model=standin.MODELS[0])
        assert done["total_batches"] == 2
        assert {received.model for received in gemini.journal[since:]} == {standin.MODELS[0]}


async def test_without_a_key_no_run_starts_and_configure_mends_it(tmp_path: Path) -> None:
    database = harness.library(tmp_path, 5)
    async with (
        standin.running(api_key="another-key-123456") as gemini,
        harness.start(database, gemini, env={"GEMINI_API_KEY": None}) as subject,
    ):
        assert (await subject.error("auto_tag_files"))["code"] == -32011
        assert await subject.result("check_gemini_api_key") is False
        status = await subject.result("configure", api_key="another-key-123456")
        assert status["api_key_present"] and "another-key" not in json.dumps(status)
        assert await subject.result("check_gemini_api_key", verify=True) is True
        assert (await subject.tag())["processed_files"] == 5


async def test_file_ids_unknown_double_empty_and_tagged_already(tmp_path: Path) -> None:
    database = harness.library(tmp_path, 30)
    before = harness.snapshot(database)
    async with standin.running() as gemini, harness.start(database, gemini) as subject:
        error = await subject.error("auto_tag_files", file_ids=[1, 4711, 2, -5])
        assert error["code"] == -32602 and "4711" in error["message"] and "-5" in error["message"]
        assert gemini.arrived == 0
        empty = await subject.result("auto_tag_files", file_ids=[])
        assert empty == {
            "run_id": None, "status": "nothing_to_do", "message": "No untagged files found",
            "total_files": 0, "total_batches": 0,
        }  # fmt: skip
        done = await subject.tag(file_ids=[3, 1, 3, 3, 2], batch_size=2)
        assert (done["total_files"], done["total_batches"], done["processed_files"]) == (3, 2, 3)
        harness.check(database, before, subject, tagged=3)
        assert (await subject.tag(file_ids=[3]))["processed_files"] == 1
        assert len(await subject.result("get_tagging_history", file_id=3)) == 2
        assert len(await subject.result("get_tagging_history", file_id=2)) == 1
        assert await subject.result("get_tagging_history", file_id=4) == []


async def test_untagged_files_come_in_pages_by_id(tmp_path: Path) -> None:
    database = harness.library(tmp_path, 25)
    async with harness.start(database, None) as subject:
        first = await subject.result("get_untagged_files", limit=10)
        assert [file["id"] for file in first] == list(range(1, 11))
        assert first[0].keys() == {"id", "file_path", "title", "artist", "album", "genre", "mood"}
        rest = await subject.result("get_untagged_files", after_id=10)
        assert [file["id"] for file in rest] == list(range(11, 26))


async def test_runs_that_do_not_exist_are_named_so(tmp_path: Path) -> None:
    async with harness.start(harness.library(tmp_path, 5), None) as subject:
        for method in ("cancel", "get_run"):
            assert (await subject.error(method))["code"] == -32002
            assert (await subject.error(method, run_id="nope"))["code"] == -32002
        assert await subject.result("list_runs") == []


async def test_requests_are_answered_while_a_run_waits(tmp_path: Path) -> None:
    database = harness.library(tmp_path, 60)
    gate = trio.Event()
    async with (
        standin.running(script=lambda _: Reply(gate=gate)) as gemini,
        harness.start(database, gemini) as subject,
    ):
        run_id = (await subject.result("auto_tag_files"))["run_id"]
        with trio.fail_after(20):
            await gemini.wait_for(2)
        with trio.fail_after(5):
            for _ in range(20):
                assert (await subject.result("status"))["active_run_id"] == run_id
                assert (await subject.result("count_untagged_files"))["count"] == 60
                assert (await subject.result("get_run"))["remaining_files"] == 60
        gate.set()
        await subject.complete(run_id)


async def test_killed_again_and_again_no_file_is_done_twice(tmp_path: Path) -> None:
    database = harness.library(tmp_path, 300)
    before = harness.snapshot(database)
    async with standin.running(latency_seconds=0.01, hallucinate=0.1) as gemini:
        for requests in (2, 7, 4, 9, 5):
            async with harness.start(database, gemini) as subject:
                seen = gemini.arrived
                started = await subject.result("auto_tag_files", batch_size=5, max_parallel=3)
                with trio.fail_after(20):
                    await gemini.wait_for(seen + requests)
                await subject.kill()
                announced = max((p["processed_files"] for p in subject.events("tagging-progress")), default=0)
            tagged = harness.scalar(database, "SELECT count(*) FROM audio_files WHERE auto_tagged = 1")
            assert tagged % 5 == 0, "only whole batches"
            assert tagged >= 300 - started["total_files"] + announced, "what was announced is durable"
            harness.check(database, before, tagged=tagged)
        async with harness.start(database, gemini) as subject:
            assert {run["status"] for run in await subject.result("list_runs")} == {"interrupted"}
            assert (await subject.result("get_run"))["status"] == "interrupted"
            done = await subject.tag(batch_size=50)
            assert done["processed_files"] == done["total_files"] == 300 - tagged
            harness.check(database, before, subject, tagged=300)
    counts = harness.query(database, "SELECT file_id, count(*) AS n FROM auto_tag_history GROUP BY file_id")
    assert len(counts) == 300 and {row["n"] for row in counts} == {1}
