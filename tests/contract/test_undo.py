"""CONTRACT sections 2, 5 and 9: a run is taken back, and each file is what it was before, to the byte."""

from pathlib import Path

import pytest

from sidecar.demo import standin
from sidecar.demo.standin import Received
from tests import harness
from tests.contract.scenes import files_and_tags, said, undo
from tests.harness import NO_KEY, Library, Message


def used_by_people(folder: Path) -> Library:
    """A library in which people, the shell and another tagger have left all kinds of rows."""
    library = harness.library(folder, 40, with_dates=True)
    tag = "INSERT INTO rpg_tags (id, audio_file_id, tag_type, tag_value, created_at) VALUES (?, ?, ?, ?, ?)"
    with library.edited() as shell:
        shell.execute("UPDATE audio_files SET genre = 'folk:tavern', mood = 'calm' WHERE id = 1")
        shell.execute("UPDATE audio_files SET mood = 'calm;eerie ; nonsense' WHERE id = 2")
        shell.execute("UPDATE audio_files SET auto_tagged = NULL, updated_at = NULL WHERE id = 3")
        shell.execute("UPDATE audio_files SET auto_tagged = 1, auto_tag_date = '2024-02-01' WHERE id = 4")
        shell.execute("UPDATE audio_files SET auto_tag_version = 'gemini-1.0', genre = 'naïve\n雨' WHERE id = 6")
        shell.execute("UPDATE audio_files SET updated_at = '1999-12-31T23:59:59+02:00' WHERE id = 8")
        shell.execute(tag, (1001, 7, "keyword", "place:tavern", "2020-01-01 10:00:00"))
        shell.execute(tag, (1003, 7, "keyword", "Überbleibsel", None))
        shell.execute(tag, (1005, 7, "occasion", "no longer in the vocabulary", "yesterday"))
        shell.execute(tag, (1007, 7, "genre", "folk", "2020-01-01 10:00:01"))
        shell.execute(tag, (1009, 9, "mood", "calm", "2020-01-01 10:00:02"))
        shell.execute("DELETE FROM rpg_tags WHERE id IN (1, 1003)")
        shell.execute(tag, (1, 7, "keyword", "Überbleibsel", 20200101))
        shell.execute("UPDATE rpg_tags SET luck = NULL WHERE id = 1001")
        shell.execute("UPDATE rpg_tags SET luck = x'00ff' WHERE id = 1005")
    return library


@pytest.mark.parametrize("mode", ["merge", "replace"])
async def test_whole_rows_come_back_with_their_ids_and_dates(tmp_path: Path, mode: str) -> None:
    library = used_by_people(tmp_path)
    before = files_and_tags(library)
    everything = library.ids
    async with standin.running(hallucinate=0.3) as gemini, harness.start(library, gemini) as subject:
        assert (await subject.tag(file_ids=everything, mode=mode, batch_size=15))["processed_files"] == 40
        run_id = (await subject.result("list_runs"))[0]["run_id"]
    tagged = files_and_tags(library)
    assert all(tagged["audio_files"][file_id] != before["audio_files"][file_id] for file_id in everything)
    if mode == "replace":
        assert not {1, 1001, 1005} & tagged["rpg_tags"].keys()
    async with harness.start(library, env=NO_KEY) as subject:
        assert await undo(subject, run_id) == (40, 0)
        assert files_and_tags(library) == before
        assert len(subject.transcript) == 1, "an answer and no notification"
        assert len(await subject.result("get_tagging_history", file_id=1)) == 1, "what was done stays on record"
    assert files_and_tags(library) == before


@pytest.mark.parametrize("mode", ["merge", "replace"])
async def test_tags_that_are_bytes_or_read_alike_are_in_nobodys_way(tmp_path: Path, mode: str) -> None:
    library = harness.library(tmp_path, 4)
    tag = "INSERT INTO rpg_tags (audio_file_id, tag_type, tag_value) VALUES (?, ?, CAST(? AS TEXT))"
    as_bytes = "INSERT INTO rpg_tags (audio_file_id, tag_type, tag_value) VALUES (?, ?, CAST(? AS BLOB))"
    with library.edited() as shell:
        shell.execute("DELETE FROM rpg_tags WHERE audio_file_id < 4")
        for statement in (tag, as_bytes):
            shell.execute(statement, (1, "occasion", "inn-rest"))  # Gemini says so too
            shell.execute(statement, (1, "keyword", "nobody's"))
        shell.execute(as_bytes, (2, "occasion", "inn-rest"))
        for broken in (b"\xff", b"\xfe"):
            shell.execute(as_bytes, (3, "keyword", broken))
    before = files_and_tags(library)
    async with standin.running(script=said(library, {})) as gemini, harness.start(library, gemini) as subject:
        done = await subject.tag(file_ids=[1, 2, 3], mode=mode)
        assert done["processed_files"] == 3
        rest = "SELECT count(*) FROM rpg_tags WHERE audio_file_id = ? AND CAST(tag_value AS TEXT) = 'inn-rest'"
        assert all(library.scalar(rest, number) for number in (1, 2, 3))
        assert await undo(subject, done["run_id"]) == (3, 0)
    assert files_and_tags(library) == before


@pytest.mark.parametrize("mode", ["merge", "replace"])
async def test_runs_on_top_of_each_other_are_taken_back_one_by_one(tmp_path: Path, mode: str) -> None:
    library = used_by_people(tmp_path)
    everything = library.ids
    stages, runs = [files_and_tags(library)], []
    for number in range(3):
        async with standin.running() as gemini, harness.start(library, gemini) as subject:
            gemini.script = lambda received, number=number: standin.ok(_turned(received, number))
            runs.append((await subject.tag(file_ids=everything, mode=mode))["run_id"])
        stages.append(files_and_tags(library))
    async with harness.start(library, env=NO_KEY) as subject:
        for run_id, stage in zip(reversed(runs), reversed(stages[:-1]), strict=True):
            assert await undo(subject, run_id) == (40, 0)
            assert files_and_tags(library) == stage


async def test_an_undo_makes_the_index_that_it_needs_where_it_is_gone(tmp_path: Path) -> None:
    library = used_by_people(tmp_path)
    before = files_and_tags(library)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        run_id = (await subject.tag(file_ids=library.ids, mode="replace"))["run_id"]
        with library.edited() as shell:
            shell.execute("DROP INDEX auto_tag_removed_by_file")
        assert await undo(subject, run_id) == (40, 0)
    assert files_and_tags(library) == before
    assert library.scalar("SELECT count(*) FROM sqlite_master WHERE name = 'auto_tag_removed_by_file'") == 1


def _turned(received: Received, number: int) -> list[Message]:
    """Answers that differ from run to run: each file gets its neighbour's tags."""
    items = harness.answers(received)
    return [{**items[(at + number) % len(items)], "id": item["id"]} for at, item in enumerate(items)]


async def test_in_the_wrong_order_the_newer_run_counts_as_someone_else(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    before = files_and_tags(library)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        first = (await subject.tag(file_ids=[1, 2, 3, 4]))["run_id"]
        between = files_and_tags(library)
        gemini.script = lambda received: standin.ok(_turned(received, 1))
        second = (await subject.tag(file_ids=[3, 4, 5]))["run_id"]
        both = files_and_tags(library)
        assert await undo(subject, first) == (2, 2)
        assert library.file(3) == both["audio_files"][3] and library.file(1) == before["audio_files"][1]
        assert await undo(subject, second) == (3, 0)
        assert library.file(3) == between["audio_files"][3]
        assert await undo(subject, first) == (2, 2), "the two that had been in the way"
        assert files_and_tags(library) == before


async def test_twice_restores_nothing_the_second_time_whoever_asks(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    before = files_and_tags(library)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        run_id = (await subject.tag())["run_id"]
        assert await undo(subject, run_id) == (20, 0)
        assert (await undo(subject, run_id))[0] == 0
        assert (await subject.result("count_untagged_files"))["count"] == 20
        again = (await subject.tag())["run_id"]
        assert (await undo(subject, run_id))[0] == 0, "the newer run's tags are not the old one's to take back"
        assert library.tagged == 20
    async with harness.start(library, env=NO_KEY) as subject:
        assert (await undo(subject, run_id))[0] == 0
        assert await undo(subject, again) == (20, 0)
        assert (await undo(subject, again))[0] == 0
    assert files_and_tags(library) == before


async def test_there_is_nothing_to_undo_in_a_dry_run_and_no_run_by_that_name(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 10)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        assert (await subject.error("undo_run", run_id="nope"))["code"] == -32002
        assert (await subject.error("undo_run"))["code"] == -32602
        before = library.shell_rows()
        run_id = (await subject.tag(dry_run=True))["run_id"]
        assert await undo(subject, run_id) == (0, 0)
        assert len((await subject.result("get_run", run_id=run_id))["proposals"]) == 10
        assert (await subject.error("undo_run", run_id="nope"))["code"] == -32002
        assert library.shell_rows() == before


async def test_what_a_person_changed_since_stays(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    before = files_and_tags(library)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        run_id = (await subject.tag())["run_id"]
    with library.edited() as shell:
        shell.execute("UPDATE audio_files SET genre = 'jazz:noir' WHERE id = 1")
        shell.execute("UPDATE audio_files SET mood = 'calm' WHERE id = 2")
        shell.execute("INSERT INTO rpg_tags (audio_file_id, tag_type, tag_value) VALUES (3, 'keyword', 'mine')")
        shell.execute("DELETE FROM rpg_tags WHERE audio_file_id = 4 AND tag_type = 'occasion'")
        shell.execute("DELETE FROM audio_files WHERE id = 5")
        shell.execute("UPDATE audio_files SET title = 'Another title', rating = 5, bpm = NULL WHERE id = 6")
    edited = files_and_tags(library)
    async with harness.start(library, env=NO_KEY) as subject:
        assert await undo(subject, run_id) == (15, 5)
        for file_id in (1, 2, 3, 4):
            assert library.file(file_id) == edited["audio_files"][file_id], "skipped as a whole"
        restored = {**before["audio_files"][6], "title": "Another title", "rating": 5, "bpm": None}
        assert library.file(6) == restored
        for file_id in range(7, 21):
            assert library.file(file_id) == before["audio_files"][file_id]
        assert (await undo(subject, run_id))[0] == 0


async def test_a_row_whose_id_another_one_has_by_now_comes_back_with_a_new_id(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    tag = "INSERT INTO rpg_tags (id, audio_file_id, tag_type, tag_value) VALUES (1001, ?, 'keyword', ?)"
    library.execute(tag, 5, "biome:swamp")
    before = library.tags(5)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        run_id = (await subject.tag(file_ids=[5, 6], mode="replace"))["run_id"]
        library.execute(tag, 7, "biome:cave")
        taken = library.query("SELECT * FROM rpg_tags WHERE id = 1001")
        assert await undo(subject, run_id) == (2, 0)
    assert library.tags(5) == before
    assert library.query("SELECT * FROM rpg_tags WHERE id = 1001") == taken


async def test_a_file_whose_row_a_trigger_of_the_shells_keeps_as_it_is_stays_as_a_whole(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        run_id = (await subject.tag())["run_id"]
        tagged = library.file(3), library.tags(3)
        library.execute(
            """CREATE TRIGGER kept BEFORE UPDATE OF genre ON audio_files WHEN OLD.id = 3
                BEGIN SELECT RAISE(IGNORE); END"""
        )
        assert await undo(subject, run_id) == (19, 1)
        assert (library.file(3), library.tags(3)) == tagged
        library.execute("DROP TRIGGER kept")
        assert await undo(subject, run_id) == (1, 19)


async def test_an_applied_dry_run_is_undone(tmp_path: Path) -> None:
    library = used_by_people(tmp_path)
    before = files_and_tags(library)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        dry = (await subject.tag(dry_run=True, mode="replace", file_ids=list(range(1, 41))))["run_id"]
        applied = await subject.result("apply_proposals", run_id=dry)
        assert applied["applied_files"] == library.tagged == 40
        assert await undo(subject, applied["run_id"]) == (40, 0)
        assert files_and_tags(library) == before
        # What was proposed fits again.
        assert (await subject.result("apply_proposals", run_id=dry))["applied_files"] == 40


async def test_files_without_an_outcome_of_the_run_are_none_of_the_undos(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    bad = library.name(7)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        gemini.script = lambda r: standin.finish("SAFETY") if bad in r.body.decode() else None
        done = await subject.tag(batch_size=20)
        assert (done["processed_files"], done["failed_files"]) == (19, 1)
        assert await undo(subject, done["run_id"]) == (19, 0)


async def test_after_an_undo_a_run_finds_what_people_had_left(tmp_path: Path) -> None:
    library = used_by_people(tmp_path)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        everything = list(range(1, 41))
        run_id = (await subject.tag(file_ids=everything))["run_id"]
        once = files_and_tags(library)["rpg_tags"]
        assert await undo(subject, run_id) == (40, 0)
        explained = await subject.result("explain", file_id=1)
        assert {(tag["tag_value"], tag["set_by"]) for tag in explained} == {
            ("folk:tavern", "person"),
            ("calm", "person"),
        }
        await subject.tag(file_ids=everything)
        again = files_and_tags(library)["rpg_tags"]
        assert _pairs(once) == _pairs(again)


def _pairs(rows: harness.Rows) -> set[tuple[int, str, str]]:
    return {(row["audio_file_id"], row["tag_type"], row["tag_value"]) for row in rows.values()}
