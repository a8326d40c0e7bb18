"""CONTRACT section 5: the shell's database in every state in which one is found: spoilt, locked, full."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import trio

from sidecar.demo import standin
from sidecar.demo.standin import Received, Reply
from tests import harness
from tests.harness import Library


def _missing(library: Library) -> None:
    library.path.unlink()


def _empty(library: Library) -> None:
    library.path.write_bytes(b"")


def _folder(library: Library) -> None:
    library.path.unlink()
    library.path.mkdir()


def _text(library: Library) -> None:
    library.path.write_text("Dear diary,\n" * 500)


def _foreign(library: Library) -> None:
    library.path.unlink()
    with closing(library.connect()) as connection:
        connection.execute("CREATE TABLE bookmarks (id INTEGER PRIMARY KEY, url TEXT)")


def _without_a_column(library: Library) -> None:
    library.execute("DROP INDEX idx_audio_files_auto_tagged")
    library.execute("ALTER TABLE audio_files DROP COLUMN auto_tagged")


def _without_history(library: Library) -> None:
    library.execute("DROP TABLE auto_tag_history")


def _with_a_view(library: Library) -> None:
    with closing(library.connect()) as connection:
        connection.execute("ALTER TABLE audio_files RENAME TO sounds")
        connection.execute("CREATE VIEW Audio_Files AS SELECT * FROM sounds")


def _corrupt(library: Library) -> None:
    library.path.write_bytes(b"\x00\xff\x13garbage" * 4096)


def _corrupt_head(library: Library) -> None:
    _without_log(library)
    with library.path.open("r+b") as file:
        file.write(b"\xd5" * 200)


def _no_vocabulary(library: Library) -> None:
    library.execute("DELETE FROM tag_vocabulary")


def _inactive_vocabulary(library: Library) -> None:
    library.execute("UPDATE tag_vocabulary SET is_active = 0")


def _read_only(library: Library) -> None:
    library.path.chmod(0o444)


def _read_only_without_log(library: Library) -> None:
    _without_log(library)
    _read_only(library)


def _without_log(library: Library) -> None:
    with closing(library.connect()) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")


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
        (_with_a_view, "not_a_library"),
        (_corrupt, "corrupt"),
        (_corrupt_head, "corrupt"),
        (_no_vocabulary, "no_vocabulary"),
        (_inactive_vocabulary, "no_vocabulary"),
        (_read_only, "read_only"),
        (_read_only_without_log, "read_only"),
    ],
)
async def test_a_database_that_cannot_be_tagged_says_why_and_stays_as_it_is(
    tmp_path: Path, spoil: Callable[[Library], None], kind: str
) -> None:
    if kind == "read_only" and sys.platform == "win32":
        pytest.skip("POSIX mode bits")
    library = harness.library(tmp_path, 20)
    spoil(library)
    before = _content(library)
    async with standin.running() as gemini, harness.start(library.path, gemini) as subject:
        assert (await subject.result("status"))["name"] == "ligeia-sidecar"
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
    assert _content(library) == before
    assert library.path.exists() == (kind != "missing")


def _content(library: Library) -> object:
    """All rows, or the bytes of what holds none."""
    try:
        return library.snapshot() if library.path.is_file() else None
    except sqlite3.DatabaseError:
        return library.path.read_bytes()


@pytest.mark.parametrize("method", ["auto_tag_files", "retry_failed", "undo_run", "apply_proposals"])
async def test_where_there_is_no_library_nothing_is_made(tmp_path: Path, method: str) -> None:
    params = {"run_id": "of a run", "accept": "all"} if method == "apply_proposals" else {"run_id": "of a run"}
    async with standin.running() as gemini, harness.start(tmp_path / "no" / "ligeia.db", gemini) as subject:
        error = await subject.error(method, **({} if method == "auto_tag_files" else params))
        assert error["data"]["kind"] == "missing"
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("changes", ["the shell", "a person too"])
async def test_a_vocabulary_that_is_emptied_during_a_run_ends_it_before_more_is_paid_for(
    tmp_path: Path, changes: str
) -> None:
    library = harness.library(tmp_path, 60)
    gate = trio.Event()

    def script(received: Received) -> Reply | None:
        return Reply(gate=gate) if received.number == 2 else None

    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        started = await subject.result("auto_tag_files", batch_size=5, max_parallel=1)
        with trio.fail_after(20):
            await gemini.wait_for(2)
        await subject.wait_until(lambda: len(subject.events("tagging-batch")) == 1)
        library.execute("UPDATE tag_vocabulary SET is_active = 0")
        if changes == "a person too":
            await subject.result("delete_tag_mapping", tag_type="mood", invalid_tag="vibey")
        gate.set()
        completion = await subject.complete(started["run_id"])
        assert completion["status"] == "failed" and completion["processed_files"] == 5
        assert "vocabulary is empty" in completion["message"]
        # What is asked for while the first commit fails may be asked for; nothing behind it, and no mapping.
        kinds = [received.kind for received in gemini.journal]
        assert len(kinds) < 12 and {*kinds} == {"tagging"}
        assert library.query("SELECT * FROM tag_mapping_cache") == []
        library.execute("UPDATE tag_vocabulary SET is_active = 1")


def _scribbled(library: Library) -> None:
    with closing(library.connect()) as shell:
        shell.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with library.path.open("r+b") as file:
        file.write(b"\xd5" * 8192)


@pytest.mark.parametrize("spoil", [_without_a_column, _without_history, _scribbled])
async def test_status_sees_that_a_library_in_use_is_none_any_more(
    tmp_path: Path, spoil: Callable[[Library], None]
) -> None:
    library = harness.library(tmp_path, 20)
    async with standin.running() as gemini, harness.start(library.path, gemini) as subject:
        assert (await subject.tag(file_ids=[1]))["processed_files"] == 1
        assert (await subject.result("status"))["database"]["ok"]
        spoil(library)
        found = (await subject.result("status"))["database"]
        told = await subject.error("count_untagged_files")
        assert (found["ok"], found["error"]) == (False, told["message"])


async def test_a_library_that_appears_later_is_found(tmp_path: Path) -> None:
    async with standin.running() as gemini, harness.start(tmp_path / "ligeia.db", gemini) as subject:
        assert (await subject.error("count_untagged_files"))["data"]["kind"] == "missing"
        library = harness.library(tmp_path, 20)
        assert (await subject.tag())["processed_files"] == 20
        harness.check_invariants(library, [subject])


@pytest.mark.skipif(sys.platform == "win32", reason="replaces an open file")
async def test_a_run_of_this_process_is_told_after_its_library_was_replaced_too(tmp_path: Path) -> None:
    path = harness.library(tmp_path, 20).path
    (tmp_path / "other").mkdir()
    async with standin.running() as gemini, harness.start(path, gemini) as subject:
        proposed = await subject.tag(dry_run=True)
        done = await subject.tag()
        for kind in ("-wal", "-shm"):
            path.with_name(path.name + kind).unlink(missing_ok=True)
        harness.library(tmp_path / "other", 5).path.replace(path)
        told = await subject.result("get_run", run_id=done["run_id"])
        assert (told["status"], told["processed_files"], told["failures"]) == ("completed", 20, [])
        # What a dry run proposes stands in the library alone.
        assert (await subject.error("get_run", run_id=proposed["run_id"]))["code"] == -32002
        assert await subject.result("list_runs") == []


async def test_a_lock_held_for_a_second_delays_the_start_and_nothing_else(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 60)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        await subject.result("status")
        with closing(library.connect()) as shell:
            shell.execute("BEGIN EXCLUSIVE")
            number = await subject.send("auto_tag_files", batch_size=20)
            await harness.never(lambda: any(harness.is_answer(m, number) for m in subject.transcript), 0.5)
            await subject.result("status")
            await harness.never(lambda: any(harness.is_answer(m, number) for m in subject.transcript), 0.5)
            shell.execute("COMMIT")
        answer = await subject.wait_for(lambda m: harness.is_answer(m, number))
        assert (await subject.complete(answer["result"]["run_id"]))["processed_files"] == 60
    assert library.tagged == 60


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
async def test_a_lock_held_for_a_second_in_the_middle_of_a_run_costs_no_file(tmp_path: Path, end: str) -> None:
    library = harness.library(tmp_path, 60)
    gate = trio.Event()
    async with (
        standin.running(script=lambda _: Reply(gate=gate)) as gemini,
        harness.start(library, gemini) as subject,
    ):
        run_id = (await subject.result("auto_tag_files", batch_size=20))["run_id"]
        with trio.fail_after(20):
            await gemini.wait_for(3)
        with closing(library.connect()) as shell:
            shell.execute("BEGIN EXCLUSIVE")
            gate.set()
            with trio.fail_after(20):
                await gemini.wait_until_idle()
            assert (await subject.result("status"))["active_run_id"] == run_id
            await harness.never(lambda: bool(subject.events("tagging-batch")), seconds=1)
            shell.execute(end)
        done = await subject.complete(run_id)
        assert (done["processed_files"], done["failed_files"]) == (60, 0)
    assert library.tagged == 60


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB. Elsewhere than on Linux, and for others than root, none can be made."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root on Linux can mount a small file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.fail(f"root may not mount here (a container without CAP_SYS_ADMIN?): {mounted.stderr}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)  # noqa: S607


async def test_a_full_disk_ends_the_run_and_the_next_one_goes_on(small_disk: Path) -> None:
    library = harness.library(small_disk, 400)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        assert (await subject.tag(file_ids=[1]))["processed_files"] == 1
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(shutil.disk_usage(small_disk).free - 200_000))
        done = await subject.tag(batch_size=10, max_parallel=2)
        assert (done["status"], done["success"], done["skipped_files"]) == ("failed", False, 0)
        assert "disk is full" in done["message"]
        assert done["failed_files"] > 0 and done["remaining_files"] > 0
        failures = (await subject.result("get_run"))["failures"]
        assert {failure["reason"] for failure in failures} == {"database_error"}
        assert len(failures) == done["failed_files"]
        assert library.tagged == done["processed_files"] + 1
        harness.check_invariants(library, [subject])
        ballast.unlink()
        rest = await subject.tag()
        assert rest["processed_files"] == rest["total_files"] == 399 - done["processed_files"]
    assert library.tagged == 400


async def test_on_a_disk_that_is_full_from_the_start_no_request_is_sent(small_disk: Path) -> None:
    library = harness.library(small_disk, 60)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(small_disk).free))
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        error = await subject.error("auto_tag_files")
        assert error["code"] == -32010 and "disk is full" in error["message"], error
        assert gemini.arrived == 0
        assert (await subject.result("status"))["active_run_id"] is None
        ballast.unlink()
        assert (await subject.tag())["processed_files"] == 60
    assert library.tagged == 60


async def test_status_and_run_agree_on_a_disk_that_is_read_only(small_disk: Path) -> None:
    library = harness.library(small_disk, 20)
    _without_log(library)  # with one it could not even be read
    await trio.run_process(["mount", "-o", "remount,ro", str(small_disk)])
    async with standin.running() as gemini, harness.start(library.path, gemini) as subject:
        found = (await subject.result("status"))["database"]
        assert (await subject.result("count_untagged_files"))["count"] == 20
        told = await subject.error("auto_tag_files")
        assert told["data"]["kind"] == "read_only"
        assert (found["ok"], found["error"]) == (False, told["message"])


async def test_columns_are_known_by_their_names_however_these_are_written(tmp_path: Path) -> None:
    """SQLite's names have no case."""
    library = harness.library(tmp_path, 10, with_dates=True)
    for name in ("genre", "mood", "auto_tagged", "updated_at"):
        library.execute(f"ALTER TABLE audio_files RENAME COLUMN {name} TO {name.title()}")
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        assert (await subject.tag())["processed_files"] == 10
    assert library.snapshot()["audio_files"][1]["updated_at"] is not None
