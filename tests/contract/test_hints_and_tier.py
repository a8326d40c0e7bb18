"""CONTRACT section 8: a person's hints to Gemini, and the service tier that costs half."""

from pathlib import Path

import trio

from sidecar.demo import standin
from sidecar.demo.standin import Received, Reply
from tests import harness

HINTS = "Wir spielen auf Deutsch – „Gaslicht“ heißt victorian. 雨 is rain.\n\tNever use mood:calm.\n"


def tier(received: Received) -> str | None:
    found = received.json.get("serviceTier")
    return None if found is None else str(found)


async def test_hints_stand_after_the_instruction_which_stays_the_same_to_the_byte(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 30)
    async with standin.running(hallucinate=1.0) as gemini, harness.start(library, gemini) as subject:
        everything = list(range(1, 31))
        await subject.tag(file_ids=[1])
        plain = gemini.journal[0].system
        systems = []
        for hints in (HINTS, "Other words"):
            since = len(gemini.journal)
            await subject.result("configure", hints=hints)
            await subject.tag(file_ids=everything, batch_size=10)
            assert len({received.system for received in gemini.journal[since:]}) == 1
            systems.append(gemini.journal[since].system)
            assert systems[-1].startswith(plain) and hints in systems[-1][len(plain) :]
        assert "mapping" in {received.kind for received in gemini.journal}
        assert HINTS not in systems[1]
        since = len(gemini.journal)
        await subject.result("configure", hints="")
        await subject.tag(file_ids=everything)
        assert {received.system for received in gemini.journal[since:]} == {plain}


async def test_up_to_two_thousand_characters_of_hints_are_taken_as_they_are(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 10)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        longest = "雨🎲" * 1000
        await subject.result("configure", hints=longest)
        error = await subject.error("configure", hints=longest + "x", batch_size=3)
        assert error["code"] == -32602 and "hints" in error["message"]
        assert (await subject.error("configure", hints=["a"]))["code"] == -32602
        done = await subject.tag(file_ids=[1, 2, 3, 4])
        assert done["total_batches"] == 1, "of a refused call nothing is kept"
        assert longest in gemini.journal[0].system
        await subject.result("configure", model=standin.MODELS[1])
        await subject.tag(file_ids=[1])
        assert longest in gemini.journal[1].system, "what a call leaves out stays"


async def test_hints_never_let_a_tag_in_that_is_not_in_the_vocabulary(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 10)

    def script(received: Received) -> Reply | None:
        if received.kind != "tagging":
            return None
        return standin.ok([{**item, "genre": "gaslight noir"} for item in harness.answers(received)])

    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        await subject.result("configure", hints="Use the genre gaslight noir.")
        assert (await subject.tag())["failed_files"] == 10


async def test_hints_and_tier_of_a_run_under_way_stay(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 30)
    gate = trio.Event()
    async with (
        standin.running(script=lambda r: Reply(gate=gate) if r.number == 1 else None) as gemini,
        harness.start(library, gemini) as subject,
    ):
        run_id = (await subject.result("auto_tag_files", batch_size=10, max_parallel=1))["run_id"]
        with trio.fail_after(20):
            await gemini.wait_for(1)
        await subject.result("configure", hints=HINTS, service_tier="flex")
        gate.set()
        await subject.complete(run_id)
        assert len({received.system for received in gemini.journal}) == 1
        assert {tier(received) for received in gemini.journal} == {None}
        await subject.tag(file_ids=[1])
        assert HINTS in gemini.journal[-1].system and tier(gemini.journal[-1]) == "flex"


async def test_flex_is_asked_for_in_every_body_and_standard_in_none(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 30)
    async with standin.running(hallucinate=1.0) as gemini, harness.start(library, gemini) as subject:
        await subject.result("configure", service_tier="flex")
        await subject.tag(batch_size=10)
        assert {received.kind for received in gemini.journal} == {"tagging", "mapping"}
        assert {tier(received) for received in gemini.journal} == {"flex"}
        since = len(gemini.journal)
        await subject.result("configure", service_tier="standard")
        await subject.tag(file_ids=[1, 2])
        assert {tier(received) for received in gemini.journal[since:]} == {None}
        error = await subject.error("configure", service_tier="priority")
        assert error["code"] == -32602 and "service_tier" in error["message"]


async def test_a_request_that_flex_sheds_goes_to_standard_and_the_next_to_flex_again(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 30)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        gemini.script = lambda r: standin.unavailable() if tier(r) == "flex" else None
        # One attempt a request, and backoffs that no test could wait for.
        await subject.result(
            "configure", service_tier="flex", max_attempts=1, backoff_base_seconds=3600, backoff_max_seconds=3600
        )
        with trio.fail_after(20):
            done = await subject.tag(batch_size=10, max_parallel=1)
        assert (done["status"], done["processed_files"], done["failed_files"]) == ("completed", 30, 0)
        assert done["usage"]["requests"] == 6 and done["usage"]["retries"] == 3
        by_body: dict[str, list[str | None]] = {}
        for received in gemini.journal:
            by_body.setdefault(str(received.user), []).append(tier(received))
        assert list(by_body.values()) == [["flex", None]] * 3


async def test_standard_has_all_its_attempts_after_flex_has_shed(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 10)
    async with (
        standin.running(script=lambda _: standin.unavailable()) as gemini,
        harness.start(library, gemini) as subject,
    ):
        await subject.result("configure", service_tier="flex", max_attempts=3, **harness.FAST)
        done = await subject.tag()
        assert (done["processed_files"], done["failed_files"]) == (0, 10)
        assert [tier(received) for received in gemini.journal] == ["flex", None, None, None]
        [failure, *_] = (await subject.result("get_run"))["failures"]
        assert failure["reason"] == "service_unavailable" and "3 times" in failure["message"]


async def test_what_flex_sheds_in_an_outage_does_not_hide_it(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 60)
    async with (
        standin.running(script=lambda _: standin.unavailable()) as gemini,
        harness.start(library, gemini) as subject,
    ):
        settings = {"max_attempts": 3, "outage_max_seconds": 0.5}
        await subject.result("configure", service_tier="flex", **settings, **harness.FAST)
        await subject.result("set_budget", max_requests=1000)  # then no batch is asked for before its turn
        with trio.fail_after(20):
            done = await subject.tag(batch_size=10, max_parallel=1)
        assert done["message"].startswith("Gemini could not be reached"), done["message"]
        assert (done["status"], done["failed_files"], done["remaining_files"]) == ("failed", 10, 50)


async def test_other_faults_of_flex_are_faults_of_flex(tmp_path: Path) -> None:
    """Only a 503 is shedding: after a 500, a 429 or a cut connection the same request goes to flex again."""
    library = harness.library(tmp_path, 10)
    replies = [
        standin.error(500, "Internal error", "INTERNAL"),
        standin.rate_limited("0.05s"),
        Reply(drop="before"),
    ]
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        gemini.script = lambda r: replies[r.number - 1] if r.number <= len(replies) else None
        await subject.result("configure", service_tier="flex", **harness.FAST)
        assert (await subject.tag())["processed_files"] == 10
        assert [tier(received) for received in gemini.journal] == ["flex"] * 4


async def test_a_delay_that_comes_with_the_shedding_is_waited_for_and_told(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 10)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        gemini.script = lambda r: standin.unavailable(retry_after="1") if tier(r) == "flex" else None
        await subject.result("configure", service_tier="flex", max_attempts=1)
        assert (await subject.tag())["processed_files"] == 10
        first, second = gemini.journal
        assert (tier(first), tier(second)) == ("flex", None) and second.at - first.at >= 1
        assert any(p["waiting_seconds"] > 0 for p in subject.events("tagging-progress"))
