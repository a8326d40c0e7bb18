"""CONTRACT section 8: which files are to be tagged again, and what has changed."""

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from sidecar.demo import standin
from tests import harness
from tests.contract.scenes import item, said
from tests.harness import NO_KEY, Client, Message

FRESH: Message = {"changed_since_run": None, "added_tags": [], "retired_tags": [], "file_ids": []}


def name(kind: str, value: str, **rest: Any) -> Message:
    return {"tag_type": kind, "tag_value": value, **rest}


async def retag(subject: Client, file_ids: Iterable[int]) -> None:
    """Tags just the stale files again; then nothing is."""
    done = await subject.tag(file_ids=list(file_ids))
    assert done["failed_files"] == 0
    assert await subject.result("find_stale") == FRESH


async def test_nothing_is_stale_without_a_run_or_without_a_change(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        assert await subject.result("find_stale") == FRESH
        await subject.tag(dry_run=True)
        assert await subject.result("find_stale") == FRESH
        await subject.tag()
        assert await subject.result("find_stale") == FRESH
    async with harness.start(library, env=NO_KEY) as subject:
        assert await subject.result("find_stale") == FRESH


async def test_a_retired_tag_makes_the_files_stale_that_have_it_from_a_run(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    caves = item("ambient", "calm", "inn-rest", "biome:cave time:night")
    tag = "INSERT INTO rpg_tags (audio_file_id, tag_type, tag_value) VALUES (?, 'keyword', 'biome:cave')"
    library.execute(tag, 9)
    script = said(library, dict.fromkeys((3, 4, 5, 6), caves))
    async with standin.running(script=script) as gemini:
        async with harness.start(library, gemini) as subject:
            run_id = (await subject.tag())["run_id"]
        with library.edited() as shell:
            shell.execute("UPDATE tag_vocabulary SET is_active = 0 WHERE tag_value = 'biome:cave'")
            shell.execute(tag, (10,))
            shell.execute("DELETE FROM rpg_tags WHERE audio_file_id = 5 AND tag_value = 'biome:cave'")
            shell.execute("DELETE FROM audio_files WHERE id = 6")
        gemini.script = said(library, {})
        async with harness.start(library, gemini) as subject:
            stale = await subject.result("find_stale")
            assert stale == {
                "changed_since_run": run_id,
                "added_tags": [],
                "retired_tags": [name("keyword", "biome:cave", files=2)],
                "file_ids": [3, 4],
            }
            await retag(subject, stale["file_ids"])
    carriers = library.query("SELECT audio_file_id AS id FROM rpg_tags WHERE tag_value = 'biome:cave' ORDER BY 1")
    assert carriers == [{"id": 9}, {"id": 10}], "a person's tags stay"


async def test_a_run_that_tagged_nothing_does_not_hide_a_change(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        run_id = (await subject.tag(file_ids=[1, 2, 3]))["run_id"]
        add = "INSERT INTO tag_vocabulary (tag_type, tag_value) VALUES ('mood', 'brand-new')"
        library.execute(add)
        before = await subject.result("find_stale")
        assert (before["changed_since_run"], before["added_tags"]) == (run_id, [name("mood", "brand-new")])
        gemini.script = lambda _: standin.key_invalid()
        assert (await subject.tag())["processed_files"] == 0
        assert await subject.result("find_stale") == before


async def test_an_added_tag_makes_the_files_stale_where_gemini_meant_it_before(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    items = {
        4: item("folk:tavern", "calm", "inn-rest", "material:unobtainium time:night"),
        5: item("folk:tavern", "calm", "inn-rest", "cavern time:night"),
        6: item("horror", "calm", "inn-rest", "time:night"),
    }
    async with standin.running(script=said(library, items)) as gemini, harness.start(library, gemini) as subject:
        run_id = (await subject.tag())["run_id"]
        with library.edited() as shell:
            add = "INSERT INTO tag_vocabulary (tag_type, tag_value, parent_tag) VALUES (?, ?, ?)"
            shell.execute(add, ("keywords", "material:unobtainium", None))
            shell.execute(add, ("keywords", "Cavern", None))
            shell.execute(add, ("genre", "horror:gaslight", "horror"))
        stale = await subject.result("find_stale")
        assert stale == {
            "changed_since_run": run_id,
            "added_tags": [
                name("genre", "horror:gaslight"),
                name("keyword", "Cavern"),
                name("keyword", "material:unobtainium"),
            ],
            "retired_tags": [],
            "file_ids": [4, 5, 6],
        }
        gemini.script = said(library, {**items, 6: item("horror:gaslight", "calm", "inn-rest", "time:night")})
        await retag(subject, stale["file_ids"])
        assert ("keyword", "Cavern") in library.tags(5) and ("keyword", "material:unobtainium") in library.tags(4)


async def test_what_is_applied_is_as_old_as_the_dry_run_that_proposed_it(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    items = {4: item("folk:tavern", "calm", "inn-rest", "material:unobtainium time:night")}
    async with standin.running(script=said(library, items)) as gemini, harness.start(library, gemini) as subject:
        run_id = (await subject.tag(dry_run=True))["run_id"]
        with library.edited() as shell:
            add = "INSERT INTO tag_vocabulary (tag_type, tag_value, parent_tag) VALUES (?, ?, ?)"
            shell.execute(add, ("keywords", "material:unobtainium", None))
        await subject.result("apply_proposals", run_id=run_id)
        stale = await subject.result("find_stale")
        assert (stale["added_tags"], stale["file_ids"]) == ([name("keyword", "material:unobtainium")], [4])


async def test_a_renamed_tag_is_one_retired_and_one_added(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    moods = {file_id: item("ambient", "eerie", "inn-rest", "time:night") for file_id in (2, 7)}
    async with standin.running(script=said(library, moods)) as gemini, harness.start(library, gemini) as subject:
        run_id = (await subject.tag())["run_id"]
        library.execute("UPDATE tag_vocabulary SET tag_value = 'uncanny' WHERE tag_value = 'eerie'")
        stale = await subject.result("find_stale")
        assert stale == {
            "changed_since_run": run_id,
            "added_tags": [name("mood", "uncanny")],
            "retired_tags": [name("mood", "eerie", files=2)],
            "file_ids": [2, 7],
        }
        gemini.script = said(library, dict.fromkeys((2, 7), item("ambient", "uncanny", "inn-rest", "time:night")))
        await retag(subject, stale["file_ids"])
        assert library.file(2)["mood"] == library.file(7)["mood"] == "uncanny"


async def test_another_model_makes_every_file_stale_that_a_run_has_tagged(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    async with standin.running(script=said(library, {})) as gemini, harness.start(library, gemini) as subject:
        run_id = (await subject.tag(file_ids=list(range(1, 16))))["run_id"]
        await subject.result("configure", model=standin.MODELS[1])
        stale = await subject.result("find_stale")
        assert stale == {**FRESH, "changed_since_run": run_id, "file_ids": list(range(1, 16))}
        since = len(gemini.journal)
        await retag(subject, stale["file_ids"])
        assert {received.model for received in gemini.journal[since:]} == {standin.MODELS[1]}
        await subject.result("configure", model=standin.MODELS[0])
        assert (await subject.result("find_stale"))["file_ids"] == list(range(1, 16))


async def test_other_rules_make_every_file_stale_that_was_tagged_by_them(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    async with standin.running(script=said(library, {})) as gemini, harness.start(library, gemini) as subject:
        run_id = (await subject.tag(file_ids=[1, 2, 3]))["run_id"]
        with closing(library.connect()) as connection:  # as if an earlier version had asked in other words
            connection.execute("UPDATE auto_tag_runs SET rules = 'other words'")
        await subject.tag(file_ids=[3, 4])
        stale = await subject.result("find_stale")
        assert stale == {**FRESH, "file_ids": [1, 2]}
        with closing(library.connect()) as connection:
            connection.execute("UPDATE auto_tag_runs SET rules = 'other words'")
        stale = await subject.result("find_stale")
        assert stale["changed_since_run"] not in (None, run_id) and stale["file_ids"] == [1, 2, 3, 4]
        await retag(subject, stale["file_ids"])


async def test_files_that_were_taken_back_are_not_stale(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    caves = item("ambient", "calm", "inn-rest", "biome:cave time:night")
    script = said(library, dict.fromkeys(range(1, 21), caves))
    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        await subject.tag(file_ids=[1, 2, 3])
        second = (await subject.tag(file_ids=[4, 5, 6]))["run_id"]
        library.execute("UPDATE tag_vocabulary SET is_active = 0 WHERE tag_value = 'biome:cave'")
        await subject.result("undo_run", run_id=second)
        stale = await subject.result("find_stale")
        assert stale["file_ids"] == [1, 2, 3]
        assert stale["retired_tags"] == [name("keyword", "biome:cave", files=3)]
        gemini.script = said(library, {})
        await retag(subject, stale["file_ids"])


async def test_excluded_files_are_in_no_count_of_a_retired_tag(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    caves = item("ambient", "calm", "inn-rest", "biome:cave time:night")
    script = said(library, dict.fromkeys((3, 4, 5), caves))
    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        await subject.tag()
        library.execute("UPDATE tag_vocabulary SET is_active = 0 WHERE tag_value = 'biome:cave'")
        await subject.result("add_exclusion", file_id=4)
        stale = await subject.result("find_stale")
        assert stale["file_ids"] == [3, 5]
        assert stale["retired_tags"] == [name("keyword", "biome:cave", files=2)]
        for file_id in (3, 5):
            await subject.result("add_exclusion", file_id=file_id)
        stale = await subject.result("find_stale")
        assert stale["file_ids"] == []
        assert stale["retired_tags"] == [name("keyword", "biome:cave", files=0)], "told, though no file is left"
        library.execute("UPDATE tag_vocabulary SET is_active = 1 WHERE tag_value = 'biome:cave'")
        assert await subject.result("find_stale") == FRESH


async def test_a_run_over_other_files_hides_no_stale_ones(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    script = said(library, {3: item("ambient", "calm", "inn-rest", "biome:cave time:night")})
    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        await subject.tag(file_ids=[1, 2, 3])
        library.execute("UPDATE tag_vocabulary SET is_active = 0 WHERE tag_value = 'biome:cave'")
        await subject.tag(file_ids=[10])
        stale = await subject.result("find_stale")
        assert stale["file_ids"] == [3]
        assert stale["retired_tags"] == [name("keyword", "biome:cave", files=1)]
        gemini.script = said(library, {})
        await retag(subject, stale["file_ids"])


async def test_a_tag_described_in_other_words_makes_the_files_stale_that_have_it_from_a_run(
    tmp_path: Path,
) -> None:
    library = harness.library(tmp_path, 20)
    library.execute(
        "INSERT INTO rpg_tags (audio_file_id, tag_type, tag_value) VALUES (9, 'keyword', 'biome:cave')"
    )
    caves = item("ambient", "calm", "inn-rest", "biome:cave time:night")
    script = said(library, dict.fromkeys((3, 4, 5), caves))
    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        run_id = (await subject.tag())["run_id"]
        library.execute("DELETE FROM rpg_tags WHERE audio_file_id = 5 AND tag_value = 'biome:cave'")
        describe = "UPDATE tag_vocabulary SET description = ? WHERE tag_value = 'biome:cave'"
        library.execute(describe, "below ground, natural")
        stale = await subject.result("find_stale")
        assert stale == {**FRESH, "changed_since_run": run_id, "file_ids": [3, 4]}
        await retag(subject, stale["file_ids"])


async def test_other_hints_make_every_file_stale_that_was_tagged_by_them(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    async with standin.running(script=said(library, {})) as gemini, harness.start(library, gemini) as subject:
        await subject.tag(file_ids=[1, 2])
        await subject.result("configure", hints="We say crypt for any cellar.")
        run_id = (await subject.tag(file_ids=[3, 4]))["run_id"]
        assert await subject.result("find_stale") == {**FRESH, "file_ids": [1, 2]}
        await subject.result("configure", hints="Wir spielen auf Deutsch.")
        stale = await subject.result("find_stale")
        assert stale == {**FRESH, "changed_since_run": run_id, "file_ids": [1, 2, 3, 4]}
        await retag(subject, stale["file_ids"])
        await subject.result("configure", hints="")
        assert (await subject.result("find_stale"))["file_ids"] == [1, 2, 3, 4]


async def test_nothing_is_stale_in_a_library_of_an_older_version_that_booked_no_hints(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        await subject.tag()
        with closing(library.connect()) as connection:
            connection.execute("UPDATE auto_tag_runs SET rules = substr(rules, 1, instr(rules, ':') - 1)")
        assert await subject.result("find_stale") == FRESH
        await subject.result("configure", hints="We say crypt for any cellar.")
        assert await subject.result("find_stale") == FRESH, "it may have had these"
