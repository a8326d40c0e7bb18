"""Killed at any instant, and with another process at work in the same library: nothing is lost."""

import random
import sqlite3
from pathlib import Path

import trio

from sidecar.demo import standin
from tests.contract.world import check_library, execute, files_of, library, rows, sidecar

ROUNDS = 25
EDITS = 300


async def test_sigkill_at_random_instants(tmp_path: Path) -> None:
    """25 rounds: whole batches only, no file done twice, and the run after the last kill takes the rest."""
    database = library(tmp_path, 2000)
    before = files_of(database)
    instants = random.Random(20261124)
    tagged = 0
    async with standin.running(latency_seconds=0.01) as gemini:
        for _ in range(ROUNDS):
            async with sidecar(database, gemini) as subject:
                await subject.result("auto_tag_files", batch_size=20, max_parallel=4)
                await subject.wait_for(lambda m: m.get("method") == "tagging-progress")
                with trio.move_on_after(instants.uniform(0, 0.03)):
                    await subject.complete()
                subject.process.kill()
            now = rows(database, "SELECT count(*) AS n FROM audio_files WHERE auto_tagged")[0]["n"]
            assert (now % 20 == 0 and now >= tagged + 20) or now == 2000
            tagged = now
            check_library(database, before, tagged=tagged)
            if tagged == 2000:
                break
        if tagged < 2000:
            async with sidecar(database, gemini) as subject:
                done = await subject.tag()
                assert done["processed_files"] == 2000 - tagged and done["failed_files"] == 0
    check_library(database, before, tagged=2000)


async def test_another_writer_gets_no_error_and_loses_no_edit(tmp_path: Path) -> None:
    database = library(tmp_path, 3000)
    chosen = random.Random(7).sample(range(1, 3001), EDITS)

    def edit_like_the_shell(done: list[int]) -> None:
        """Its own connection, the shell's busy timeout; stops with the list or when all is edited."""
        connection = sqlite3.connect(database, timeout=30, isolation_level=None)
        connection.execute("PRAGMA foreign_keys=ON")
        for file_id in chosen:
            connection.execute("UPDATE audio_files SET title = ? WHERE id = ?", (f"edited {file_id}", file_id))
            connection.execute(
                "INSERT INTO rpg_tags (audio_file_id, tag_type, tag_value) VALUES (?, 'keyword', 'by a person')",
                (file_id,),
            )
            assert connection.execute("SELECT count(*) FROM audio_files").fetchone() == (3000,)
            done.append(file_id)
        connection.close()

    edited: list[int] = []
    async with standin.running() as gemini, sidecar(database, gemini) as subject:
        await subject.result("auto_tag_files", batch_size=50, max_parallel=8)
        await trio.to_thread.run_sync(edit_like_the_shell, edited)
        done = await subject.complete()
        assert done["failed_files"] == 0 and done["processed_files"] + done["skipped_files"] == 3000
        skipped = {f["file_id"] for f in (await subject.result("get_run"))["failures"]}
        assert skipped <= set(chosen)
    after = files_of(database)
    assert all(after[file_id]["title"] == f"edited {file_id}" for file_id in chosen)
    kept = rows(database, "SELECT audio_file_id FROM rpg_tags WHERE tag_value = 'by a person'")
    assert {row["audio_file_id"] for row in kept} == set(chosen) and len(edited) == EDITS
    assert rows(database, "PRAGMA integrity_check") == [{"integrity_check": "ok"}]


async def test_a_mapping_that_the_shell_sets_meanwhile_is_noticed_and_kept(tmp_path: Path) -> None:
    database = library(tmp_path, 40)  # 5 and 11 carry a person's tags
    item = {"genre": "ambient:drone", "moods": ["eerie"], "occasions": [], "keywords": ["no such thing"]}
    for kind, value in (("genre", "ambient:drone"), ("mood", "eerie")):
        statement = "INSERT OR IGNORE INTO tag_vocabulary (tag_type, tag_value, is_active) VALUES (?, ?, 1)"
        execute(database, statement, kind, value)
    valid = rows(
        database, "SELECT tag_value FROM tag_vocabulary WHERE tag_type = 'keywords' AND is_active LIMIT 1"
    )[0]

    def script(received: standin.Received) -> standin.Reply | None:
        if received.kind == "tagging":
            return standin.ok([{"id": f["id"], **item} for f in received.files])
        return standin.ok([{"type": "keyword", "invalid": "no such thing", "valid": None}])

    async with standin.running(script=script) as gemini, sidecar(database, gemini) as subject:
        done = await subject.tag(file_ids=list(range(20, 30)))
        assert done["failed_files"] == 10, "nothing valid is left of them"
        assert rows(database, "SELECT valid_tag FROM tag_mapping_cache WHERE invalid_tag = 'no such thing'") == [
            {"valid_tag": "REMOVE"}
        ]
        execute(
            database,
            "UPDATE tag_mapping_cache SET valid_tag = ? WHERE invalid_tag = 'no such thing'",
            valid["tag_value"],
        )
        done = await subject.tag(file_ids=list(range(30, 40)))
        assert done["processed_files"] == 10
        assert [r.kind for r in gemini.journal].count("mapping") == 1
    mapping = rows(database, "SELECT * FROM tag_mapping_cache WHERE invalid_tag = 'no such thing'")[0]
    assert mapping["valid_tag"] == valid["tag_value"] and mapping["usage_count"] == 20


async def test_a_tag_retired_while_batches_wait_for_the_lock_is_written_by_none(tmp_path: Path) -> None:
    """Several batches, answered and prepared, wait; the first to commit meets the new vocabulary."""
    database = library(tmp_path, 80)
    genres = [
        row["tag_value"]
        for row in rows(
            database, "SELECT tag_value FROM tag_vocabulary WHERE tag_type = 'genre' AND is_active LIMIT 1"
        )
    ]
    mood, occasion = (
        rows(database, "SELECT tag_value FROM tag_vocabulary WHERE tag_type = ? AND is_active LIMIT 1", kind)[0][
            "tag_value"
        ]
        for kind in ("mood", "occasion")
    )
    retired = rows(
        database, "SELECT tag_value FROM tag_vocabulary WHERE tag_type = 'keywords' AND is_active LIMIT 1"
    )
    keyword = retired[0]["tag_value"]
    item = {"genre": genres[0], "moods": [mood], "occasions": [occasion], "keywords": [keyword]}
    gate = trio.Event()

    def script(received: standin.Received) -> standin.Reply:
        reply = standin.ok([{"id": f["id"], **item} for f in received.files])
        return standin.Reply(body=reply.body, gate=gate)

    async with standin.running(script=script) as gemini, sidecar(database, gemini) as subject:
        await subject.result("auto_tag_files", batch_size=10, max_parallel=8, file_ids=list(range(1, 81)))
        with trio.fail_after(20):
            await gemini.wait_for(8)
        shell = sqlite3.connect(database, isolation_level=None)
        shell.execute("BEGIN IMMEDIATE")
        gate.set()
        with trio.fail_after(20):
            await gemini.wait_until_idle()
        for _ in range(50):  # each is a round of the sidecar's event loop: by then its batches wait for us
            await subject.result("status")
        shell.execute("UPDATE tag_vocabulary SET is_active = 0 WHERE tag_value = ?", (keyword,))
        shell.execute("COMMIT")
        shell.close()
        done = await subject.complete()
        assert done["processed_files"] == 80, done
    tagged = rows(database, "SELECT audio_file_id FROM rpg_tags WHERE tag_value = ?", keyword)
    assert tagged == []
