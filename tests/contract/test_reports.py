"""CONTRACT section 8: how a run came out."""

from pathlib import Path

import pytest

from sidecar.demo import standin
from sidecar.demo.standin import Reply
from tests import harness
from tests.contract.scenes import ANSWERS, item, said
from tests.harness import NO_KEY, Library, Message

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


@pytest.mark.parametrize("dry_run", [False, True])
async def test_a_report_leaves_out_files_that_were_deleted_since(tmp_path: Path, dry_run: bool) -> None:
    library = _worrying(tmp_path)
    async with (
        standin.running(script=said(library, WORRYING)) as gemini,
        harness.start(library, gemini) as subject,
    ):
        await subject.tag(dry_run=dry_run)
        library.execute("DELETE FROM audio_files WHERE id IN (11, 12)")
        report = await subject.result("report")
        assert [file["file_id"] for file in report["worries"]] == [14, 6, 13]
        assert by_type(report)[("genre", "metal:doom")] == 1


async def test_of_many_worrying_files_the_first_two_hundred_are_listed_and_all_are_counted(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 260)
    script = said(library, dict.fromkeys(range(1, 251), item("movie score", "spine-tingling", "delving", "pub")))
    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        await subject.tag(batch_size=260)
        report = await subject.result("report")
        # The ten plain ones are unlike their folders by now; two have a tag of a person's beside the mapped ones.
        assert (report["worrying_files"], len(report["worries"])) == (258, 200)


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
