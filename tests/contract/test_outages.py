"""CONTRACT section 6: outages. The run holds, no file pays for it, and it does not last longer than it may."""

from dataclasses import replace
from pathlib import Path

import pytest
import trio

from sidecar.demo import standin
from sidecar.demo.standin import Received, Reply
from tests import harness


async def test_an_outage_is_waited_out_and_costs_no_file(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 60)
    async with (
        standin.running(script=lambda r: standin.unavailable() if r.number <= 30 else None) as gemini,
        harness.start(library, gemini) as subject,
    ):
        await subject.result("configure", **harness.FAST)
        done = await subject.tag(batch_size=10, max_parallel=3)
        assert (done["processed_files"], done["failed_files"]) == (60, 0)
        assert any("cannot be reached" in p["status"] for p in subject.events("tagging-progress"))
        assert library.tagged == 60


@pytest.mark.parametrize("outage_max_seconds", [0, 0.5])
async def test_an_outage_too_long_ends_the_run_with_its_files_remaining(
    tmp_path: Path, outage_max_seconds: float
) -> None:
    library = harness.library(tmp_path, 60)
    async with (
        standin.running(script=lambda _: Reply(drop="before")) as gemini,
        harness.start(library, gemini) as subject,
    ):
        await subject.result("configure", **harness.FAST, outage_max_seconds=outage_max_seconds)
        done = await subject.tag(batch_size=10)
        assert (done["status"], done["failed_files"], done["remaining_files"]) == ("failed", 0, 60)
        assert done["message"].startswith("Gemini could not be reached (")
        assert "). Check the network connection and start tagging again" in done["message"]
        assert library.tagged == 0


async def test_an_outage_of_an_overloaded_service_says_to_come_back_later(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 60)
    async with (
        standin.running(script=lambda _: standin.unavailable()) as gemini,
        harness.start(library, gemini) as subject,
    ):
        await subject.result("configure", **harness.FAST, outage_max_seconds=0)
        done = await subject.tag(batch_size=10)
        assert done["message"].startswith("Gemini could not be reached: it was overloaded (The model")
        assert "again later" in done["message"] and "network" not in done["message"]


async def test_a_server_that_accepts_and_never_answers_does_not_lengthen_an_outage(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 60)
    answering, probed, never = True, trio.Event(), trio.Event()

    def script(_: Received) -> Reply:
        if answering:
            return standin.unavailable()
        probed.set()
        return Reply(gate=never)

    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        await subject.result("configure", **harness.FAST | {"request_timeout_seconds": 600}, outage_max_seconds=2)
        run_id = (await subject.result("auto_tag_files", batch_size=10))["run_id"]
        await subject.wait_for(lambda m: "cannot be reached" in str(m.get("params")))
        answering = False
        with trio.fail_after(20):
            await probed.wait()
        arrived = gemini.arrived
        # The probe is under way: nothing is waited for, and still it is an outage.
        latest = await subject.result("get_run")
        assert latest["status"].startswith("Gemini cannot be reached; trying again")
        done = await subject.complete(run_id)
        assert (done["status"], done["failed_files"], done["remaining_files"]) == ("failed", 0, 60)
        assert gemini.arrived == arrived


async def test_a_429_neither_ends_an_outage_nor_costs_a_file(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 60)

    def script(received: Received) -> Reply | None:
        if received.number > 40:
            return None
        return standin.rate_limited("0.01s") if received.number % 3 == 0 else standin.unavailable()

    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        await subject.result("configure", **harness.FAST)
        done = await subject.tag(batch_size=10, max_parallel=3)
        assert (done["processed_files"], done["failed_files"]) == (60, 0)


async def test_in_an_outage_no_file_fails_of_429s_however_many_come(tmp_path: Path) -> None:
    """25 for two batches: one of them is refused more than ten times."""
    library = harness.library(tmp_path, 20)
    both = trio.Event()

    def script(received: Received) -> Reply | None:
        if received.number <= 2:
            if received.number == 2:
                both.set()
            return replace(standin.unavailable(), gate=both)
        if received.number <= 5:
            return standin.unavailable()
        return standin.rate_limited("0.01s") if received.number <= 30 else None

    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        await subject.result("configure", **harness.FAST)
        done = await subject.tag(batch_size=10, max_parallel=2)
        assert (done["processed_files"], done["failed_files"], gemini.arrived) == (20, 0, 32)


async def test_what_was_tried_before_an_outage_does_not_count_after_it(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 30)
    order: list[str] = []
    all_there = trio.Event()

    def script(received: Received) -> Reply | None:
        """Three batches fail once each: an outage. A probe ends it; one of the first two fails twice more."""
        order.append(received.files[0]["path"])
        if received.number == 3:
            all_there.set()
        if received.number <= 3:
            return replace(standin.unavailable(), gate=all_there)
        [victim, *_] = [path for path in order[:2] if path != order[3]]
        return standin.unavailable() if order[-1] == victim and order.count(victim) <= 3 else None

    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        await subject.result("configure", **harness.FAST, max_attempts=3)
        done = await subject.tag(batch_size=10, max_parallel=3)
        assert (done["processed_files"], done["failed_files"], gemini.arrived) == (30, 0, 8)
