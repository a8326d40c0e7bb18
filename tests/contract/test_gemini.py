"""CONTRACT section 6: what Gemini answers and what the sidecar then does, over real HTTP."""

import json
from collections import Counter
from collections.abc import Callable
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
    database = harness.library(tmp_path, 300)
    before = harness.snapshot(database)
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
        harness.start(database, gemini) as subject,
    ):
        done = await subject.tag(batch_size=5, max_parallel=8)
        assert (done["processed_files"], done["failed_files"]) == (300, 0)
        early = [at for at in arrivals if refused_at[0] + GRACE_SECONDS < at < refused_at[0] + delay]
        assert not early, [at - refused_at[0] for at in early]
        assert max(arrivals) > refused_at[0] + delay
        [waiting, *_] = [p for p in subject.events("tagging-progress") if p["waiting_seconds"] > 0]
        assert 0 < waiting["waiting_seconds"] <= delay and "rate limit" in waiting["status"]
        assert done["usage"]["retries"] == 1
        harness.check(database, before, subject, tagged=300)


async def test_retry_after_is_obeyed_by_every_batch_too(tmp_path: Path) -> None:
    database = harness.library(tmp_path, 60)
    arrivals: list[float] = []

    def script(received: Received) -> Reply | None:
        arrivals.append(received.at)
        return standin.unavailable("1") if received.number == 1 else None

    async with standin.running(script=script) as gemini, harness.start(database, gemini) as subject:
        await subject.result("configure", **harness.FAST)
        assert (await subject.tag(batch_size=10, max_parallel=1))["processed_files"] == 60
        assert arrivals[1] - arrivals[0] >= 1


async def test_with_a_tenth_refused_and_a_twentieth_overloaded_nothing_is_lost(tmp_path: Path) -> None:
    database = harness.library(tmp_path, 400)
    before = harness.snapshot(database)
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
        harness.start(database, gemini) as subject,
    ):
        await subject.result("configure", **harness.FAST)
        done = await subject.tag(batch_size=5, max_parallel=8)
        assert given["429"] and given["503"]
        assert (done["processed_files"], done["failed_files"], done["status"]) == (400, 0, "completed")
        assert done["usage"]["requests"] == gemini.arrived
        assert done["usage"]["retries"] == given.total()
        harness.check(database, before, subject, tagged=400)


async def test_a_request_refused_ten_times_fails_as_rate_limited(tmp_path: Path) -> None:
    database = harness.library(tmp_path, 10)
    async with (
        standin.running(script=lambda _: standin.rate_limited("0.01s")) as gemini,
        harness.start(database, gemini) as subject,
    ):
        done = await subject.tag()
        assert (done["status"], done["failed_files"], done["success"]) == ("completed", 10, False)
        assert gemini.arrived == 10
        assert {f["reason"] for f in (await subject.result("get_run"))["failures"]} == {"rate_limited"}


async def test_a_quota_per_day_ends_the_run_and_the_next_one_goes_on(tmp_path: Path) -> None:
    database = harness.library(tmp_path, 60)
    before = harness.snapshot(database)
    async with standin.running() as gemini, harness.start(database, gemini) as subject:
        gemini.script = lambda r: standin.per_day() if r.number > 3 else None
        done = await subject.tag(batch_size=10, max_parallel=1)
        assert (done["status"], done["success"]) == ("quota_exhausted", False)
        assert (done["processed_files"], done["failed_files"], done["remaining_files"]) == (30, 0, 30)
        assert "PerDay" in done["message"] and standin.MODELS[0] in done["message"]
        assert gemini.arrived == 4
        harness.check(database, before, subject, tagged=30)
        gemini.script = None
        again = await subject.tag()
        assert again["total_files"] == again["processed_files"] == 30
        harness.check(database, before, subject, tagged=60)


async def test_a_bad_key_ends_the_run_and_is_shown_to_nobody(tmp_path: Path) -> None:
    database = harness.library(tmp_path, 60)
    before = harness.snapshot(database)
    reply = standin.key_invalid(f"API key not valid: {harness.KEY}. Please pass a valid API key.")
    async with (
        standin.running(script=lambda _: reply) as gemini,
        harness.start(database, gemini, arguments=["--log-level", "debug"]) as subject,
    ):
        done = await subject.tag(batch_size=10, max_parallel=1)
        assert (done["status"], done["remaining_files"], done["failed_files"]) == ("failed", 60, 0)
        assert "API key" in done["message"] and gemini.arrived == 1
        assert await subject.result("check_gemini_api_key", verify=True) is False
        await subject.close_stdin()
        assert await subject.exit_code() == 0
        assert harness.KEY.encode() not in b"".join(subject.raw) + subject.log
        harness.check(database, before, subject, tagged=0)


@pytest.mark.parametrize(
    ("reply", "word"),
    [
        (standin.model_not_found(), "LIGEIA_MODEL"),
        (standin.error(403, "Permission denied.", "PERMISSION_DENIED"), "key"),
        (standin.error(401, "Request had invalid credentials.", "UNAUTHENTICATED"), "key"),
    ],
)
async def test_what_no_request_can_mend_ends_the_run_at_once(tmp_path: Path, reply: Reply, word: str) -> None:
    database = harness.library(tmp_path, 30)
    async with standin.running(script=lambda _: reply) as gemini, harness.start(database, gemini) as subject:
        done = await subject.tag(batch_size=10, max_parallel=1)
        assert (done["status"], done["remaining_files"]) == ("failed", 30) and word in done["message"]
        assert gemini.arrived == 1


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
async def test_a_passing_failure_is_tried_again(tmp_path: Path, status: int) -> None:
    database = harness.library(tmp_path, 20)
    before = harness.snapshot(database)
    failing = standin.error(status, "An internal error has occurred.", "INTERNAL")
    async with (
        standin.running(script=lambda r: failing if r.number <= 4 else None) as gemini,
        harness.start(database, gemini) as subject,
    ):
        await subject.result("configure", **harness.FAST)
        done = await subject.tag()
        assert (done["processed_files"], done["usage"]["requests"], done["usage"]["retries"]) == (20, 5, 4)
        assert gemini.arrived == 5
        harness.check(database, before, subject, tagged=20)


async def test_a_lasting_failure_fails_its_files_and_the_run_goes_on(tmp_path: Path) -> None:
    database = harness.library(tmp_path, 30)
    before = harness.snapshot(database)
    bad = harness.scalar(database, "SELECT file_path FROM audio_files WHERE id = 5").rpartition("/")[2]

    def script(received: Received) -> Reply | None:
        if any(file["path"].endswith(bad) for file in received.files):
            return standin.error(500, "An internal error has occurred.", "INTERNAL")
        return None

    async with standin.running(script=script) as gemini, harness.start(database, gemini) as subject:
        await subject.result("configure", **harness.FAST)
        done = await subject.tag(batch_size=10, max_parallel=1)
        assert (done["processed_files"], done["failed_files"], done["status"]) == (20, 10, "completed")
        failures = (await subject.result("get_run"))["failures"]
        assert {failure["reason"] for failure in failures} == {"service_unavailable"}
        harness.check(database, before, subject, tagged=20)


async def test_an_outage_is_waited_out_and_costs_no_file(tmp_path: Path) -> None:
    database = harness.library(tmp_path, 60)
    before = harness.snapshot(database)
    async with (
        standin.running(script=lambda r: standin.unavailable() if r.number <= 30 else None) as gemini,
        harness.start(database, gemini) as subject,
    ):
        await subject.result("configure", **harness.FAST)
        done = await subject.tag(batch_size=10, max_parallel=3)
        assert (done["processed_files"], done["failed_files"]) == (60, 0)
        assert any("cannot be reached" in p["status"] for p in subject.events("tagging-progress"))
        harness.check(database, before, subject, tagged=60)


async def test_an_outage_too_long_ends_the_run_with_its_files_remaining(tmp_path: Path) -> None:
    database = harness.library(tmp_path, 60)
    before = harness.snapshot(database)
    async with (
        standin.running(script=lambda _: Reply(drop="before")) as gemini,
        harness.start(database, gemini) as subject,
    ):
        await subject.result("configure", **harness.FAST, outage_max_seconds=0.5)
        done = await subject.tag(batch_size=10)
        assert (done["status"], done["failed_files"], done["remaining_files"]) == ("failed", 0, 60)
        assert "could not be reached" in done["message"]
        harness.check(database, before, subject, tagged=0)


@pytest.mark.parametrize("reason", ["SAFETY", "RECITATION", "PROHIBITED_CONTENT", "prompt"])
async def test_a_blocked_file_is_found_by_halving_and_fails_alone(tmp_path: Path, reason: str) -> None:
    database = harness.library(tmp_path, 32)
    before = harness.snapshot(database)
    bad = harness.scalar(database, "SELECT file_path FROM audio_files WHERE id = 21").rpartition("/")[2]
    reply = standin.blocked_prompt() if reason == "prompt" else standin.finish(reason)

    def script(received: Received) -> Reply | None:
        return reply if any(file["path"].endswith(bad) for file in received.files) else None

    async with standin.running(script=script) as gemini, harness.start(database, gemini) as subject:
        done = await subject.tag(batch_size=32)
        assert (done["processed_files"], done["failed_files"]) == (31, 1)
        [failure] = (await subject.result("get_run"))["failures"]
        assert (failure["file_id"], failure["reason"]) == (21, "blocked")
        assert sorted(len(r.files) for r in gemini.journal) == [1, 1, 2, 2, 4, 4, 8, 8, 16, 16, 32]
        harness.check(database, before, subject, tagged=31)


async def test_of_an_answer_cut_off_by_max_tokens_the_whole_items_are_used(tmp_path: Path) -> None:
    database = harness.library(tmp_path, 20)
    before = harness.snapshot(database)

    def script(received: Received) -> Reply | None:
        if received.number > 1:
            return None
        items = harness.answers(received)
        cut = json.dumps(items[:12])[:-1] + ", " + json.dumps(items[12])[:30]
        return standin.text_reply(cut, finish="MAX_TOKENS")

    async with standin.running(script=script) as gemini, harness.start(database, gemini) as subject:
        done = await subject.tag(batch_size=20)
        assert (done["processed_files"], done["failed_files"]) == (20, 0)
        asked_again = [file["path"] for r in gemini.journal[1:] for file in r.files]
        assert sorted(asked_again) == sorted(file["path"] for file in gemini.journal[0].files[12:])
        harness.check(database, before, subject, tagged=20)


async def test_a_file_left_out_is_asked_for_once_more_then_fails(tmp_path: Path) -> None:
    database = harness.library(tmp_path, 20)
    before = harness.snapshot(database)
    names = [
        harness.scalar(database, "SELECT file_path FROM audio_files WHERE id = ?", file_id).rpartition("/")[2]
        for file_id in (4, 9)
    ]

    def script(received: Received) -> Reply | None:
        by_id = {file["id"]: file["path"].rpartition("/")[2] for file in received.files}
        if not by_id:
            return None
        # The first is left out once, the second always; ids nobody asked for, and one twice, are noise.
        left_out = names if received.number == 1 else names[1:]
        items = [item for item in harness.answers(received) if by_id[item["id"]] not in left_out]
        noise = [{**items[0], "id": 999}, {**items[0], "genre": "nonsense"}] if items else []
        return standin.ok([*items, *noise])

    async with standin.running(script=script) as gemini, harness.start(database, gemini) as subject:
        done = await subject.tag(batch_size=20)
        assert (done["processed_files"], done["failed_files"]) == (19, 1)
        [failure] = (await subject.result("get_run"))["failures"]
        assert (failure["file_id"], failure["reason"]) == (9, "missing_in_response")
        assert [len(r.files) for r in gemini.journal] == [20, 2]
        assert [file["id"] for file in gemini.journal[1].files] == [1, 2]
        harness.check(database, before, subject, tagged=19)


async def test_an_unknown_tag_is_asked_for_once_in_the_process(tmp_path: Path) -> None:
    database = harness.library(tmp_path, 80)
    before = harness.snapshot(database)
    valid = harness.vocabulary("keyword")[3]

    def script(received: Received) -> Reply | None:
        if received.invalid_tags:
            fits = {"wubbly": valid, "grumbly": None}
            found = [(item["type"], item["tag"]) for item in received.invalid_tags]
            return standin.ok([{"type": kind, "invalid": tag, "valid": fits[tag]} for kind, tag in found])
        items = harness.answers(received)
        for item in items:
            item["keywords"] = [*item["keywords"], "wubbly", "grumbly"]
        return standin.ok(items)

    async with (
        standin.running(script=script, latency_seconds=0.02) as gemini,
        harness.start(database, gemini) as subject,
    ):
        for _ in range(2):
            done = await subject.tag(batch_size=5, max_parallel=8, file_ids=list(range(1, 81)))
            assert done["processed_files"] == 80
        asked = Counter((item["type"], item["tag"]) for r in gemini.journal for item in r.invalid_tags)
        assert asked == {("keyword", "wubbly"): 1, ("keyword", "grumbly"): 1}
        assert all(("keyword", valid) in harness.tags_of(database, file_id) for file_id in range(1, 81))
        harness.check(database, before, subject, tagged=80)
    async with standin.running(script=script) as gemini, harness.start(database, gemini) as subject:
        await subject.tag(file_ids=[1, 2])
        assert not any(r.invalid_tags for r in gemini.journal), "remembered in the database"
    rows = harness.query(database, "SELECT * FROM tag_mapping_cache WHERE tag_type = 'keyword'")
    found = {row["invalid_tag"]: row["valid_tag"] for row in rows}
    assert (found["wubbly"], found["grumbly"]) == (valid, "REMOVE")


async def test_a_schema_that_is_rejected_is_left_out_once(tmp_path: Path) -> None:
    database = harness.library(tmp_path, 20)
    before = harness.snapshot(database)

    def script(received: Received) -> Reply | None:
        if "responseschema" in received.body.decode().lower().replace("_", ""):
            return standin.error(400, "The specified schema has too many states.", "INVALID_ARGUMENT")
        return None

    async with standin.running(script=script) as gemini, harness.start(database, gemini) as subject:
        done = await subject.tag()
        assert (done["processed_files"], gemini.arrived) == (20, 2)
        assert [r.status for r in gemini.journal] == [400, 200]
        harness.check(database, before, subject, tagged=20)


async def test_a_request_that_is_rejected_for_one_file_is_halved(tmp_path: Path) -> None:
    database = harness.library(tmp_path, 4)
    before = harness.snapshot(database)
    bad = harness.scalar(database, "SELECT file_path FROM audio_files WHERE id = 2").rpartition("/")[2]

    def script(received: Received) -> Reply | None:
        if any(file["path"].endswith(bad) for file in received.files):
            return standin.error(400, "Request contains an invalid argument.", "INVALID_ARGUMENT")
        return None

    async with standin.running(script=script) as gemini, harness.start(database, gemini) as subject:
        done = await subject.tag()
        assert (done["processed_files"], done["failed_files"]) == (3, 1)
        [failure] = (await subject.result("get_run"))["failures"]
        assert (failure["file_id"], failure["reason"]) == (2, "request_rejected")
        bodies = Counter(r.body for r in gemini.journal)
        assert set(bodies.values()) == {1}, "never the same request again"
        harness.check(database, before, subject, tagged=3)


async def test_an_unknown_field_switches_the_api_version_for_good(tmp_path: Path) -> None:
    database = harness.library(tmp_path, 40)
    before = harness.snapshot(database)
    refused: list[str] = []

    def script(received: Received) -> Reply | None:
        version = received.path.split("/")[1]
        if not refused:
            refused.append(version)
        return standin.unknown_name("systemInstruction") if version == refused[0] else None

    async with standin.running(script=script) as gemini, harness.start(database, gemini) as subject:
        for _ in range(2):
            done = await subject.tag(batch_size=10, max_parallel=1, file_ids=list(range(1, 41)))
            assert done["processed_files"] == 40
        versions = [r.path.split("/")[1] for r in gemini.journal]
        assert {versions[0], versions[1]} == {"v1", "v1beta"}
        assert versions[1:] == [versions[1]] * 8
        harness.check(database, before, subject, tagged=40)


async def test_both_versions_refusing_a_field_end_the_run(tmp_path: Path) -> None:
    database = harness.library(tmp_path, 20)
    async with (
        standin.running(script=lambda _: standin.unknown_name("systemInstruction")) as gemini,
        harness.start(database, gemini) as subject,
    ):
        done = await subject.tag()
        assert (done["status"], done["remaining_files"], gemini.arrived) == ("failed", 20, 2)


UNUSABLE: list[Callable[[], Reply]] = [standin.html_page, lambda: standin.finish("STOP")]


@pytest.mark.parametrize("unusable", UNUSABLE)
async def test_an_unusable_200_is_sent_twice_more(tmp_path: Path, unusable: Callable[[], Reply]) -> None:
    database = harness.library(tmp_path, 10)
    async with (
        standin.running(script=lambda r: unusable() if r.number <= 2 else None) as gemini,
        harness.start(database, gemini) as subject,
    ):
        await subject.result("configure", **harness.FAST)
        assert (await subject.tag())["processed_files"] == 10
        assert [len(r.files) for r in gemini.journal] == [10, 10, 10]


@pytest.mark.parametrize("unusable", UNUSABLE)
async def test_an_unusable_200_for_ever_is_halved_and_fails(tmp_path: Path, unusable: Callable[[], Reply]) -> None:
    database = harness.library(tmp_path, 2)
    async with (
        standin.running(script=lambda _: unusable()) as gemini,
        harness.start(database, gemini) as subject,
    ):
        await subject.result("configure", **harness.FAST)
        done = await subject.tag()
        assert (done["failed_files"], done["success"], done["status"]) == (2, False, "completed")
        assert {f["reason"] for f in (await subject.result("get_run"))["failures"]} == {"bad_response"}
        assert [len(r.files) for r in gemini.journal] == [2, 2, 2, 1, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("text", ["no json at all", "{}", "[1, 2]", "```json\n[\n```"])
async def test_an_answer_of_the_wrong_shape_is_halved(tmp_path: Path, text: str) -> None:
    database = harness.library(tmp_path, 8)
    before = harness.snapshot(database)
    async with (
        standin.running(script=lambda r: standin.text_reply(text) if r.number == 1 else None) as gemini,
        harness.start(database, gemini) as subject,
    ):
        done = await subject.tag()
        assert (done["processed_files"], done["failed_files"]) == (8, 0)
        harness.check(database, before, subject, tagged=8)


async def test_a_slow_drip_runs_into_the_timeout_of_the_whole_attempt(tmp_path: Path) -> None:
    database = harness.library(tmp_path, 10)
    async with (
        standin.running(script=lambda _: Reply(drip_bytes_per_second=200)) as gemini,
        harness.start(database, gemini) as subject,
    ):
        await subject.result("configure", **harness.FAST, request_timeout_seconds=0.3, max_attempts=2)
        done = await subject.tag()
        assert (done["failed_files"], gemini.arrived) == (10, 2)
        assert {f["reason"] for f in (await subject.result("get_run"))["failures"]} == {"timeout"}


async def test_the_instruction_is_the_same_to_the_byte_and_no_setting_is_sent_unasked(tmp_path: Path) -> None:
    database = harness.library(tmp_path, 60)
    systems: set[str] = set()
    for _ in range(2):
        async with standin.running() as gemini, harness.start(database, gemini) as subject:
            await subject.tag(batch_size=10, file_ids=list(range(1, 61)))
            systems |= {received.system for received in gemini.journal}
            for received in gemini.journal:
                config = json.dumps(received.json.get("generationConfig", {})).lower()
                assert not any(word in config for word in ("temperature", "thinking", "penalty", "enum"))
                assert received.headers["x-goog-api-key"] == harness.KEY and harness.KEY not in received.path
                assert [file["id"] for file in received.files] == list(range(1, len(received.files) + 1))
    assert len(systems) == 1
    [system] = systems
    assert all(tag in system for kind in ("genre", "mood", "occasion") for tag in harness.vocabulary(kind))


async def test_the_sdks_own_variables_redirect_nothing(tmp_path: Path) -> None:
    database = harness.library(tmp_path, 10)
    stray = {
        "GOOGLE_GENAI_USE_VERTEXAI": "true",
        "GOOGLE_CLOUD_PROJECT": "stray",
        "GOOGLE_CLOUD_LOCATION": "nowhere",
        "GOOGLE_GENAI_API_VERSION": "v9",
    }
    async with standin.running() as gemini, harness.start(database, gemini, env=stray) as subject:
        with trio.fail_after(20):
            assert (await subject.tag())["processed_files"] == 10
        assert gemini.arrived == 1
