"""CONTRACT section 5: killed at any instant, the library holds whole batches, and the next run takes the rest."""

import random
from pathlib import Path

import trio

from sidecar.demo import standin
from tests import harness
from tests.contract.scenes import stopped_after

ROUNDS = 25


async def test_killed_again_and_again_no_file_is_done_twice(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 300)
    moments = [("requests", n) for n in (2, 7, 4, 9, 5)] + [("commits", n) for n in (1, 2, 3, 2)]
    async with standin.running(latency_seconds=0.01, hallucinate=0.1) as gemini:
        for kind, count in moments:
            before = library.tagged
            async with harness.start(library, gemini) as subject:
                seen = gemini.arrived
                started = await subject.result("auto_tag_files", batch_size=5, max_parallel=3)
                with trio.fail_after(20):
                    if kind == "requests":
                        await gemini.wait_for(seen + count)
                    else:
                        await subject.wait_for(lambda m, n=count: _commits(m) >= n)  # type: ignore[misc]
                await subject.kill()
                announced = max((p["processed_files"] for p in subject.events("tagging-progress")), default=0)
            assert library.tagged % 5 == 0, "only whole batches"
            assert started["total_files"] == 300 - before
            assert library.tagged >= before + announced, "what was announced is durable"
        async with harness.start(library, gemini) as subject:
            statuses = [run["status"] for run in await subject.result("list_runs")]
            assert statuses == ["interrupted"] * len(moments)
            assert (await subject.result("get_run"))["status"] == "interrupted"
            rest = 300 - library.tagged
            done = await subject.tag(batch_size=50)
            assert done["processed_files"] == done["total_files"] == rest
    assert library.tagged == 300
    counts = library.query("SELECT file_id, count(*) AS n FROM auto_tag_history GROUP BY file_id")
    assert len(counts) == 300 and {row["n"] for row in counts} == {1}


def _commits(message: harness.Message) -> int:
    return int(message["params"]["current_batch"]) if message.get("method") == "tagging-progress" else 0


async def test_sigkill_at_random_instants(tmp_path: Path) -> None:
    """25 rounds: whole batches only, no file done twice, and the run after the last kill takes the rest."""
    library = harness.library(tmp_path, 2000)
    instants = random.Random(20261124)
    tagged = 0
    async with standin.running(latency_seconds=0.01) as gemini:
        for _ in range(ROUNDS):
            async with harness.start(library, gemini) as subject:
                started = await subject.result("auto_tag_files", batch_size=20, max_parallel=4)
                await subject.wait_for(lambda m: m.get("method") == "tagging-progress")
                with trio.move_on_after(instants.uniform(0, 0.03)):
                    await subject.complete(started["run_id"])
                await subject.kill()
            assert (library.tagged % 20 == 0 and library.tagged >= tagged + 20) or library.tagged == 2000
            tagged = library.tagged
            assert library.scalar("SELECT count(*) FROM auto_tag_history") == tagged, "no file done twice"
            if tagged == 2000:
                break
        if tagged < 2000:
            async with harness.start(library, gemini) as subject:
                done = await subject.tag()
                assert done["processed_files"] == 2000 - tagged and done["failed_files"] == 0
    assert library.tagged == library.scalar("SELECT count(*) FROM auto_tag_history") == 2000


async def test_a_killed_run_is_interrupted_also_while_the_next_starts(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 40)
    async with stopped_after(1, library) as subject:
        killed = subject.events("tagging-progress")[0]["run_id"]
        await subject.kill()
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        with library.edited():
            asked = await subject.send("auto_tag_files")
            for _ in range(20):  # each is a round of the sidecar's event loop: by then it holds the run lock
                await subject.result("status")
            assert [run["status"] for run in await subject.result("list_runs")] == ["interrupted"]
            assert (await subject.result("get_run", run_id=killed))["status"] == "interrupted"
        started = await subject.wait_for(lambda m: harness.is_answer(m, asked))
        assert (await subject.complete(started["result"]["run_id"]))["processed_files"] == 30
