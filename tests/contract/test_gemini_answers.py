"""CONTRACT section 6: what Gemini answers of the files, and what is used of it."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sidecar.demo import standin
from sidecar.demo.standin import Received, Reply
from tests import harness


@pytest.mark.parametrize("reason", ["SAFETY", "RECITATION", "PROHIBITED_CONTENT", "prompt"])
async def test_a_blocked_file_is_found_by_halving_and_fails_alone(tmp_path: Path, reason: str) -> None:
    library = harness.library(tmp_path, 32)
    bad = library.name(21)
    reply = standin.blocked_prompt() if reason == "prompt" else standin.finish(reason)

    def script(received: Received) -> Reply | None:
        return reply if any(file["path"].endswith(bad) for file in received.files) else None

    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        done = await subject.tag(batch_size=32)
        assert (done["processed_files"], done["failed_files"]) == (31, 1)
        [failure] = (await subject.result("get_run"))["failures"]
        assert (failure["file_id"], failure["reason"]) == (21, "blocked")
        assert "safety" not in failure["message"] + done["message"], "a recitation is no matter of safety"
        assert sorted(len(r.files) for r in gemini.journal) == [1, 1, 2, 2, 4, 4, 8, 8, 16, 16, 32]
        assert library.tagged == 31


async def test_of_an_answer_cut_off_by_max_tokens_the_whole_items_are_used(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)

    def script(received: Received) -> Reply | None:
        if received.number > 1:
            return None
        items = harness.answers(received)
        cut = json.dumps(items[:12])[:-1] + ", " + json.dumps(items[12])[:30]
        return standin.text_reply(cut, finish="MAX_TOKENS")

    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        done = await subject.tag(batch_size=20)
        assert (done["processed_files"], done["failed_files"]) == (20, 0)
        asked_again = [file["path"] for r in gemini.journal[1:] for file in r.files]
        assert sorted(asked_again) == sorted(file["path"] for file in gemini.journal[0].files[12:])
        assert library.tagged == 20


async def test_a_file_left_out_is_asked_for_once_more_then_fails(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    names = [
        library.scalar("SELECT file_path FROM audio_files WHERE id = ?", file_id).rpartition("/")[2]
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

    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        done = await subject.tag(batch_size=20)
        assert (done["processed_files"], done["failed_files"]) == (19, 1)
        [failure] = (await subject.result("get_run"))["failures"]
        assert (failure["file_id"], failure["reason"]) == (9, "missing_in_response")
        assert [len(r.files) for r in gemini.journal] == [20, 2]
        assert [file["id"] for file in gemini.journal[1].files] == [1, 2]
        assert library.tagged == 19


async def test_an_unknown_tag_is_asked_for_once_in_the_process(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 80)
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
        harness.start(library, gemini) as subject,
    ):
        for _ in range(2):
            done = await subject.tag(batch_size=5, max_parallel=8, file_ids=list(range(1, 81)))
            assert done["processed_files"] == 80
        asked = Counter((item["type"], item["tag"]) for r in gemini.journal for item in r.invalid_tags)
        assert asked == {("keyword", "wubbly"): 1, ("keyword", "grumbly"): 1}
        assert all(("keyword", valid) in library.tags(file_id) for file_id in range(1, 81))
        assert library.tagged == 80
    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        await subject.tag(file_ids=[1, 2])
        assert not any(r.invalid_tags for r in gemini.journal), "remembered in the database"
    rows = library.query("SELECT * FROM tag_mapping_cache WHERE tag_type = 'keyword'")
    found = {row["invalid_tag"]: row["valid_tag"] for row in rows}
    assert (found["wubbly"], found["grumbly"]) == (valid, "REMOVE")


async def test_a_request_that_is_rejected_for_one_file_is_halved(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 4)
    bad = library.name(2)

    def script(received: Received) -> Reply | None:
        if any(file["path"].endswith(bad) for file in received.files):
            return standin.error(400, "Request contains an invalid argument.", "INVALID_ARGUMENT")
        return None

    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        done = await subject.tag()
        assert (done["processed_files"], done["failed_files"]) == (3, 1)
        [failure] = (await subject.result("get_run"))["failures"]
        assert (failure["file_id"], failure["reason"]) == (2, "request_rejected")
        bodies = Counter(r.body for r in gemini.journal)
        assert set(bodies.values()) == {1}, "never the same request again"
        assert library.tagged == 3


async def test_an_error_whose_message_was_cut_within_a_character_costs_no_other_file_its_tags(
    tmp_path: Path,
) -> None:
    library = harness.library(tmp_path, 4)
    cut = b'{"error": {"code": 400, "message": "No good: \\ud83d", "status": "INVALID_ARGUMENT"}}'

    def script(received: Received) -> Reply | None:
        return Reply(400, cut) if any(file["path"].endswith(library.name(2)) for file in received.files) else None

    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        assert (await subject.tag())["processed_files"] == library.tagged == 3
        [failure] = (await subject.result("get_run"))["failures"]
    assert (failure["reason"], failure["message"]) == (
        "request_rejected",
        "Gemini rejected the request: No good: \N{REPLACEMENT CHARACTER}",
    )


@pytest.mark.parametrize("charset", ["iso-8859-1", "utf-16", "base64"])
async def test_an_answer_is_utf_8_whatever_it_says_itself(tmp_path: Path, charset: str) -> None:
    library = harness.library(tmp_path, 1)
    tags = {"id": 1, "genre": "ambient", "moods": ["calm"], "occasions": ["inn-rest"], "keywords": ["höhle"]}

    def script(received: Received) -> Reply:
        mapped = [
            {"type": "keyword", "invalid": tag["tag"], "valid": "biome:cave"} for tag in received.invalid_tags
        ]
        reply = standin.ok(mapped or [tags])
        reply.headers = {"content-type": f"application/json; charset={charset}"}
        return reply

    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        done = await subject.tag()
        assert done["processed_files"] == 1, done["message"]
        [mapping] = await subject.result("list_tag_mappings")
    assert mapping["invalid_tag"] == "höhle"


@pytest.mark.parametrize("first", ["STOP", "SAFETY", "MAX_TOKENS"])
async def test_a_second_candidate_serves_where_the_first_is_empty_or_blocked(tmp_path: Path, first: str) -> None:
    library = harness.library(tmp_path, 4)

    def script(received: Received) -> Reply | None:
        body = standin.ok(harness.answers(received)).body
        assert isinstance(body, dict)
        return Reply(body={**body, "candidates": [{"finishReason": first, "index": 0}, *body["candidates"]]})

    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        assert (await subject.tag())["processed_files"] == 4
        assert gemini.arrived == 1


async def test_what_stands_in_an_answer_that_names_a_reason_for_a_block_is_used(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 4)

    def script(received: Received) -> Reply | None:
        body = standin.ok(harness.answers(received)).body
        assert isinstance(body, dict)
        return Reply(body={**body, "promptFeedback": {"blockReason": "BLOCK_REASON_UNSPECIFIED"}})

    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        assert (await subject.tag())["processed_files"] == 4
        assert gemini.arrived == 1


async def test_what_an_answer_without_content_cost_is_counted(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 4)
    thought = {"promptTokenCount": 1000, "thoughtsTokenCount": 500, "totalTokenCount": 1500}
    empty = Reply(body={"candidates": [{"finishReason": "STOP", "index": 0}], "usageMetadata": thought})
    async with (
        standin.running(script=lambda r: empty if r.number == 1 else None) as gemini,
        harness.start(library, gemini) as subject,
    ):
        await subject.result("configure", **harness.FAST)
        done = await subject.tag()
        assert (done["processed_files"], done["usage"]["thoughts_tokens"]) == (4, 500)
        assert done["usage"]["prompt_tokens"] > 1000


@pytest.mark.parametrize("count", [-7, 2**62, 10**40, 1.5, [1]])
async def test_a_count_that_is_none_counts_nothing_and_is_in_the_way_of_no_run(
    tmp_path: Path, count: object
) -> None:
    library = harness.library(tmp_path, 6)
    usage = {
        "promptTokenCount": count, "cachedContentTokenCount": 9, "candidatesTokenCount": 5,
        "thoughtsTokenCount": count,
    }  # fmt: skip

    def script(received: Received) -> Reply:
        return standin.ok(harness.answers(received), usage=usage)

    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        for files in ([1, 2, 3, 4], [5, 6]):
            done = await subject.tag(file_ids=files, batch_size=1)
            assert (done["status"], done["processed_files"]) == ("completed", len(files))
            used = [done["usage"][f"{name}_tokens"] for name in ("prompt", "cached", "output", "thoughts")]
            assert used == [0, 0, 5 * len(files), 0], "cached tokens are part of the prompt's"


@pytest.mark.parametrize(
    ("counted", "expected"),
    [
        ({"promptTokenCount": "1000", "candidatesTokenCount": 20.0}, (1000, 20)),
        ({"promptTokenCount": -1000, "candidatesTokenCount": 10**30}, (0, 0)),
        ({"promptTokenCount": {}, "candidatesTokenCount": "many"}, (0, 0)),
        (["1000"], (0, 0)),
        (None, (0, 0)),
    ],
)
async def test_a_good_answer_is_used_whatever_is_counted_for_it(
    tmp_path: Path, counted: Any, expected: tuple[int, int]
) -> None:
    library = harness.library(tmp_path, 4)

    def script(received: Received) -> Reply | None:
        body = standin.ok(harness.answers(received)).body
        assert isinstance(body, dict)
        return Reply(body={**body, "usageMetadata": counted})

    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        done = await subject.tag()
        assert (done["processed_files"], gemini.arrived) == (4, 1)
        assert (done["usage"]["prompt_tokens"], done["usage"]["output_tokens"]) == expected


@pytest.mark.parametrize("text", ["no json at all", "{}", "[1, 2]", "```json\n[\n```"])
async def test_an_answer_of_the_wrong_shape_is_halved(tmp_path: Path, text: str) -> None:
    library = harness.library(tmp_path, 8)
    async with (
        standin.running(script=lambda r: standin.text_reply(text) if r.number == 1 else None) as gemini,
        harness.start(library, gemini) as subject,
    ):
        done = await subject.tag()
        assert (done["processed_files"], done["failed_files"]) == (8, 0)
        assert library.tagged == 8


async def test_an_answer_is_read_behind_the_byte_order_mark_that_a_gateway_puts_before_it(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)

    def script(received: Received) -> Reply:
        reply = standin.ok(harness.answers(received))
        return Reply(body=b"\xef\xbb\xbf" + json.dumps(reply.body).encode())

    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        done = await subject.tag()
        assert (done["processed_files"], done["usage"]["requests"]) == (20, 1)
