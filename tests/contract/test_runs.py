"""CONTRACT sections 2, 3 and 9: runs from their answer to their completion, and what is asked meanwhile."""

import json
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
    library = harness.library(tmp_path, 130, with_dates=True)
    async with standin.running(hallucinate=0.3) as gemini, harness.start(library, gemini) as subject:
        assert (await subject.result("count_untagged_files"))["count"] == 130
        started = await subject.result("auto_tag_files", batch_size=25)
        run_id = started["run_id"]
        assert started == {
            "run_id": run_id,
            "status": "started", "message": "Auto-tagging started",
            "total_files": 130, "total_batches": 6,
        }  # fmt: skip
        done = await subject.complete(run_id)
        assert (done["success"], done["status"], done["message"]) == (True, "completed", "130 files tagged.")
        assert [done[name] for name in ("processed_files", "failed_files", "skipped_files")] == [130, 0, 0]
        assert done["usage"]["requests"] == gemini.arrived
        batches = subject.events("tagging-batch")
        assert sorted(batch["batch"] for batch in batches) == [1, 2, 3, 4, 5, 6]
        assert sum(batch["tagged"] for batch in batches) == 130
        progress = subject.events("tagging-progress")
        assert len(progress) == 6 and progress[-1]["current_batch"] == 6
        assert set(asked_paths(gemini).values()) == {1}
        assert not any(path.startswith("/") or harness.USER in path for path in asked_paths(gemini))
        asked = Counter((tag["type"], tag["tag"]) for received in gemini.journal for tag in received.invalid_tags)
        assert asked and set(asked.values()) == {1}, "an unknown tag is asked for once in the process"
        assert len({received.system for received in gemini.journal}) == 1, (
            "the instruction is the same to the byte"
        )
        assert library.tagged == 130
        assert (await subject.result("count_untagged_files"))["count"] == 0
        again = await subject.result("auto_tag_files")
        assert again["status"] == "nothing_to_do" and again["run_id"] is None
        assert (await subject.result("list_runs"))[0]["run_id"] == run_id
        [entry] = await subject.result("get_tagging_history", file_id=1)
        before = json.loads(entry["tags_applied"])["before"]
        assert before["genre"] == library.baseline["audio_files"][1]["genre"]
    history = library.query("SELECT * FROM auto_tag_history ORDER BY file_id")
    assert [row["file_id"] for row in history] == list(range(1, 131))
    assert all(json.loads(row["tags_applied"])["run_id"] == run_id for row in history)
    assert library.query("SELECT * FROM tag_mapping_cache WHERE usage_count > 1")


async def test_a_run_may_follow_at_once_when_the_completion_was_read(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        for _ in range(15):
            assert (await subject.tag(file_ids=[1, 2]))["processed_files"] == 2


async def test_what_configure_sets_is_the_default_of_later_runs(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 100)
    gate = trio.Event()
    async with (
        standin.running(script=lambda _: Reply(gate=gate)) as gemini,
        harness.start(library, gemini) as subject,
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
    library = harness.library(tmp_path, 5)
    async with (
        standin.running(api_key="another-key-123456") as gemini,
        harness.start(library, gemini, env=harness.NO_KEY) as subject,
    ):
        assert (await subject.error("auto_tag_files"))["code"] == -32011
        assert await subject.result("check_gemini_api_key") is False
        status = await subject.result("configure", api_key="another-key-123456")
        assert status["api_key_present"] and "another-key" not in json.dumps(status)
        assert await subject.result("check_gemini_api_key", verify=True) is True
        assert (await subject.tag())["processed_files"] == 5


async def test_file_ids_unknown_double_empty_and_tagged_already(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 30)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
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
        assert library.tagged == 3
        harness.check_invariants(library, [subject])
        assert (await subject.tag(file_ids=[3]))["processed_files"] == 1
        assert len(await subject.result("get_tagging_history", file_id=3)) == 2
        assert len(await subject.result("get_tagging_history", file_id=2)) == 1
        assert await subject.result("get_tagging_history", file_id=4) == []


async def test_untagged_files_come_in_pages_by_id(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 25)
    async with harness.start(library) as subject:
        first = await subject.result("get_untagged_files", limit=10)
        assert [file["id"] for file in first] == list(range(1, 11))
        assert first[0].keys() == {"id", "file_path", "title", "artist", "album", "genre", "mood"}
        rest = await subject.result("get_untagged_files", after_id=10)
        assert [file["id"] for file in rest] == list(range(11, 26))


async def test_runs_that_do_not_exist_are_named_so(tmp_path: Path) -> None:
    async with harness.start(harness.library(tmp_path, 5)) as subject:
        for method in ("cancel", "get_run"):
            assert (await subject.error(method))["code"] == -32002
            assert (await subject.error(method, run_id="nope"))["code"] == -32002
        assert await subject.result("list_runs") == []


async def test_requests_are_answered_while_a_run_waits(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 60)
    gate = trio.Event()
    async with (
        standin.running(script=lambda _: Reply(gate=gate)) as gemini,
        harness.start(library, gemini) as subject,
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


async def test_a_run_may_be_started_by_a_notification(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 200)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        await subject.notify("auto_tag_files", batch_size=1, max_parallel=8)
        with trio.fail_after(30):
            await gemini.wait_for(200)
        done = await subject.wait_for(lambda m: m.get("method") == harness.COMPLETE)
        assert done["params"]["processed_files"] == 200
        assert all("id" not in message for message in subject.transcript)
