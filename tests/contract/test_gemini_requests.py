"""CONTRACT section 6: what is sent to Gemini, and what is left out when it is refused."""

import json
from pathlib import Path

import trio

from sidecar.demo import standin
from sidecar.demo.standin import Received, Reply
from tests import harness


async def test_the_instruction_is_the_same_to_the_byte_and_no_setting_is_sent_unasked(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 60)
    systems: set[str] = set()
    for _ in range(2):
        async with standin.running() as gemini, harness.start(library, gemini) as subject:
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


async def test_each_tag_is_told_once_and_no_mood_that_the_mood_column_cannot_hold(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 10)
    add = "INSERT INTO tag_vocabulary (tag_type, tag_value) VALUES (?, ?)"
    with library.edited() as shell:
        shell.execute(add, ("keyword", "biome:cave"))  # which is there as one of the `keywords`
        shell.execute(add, ("mood", "dark; cold"))
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        await subject.tag()
        lines = gemini.journal[0].system.splitlines()
    assert [line.partition(" (")[0] for line in lines].count("biome:cave") == 1
    assert not any(line.startswith("dark; cold") for line in lines)


TOO_COMPLEX = standin.error(400, "The specified schema has too many states.", "INVALID_ARGUMENT")


def has_schema(received: Received) -> bool:
    return "responseSchema" in received.json["generationConfig"]


def version(received: Received) -> str:
    return received.path.split("/")[1]


async def test_a_schema_that_is_rejected_is_left_out_from_then_on_in_the_run(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 40)
    async with (
        standin.running(script=lambda r: TOO_COMPLEX if has_schema(r) else None) as gemini,
        harness.start(library, gemini) as subject,
    ):
        for _ in range(2):
            since = len(gemini.journal)
            done = await subject.tag(batch_size=10, max_parallel=1, file_ids=list(range(1, 41)))
            assert done["processed_files"] == 40
            sent = [has_schema(received) for received in gemini.journal[since:]]
            assert sent[0] and not any(sent[sent.index(False) :]), "also what waited for its turn meanwhile"
            assert sent.count(False) == 4
        assert library.tagged == 40


async def test_files_left_out_are_asked_for_again_without_a_schema_that_was_rejected(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 4)

    def script(received: Received) -> Reply | None:
        if has_schema(received):
            return TOO_COMPLEX
        return standin.ok([]) if received.number == 2 else None

    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        assert (await subject.tag())["processed_files"] == 4
        assert [has_schema(received) for received in gemini.journal] == [True, False, False]


async def test_a_schema_is_sent_on_where_its_absence_was_no_cure(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 4)
    bad = library.name(1)
    # The last refusal stands behind a failure that says nothing of the request.
    refusals = [TOO_COMPLEX, standin.unavailable(), TOO_COMPLEX]

    def is_bad(received: Received) -> bool:
        return any(file["path"].endswith(bad) for file in received.files)

    async with (
        standin.running(script=lambda r: refusals.pop(0) if is_bad(r) else None) as gemini,
        harness.start(library, gemini) as subject,
    ):
        await subject.result("configure", **harness.FAST)
        done = await subject.tag(batch_size=1, max_parallel=1)
        assert (done["processed_files"], done["failed_files"]) == (3, 1)
        assert [has_schema(r) for r in gemini.journal if is_bad(r)] == [True, False, False]
        assert [has_schema(r) for r in gemini.journal if not is_bad(r)] == [True] * 3


async def test_an_unknown_field_switches_the_api_version_for_good(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 40)
    refused: list[str] = []

    def script(received: Received) -> Reply | None:
        if not refused:
            refused.append(version(received))
        return standin.unknown_name("systemInstruction") if version(received) == refused[0] else None

    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        for _ in range(2):
            done = await subject.tag(batch_size=10, max_parallel=1, file_ids=list(range(1, 41)))
            assert done["processed_files"] == 40
        versions = [version(r) for r in gemini.journal]
        assert {versions[0], versions[1]} == {"v1", "v1beta"}
        assert versions[1:] == [versions[1]] * 8
        assert library.tagged == 40


async def test_both_versions_refusing_a_field_end_the_run(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    async with (
        standin.running(script=lambda _: standin.unknown_name("systemInstruction")) as gemini,
        harness.start(library, gemini) as subject,
    ):
        done = await subject.tag()
        assert (done["status"], done["remaining_files"], gemini.arrived) == ("failed", 20, 2)


async def test_a_remembered_version_that_is_refused_later_gives_way_to_the_other_again(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    known = ["v1"]

    def script(received: Received) -> Reply | None:
        return standin.unknown_name("systemInstruction") if version(received) not in known else None

    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        await subject.tag(file_ids=[1])
        known[:] = ["v1beta"]
        assert (await subject.tag())["status"] == "completed"
        known.clear()
        assert (await subject.tag(file_ids=[1, 2]))["status"] == "failed"
        assert [version(r) for r in gemini.journal] == ["v1beta", "v1", "v1", "v1beta", "v1beta", "v1"]


async def test_one_version_refused_for_some_requests_and_the_other_for_others_ends_no_run(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 40)
    of_version = {"v1beta": "mapping", "v1": "tagging"}

    def script(received: Received) -> Reply | None:
        return standin.unknown_name("x") if received.kind == of_version[version(received)] else None

    async with (
        standin.running(script=script, hallucinate=1.0) as gemini,
        harness.start(library, gemini) as subject,
    ):
        assert (await subject.tag(batch_size=10, max_parallel=1))["processed_files"] == 40
        sent = [(version(received), received.body) for received in gemini.journal]
        assert len({*sent}) == len(sent), "no version is asked again what it has refused"


async def test_a_version_is_remembered_for_its_base_url_alone(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 10)

    def script(received: Received) -> Reply | None:
        return standin.unknown_name("systemInstruction") if version(received) == "v1beta" else None

    async with (
        standin.running(script=script) as first,
        standin.running() as second,
        harness.start(library, first) as subject,
    ):
        await subject.tag(file_ids=[1])
        await subject.result("configure", base_url=second.base_url)
        await subject.tag(file_ids=[2])
        assert [version(received) for received in second.journal] == ["v1beta"]
        await subject.result("configure", base_url=first.base_url)
        await subject.tag(file_ids=[3])
        assert await subject.result("check_gemini_api_key", verify=True) is True
        assert [version(received) for received in first.journal] == ["v1beta", "v1", "v1", "v1"]


async def test_the_sdks_own_variables_redirect_nothing(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 10)
    stray = {
        "GOOGLE_GENAI_USE_VERTEXAI": "true",
        "GOOGLE_CLOUD_PROJECT": "stray",
        "GOOGLE_CLOUD_LOCATION": "nowhere",
        "GOOGLE_GENAI_API_VERSION": "v9",
    }
    async with standin.running() as gemini, harness.start(library, gemini, env=stray) as subject:
        with trio.fail_after(20):
            assert (await subject.tag())["processed_files"] == 10
        assert gemini.arrived == 1
