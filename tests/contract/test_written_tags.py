"""CONTRACT sections 5 and 9: which tags are written, which stay, and which files are skipped."""

from pathlib import Path

import pytest
import trio

from sidecar.demo import standin
from sidecar.demo.standin import Received, Reply
from tests import harness
from tests.contract.scenes import item, said


async def test_files_changed_or_deleted_in_the_middle_are_skipped(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 30)
    genre, keyword = harness.vocabulary("genre")[0], harness.vocabulary("keyword")[0]
    insert = "INSERT INTO rpg_tags (audio_file_id, tag_type, tag_value) VALUES (?, ?, ?)"
    gate = trio.Event()
    async with (
        standin.running(script=lambda _: Reply(gate=gate)) as gemini,
        harness.start(library, gemini) as subject,
    ):
        run_id = (await subject.result("auto_tag_files", batch_size=30))["run_id"]
        with trio.fail_after(20):
            await gemini.wait_for(1)
        library.execute("UPDATE audio_files SET genre = ? WHERE id = 6", genre)
        library.execute(insert, 7, "keyword", keyword)
        library.execute("UPDATE audio_files SET mood = 'odd' WHERE id = 8")
        library.execute("DELETE FROM audio_files WHERE id = 9")
        library.execute("DELETE FROM rpg_tags WHERE audio_file_id = 11")
        library.execute("UPDATE audio_files SET title = 'Other', year = 1066 WHERE id = 12")
        library.execute("UPDATE audio_files SET genre = 'by hand' WHERE id = 13")
        library.execute(insert, 14, "occasion", "mine")
        gate.set()
        done = await subject.complete(run_id)
        assert (done["processed_files"], done["failed_files"], done["skipped_files"]) == (23, 0, 7)
        assert done["success"] and done["status"] == "completed"
        failures = (await subject.result("get_run"))["failures"]
        reasons = {failure["file_id"]: failure["reason"] for failure in failures}
        assert reasons == dict.fromkeys((6, 7, 8, 11, 13, 14), "changed") | {9: "deleted"}
        assert all(failure["message"] and failure["file_path"] for failure in failures)
        [batch] = subject.events("tagging-batch")
        assert (batch["ok"], batch["skipped"], batch["failures"]) == (True, 7, failures)
    assert library.tagged == 23
    assert library.file(12)["title"] == "Other"
    assert library.file(13)["genre"] == "by hand" and not library.file(13)["auto_tagged"]
    assert library.tags(9) == set()


def _all(genre: str, mood: str, occasion: str, keyword: str) -> standin.Script:
    def script(received: Received) -> Reply | None:
        if not received.files:
            return None
        tags = {"genre": genre, "moods": [mood], "occasions": [occasion], "keywords": [keyword]}
        return standin.ok([{"id": file["id"], **tags} for file in received.files])

    return script


async def test_merge_keeps_what_a_person_chose_and_replaces_what_a_run_did(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 30)
    genres, moods, occasions, keywords = map(harness.vocabulary, ("genre", "mood", "occasion", "keyword"))
    library.execute("UPDATE audio_files SET genre = ?, mood = '' WHERE id = 1", genres[5])
    library.execute("UPDATE audio_files SET mood = ?, genre = 'Game' WHERE id = 2", moods[5])
    by_hand = library.tags(5)
    assert by_hand
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        for n in (0, 1):
            gemini.script = _all(genres[n], moods[n], occasions[n], keywords[n])
            assert (await subject.tag(file_ids=[1, 2, 3, 5]))["processed_files"] == 4
            assert library.tagged == 4
            harness.check_invariants(library, [subject])
            rows = {row["id"]: row for row in library.query("SELECT id, genre, mood FROM audio_files")}
            assert (rows[1]["genre"], rows[1]["mood"]) == (genres[5], moods[n])
            assert (rows[2]["genre"], rows[2]["mood"]) == (genres[n], moods[5])
            assert (rows[3]["genre"], rows[3]["mood"]) == (genres[n], moods[n])
            new = {("occasion", occasions[n]), ("keyword", keywords[n])}
            assert library.tags(3) == new
            assert library.tags(5) == new | by_hand


async def test_replace_takes_the_place_of_everything(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 30)
    genres, moods, occasions, keywords = map(harness.vocabulary, ("genre", "mood", "occasion", "keyword"))
    library.execute("UPDATE audio_files SET genre = ?, mood = ? WHERE id = 5", genres[5], moods[5])
    script = _all(genres[1], moods[1], occasions[1], keywords[1])
    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        await subject.tag(file_ids=[5], mode="replace")
    assert library.tagged == 1
    [row] = library.query("SELECT genre, mood FROM audio_files WHERE id = 5")
    assert row == {"genre": genres[1], "mood": moods[1]}
    assert library.tags(5) == {("occasion", occasions[1]), ("keyword", keywords[1])}


async def test_a_persons_tag_outside_of_the_vocabulary_stays_until_it_is_replaced(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 10)
    new = "INSERT OR IGNORE INTO tag_vocabulary (tag_type, tag_value, is_active) VALUES (?, ?, 1)"
    library.execute(new, "mood", "eerie")
    library.execute(new, "genre", "ambient")
    library.execute("UPDATE audio_files SET genre = 'ambient', mood = 'eerie' WHERE id = 1")
    by_hand = ("keyword", "of a person")
    library.execute("INSERT INTO rpg_tags (audio_file_id, tag_type, tag_value) VALUES (1, ?, ?)", *by_hand)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        await subject.tag(file_ids=[1, 2])
        first, second = library.file(1), library.file(2)
        assert (first["genre"], first["mood"]) == ("ambient", "eerie") and by_hand in library.tags(1)
        await subject.tag(file_ids=[1, 2, 2])
        assert library.file(2)["genre"] == second["genre"] and by_hand in library.tags(1)
        harness.check_invariants(library, [subject])
        await subject.tag(file_ids=[1], mode="replace")
        assert by_hand not in library.tags(1) and library.file(1)["mood"] != "eerie"
        refused = await subject.error("auto_tag_files", file_ids=[1, 999])
        assert refused["code"] == -32602 and "999" in refused["message"]
        assert (await subject.result("auto_tag_files", file_ids=[]))["status"] == "nothing_to_do"


@pytest.mark.parametrize("how", ["ABORT", "FAIL", "IGNORE"])
@pytest.mark.parametrize("event", ["UPDATE", "UPDATE OF genre"])
async def test_a_trigger_that_refuses_one_file_fails_that_file_only(tmp_path: Path, how: str, event: str) -> None:
    library = harness.library(tmp_path, 40)
    action = "IGNORE" if how == "IGNORE" else f"{how}, 'not this one'"
    condition = f"BEFORE {event} ON audio_files WHEN OLD.id = 7"
    library.execute(f"CREATE TRIGGER no_seven {condition} BEGIN SELECT RAISE({action}); END")
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        done = await subject.tag(batch_size=20)
        assert (done["processed_files"], done["failed_files"], done["status"]) == (39, 1, "completed")
        [failure] = (await subject.result("get_run"))["failures"]
        assert (failure["file_id"], failure["reason"]) == (7, "database_error")
        assert await subject.result("get_tagging_history", file_id=7) == []
        batches = sorted(subject.events("tagging-batch"), key=lambda batch: batch["batch"])
        assert [batch["ok"] for batch in batches] == [False, True]
        assert library.tagged == 39
        harness.check_invariants(library, [subject])
        library.execute("DROP TRIGGER no_seven")
        again = await subject.tag()
        assert (again["total_files"], again["processed_files"]) == (1, 1)


async def test_a_run_ends_where_the_database_refuses_whatever_is_paid_for(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 600)
    row = "BEGIN SELECT RAISE(ABORT, 'none'); END"
    library.execute(f"CREATE TRIGGER none BEFORE UPDATE OF genre ON audio_files WHEN OLD.id > 60 {row}")
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        done = await subject.tag(batch_size=20, max_parallel=1)
        assert (done["status"], done["processed_files"]) == ("failed", 60)
        assert 100 <= done["failed_files"] <= 160 and done["remaining_files"] >= 380
        assert "trigger" in done["message"] and "start tagging again: it goes on" in done["message"]
        harness.check_invariants(library, [subject])
        library.execute("DROP TRIGGER none")
        assert (await subject.tag())["processed_files"] == 540
    assert library.tagged == 600


@pytest.mark.parametrize("how", ["ABORT", "FAIL"])
async def test_a_trigger_that_refuses_a_mapping_fails_no_file(tmp_path: Path, how: str) -> None:
    library = harness.library(tmp_path, 20)
    pub, cave = (item("folk:tavern", "calm", "inn-rest", word) for word in ("pub", "cavern"))
    script = said(library, {1: pub, 2: cave, 12: pub, 13: cave})
    row = f"BEGIN SELECT RAISE({how}, 'not this one'); END"
    library.execute(f"CREATE TRIGGER no_pub BEFORE INSERT ON tag_mapping_cache WHEN NEW.invalid_tag = 'pub' {row}")
    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        done = await subject.tag(batch_size=10, max_parallel=1)
        assert (done["processed_files"], done["failed_files"], done["status"]) == (20, 0, "completed")
        assert [received.kind for received in gemini.journal].count("mapping") == 1
        [kept] = await subject.result("list_tag_mappings")
        assert (kept["invalid_tag"], kept["usage_count"]) == ("cavern", 2)
        assert library.tags(1) == library.tags(12) == {("occasion", "inn-rest"), ("keyword", "place:tavern")}
