"""CONTRACT sections 2 and 6: the mapping cache as a settings page lists, sets and deletes it."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from sidecar.demo import standin
from sidecar.demo.standin import Received, Reply, StandIn
from tests import harness
from tests.harness import Library, Message

PLAIN = {"genre": "folk:tavern", "moods": ["calm"], "occasions": ["inn-rest"]}
INSERT = "INSERT INTO tag_mapping_cache (invalid_tag, valid_tag, tag_type, usage_count) VALUES (?, ?, ?, ?)"


def keyword(word: str) -> standin.Script:
    """Gemini gives every file that one keyword; what it says of unknown tags is the stand-in's own."""

    def script(received: Received) -> Reply | None:
        if received.kind != "tagging":
            return None
        return standin.ok([{**PLAIN, "id": file["id"], "keywords": [word]} for file in received.files])

    return script


def keywords(library: Library, file_id: int) -> set[str]:
    return {value for kind, value in library.tags(file_id) if kind == "keyword"}


def asked(gemini: StandIn) -> int:
    """How often Gemini was asked what a tag stands for."""
    return [received.kind for received in gemini.journal].count("mapping")


def pub(valid: str, uses: int) -> Message:
    return {"tag_type": "keyword", "invalid_tag": "pub", "valid_tag": valid, "usage_count": uses}


def without_constraints(library: Library) -> Library:
    """As libraries are whose shell made the table without NOT NULL."""
    with library.edited() as shell:
        shell.execute("DROP TABLE tag_mapping_cache")
        shell.execute(
            """CREATE TABLE tag_mapping_cache (id INTEGER PRIMARY KEY, invalid_tag TEXT, valid_tag TEXT,
                tag_type TEXT, created_at DATETIME, usage_count INTEGER, UNIQUE (invalid_tag, tag_type))"""
        )
    return library


async def test_the_list_holds_what_the_shell_and_the_runs_have_put_there(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    with library.edited() as shell:
        shell.execute(INSERT, ("zzz", "calm", "mood", 7))
        shell.execute(INSERT, ("pub", "biome:gone", "keywords", 3))
        shell.execute(INSERT, ("scary", "REMOVE", "mood", 1))
    async with standin.running(script=keyword("cavern")) as gemini, harness.start(library, gemini) as subject:
        by_the_shell = [
            {"tag_type": "keywords", "invalid_tag": "pub", "valid_tag": "biome:gone", "usage_count": 3},
            {"tag_type": "mood", "invalid_tag": "scary", "valid_tag": "REMOVE", "usage_count": 1},
            {"tag_type": "mood", "invalid_tag": "zzz", "valid_tag": "calm", "usage_count": 7},
        ]
        assert await subject.result("list_tag_mappings") == by_the_shell
        await subject.tag(file_ids=[1, 2, 3])
        learnt = {"tag_type": "keyword", "invalid_tag": "cavern", "valid_tag": "biome:cave", "usage_count": 3}
        assert await subject.result("list_tag_mappings") == [learnt, *by_the_shell]


async def test_a_mapping_that_is_set_holds_from_the_next_batch_on_without_a_request(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 40)
    async with standin.running(script=keyword("pub")) as gemini, harness.start(library, gemini) as subject:
        await subject.tag(file_ids=[1])
        assert keywords(library, 1) == {"place:tavern"} and asked(gemini) == 1
        assert await subject.result("set_tag_mapping", **_set("pub", "place:inn")) == pub("place:inn", 1)
        await subject.tag(file_ids=[2])
        assert keywords(library, 2) == {"place:inn"} and keywords(library, 1) == {"place:tavern"}
        assert (await subject.result("report"))["sources"]["mapped_by_cache"] == 1
        assert await subject.result("set_tag_mapping", **_set("pub", "REMOVE")) == pub("REMOVE", 2)
        await subject.tag(file_ids=[3])
        assert library.tags(3) == {("occasion", "inn-rest")}
        assert (await subject.result("report"))["sources"]["dropped"] == 1
        assert await subject.result("set_tag_mapping", **_set("pub", "place:camp")) == pub("place:camp", 3)
        assert await subject.result("list_tag_mappings") == [pub("place:camp", 3)]
        assert asked(gemini) == 1 and gemini.arrived == 4
    async with standin.running(script=keyword("pub")) as gemini, harness.start(library, gemini) as subject:
        await subject.tag(file_ids=[4])
        assert keywords(library, 4) == {"place:camp"} and asked(gemini) == 0


def _set(invalid: str, valid: str, kind: str = "keyword") -> dict[str, Any]:
    return {"tag_type": kind, "invalid_tag": invalid, "valid_tag": valid}


async def test_a_mapping_may_be_set_before_any_run_has_met_the_tag(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    async with (
        standin.running(script=keyword('"The Old_Pub"')) as gemini,
        harness.start(library, gemini) as subject,
    ):
        entry = await subject.result("set_tag_mapping", **_set("the old pub", "Place: Inn", "keywords"))
        assert entry == {
            "tag_type": "keyword", "invalid_tag": "the old pub", "valid_tag": "place:inn", "usage_count": 0,
        }  # fmt: skip
        [row] = library.query("SELECT * FROM tag_mapping_cache")
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", row["created_at"]) and row["usage_count"] == 0
        assert gemini.arrived == 0
        await subject.tag(file_ids=[1, 2])
        assert keywords(library, 1) == {"place:inn"} and asked(gemini) == 0
        assert (await subject.result("list_tag_mappings"))[0]["usage_count"] == 2


async def test_a_deleted_mapping_is_asked_for_again(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    async with standin.running(script=keyword("pub")) as gemini, harness.start(library, gemini) as subject:
        await subject.tag(file_ids=[1])
        await subject.tag(file_ids=[2])
        assert asked(gemini) == 1
        tag = {"tag_type": "keyword", "invalid_tag": "pub"}
        assert await subject.result("delete_tag_mapping", **tag) == {"removed": True}
        assert await subject.result("delete_tag_mapping", **tag) == {"removed": False}
        assert await subject.result("list_tag_mappings") == []
        assert keywords(library, 1) == {"place:tavern"}, "what is tagged stays"
        await subject.tag(file_ids=[3])
        assert asked(gemini) == 2 and keywords(library, 3) == {"place:tavern"}
        assert await subject.result("list_tag_mappings") == [pub("place:tavern", 1)]


async def test_of_what_was_no_tag_at_all_gemini_is_asked_again_after_its_deletion(tmp_path: Path) -> None:
    """`REMOVE` and an answer without a usable word alike."""
    library = harness.library(tmp_path, 20)
    words = [[], [{"type": "keyword", "invalid": "pub", "valid": "place:inn"}]]

    def script(received: Received) -> Reply | None:
        return standin.ok(words.pop(0)) if received.kind == "mapping" else keyword("pub")(received)

    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        await subject.tag(file_ids=[1])
        await subject.tag(file_ids=[2])
        assert asked(gemini) == 1 and not keywords(library, 2)
        await subject.result("delete_tag_mapping", tag_type="keyword", invalid_tag="pub")
        await subject.tag(file_ids=[3])
        assert asked(gemini) == 2 and keywords(library, 3) == {"place:inn"}


async def test_a_row_of_the_shells_is_changed_and_deleted_where_it_stands(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    library.execute(INSERT, "pub", "place:tavern", "keywords", 9)
    [row] = library.query("SELECT * FROM tag_mapping_cache")
    async with harness.start(library) as subject:
        entry = await subject.result("set_tag_mapping", **_set("pub", "place:inn"))
        assert entry == {**pub("place:inn", 9), "tag_type": "keywords"}
        assert library.query("SELECT * FROM tag_mapping_cache") == [{**row, "valid_tag": "place:inn"}]
        assert await subject.result("delete_tag_mapping", tag_type="keyword", invalid_tag="pub") == {
            "removed": True
        }
        assert library.query("SELECT * FROM tag_mapping_cache") == []
        # It was a person who asked for it, as if it had been done in the shell.
        library.baseline["tag_mapping_cache"].clear()


@pytest.mark.parametrize("empty", ["", None])
async def test_a_row_that_says_nothing_is_filled_by_what_gemini_says(tmp_path: Path, empty: str | None) -> None:
    library = without_constraints(harness.library(tmp_path, 20))
    library.execute(INSERT, "pub", empty, "keyword", 4)
    async with standin.running(script=keyword("pub")) as gemini:
        for file_id in (1, 2):
            async with harness.start(library, gemini) as subject:
                await subject.tag(file_ids=[file_id])
                assert keywords(library, file_id) == {"place:tavern"} and asked(gemini) == 1
                assert await subject.result("list_tag_mappings") == [pub("place:tavern", 4 + file_id)]


async def test_rows_without_a_tag_or_a_type_are_no_mappings_and_in_nobodys_way(tmp_path: Path) -> None:
    library = without_constraints(harness.library(tmp_path, 20))
    with library.edited() as shell:
        shell.execute(INSERT, (None, "place:inn", "keyword", 1))
        shell.execute(INSERT, ("pub", "place:inn", None, 1))
        shell.execute(INSERT, ("pub", None, "keywords", 1))
    async with harness.start(library) as subject:
        assert await subject.result("list_tag_mappings") == [{**pub("", 1), "tag_type": "keywords"}]
        entry = await subject.result("set_tag_mapping", **_set("pub", "place:inn"))
        assert entry == {**pub("place:inn", 1), "tag_type": "keywords"}
        removed = await subject.result("delete_tag_mapping", tag_type="keyword", invalid_tag="pub")
        assert removed == {"removed": True}
        assert await subject.result("list_tag_mappings") == []
        assert len(library.query("SELECT * FROM tag_mapping_cache")) == 2
        library.execute("DELETE FROM tag_mapping_cache")
        library.baseline["tag_mapping_cache"].clear()


async def test_a_tag_has_one_mapping_however_it_is_spelled(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    with library.edited() as shell:
        shell.execute(INSERT, ("pub", "place:tavern", "keyword", 9))
        shell.execute(INSERT, ("The_Pub", "place:tavern", "keywords", 5))
        shell.execute(INSERT, ("the pub", "place:tavern", "keyword", 1))
    async with standin.running(script=keyword("the-pub")) as gemini, harness.start(library, gemini) as subject:
        entry = await subject.result("set_tag_mapping", **_set("The Pub", "place:inn"))
        assert entry["valid_tag"] == "place:inn"
        valid = {row["invalid_tag"]: row["valid_tag"] for row in await subject.result("list_tag_mappings")}
        assert valid == {"pub": "place:tavern", "The_Pub": "place:inn", "the pub": "place:inn"}
        await subject.tag(file_ids=[1])
        assert keywords(library, 1) == {"place:inn"} and asked(gemini) == 0
        exactly = await subject.result("set_tag_mapping", **_set("the pub", "place:camp"))
        assert exactly["invalid_tag"] == "the pub"
        assert await subject.result("delete_tag_mapping", tag_type="keyword", invalid_tag="THE PUB") == {
            "removed": True
        }
        [left] = await subject.result("list_tag_mappings")
        assert left["invalid_tag"] == "pub"
        library.baseline["tag_mapping_cache"] = library.shell_rows()["tag_mapping_cache"]


REFUSED = {
    "a tag that is none": (_set("pub", "place:moon"), "valid_tag"),
    "a tag of another type": (_set("pub", "calm"), "valid_tag"),
    "a retired tag": (_set("pub", "place:camp"), "valid_tag"),
    "another word than REMOVE": (_set("pub", "remove"), "valid_tag"),
    "a blank": (_set(" - ", "place:inn"), "invalid_tag"),
    "a tag of the vocabulary": (_set("place:tavern", "place:inn"), "invalid_tag"),
    "a spelling of one": (_set("Place / Tavern", "place:inn"), "invalid_tag"),
    "no type": (_set("pub", "place:inn", "colour"), "tag_type"),
    "nothing to map": (_set("", "place:inn"), "invalid_tag"),
    "nothing to map to": ({"tag_type": "keyword", "invalid_tag": "pub"}, "valid_tag"),
    "a novel": (_set("x" * 201, "place:inn"), "invalid_tag"),
}


@pytest.mark.parametrize(("params", "field"), REFUSED.values(), ids=REFUSED.keys())
async def test_a_mapping_that_cannot_be_is_refused_and_nothing_is_written(
    tmp_path: Path, params: dict[str, Any], field: str
) -> None:
    library = harness.library(tmp_path, 10)
    library.execute("UPDATE tag_vocabulary SET is_active = 0 WHERE tag_value = 'place:camp'")
    before = library.shell_rows()
    async with harness.start(library) as subject:
        error = await subject.error("set_tag_mapping", **params)
        assert error["code"] == -32602 and field in error["message"]
        assert await subject.result("list_tag_mappings") == []
    assert library.shell_rows() == before


async def test_what_another_process_sets_holds_here_too(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    async with (
        standin.running(script=keyword("pub")) as gemini,
        harness.start(library, gemini) as subject,
        harness.start(library, gemini) as other,
    ):
        await subject.tag(file_ids=[1])
        await other.result("set_tag_mapping", **_set("pub", "place:inn"))
        assert await subject.result("list_tag_mappings") == [pub("place:inn", 1)]
        await subject.tag(file_ids=[2])
        assert keywords(library, 2) == {"place:inn"} and asked(gemini) == 1
        await other.result("delete_tag_mapping", tag_type="keyword", invalid_tag="pub")
        assert await subject.result("list_tag_mappings") == []


async def test_a_mapping_set_in_the_middle_of_a_run_holds_for_the_answers_to_come(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    gate = trio.Event()
    first = library.name(1)

    def script(received: Received) -> Reply | None:
        reply = keyword("pub")(received)
        if reply is not None and not any(file["path"].endswith(first) for file in received.files):
            reply.gate = gate
        return reply

    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        started = await subject.result("auto_tag_files", batch_size=10, max_parallel=2)
        await subject.wait_until(lambda: len(subject.events("tagging-batch")) == 1)
        await subject.result("set_tag_mapping", **_set("pub", "place:inn"))
        gate.set()
        assert (await subject.complete(started["run_id"]))["processed_files"] == 20
        assert [keywords(library, file_id) for file_id in (1, 20)] == [{"place:tavern"}, {"place:inn"}]
        assert asked(gemini) == 1
        assert await subject.result("list_tag_mappings") == [pub("place:inn", 20)]


@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "in another process"])
async def test_a_person_who_sets_what_gemini_is_being_asked_has_the_last_word(
    tmp_path: Path, elsewhere: bool
) -> None:
    library = harness.library(tmp_path, 20)
    gate = trio.Event()

    def script(received: Received) -> Reply | None:
        return Reply(gate=gate) if received.kind == "mapping" else keyword("pub")(received)

    async with (
        standin.running(script=script) as gemini,
        harness.start(library, gemini) as subject,
        harness.start(library, gemini) as other,
    ):
        started = await subject.result("auto_tag_files", batch_size=20)
        with trio.fail_after(20):
            await gemini.wait_for(2)
        await (other if elsewhere else subject).result("set_tag_mapping", **_set("pub", "place:inn"))
        gate.set()
        await subject.complete(started["run_id"])
        [entry] = await subject.result("list_tag_mappings")
        assert entry["valid_tag"] == "place:inn"
        await subject.tag(file_ids=[1])
        assert keywords(library, 1) == {"place:inn"} and asked(gemini) == 1


async def test_what_a_batch_learnt_while_the_shell_wrote_is_not_asked_for_again(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    gate = trio.Event()

    def script(received: Received) -> Reply | None:
        reply = keyword("pub")(received)
        if reply is not None:
            reply.gate = gate
        return reply

    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        run_id = (await subject.result("auto_tag_files", file_ids=[1]))["run_id"]
        with trio.fail_after(20):
            await gemini.wait_for(1)
        library.execute("UPDATE audio_files SET title = 'Another title' WHERE id = 20")
        gate.set()
        await subject.complete(run_id)
        assert await subject.result("list_tag_mappings") == [pub("place:tavern", 1)]
        await subject.tag(file_ids=[2])
        assert asked(gemini) == 1
        assert await subject.result("list_tag_mappings") == [pub("place:tavern", 2)]


async def test_gemini_does_not_overrule_who_maps_a_tag_to_a_new_one_while_it_is_asked(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 5)
    tagging = keyword("cavern")
    mapped = standin.ok([{"type": "keyword", "invalid": "cavern", "valid": "biome:cave"}])
    gate = trio.Event()

    def script(received: Received) -> Reply | None:
        return replace(mapped, gate=gate) if received.kind == "mapping" else tagging(received)

    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        run_id = (await subject.result("auto_tag_files"))["run_id"]
        with trio.fail_after(20):
            await gemini.wait_for(2)
        library.execute("INSERT INTO tag_vocabulary (tag_type, tag_value) VALUES ('keywords', 'biome:grotto')")
        named = {"tag_type": "keyword", "invalid_tag": "cavern", "valid_tag": "biome:grotto"}
        await subject.result("set_tag_mapping", **named)
        gate.set()
        assert (await subject.complete(run_id))["processed_files"] == 5
        rows = await subject.result("list_tag_mappings")
        assert [row["valid_tag"] for row in rows if row["invalid_tag"] == "cavern"] == ["biome:grotto"]
    assert library.scalar("SELECT count(*) FROM rpg_tags WHERE tag_value = 'biome:grotto'") == 5
