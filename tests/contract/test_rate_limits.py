"""CONTRACT section 6: 429 and the waits that Gemini asks for, quotas that a run cannot outwait."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import trio

from sidecar.demo import standin
from sidecar.demo.standin import Received, Reply
from tests import harness

GRACE_SECONDS = 0.15
"""A request that arrives so soon after a 429 was given left before the 429 could be read."""


async def test_a_429_holds_every_batch_for_as_long_as_it_says(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 300)
    delay, refused_at, arrivals = 1.0, [0.0], list[float]()

    def script(received: Received) -> Reply | None:
        arrivals.append(received.at)
        if received.number != 12:
            return None
        refused_at[0] = received.at
        reply = standin.rate_limited(f"{delay}s")
        reply.delay_seconds = 0
        return reply

    async with (
        standin.running(script=script, latency_seconds=0.02) as gemini,
        harness.start(library, gemini) as subject,
    ):
        done = await subject.tag(batch_size=5, max_parallel=8)
        assert (done["processed_files"], done["failed_files"]) == (300, 0)
        early = [at for at in arrivals if refused_at[0] + GRACE_SECONDS < at < refused_at[0] + delay]
        assert not early, [at - refused_at[0] for at in early]
        assert max(arrivals) > refused_at[0] + delay
        [waiting, *_] = [p for p in subject.events("tagging-progress") if p["waiting_seconds"] > 0]
        assert 0 < waiting["waiting_seconds"] <= delay and "rate limit" in waiting["status"]
        assert done["usage"]["retries"] == 1
        assert library.tagged == 300


async def test_a_delay_that_gemini_asks_for_holds_every_batch(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 300)
    # Eight requests may be under way when the delay is announced: a slow machine takes a while to send them.
    server = standin.ServerRate(limit=10, per_seconds=1.0, grace_seconds=0.3)
    async with standin.running(script=server) as gemini, harness.start(library, gemini) as subject:
        await subject.result("configure", **harness.FAST)
        done = await subject.tag(batch_size=10, max_parallel=8)
        assert done["processed_files"] == 300 and done["failed_files"] == 0
        assert server.refused and not server.early
        waits = [p for p in subject.events("tagging-progress") if p["waiting_seconds"] > 0]
        assert waits and "rate limit" in waits[0]["status"]
    assert library.tagged == 300


async def test_retry_after_is_obeyed_by_every_batch_too(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 60)
    arrivals: list[float] = []

    def script(received: Received) -> Reply | None:
        arrivals.append(received.at)
        return standin.unavailable("1") if received.number == 1 else None

    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        await subject.result("configure", **harness.FAST)
        assert (await subject.tag(batch_size=10, max_parallel=1))["processed_files"] == 60
        assert arrivals[1] - arrivals[0] >= 1


async def test_a_run_that_is_started_within_the_delay_of_the_one_before_waits_for_its_end(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 60)
    arrivals: list[float] = []

    def script(received: Received) -> Reply | None:
        arrivals.append(received.at)
        return standin.rate_limited("1.5s") if received.number == 1 else None

    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        await subject.result("auto_tag_files", max_parallel=1)
        await subject.wait_for(lambda m: m.get("params", {}).get("waiting_seconds", 0) > 0)
        await subject.result("cancel")
        done = await subject.tag(max_parallel=1)
        assert done["processed_files"] == 60
        assert arrivals[1] - arrivals[0] >= 1.5
        waits = [
            p for p in subject.events("tagging-progress") if p["waiting_seconds"] and p["run_id"] == done["run_id"]
        ]
        assert "rate limit" in waits[0]["status"]


async def test_a_wait_that_many_requests_meet_is_told_once(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 40)
    refusal, all_sent = standin.rate_limited("0.8s"), trio.Event()
    refusal.gate = all_sent

    def script(received: Received) -> Reply | None:
        if received.number == 8:
            all_sent.set()
        return refusal if received.number <= 8 else None

    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        assert (await subject.tag(batch_size=5, max_parallel=8))["processed_files"] == 40
        waits = [p for p in subject.events("tagging-progress") if p["waiting_seconds"] and not p["current_batch"]]
        assert len(waits) == 1, waits


async def test_a_run_with_another_model_does_not_wait_for_a_delay_of_the_first_ones(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    first = standin.MODELS[0]

    def script(received: Received) -> Reply | None:
        return standin.rate_limited("30s") if received.model == first else None

    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        await subject.result("auto_tag_files", model=first)
        await subject.wait_for(lambda m: m.get("params", {}).get("waiting_seconds", 0) > 0)
        await subject.result("cancel")
        done = await subject.tag(model=standin.MODELS[1])
        assert done["processed_files"] == 20
        assert not any(
            progress["waiting_seconds"]
            for progress in subject.events("tagging-progress")
            if progress["run_id"] == done["run_id"]
        )


async def test_with_a_tenth_refused_and_a_twentieth_overloaded_nothing_is_lost(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 400)
    chance = Random(11)
    given: Counter[str] = Counter()

    def script(_: Received) -> Reply | None:
        drawn = chance.random()
        if drawn < 0.10:
            given["429"] += 1
            return standin.rate_limited("0.05s")
        if drawn < 0.15:
            given["503"] += 1
            return standin.unavailable()
        return None

    async with (
        standin.running(script=script, hallucinate=0.1) as gemini,
        harness.start(library, gemini) as subject,
    ):
        await subject.result("configure", **harness.FAST)
        done = await subject.tag(batch_size=5, max_parallel=8)
        assert given["429"] and given["503"]
        assert (done["processed_files"], done["failed_files"], done["status"]) == (400, 0, "completed")
        assert done["usage"]["requests"] == gemini.arrived
        assert done["usage"]["retries"] == given.total()
        assert library.tagged == 400


async def test_a_request_refused_ten_times_fails_as_rate_limited(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 10)
    async with (
        standin.running(script=lambda _: standin.rate_limited("0.01s")) as gemini,
        harness.start(library, gemini) as subject,
    ):
        done = await subject.tag()
        assert (done["status"], done["failed_files"], done["success"]) == ("completed", 10, False)
        assert gemini.arrived == 10
        assert {f["reason"] for f in (await subject.result("get_run"))["failures"]} == {"rate_limited"}


@pytest.mark.parametrize(
    "zero",
    [
        standin.rate_limited("0s"),
        replace(standin.rate_limited(None), headers={"retry-after": "0"}),
        replace(standin.rate_limited(None), headers={"retry-after": "Sun, 06 Nov 1994 08:49:37 GMT"}),
    ],
    ids=["RetryInfo", "seconds", "a date of the past"],
)
async def test_a_delay_of_zero_is_none_and_backs_off(tmp_path: Path, zero: Reply) -> None:
    library = harness.library(tmp_path, 10)
    arrivals: list[float] = []

    def script(received: Received) -> Reply | None:
        arrivals.append(received.at)
        return zero if received.number <= 9 else None

    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        await subject.result("configure", backoff_base_seconds=0.1, backoff_max_seconds=0.4)
        assert (await subject.tag())["processed_files"] == 10
        # Nine draws of up to 0.1, 0.2, 0.4, 0.4 … s: less than this in one of a billion runs.
        assert arrivals[-1] - arrivals[0] >= 0.15


async def test_a_wait_that_grows_is_told_again_and_an_overload_is_no_rate_limit(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    gate = trio.Event()
    script = {1: standin.rate_limited("0.8s"), 2: replace(standin.unavailable("60"), gate=gate)}
    async with (
        standin.running(script=lambda r: script.get(r.number)) as gemini,
        harness.start(library, gemini) as subject,
    ):
        await subject.result("auto_tag_files", batch_size=10, max_parallel=2)
        with trio.fail_after(20):
            await gemini.wait_for(2)
        await subject.wait_for(lambda m: m.get("params", {}).get("waiting_seconds", 0) > 0)
        gate.set()
        told = await subject.wait_for(lambda m: m.get("params", {}).get("waiting_seconds", 0) > 2)
        assert told["params"]["status"] == "Waiting 60 s: Gemini is overloaded"
        await subject.result("cancel")
        first, second = [p["status"] for p in subject.events("tagging-progress")]
        assert (first, second) == ("Waiting 1 s: Gemini's rate limit", told["params"]["status"])


async def test_a_quota_per_day_ends_the_run_and_the_next_one_goes_on(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 60)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        gemini.script = lambda r: standin.per_day() if r.number > 3 else None
        done = await subject.tag(batch_size=10, max_parallel=1)
        assert (done["status"], done["success"]) == ("quota_exhausted", False)
        assert (done["processed_files"], done["failed_files"], done["remaining_files"]) == (30, 0, 30)
        assert "PerDay" in done["message"] and standin.MODELS[0] in done["message"]
        assert gemini.arrived == 4
        assert library.tagged == 30
        harness.check_invariants(library, [subject])
        gemini.script = None
        again = await subject.tag()
        assert again["total_files"] == again["processed_files"] == 30
        assert library.tagged == 60
