"""CONTRACT section 8: how a run came out, where a file's tags come from, and what is stale by now."""

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sidecar.demo import standin
from sidecar.demo.standin import Received, Reply, Script
from tests import harness
from tests.harness import Client, Library, Message

NO_KEY = {"GEMINI_API_KEY": None}
"""For processes that must do their work without Gemini: no key, and a port that nobody listens on."""
MAPPED = {
    "movie score": "orchestral:cinematic",
    "spine-tingling": "chilling",
    "delving": "dungeon-crawl",
    "pub": "place:tavern",
    "cavern": "biome:cave",
}
"""What the stand-in says of unknown tags; of `vibey` and `material:unobtainium`, that nothing fits."""
FRESH: Message = {"changed_since_run": None, "added_tags": [], "retired_tags": [], "file_ids": []}


def item(genre: str, moods: str, occasions: str, keywords: str) -> Message:
    """An answer's item but for its id; the lists as words apart, `_` for a space."""
    lists = {"moods": moods, "occasions": occasions, "keywords": keywords}
    words = {name: [word.replace("_", " ") for word in text.split()] for name, text in lists.items()}
    return {"genre": genre, **words}


PLAIN = item("ambient", "calm", "inn-rest", "biome:forest weather:rain time:night")


def said(library: Library, items: dict[int, Message]) -> Script:
    """Gemini says so of these files, and of all others what is plain; mappings are the stand-in's own."""
    names = {library.name(file_id): file_id for file_id in library.ids}

    def script(received: Received) -> Reply | None:
        if received.kind != "tagging":
            return None
        ids = [(file["id"], names[file["path"].rpartition("/")[2]]) for file in received.files]
        return standin.ok([{"id": number, **items.get(file_id, PLAIN)} for number, file_id in ids])

    return script


ANSWERS = {
    1: item("folk:tavern", "calm", "inn-rest", "biome:forest time:night"),
    2: item("Orchestral / Cinematic", "CALM", "inn-rest", "cavern"),
    3: item("folk:tavern", "calm vibey", "inn-rest", "pub"),
    4: item("folk:tavern", "calm", "inn-rest", "pub time:night"),
    5: item("movie score", "", "inn-rest", "material:unobtainium"),
}
SOURCES = {"valid": 14, "normalised": 2, "mapped_by_cache": 1, "mapped_by_gemini": 3, "dropped": 2}


def by_type(report: Message) -> dict[tuple[str, str], int]:
    return {(tag["tag_type"], tag["tag_value"]): tag["files"] for tag in report["tags"]}


@pytest.mark.parametrize("dry_run", [False, True])
async def test_a_report_counts_how_each_tag_of_the_answers_came_out(tmp_path: Path, dry_run: bool) -> None:
    library = harness.library(tmp_path, 5)
    library.execute("INSERT INTO tag_mapping_cache (invalid_tag, valid_tag, tag_type) VALUES (?, ?, ?)",
                    "cavern", "biome:cave", "keyword")  # fmt: skip
    async with standin.running(script=said(library, ANSWERS)) as gemini:
        async with harness.start(library, gemini) as subject:
            done = await subject.tag(dry_run=dry_run)
            assert (done["processed_files"], done["failed_files"]) == (4, 1)
            [summary] = await subject.result("list_runs")
            report = await subject.result("report")
            assert report["run"] == summary
            assert report["sources"] == SOURCES
            assert by_type(report) == {
                ("genre", "folk:tavern"): 3, ("genre", "orchestral:cinematic"): 1, ("mood", "calm"): 4,
                ("occasion", "inn-rest"): 4, ("keyword", "biome:forest"): 1, ("keyword", "time:night"): 2,
                ("keyword", "biome:cave"): 1, ("keyword", "place:tavern"): 2,
            }  # fmt: skip
            assert report["failures"] == [{"reason": "invalid_tags", "files": 1}]
            [batch] = report["batches"]
            assert [batch[name] for name in ("batch", "tagged", "failed", "skipped")] == [1, 4, 1, 0]
            assert batch["usage"] == done["usage"] == summary["usage"]
        async with harness.start(library, env=NO_KEY) as subject:
            assert await subject.result("report") == report
            assert await subject.result("report", run_id=done["run_id"]) == report


async def test_what_gemini_mapped_once_the_cache_maps_from_then_on(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 5)
    async with standin.running(script=said(library, ANSWERS)) as gemini, harness.start(library, gemini) as subject:
        first = (await subject.tag())["run_id"]
        second = (await subject.tag(file_ids=[1, 2, 3, 4, 5]))["run_id"]
        sources = (await subject.result("report", run_id=first))["sources"]
        assert sources == {**SOURCES, "mapped_by_cache": 0, "mapped_by_gemini": 4}
        sources = (await subject.result("report"))["sources"]
        # A mapping that no tagged file has used is not saved; Gemini's word on it is remembered all the same.
        assert sources["mapped_by_cache"] + sources["mapped_by_gemini"] == 4 and sources["mapped_by_cache"] >= 3
        assert (await subject.result("report", run_id=second))["sources"] == sources
        assert [received.kind for received in gemini.journal] == ["tagging", "mapping", "tagging"]


@pytest.mark.parametrize("dry_run", [False, True])
async def test_a_report_leaves_a_persons_tags_out_and_later_runs(tmp_path: Path, dry_run: bool) -> None:
    library = harness.library(tmp_path, 20)  # file 5 has a person's keyword
    library.execute("UPDATE audio_files SET genre = 'jazz:noir' WHERE id = 5")
    async with standin.running(script=said(library, {})) as gemini, harness.start(library, gemini) as subject:
        run_id = (await subject.tag(file_ids=[4, 5], dry_run=dry_run))["run_id"]
        report = await subject.result("report")
        assert by_type(report)[("genre", "ambient")] == 1 and by_type(report)[("mood", "calm")] == 2
        assert not {("genre", "jazz:noir"), ("keyword", "source:field-recording")} & by_type(report).keys()
        gemini.script = said(library, {5: item("folk:tavern", "eerie", "inn-rest", "time:dawn")})
        await subject.tag(file_ids=[5])
        assert by_type(await subject.result("report", run_id=run_id)) == by_type(report)
        assert by_type(await subject.result("report"))[("keyword", "time:dawn")] == 1


def _worrying(folder: Path) -> Library:
    """Six sounds in one folder, five of one UCS category in folders of their own, three besides."""
    library = harness.library(folder, 14)
    paths = {file_id: f"Dungeon/Sound {file_id}.wav" for file_id in range(1, 7)}
    paths |= {file_id: f"Pack {file_id}/AMBForst_Birds {file_id}_ANN.wav" for file_id in range(7, 12)}
    paths |= {file_id: f"Single {file_id}/Sound {file_id}.wav" for file_id in range(12, 15)}
    with library.edited() as shell:
        for file_id, path in paths.items():
            shell.execute("UPDATE audio_files SET file_path = ? WHERE id = ?", (f"{harness.HOME}/{path}", file_id))
    return library


WORRYING = {
    6: item("metal:doom", "calm", "inn-rest", "biome:forest weather:rain time:night"),
    11: item("metal:doom", "calm", "inn-rest", "biome:forest weather:rain time:night"),
    12: item("movie score", "spine-tingling", "delving", "cavern"),
    13: item("folk:tavern", "calm", "inn-rest", ""),
    14: item("movie score", "spine-tingling", "", "pub"),
}


@pytest.mark.parametrize("dry_run", [False, True])
async def test_a_report_says_which_files_to_look_at_first_and_why(tmp_path: Path, dry_run: bool) -> None:
    library = _worrying(tmp_path)
    async with standin.running(script=said(library, WORRYING)) as gemini:
        async with harness.start(library, gemini) as subject:
            run_id = (await subject.tag(dry_run=dry_run))["run_id"]
            report = await subject.result("report")
            assert [(file["file_id"], file["worries"]) for file in report["worries"]] == [
                (14, ["only_mapped", "few_tags"]),
                (6, ["unlike_folder"]),
                (11, ["unlike_ucs_category"]),
                (12, ["only_mapped"]),
                (13, ["few_tags"]),
            ]
            assert report["worrying_files"] == 5
            for file in report["worries"]:
                assert file["file_path"] == library.file(file["file_id"])["file_path"]
                assert len(file["messages"]) == len(file["worries"])
                assert all(message.endswith(".") for message in file["messages"])
            assert "metal:doom" in report["worries"][1]["messages"][0]
            assert "AMBForst" in report["worries"][2]["messages"][0]
            gemini.script = said(library, {})
            await subject.tag(file_ids=list(range(1, 15)))
            assert (await subject.result("report"))["worries"] == []
        async with harness.start(library, env=NO_KEY) as subject:
            assert await subject.result("report", run_id=run_id) == report


async def test_of_many_worrying_files_the_first_two_hundred_are_listed_and_all_are_counted(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 260)
    script = said(library, dict.fromkeys(range(1, 251), item("movie score", "spine-tingling", "delving", "pub")))
    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        await subject.tag(batch_size=260)
        report = await subject.result("report")
        # The ten plain ones are unlike their folders by now.
        assert (report["worrying_files"], len(report["worries"])) == (260, 200)


@pytest.mark.parametrize("dry_run", [False, True])
async def test_a_mapped_tag_that_a_persons_stood_in_the_way_of_counts_for_nothing(
    tmp_path: Path, dry_run: bool
) -> None:
    library = harness.library(tmp_path, 4)
    library.execute("UPDATE audio_files SET genre = 'ambient', mood = 'calm' WHERE id = 2")
    items = dict.fromkeys((1, 3, 4), item("ambient", "calm", "inn-rest", "biome:forest"))
    items[2] = item("movie score", "spine-tingling", "inn-rest", "biome:forest pub")
    async with standin.running(script=said(library, items)) as gemini, harness.start(library, gemini) as subject:
        await subject.tag(dry_run=dry_run)
        assert (await subject.result("report"))["worries"] == []


async def test_a_report_on_a_run_that_is_none_active_or_interrupted(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 30)
    async with standin.running() as gemini:
        async with harness.start(library, gemini) as subject:
            assert (await subject.error("report"))["code"] == -32002
            gemini.script = lambda r: None if r.number <= 2 else Reply(delay_seconds=60)
            run_id = (await subject.result("auto_tag_files", batch_size=10, max_parallel=1))["run_id"]
            await subject.wait_until(lambda: len(subject.events("tagging-progress")) == 2)
            report = await subject.result("report")
            assert (report["run"]["status"], report["run"]["processed_files"]) == ("running", 20)
            assert len(report["batches"]) == 2 and report["sources"]["valid"] > 0
            await subject.kill()
        async with harness.start(library, env=NO_KEY) as subject:
            report = await subject.result("report")
            assert (report["run"]["run_id"], report["run"]["status"]) == (run_id, "interrupted")
            assert by_type(report) and len(report["batches"]) == 2
            assert (await subject.error("report", run_id="nope"))["code"] == -32002


# --- explain ------------------------------------------------------------------------------------


async def explained(subject: Client, file_id: int) -> dict[tuple[str, str], Message]:
    """Where each tag comes from; no tag twice."""
    tags = await subject.result("explain", file_id=file_id)
    found = {(tag["tag_type"], tag["tag_value"]): tag for tag in tags}
    assert len(found) == len(tags)
    for tag in tags:
        from_run = [tag[name] for name in ("run_id", "model", "tagged_at")]
        assert all(from_run) if tag["set_by"] == "run" else from_run == [None] * 3 and not tag["mapped_from"]
    return found


def persons(tags: dict[tuple[str, str], Message]) -> set[str]:
    return {value for (_, value), tag in tags.items() if tag["set_by"] == "person"}


async def test_each_tag_is_a_persons_or_a_runs_and_says_what_it_was_mapped_from(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)  # file 5 has a person's keyword
    library.execute("UPDATE audio_files SET genre = 'jazz:noir' WHERE id = 5")
    script = said(library, {5: item("folk:tavern", "spine-tingling", "inn-rest", "pub time:night vibey")})
    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        assert persons(await explained(subject, 5)) == {"jazz:noir", "source:field-recording"}
        done = await subject.tag(model=standin.MODELS[2])
    async with harness.start(library, env=NO_KEY) as subject:
        tags = await explained(subject, 5)
        assert persons(tags) == {"jazz:noir", "source:field-recording"}
        assert {pair: tag["mapped_from"] for pair, tag in tags.items() if tag["set_by"] == "run"} == {
            ("mood", "chilling"): "spine-tingling", ("keyword", "place:tavern"): "pub",
            ("occasion", "inn-rest"): None, ("keyword", "time:night"): None,
        }  # fmt: skip
        [entry] = await subject.result("get_tagging_history", file_id=5)
        run = tags[("keyword", "place:tavern")]
        assert (run["run_id"], run["model"]) == (done["run_id"], standin.MODELS[2])
        assert run["tagged_at"] == entry["tagged_at"] == library.file(5)["auto_tag_date"]
        for file_id in (0, 21, -1):
            error = await subject.error("explain", file_id=file_id)
            assert error["code"] == -32602 and str(file_id) in error["message"]


async def test_what_a_person_changes_becomes_theirs_and_a_new_run_takes_only_its_own(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    async with standin.running(script=said(library, {})) as gemini, harness.start(library, gemini) as subject:
        first = (await subject.tag())["run_id"]
        assert persons(await explained(subject, 1)) == set()
        with library.edited() as shell:
            shell.execute("UPDATE audio_files SET genre = 'jazz:noir' WHERE id = 1")
            shell.execute(
                "INSERT INTO rpg_tags (audio_file_id, tag_type, tag_value) VALUES (1, 'keyword', 'mine')"
            )
            shell.execute("UPDATE audio_files SET mood = 'calm; eerie' WHERE id = 2")
        assert persons(await explained(subject, 1)) == {"jazz:noir", "mine"}
        assert persons(await explained(subject, 2)) == {"calm", "eerie"}
        gemini.script = said(library, {1: item("folk:tavern", "eerie", "inn-rest", "time:dawn")})
        second = (await subject.tag(file_ids=[1, 2]))["run_id"]
        tags = await explained(subject, 1)
        assert persons(tags) == {"jazz:noir", "mine"}
        assert {tag["run_id"] for tag in tags.values()} == {None, second}
        await subject.result("undo_run", run_id=second)
        assert {tag["run_id"] for tag in (await explained(subject, 1)).values()} == {None, first}


async def test_an_applied_proposal_is_of_the_run_that_wrote_it_and_the_model_that_made_it(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 5)
    async with standin.running(script=said(library, ANSWERS)) as gemini, harness.start(library, gemini) as subject:
        dry = (await subject.tag(dry_run=True, model=standin.MODELS[1]))["run_id"]
        before = persons(await explained(subject, 3))
        assert {tag["set_by"] for tag in (await explained(subject, 3)).values()} <= {"person"}
        applied = await subject.result("apply_proposals", run_id=dry)
        report = await subject.result("report")
        assert report["run"]["run_id"] == applied["run_id"] and report["run"]["usage"]["requests"] == 0
        # As in the dry run, but for the file that had no proposal.
        assert report["sources"] == {
            "valid": 13, "normalised": 2, "mapped_by_cache": 0, "mapped_by_gemini": 3, "dropped": 1,
        }  # fmt: skip
        tags = await explained(subject, 3)
        assert {tag["run_id"] for tag in tags.values()} == {applied["run_id"]} and not before & persons(tags)
        assert {tag["model"] for tag in tags.values()} == {standin.MODELS[1]}
        assert tags[("keyword", "place:tavern")]["mapped_from"] == "pub"


# --- find_stale ---------------------------------------------------------------------------------


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
