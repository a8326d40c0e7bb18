"""CONTRACT sections 2 and 5: other processes at work in the same library, another sidecar and the shell."""

import os
import random
from contextlib import closing
from pathlib import Path

import pytest
import trio

from sidecar.demo import standin
from sidecar.demo.standin import Received, Reply
from tests import harness
from tests.harness import Library

EDITS = 300


async def test_a_second_run_is_refused_in_the_same_and_in_another_process(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 60)
    gate = trio.Event()
    async with (
        standin.running(script=lambda _: Reply(gate=gate)) as gemini,
        harness.start(library, gemini) as first,
        harness.start(library, gemini) as second,
    ):
        run_id = (await first.result("auto_tag_files"))["run_id"]
        assert (await first.result("status"))["active_run_id"] == run_id
        for subject in (first, second):
            error = await subject.error("auto_tag_files")
            assert error["code"] == -32001 and error["data"]["run_id"] == run_id and error["message"]
        # Who cannot cancel it says so, instead of answering as if it stood still.
        error = await second.error("cancel", run_id=run_id)
        assert (
            error["code"] == -32001 and error["data"]["run_id"] == run_id and "another process" in error["message"]
        )
        gate.set()
        assert (await first.complete(run_id))["processed_files"] == 60
        # The run that has said its last word is in nobody's way.
        assert (await first.result("auto_tag_files"))["status"] == "nothing_to_do"
        assert (await second.tag(file_ids=[1]))["processed_files"] == 1
        assert library.tagged == 60


async def test_while_another_process_runs_what_is_amiss_with_the_call_itself_is_told_first(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 60)
    gate = trio.Event()
    async with (
        standin.running(script=lambda _: Reply(gate=gate)) as gemini,
        harness.start(library, gemini) as first,
        harness.start(library, gemini, env=harness.NO_KEY) as without_key,
    ):
        run_id = (await first.result("auto_tag_files"))["run_id"]
        assert (await without_key.error("auto_tag_files"))["code"] == -32011
        await without_key.result("configure", api_key=harness.KEY)
        assert (await without_key.error("auto_tag_files"))["code"] == -32001
        assert (await without_key.error("auto_tag_files", file_ids=[1, 99]))["code"] == -32602
        assert (await without_key.result("auto_tag_files", file_ids=[]))["status"] == "nothing_to_do"
        gate.set()
        await first.complete(run_id)


@pytest.mark.skipif(os.name == "nt", reason="Windows lets only some users make links")
@pytest.mark.parametrize("link", ["file", "folder"])
async def test_a_second_run_is_refused_by_whatever_way_the_library_is_reached(tmp_path: Path, link: str) -> None:
    folder = tmp_path / "real"
    folder.mkdir()
    library = harness.library(folder, 20)
    other = tmp_path / "other"
    if link == "folder":
        other.symlink_to(folder)
    else:
        other.mkdir()
        (other / library.path.name).symlink_to(library.path)
    gate = trio.Event()
    async with (
        standin.running(script=lambda _: Reply(gate=gate)) as gemini,
        harness.start(library, gemini) as first,
        harness.start(other / library.path.name, gemini) as second,
    ):
        run_id = (await first.result("auto_tag_files"))["run_id"]
        error = await second.error("auto_tag_files")
        assert (error["code"], error["data"]) == (-32001, {"run_id": run_id})
        gate.set()
        assert (await first.complete(run_id))["processed_files"] == 20


async def test_when_the_process_that_runs_is_killed_another_takes_over(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 60)
    gate = trio.Event()
    async with (
        standin.running(script=lambda _: Reply(gate=gate)) as gemini,
        harness.start(library, gemini) as first,
        harness.start(library, gemini) as second,
    ):
        run_id = (await first.result("auto_tag_files"))["run_id"]
        for subject in (first, second):
            error = await subject.error("auto_tag_files")
            assert error["code"] == -32001 and error["data"] == {"run_id": run_id}
        assert (await second.result("get_run"))["run_id"] == run_id
        await first.kill()
        gate.set()
        assert (await second.tag())["processed_files"] == 60
    assert library.tagged == 60


async def test_another_writer_gets_no_error_and_loses_no_edit(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 3000)
    chosen = random.Random(7).sample(range(1, 3001), EDITS)
    insert = "INSERT INTO rpg_tags (audio_file_id, tag_type, tag_value) VALUES (?, ?, ?)"
    edited: list[int] = []

    def edit_like_the_shell() -> None:
        """On a connection of its own, with the shell's busy timeout."""
        with closing(library.connect()) as connection:
            for file_id in chosen:
                connection.execute("UPDATE audio_files SET title = ? WHERE id = ?", (f"edited {file_id}", file_id))
                connection.execute(insert, (file_id, "keyword", "by a person"))
                assert connection.execute("SELECT count(*) FROM audio_files").fetchone() == (3000,)
                edited.append(file_id)

    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        run_id = (await subject.result("auto_tag_files", batch_size=50, max_parallel=8))["run_id"]
        await trio.to_thread.run_sync(edit_like_the_shell)
        done = await subject.complete(run_id)
        assert done["failed_files"] == 0 and done["processed_files"] + done["skipped_files"] == 3000
        skipped = {f["file_id"] for f in (await subject.result("get_run"))["failures"]}
        assert skipped <= set(chosen)
        kept = library.query("SELECT * FROM rpg_tags WHERE tag_value = 'by a person'")
        assert {row["audio_file_id"] for row in kept} == set(chosen) and len(edited) == EDITS
        library.baseline["rpg_tags"] |= {row["id"]: row for row in kept}
        for file_id in chosen:
            assert library.file(file_id)["title"] == f"edited {file_id}"
            library.baseline["audio_files"][file_id]["title"] = f"edited {file_id}"


async def test_a_mapping_that_the_shell_sets_meanwhile_is_noticed_and_kept(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 40)  # 5 and 11 carry a person's tags
    genre, mood, keyword = (harness.vocabulary(kind)[0] for kind in ("genre", "mood", "keyword"))
    item = {"genre": genre, "moods": [mood], "occasions": [], "keywords": ["no such thing"]}

    def script(received: Received) -> Reply:
        if received.kind == "tagging":
            return standin.ok([{"id": f["id"], **item} for f in received.files])
        return standin.ok([{"type": "keyword", "invalid": "no such thing", "valid": None}])

    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        done = await subject.tag(file_ids=list(range(20, 30)))
        assert done["failed_files"] == 10, "nothing valid is left of them"
        assert _mapping(library)["valid_tag"] == "REMOVE"
        harness.check_invariants(library, [subject])
        library.execute("UPDATE tag_mapping_cache SET valid_tag = ? WHERE invalid_tag = 'no such thing'", keyword)
        done = await subject.tag(file_ids=list(range(30, 40)))
        assert done["processed_files"] == 10
        assert [r.kind for r in gemini.journal].count("mapping") == 1
    assert (_mapping(library)["valid_tag"], _mapping(library)["usage_count"]) == (keyword, 20)


async def test_batches_that_are_being_asked_for_go_by_the_mapping_that_the_shell_sets_meanwhile(
    tmp_path: Path,
) -> None:
    library = harness.library(tmp_path, 20)
    genre, mood, wrong, right = (
        harness.vocabulary("genre")[0], harness.vocabulary("mood")[0], *harness.vocabulary("keyword")[:2],
    )  # fmt: skip
    item = {"genre": genre, "moods": [mood], "occasions": [], "keywords": ["no such thing"]}
    gate = trio.Event()

    def script(received: Received) -> Reply:
        if received.kind == "tagging":
            reply = standin.ok([{"id": f["id"], **item} for f in received.files])
            return Reply(body=reply.body, gate=gate if gemini.arrived > 2 else None)
        return standin.ok([{"type": "keyword", "invalid": "no such thing", "valid": wrong}])

    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        await subject.tag(file_ids=[12, 13])
        started = await subject.result("auto_tag_files", file_ids=[14, 15, 16, 17], batch_size=1, max_parallel=4)
        run_id = started["run_id"]
        await gemini.wait_for(6)
        library.execute("UPDATE tag_mapping_cache SET valid_tag = ? WHERE invalid_tag = 'no such thing'", right)
        gate.set()
        await subject.complete(run_id)
        report = await subject.result("report", run_id=run_id)
    keywords = library.query("SELECT tag_value FROM rpg_tags WHERE audio_file_id > 13")
    assert [row["tag_value"] for row in keywords] == [right] * 4
    assert report["sources"]["mapped_by_cache"] == 4


def _mapping(library: Library) -> harness.Row:
    [row] = library.query("SELECT * FROM tag_mapping_cache WHERE invalid_tag = 'no such thing'")
    return row


async def test_a_tag_retired_while_batches_wait_for_the_lock_is_written_by_none(tmp_path: Path) -> None:
    """Several batches, answered and prepared, wait; the first to commit meets the new vocabulary."""
    library = harness.library(tmp_path, 80)
    genre, mood, occasion, keyword = (
        harness.vocabulary(kind)[0] for kind in ("genre", "mood", "occasion", "keyword")
    )
    item = {"genre": genre, "moods": [mood], "occasions": [occasion], "keywords": [keyword]}
    gate = trio.Event()

    def script(received: Received) -> Reply:
        reply = standin.ok([{"id": f["id"], **item} for f in received.files])
        return Reply(body=reply.body, gate=gate)

    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        started = await subject.result(
            "auto_tag_files", batch_size=10, max_parallel=8, file_ids=list(range(1, 81))
        )
        with trio.fail_after(20):
            await gemini.wait_for(8)
        with library.edited() as shell:
            gate.set()
            with trio.fail_after(20):
                await gemini.wait_until_idle()
            for _ in range(50):  # each is a round of the sidecar's event loop: by then its batches wait for us
                await subject.result("status")
            shell.execute("UPDATE tag_vocabulary SET is_active = 0 WHERE tag_value = ?", (keyword,))
        done = await subject.complete(started["run_id"])
        assert done["processed_files"] == 80, done
    assert library.query("SELECT audio_file_id FROM rpg_tags WHERE tag_value = ?", keyword) == []


ADDED = (
    "ALTER TABLE audio_files ADD COLUMN updated_at DATETIME",
    "ALTER TABLE rpg_tags ADD COLUMN note TEXT",
    "CREATE INDEX files_by_update ON audio_files (updated_at, genre)",
    "CREATE TABLE tagged_log (file_id INTEGER, value TEXT)",
    """CREATE TRIGGER log_tags AFTER INSERT ON rpg_tags BEGIN
        INSERT INTO tagged_log VALUES (NEW.audio_file_id, NEW.tag_value); END""",
)
REMOVED = (
    "ALTER TABLE audio_files DROP COLUMN updated_at",
    "ALTER TABLE audio_files DROP COLUMN duration",
    "ALTER TABLE tag_mapping_cache DROP COLUMN created_at",
)


async def migrated_in_the_middle(library: Library, statements: tuple[str, ...]) -> None:
    """A run of three batches of 20 files, all tagged; the shell migrates after the first."""
    gate = trio.Event()

    def script(received: Received) -> Reply:
        reply = standin.ok(harness.answers(received))
        return reply if len(gemini.journal) == 1 else Reply(body=reply.body, gate=gate)

    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        started = await subject.result("auto_tag_files", batch_size=20, max_parallel=1)
        await harness.eventually(lambda: bool(subject.events("tagging-batch")))
        with trio.fail_after(20):
            await gemini.wait_for(2)
        with library.edited() as shell:
            for statement in statements:
                shell.execute(statement)
        gate.set()
        done = await subject.complete(started["run_id"])
        assert (done["processed_files"], done["failed_files"]) == (60, 0), done
        if "tagged_log" in library.baseline:
            library.baseline["tagged_log"] = library.snapshot()["tagged_log"]


async def test_a_shell_that_adds_columns_and_triggers_during_a_run_costs_no_file(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 60)
    await migrated_in_the_middle(library, ADDED)
    assert library.file(1)["updated_at"] is None
    assert library.file(60)["updated_at"] is not None, "written where it exists"
    logged = library.query("SELECT DISTINCT file_id FROM tagged_log ORDER BY file_id")
    assert [row["file_id"] for row in logged] == list(range(21, 61))


async def test_a_shell_that_removes_columns_during_a_run_costs_no_file(tmp_path: Path) -> None:
    await migrated_in_the_middle(harness.library(tmp_path, 60, with_dates=True), REMOVED)


async def test_columns_of_the_shell_may_have_the_names_of_ours(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    for table in ("audio_files", "rpg_tags", "auto_tag_history"):
        for name in ("run", "proposal", "history_id", "wanted", "key", "value"):
            library.execute(f"ALTER TABLE {table} ADD COLUMN {name} TEXT")
    library.execute("ALTER TABLE audio_files ADD COLUMN file_id INTEGER")
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        proposed = await subject.tag(file_ids=[*library.ids], dry_run=True)
        assert (await subject.result("report", run_id=proposed["run_id"]))["tags"]
        applied = await subject.result("apply_proposals", run_id=proposed["run_id"], accept="all")
        assert (applied["applied_files"], applied["skipped_files"]) == (20, 0)
        assert (await subject.result("report", run_id=applied["run_id"]))["tags"]
        assert (await subject.result("find_stale"))["file_ids"] == []
        undone = await subject.result("undo_run", run_id=applied["run_id"])
        assert (undone["restored_files"], undone["skipped_files"]) == (20, 0)
