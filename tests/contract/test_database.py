"""CONTRACT section 5: the shell's database, in every state in which one is found, and shared while it runs."""

import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import trio

from sidecar.demo import standin
from sidecar.demo.standin import Received, Reply
from tests import harness


def _missing(database: Path) -> None:
    database.unlink()


def _empty(database: Path) -> None:
    database.write_bytes(b"")


def _folder(database: Path) -> None:
    database.unlink()
    database.mkdir()


def _text(database: Path) -> None:
    database.write_text("Dear diary,\n" * 500)


def _foreign(database: Path) -> None:
    database.unlink()
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE bookmarks (id INTEGER PRIMARY KEY, url TEXT)")


def _without_a_column(database: Path) -> None:
    harness.execute(database, "DROP INDEX idx_audio_files_auto_tagged")
    harness.execute(database, "ALTER TABLE audio_files DROP COLUMN auto_tagged")


def _without_history(database: Path) -> None:
    harness.execute(database, "DROP TABLE auto_tag_history")


def _corrupt(database: Path) -> None:
    database.write_bytes(b"\x00\xff\x13garbage" * 4096)


def _no_vocabulary(database: Path) -> None:
    harness.execute(database, "DELETE FROM tag_vocabulary")


def _inactive_vocabulary(database: Path) -> None:
    harness.execute(database, "UPDATE tag_vocabulary SET is_active = 0")


def _read_only(database: Path) -> None:
    database.chmod(0o444)


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (_missing, "missing"),
        (_empty, "not_a_library"),
        (_folder, "not_a_library"),
        (_text, "not_a_library"),
        (_foreign, "not_a_library"),
        (_without_a_column, "not_a_library"),
        (_without_history, "not_a_library"),
        (_corrupt, "corrupt"),
        (_no_vocabulary, "no_vocabulary"),
        (_inactive_vocabulary, "no_vocabulary"),
        (_read_only, "read_only"),
    ],
)
async def test_a_database_that_cannot_be_tagged_says_why_and_stays_as_it_is(
    tmp_path: Path, spoil: Callable[[Path], None], kind: str
) -> None:
    if spoil is _read_only and sys.platform == "win32":
        pytest.skip("POSIX mode bits")
    database = harness.library(tmp_path, 20)
    spoil(database)
    tables = _tables(database)
    async with standin.running() as gemini, harness.start(database, gemini) as subject:
        error = await subject.error("auto_tag_files")
        assert error["code"] == -32010 and error["data"]["kind"] == kind, error
        assert error["message"].endswith(".") and "Traceback" not in error["message"]
        if spoil in (_without_a_column, _without_history):
            assert "Start Ligeia once" in error["message"]
        status = await subject.result("status")
        if kind not in ("no_vocabulary", "read_only"):
            assert not status["database"]["ok"] and status["database"]["error"]
            assert (await subject.error("count_untagged_files"))["data"]["kind"] == kind
        assert gemini.arrived == 0 and subject.events(harness.COMPLETE) == []
    assert _tables(database) == tables
    assert database.exists() == (kind != "missing")


def _tables(database: Path) -> object:
    try:
        return harness.query(database, "SELECT name FROM sqlite_master ORDER BY 1") if database.is_file() else None
    except sqlite3.DatabaseError:
        return database.read_bytes()


async def test_a_library_that_appears_later_is_found(tmp_path: Path) -> None:
    database = tmp_path / "ligeia.db"
    async with standin.running() as gemini, harness.start(database, gemini) as subject:
        assert (await subject.error("count_untagged_files"))["data"]["kind"] == "missing"
        harness.library(tmp_path, 20)
        assert (await subject.tag())["processed_files"] == 20


async def test_a_lock_held_for_a_second_delays_the_start_and_nothing_else(tmp_path: Path) -> None:
    database = harness.library(tmp_path, 60)
    before = harness.snapshot(database)
    async with standin.running() as gemini, harness.start(database, gemini) as subject:
        await subject.result("status")
        with closing(sqlite3.connect(database, isolation_level=None)) as shell:
            shell.execute("BEGIN EXCLUSIVE")
            number = await subject.send("auto_tag_files", batch_size=20)
            await harness.never(lambda: any(harness.is_answer(m, number) for m in subject.transcript), 0.5)
            await subject.result("status")
            await harness.never(lambda: any(harness.is_answer(m, number) for m in subject.transcript), 0.5)
            shell.execute("COMMIT")
        answer = await subject.wait_for(lambda m: harness.is_answer(m, number))
        assert (await subject.complete(answer["result"]["run_id"]))["processed_files"] == 60
        harness.check(database, before, subject, tagged=60)


async def test_a_lock_held_for_a_second_in_the_middle_of_a_run_costs_no_file(tmp_path: Path) -> None:
    database = harness.library(tmp_path, 60)
    before = harness.snapshot(database)
    gate = trio.Event()
    async with (
        standin.running(script=lambda _: Reply(gate=gate)) as gemini,
        harness.start(database, gemini) as subject,
    ):
        run_id = (await subject.result("auto_tag_files", batch_size=20))["run_id"]
        with trio.fail_after(20):
            await gemini.wait_for(3)
        with closing(sqlite3.connect(database, isolation_level=None)) as shell:
            shell.execute("BEGIN EXCLUSIVE")
            gate.set()
            await harness.never(lambda: bool(subject.events("tagging-batch")), seconds=1)
            shell.execute("COMMIT")
        done = await subject.complete(run_id)
        assert (done["processed_files"], done["failed_files"]) == (60, 0)
        harness.check(database, before, subject, tagged=60)


async def test_files_changed_or_deleted_in_the_middle_are_skipped(tmp_path: Path) -> None:
    database = harness.library(tmp_path, 30)
    genre = harness.vocabulary("genre")[0]
    gate = trio.Event()
    async with (
        standin.running(script=lambda _: Reply(gate=gate)) as gemini,
        harness.start(database, gemini) as subject,
    ):
        run_id = (await subject.result("auto_tag_files", batch_size=30))["run_id"]
        with trio.fail_after(20):
            await gemini.wait_for(1)
        harness.execute(database, "UPDATE audio_files SET genre = ? WHERE id = 6", genre)
        harness.execute(
            database,
            "INSERT INTO rpg_tags (audio_file_id, tag_type, tag_value) VALUES (7, 'keyword', ?)",
            harness.vocabulary("keyword")[0],
        )
        harness.execute(database, "UPDATE audio_files SET mood = 'odd' WHERE id = 8")
        harness.execute(database, "DELETE FROM audio_files WHERE id = 9")
        harness.execute(database, "DELETE FROM rpg_tags WHERE audio_file_id = 11")
        harness.execute(database, "UPDATE audio_files SET title = 'Other', year = 1066 WHERE id = 12")
        changed = harness.snapshot(database)
        gate.set()
        done = await subject.complete(run_id)
        assert (done["processed_files"], done["failed_files"], done["skipped_files"]) == (25, 0, 5)
        assert done["success"] and done["status"] == "completed"
        failures = (await subject.result("get_run"))["failures"]
        reasons = {failure["file_id"]: failure["reason"] for failure in failures}
        assert reasons == {6: "changed", 7: "changed", 8: "changed", 9: "deleted", 11: "changed"}
        assert all(failure["message"] and failure["file_path"] for failure in failures)
        [batch] = subject.events("tagging-batch")
        assert (batch["ok"], batch["skipped"], batch["failures"]) == (True, 5, failures)
        harness.check(database, changed, subject, tagged=25)
    assert harness.scalar(database, "SELECT title FROM audio_files WHERE id = 12") == "Other"
    assert not harness.query(database, "SELECT * FROM rpg_tags WHERE audio_file_id = 9")


def _all(genre: str, mood: str, occasion: str, keyword: str) -> standin.Script:
    def script(received: Received) -> Reply | None:
        if not received.files:
            return None
        tags = {"genre": genre, "moods": [mood], "occasions": [occasion], "keywords": [keyword]}
        return standin.ok([{"id": file["id"], **tags} for file in received.files])

    return script


async def test_merge_keeps_what_a_person_chose_and_replaces_what_a_run_did(tmp_path: Path) -> None:
    database = harness.library(tmp_path, 30)
    genres, moods, occasions, keywords = map(harness.vocabulary, ("genre", "mood", "occasion", "keyword"))
    harness.execute(database, "UPDATE audio_files SET genre = ?, mood = '' WHERE id = 1", genres[5])
    harness.execute(database, "UPDATE audio_files SET mood = ?, genre = 'Game' WHERE id = 2", moods[5])
    before = harness.snapshot(database)
    by_hand = harness.tags_of(database, 5)
    assert by_hand
    async with standin.running() as gemini, harness.start(database, gemini) as subject:
        for n in (0, 1):
            gemini.script = _all(genres[n], moods[n], occasions[n], keywords[n])
            assert (await subject.tag(file_ids=[1, 2, 3, 5]))["processed_files"] == 4
            harness.check(database, before, subject, tagged=4)
            rows = harness.by_id(harness.query(database, "SELECT id, genre, mood FROM audio_files"))
            assert (rows[1]["genre"], rows[1]["mood"]) == (genres[5], moods[n])
            assert (rows[2]["genre"], rows[2]["mood"]) == (genres[n], moods[5])
            assert (rows[3]["genre"], rows[3]["mood"]) == (genres[n], moods[n])
            new = {("occasion", occasions[n]), ("keyword", keywords[n])}
            assert harness.tags_of(database, 3) == new
            assert harness.tags_of(database, 5) == new | by_hand


async def test_replace_takes_the_place_of_everything(tmp_path: Path) -> None:
    database = harness.library(tmp_path, 30)
    genres, moods, occasions, keywords = map(harness.vocabulary, ("genre", "mood", "occasion", "keyword"))
    harness.execute(database, "UPDATE audio_files SET genre = ?, mood = ? WHERE id = 5", genres[5], moods[5])
    before = harness.snapshot(database)
    script = _all(genres[1], moods[1], occasions[1], keywords[1])
    async with standin.running(script=script) as gemini, harness.start(database, gemini) as subject:
        await subject.tag(file_ids=[5], mode="replace")
        harness.check(database, before, subject, tagged=1)
    [row] = harness.query(database, "SELECT genre, mood FROM audio_files WHERE id = 5")
    assert row == {"genre": genres[1], "mood": moods[1]}
    assert harness.tags_of(database, 5) == {("occasion", occasions[1]), ("keyword", keywords[1])}


@pytest.mark.parametrize("how", ["ABORT", "FAIL"])
async def test_a_trigger_that_refuses_one_file_fails_that_file_only(tmp_path: Path, how: str) -> None:
    database = harness.library(tmp_path, 40)
    harness.execute(
        database,
        "CREATE TRIGGER no_seven BEFORE UPDATE OF genre ON audio_files WHEN OLD.id = 7"
        f" BEGIN SELECT RAISE({how}, 'not this one'); END",
    )
    before = harness.snapshot(database)
    async with standin.running() as gemini, harness.start(database, gemini) as subject:
        done = await subject.tag(batch_size=20)
        assert (done["processed_files"], done["failed_files"], done["status"]) == (39, 1, "completed")
        [failure] = (await subject.result("get_run"))["failures"]
        assert (failure["file_id"], failure["reason"]) == (7, "database_error")
        assert [batch["ok"] for batch in sorted(subject.events("tagging-batch"), key=lambda b: b["batch"])] == [
            False,
            True,
        ]
        harness.check(database, before, subject, tagged=39)
        harness.execute(database, "DROP TRIGGER no_seven")
        again = await subject.tag()
        assert (again["total_files"], again["processed_files"]) == (1, 1)
