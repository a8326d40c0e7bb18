"""CONTRACT section 8: runs that end at a batch's end because what a person would spend is spent."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio

from sidecar.demo import standin
from sidecar.demo.replies import usage_metadata
from sidecar.demo.standin import Received, Reply
from tests import harness
from tests.harness import Client, Library, Message

NONE = {"max_requests": None, "max_tokens": None, "per": "run"}


async def tagged_by(subject: Client, **params: Any) -> Message:
    """A run in batches of ten, one after the other unless it is said otherwise: its completion."""
    return await subject.tag(**{"batch_size": 10, "max_parallel": 1, **params})


def spent(done: Message) -> int:
    """The tokens that a budget counts."""
    return sum(int(done["usage"][name]) for name in ("prompt_tokens", "output_tokens", "thoughts_tokens"))


async def test_a_budget_a_run_ends_it_at_a_batchs_end_and_the_next_goes_on(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 100)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        budget = await subject.result("set_budget", max_requests=3)
        assert budget == {"max_requests": 3, "max_tokens": None, "per": "run"}
        for number in (1, 2, 3):
            done = await tagged_by(subject)
            assert (done["status"], done["success"]) == ("quota_exhausted", False)
            assert (done["processed_files"], done["failed_files"], done["current_batch"]) == (30, 0, 3)
            assert done["remaining_files"] == 100 - 30 * number
            assert "budget of 3 requests a run" in done["message"] and "set_budget" not in done["message"]
            assert library.tagged == 10 * gemini.arrived == 30 * number
        run = (await subject.result("list_runs"))[0]
        assert (run["status"], run["message"]) == ("quota_exhausted", done["message"])
        done = await tagged_by(subject)
        assert (done["status"], done["processed_files"]) == ("completed", 10)
    asked = [file["path"] for received in gemini.journal for file in received.files]
    assert len(asked) == len({*asked}) == 100, "no file is asked for twice"


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"dry_run": True}, "start the dry run again: it begins at the first file. "),
        ({"file_ids": [*range(1, 41)]}, "start tagging the same files again: it begins at the first file. "),
    ],
)
async def test_a_run_that_does_not_go_on_does_not_say_so(
    tmp_path: Path, params: dict[str, Any], words: str
) -> None:
    library = harness.library(tmp_path, 40)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        await subject.result("set_budget", max_requests=2)
        for _ in range(2):
            done = await subject.tag(batch_size=10, max_parallel=1, mode="replace", **params)
            assert (done["processed_files"], done["remaining_files"]) == (20, 20), "the same ones again"
            assert words in done["message"]
    assert {file["path"] for received in gemini.journal[:2] for file in received.files} == {
        file["path"] for received in gemini.journal[2:] for file in received.files
    }


@pytest.mark.parametrize("max_parallel", [2, 3, 8])
async def test_batches_side_by_side_spend_no_more(tmp_path: Path, max_parallel: int) -> None:
    library = harness.library(tmp_path, 100)
    gate = trio.Event()
    async with (
        standin.running(script=lambda _: Reply(gate=gate)) as gemini,
        harness.start(library, gemini) as subject,
    ):
        await subject.result("set_budget", max_requests=4)
        started = await subject.result("auto_tag_files", batch_size=10, max_parallel=max_parallel)
        with trio.fail_after(20):
            await gemini.wait_for(min(4, max_parallel))
        await harness.never(lambda: gemini.arrived > 4, seconds=0.1)
        gate.set()
        done = await subject.complete(started["run_id"])
        assert (done["status"], done["processed_files"], gemini.arrived) == ("quota_exhausted", 40, 4)


async def test_a_budget_a_day_counts_what_earlier_processes_spent(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 100)
    async with standin.running() as gemini:
        async with harness.start(library, gemini) as subject:
            await tagged_by(subject, file_ids=list(range(1, 21)), dry_run=True)
            await tagged_by(subject, file_ids=list(range(1, 11)))
            assert gemini.arrived == 3
        async with harness.start(library, gemini) as subject:
            budget = await subject.result("set_budget", max_requests=5, per="day")
            assert budget == {"max_requests": 5, "max_tokens": None, "per": "day"}
            done = await tagged_by(subject)
            assert (done["status"], done["processed_files"], gemini.arrived) == ("quota_exhausted", 20, 5)
            assert "budget of 5 requests a day" in done["message"]
        async with harness.start(library, gemini) as subject:
            await subject.result("set_budget", max_requests=5, per="day")
            done = await tagged_by(subject)
            assert (done["status"], done["processed_files"], gemini.arrived) == ("quota_exhausted", 0, 5)
            # Of one day, not of all days.
            _move_spending(library, "-1 day")
            done = await tagged_by(subject)
            assert (done["status"], done["processed_files"], gemini.arrived) == ("quota_exhausted", 50, 10)
            # What a run may spend is another matter.
            await subject.result("set_budget", max_requests=5)
            assert (await tagged_by(subject))["status"] == "completed"


async def test_a_budget_a_day_counts_what_a_run_spent_whose_end_could_not_be_written_yet(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 60)
    never = trio.Event()
    async with (
        standin.running(script=lambda _: Reply(gate=never)) as gemini,
        harness.start(library, gemini) as subject,
    ):
        await subject.result("set_budget", max_requests=3, per="day")
        await subject.result("auto_tag_files", batch_size=10, max_parallel=3)
        with trio.fail_after(20):
            await gemini.wait_for(3)
        with library.edited():
            assert (await subject.result("cancel"))["status"] == "cancelled"
        done = await tagged_by(subject)
        assert (done["status"], gemini.arrived) == ("quota_exhausted", 3)
        statuses = [run["status"] for run in await subject.result("list_runs")]
    assert statuses == ["quota_exhausted", "cancelled"]


async def test_a_budget_a_day_counts_nothing_of_days_to_come(tmp_path: Path) -> None:
    """A clock that was wrong has put spending there."""
    library = harness.library(tmp_path, 40)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        await tagged_by(subject, file_ids=list(range(1, 21)))
        _move_spending(library, "+1 day")
        await subject.result("set_budget", max_requests=2, per="day")
        done = await tagged_by(subject)
        assert (done["status"], done["processed_files"], gemini.arrived) == ("completed", 20, 4)


def _move_spending(library: Library, by: str) -> None:
    """As if what was spent so far had been spent on another day."""
    moved = "strftime('%Y-%m-%dT%H:%M:%S+00:00', ended_at, ?)"
    with closing(sqlite3.connect(library.path)) as connection, connection:
        connection.execute(f"UPDATE auto_tag_batches SET ended_at = {moved}", (by,))


async def test_a_batch_begins_only_when_what_the_one_before_has_cost_is_known(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 40)
    usage = usage_metadata(prompt=50_000, output=1_000)

    def script(received: Received) -> Reply:
        return standin.ok(harness.answers(received), usage=usage)

    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        await subject.result("set_budget", max_tokens=50_000)
        done = await subject.tag(batch_size=10, max_parallel=1)
        assert (done["status"], done["processed_files"], gemini.arrived) == ("quota_exhausted", 10, 1)


async def test_a_budget_of_tokens_counts_prompt_output_and_thoughts(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 100)
    usage = {**usage_metadata(prompt=20_000, output=3_000, cached=15_000), "thoughtsTokenCount": 2_000}

    def script(received: Received) -> Reply:
        return standin.ok(harness.answers(received), usage=usage)

    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        await subject.result("set_budget", max_tokens=75_000)
        done = await tagged_by(subject)
        assert (done["status"], done["processed_files"], spent(done)) == ("quota_exhausted", 30, 75_000)
        assert "budget of 75,000 tokens a run" in done["message"]
        await subject.result("set_budget", max_tokens=100_000, max_requests=2)
        done = await tagged_by(subject)
        assert (done["status"], gemini.arrived) == ("quota_exhausted", 5)
        assert "2 requests and 100,000 tokens" in done["message"]
        await subject.result("set_budget", max_tokens=126_000, per="day")
        done = await tagged_by(subject)
        # The batch that the last thousand let begin is finished.
        assert (done["status"], spent(done), gemini.arrived) == ("quota_exhausted", 25_000, 6)
        assert "126,000 tokens a day" in done["message"]


async def test_repeated_and_mapping_requests_are_spent_too(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 100)
    refused = standin.unavailable()
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        await subject.result("configure", **harness.FAST)
        await subject.result("set_budget", max_requests=3)
        gemini.script = lambda r: refused if r.number == 1 else None
        done = await tagged_by(subject)
        assert (done["status"], done["processed_files"], gemini.arrived) == ("quota_exhausted", 20, 3)
        gemini.script, gemini.hallucinate = None, 1.0
        since = len(gemini.journal)
        done = await tagged_by(subject)
        kinds = [received.kind for received in gemini.journal[since:]]
        # Two batches may begin, and each that has begun may ask what its unknown tags stand for.
        assert kinds.count("tagging") == 2 and "mapping" in kinds
        assert done["status"] == "quota_exhausted" and done["usage"]["requests"] == len(kinds) <= 4


async def test_nothing_to_spend_sends_nothing_and_without_a_bound_there_is_none(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 30)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        for bound in ({"max_requests": 0}, {"max_tokens": 0}):
            await subject.result("set_budget", **bound)
            done = await tagged_by(subject)
            assert (done["status"], done["remaining_files"], gemini.arrived) == ("quota_exhausted", 30, 0)
            assert "budget of 0 " in done["message"]
        await subject.result("set_budget", max_requests=3)
        done = await tagged_by(subject, file_ids=list(range(1, 31)))
        assert (done["status"], gemini.arrived) == ("completed", 3), (
            "spent to the last, and nothing was left to do"
        )
        await subject.result("set_budget", max_requests=1)
        assert await subject.result("set_budget") == NONE
        done = await tagged_by(subject, file_ids=list(range(1, 31)))
        assert (done["status"], done["processed_files"]) == ("completed", 30)


async def test_a_run_under_way_keeps_the_budget_that_it_began_with(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 60)
    gate = trio.Event()
    async with (
        standin.running(script=lambda r: Reply(gate=gate) if r.number == 1 else None) as gemini,
        harness.start(library, gemini) as subject,
    ):
        started = await subject.result("auto_tag_files", batch_size=10, max_parallel=1)
        with trio.fail_after(20):
            await gemini.wait_for(1)
        await subject.result("set_budget", max_requests=2)
        gate.set()
        assert (await subject.complete(started["run_id"]))["status"] == "completed"
        done = await tagged_by(subject, file_ids=list(range(1, 61)))
        assert (done["status"], done["processed_files"]) == ("quota_exhausted", 20)


async def test_a_start_keeps_the_budget_that_it_was_called_with(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 40)
    calls = [("set_budget", {"max_requests": 2}), ("auto_tag_files", {"batch_size": 10}), ("set_budget", {})]
    lines = [
        json.dumps({"jsonrpc": "2.0", "id": f"call {number}", "method": method, "params": params})
        for number, (method, params) in enumerate(calls)
    ]
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        await subject.send_line("\n".join(lines).encode())
        started = await subject.wait_for(lambda m: m.get("id") == "call 1")
        done = await subject.complete(started["result"]["run_id"])
        assert (done["status"], gemini.arrived) == ("quota_exhausted", 2)
        assert (await subject.tag(batch_size=10))["status"] == "completed"


async def test_retries_and_dry_runs_keep_to_the_budget_too(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 40)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        gemini.script = lambda _: standin.finish("SAFETY")
        assert (await tagged_by(subject, batch_size=1, file_ids=list(range(1, 11))))["failed_files"] == 10
        gemini.script, seen = None, gemini.arrived
        await subject.result("set_budget", max_requests=1)
        await subject.result("configure", batch_size=4)
        started = await subject.result("retry_failed")
        done = await subject.complete(started["run_id"])
        assert (done["status"], done["processed_files"], gemini.arrived - seen) == ("quota_exhausted", 4, 1)
        done = await tagged_by(subject, dry_run=True)
        assert (done["status"], done["processed_files"], gemini.arrived - seen) == ("quota_exhausted", 10, 2)
        assert len((await subject.result("get_run"))["proposals"]) == 10


async def test_a_budget_that_is_none_is_refused(tmp_path: Path) -> None:
    async with harness.start(harness.library(tmp_path, 5)) as subject:
        for params in ({"max_requests": -1}, {"max_tokens": 1.5}, {"per": "week"}, {"max_money": 1}):
            error = await subject.error("set_budget", **params)
            assert error["code"] == -32602 and next(iter(params)) in error["message"]
        assert await subject.result("set_budget", max_requests=None, per=None) == NONE
