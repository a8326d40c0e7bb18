"""CONTRACT sections 1 to 6 as the shell meets them: the real process, a real library, real HTTP."""

import json
import os
import signal
import sqlite3
import sys
import time
from pathlib import Path

import pytest
import trio

from sidecar.demo import standin
from sidecar.demo.standin import Received, Reply
from tests.contract.world import (
    FAST,
    check_library,
    execute,
    files_of,
    library,
    rows,
    sidecar,
)


async def test_every_file_of_a_library_is_tagged(tmp_path: Path) -> None:
    database = library(tmp_path, 120)
    before = files_of(database)
    async with standin.running(hallucinate=0.2) as gemini, sidecar(database, gemini) as subject:
        assert (await subject.result("count_untagged_files"))["count"] == 120
        done = await subject.tag(batch_size=25)
        assert (done["success"], done["status"], done["message"]) == (True, "completed", "120 files tagged.")
        assert len(subject.events("tagging-batch")) == len(subject.events("tagging-progress")) == 5
        assert subject.events("tagging-progress")[-1]["current_batch"] == 5
        assert (await subject.result("count_untagged_files"))["count"] == 0
        again = await subject.result("auto_tag_files")
        assert again["status"] == "nothing_to_do" and again["run_id"] is None
        history = await subject.result("get_tagging_history", file_id=1)
        assert json.loads(history[0]["tags_applied"])["before"]["genre"] == before[1]["genre"]
        asked = [(tag["type"], tag["tag"]) for r in gemini.journal for tag in r.invalid_tags]
        assert asked and len(asked) == len(set(asked)), "an unknown tag is asked for once in the process"
        assert len({r.system for r in gemini.journal}) == 1, "the instruction is the same to the byte"
        assert not any(b"ann" in r.body.split(b'"contents"')[1][:200] for r in gemini.journal)
    check_library(database, before, tagged=120)
    assert rows(database, "SELECT * FROM tag_mapping_cache WHERE usage_count > 1")


async def test_cancel_answers_at_once_and_nothing_happens_after(tmp_path: Path) -> None:
    database = library(tmp_path, 400)
    before = files_of(database)
    async with standin.running(latency_seconds=60) as gemini, sidecar(database, gemini) as subject:
        await subject.result("auto_tag_files", batch_size=25, max_parallel=8)
        with trio.fail_after(20):
            await gemini.wait_for(8)
        answer = await subject.result("cancel")
        assert answer["cancelled"] and answer["status"] == "cancelled" and answer["remaining_files"] == 400
        assert subject.transcript[-2]["method"] == "tagging-complete"
        with trio.fail_after(5):
            await gemini.wait_until_idle()
        assert gemini.arrived == 8 and files_of(database) == before
        ended = await subject.result("cancel", run_id=answer["run_id"])
        assert not ended["cancelled"] and ended["status"] == "cancelled"
        gemini.latency_seconds = 0
        assert (await subject.tag())["processed_files"] == 400
    check_library(database, before, tagged=400)


async def test_a_killed_run_leaves_whole_batches_and_the_next_takes_the_rest(tmp_path: Path) -> None:
    database = library(tmp_path, 300)
    before = files_of(database)
    async with standin.running(latency_seconds=0.02) as gemini:
        for commits in (1, 2, 3, 2):
            async with sidecar(database, gemini) as subject:
                await subject.result("auto_tag_files", batch_size=10, max_parallel=4)
                await subject.wait_for(
                    lambda m: (
                        m.get("method") == "tagging-progress" and m["params"]["current_batch"] >= commits  # noqa: B023 - awaited before the next round
                    )
                )
                subject.process.kill()
            tagged = rows(database, "SELECT count(*) AS n FROM audio_files WHERE auto_tagged")[0]["n"]
            assert tagged % 10 == 0
            check_library(database, before, tagged=tagged)
        async with sidecar(database, gemini) as subject:
            states = [run["status"] for run in await subject.result("list_runs")]
            assert states == ["interrupted"] * 4
            done = await subject.tag()
            assert done["total_files"] == 300 - tagged == done["processed_files"]
    check_library(database, before, tagged=300)


@pytest.mark.parametrize("how", ["stdin", "shutdown", "SIGTERM", "SIGINT"])
async def test_every_way_to_end_it_takes_less_than_two_seconds(tmp_path: Path, how: str) -> None:
    if sys.platform == "win32" and how.startswith("SIG"):
        pytest.skip("no such signal")
    database = library(tmp_path, 100)
    async with standin.running(latency_seconds=60) as gemini, sidecar(database, gemini) as subject:
        await subject.result("auto_tag_files", batch_size=10)
        with trio.fail_after(20):
            await gemini.wait_for(3)
        began = time.monotonic()
        if how == "stdin":
            assert subject.process.stdin is not None
            await subject.process.stdin.aclose()
        elif how == "shutdown":
            await subject.send("shutdown")
        else:
            subject.process.send_signal(getattr(signal, how))
        with trio.fail_after(10):
            assert await subject.process.wait() == 0
        assert time.monotonic() - began < 2
        assert (await subject.complete())["status"] == "cancelled"


async def test_one_run_for_each_database_across_processes(tmp_path: Path) -> None:
    database = library(tmp_path, 60)
    gate = trio.Event()
    async with standin.running(script=lambda _: Reply(gate=gate)) as gemini, sidecar(database, gemini) as first:
        started = await first.result("auto_tag_files")
        refused = await first.call("auto_tag_files")
        assert refused["error"]["code"] == -32001 and refused["error"]["data"] == {"run_id": started["run_id"]}
        async with sidecar(database, gemini) as second:
            refused = await second.call("auto_tag_files")
            assert refused["error"]["code"] == -32001
            assert refused["error"]["data"] == {"run_id": started["run_id"]}
            assert (await second.result("get_run"))["run_id"] == started["run_id"]
            first.process.kill()
            await first.process.wait()
            gate.set()
            assert (await second.tag())["processed_files"] == 60


async def test_a_delay_that_gemini_asks_for_holds_every_batch(tmp_path: Path) -> None:
    database = library(tmp_path, 300)
    before = files_of(database)
    server = standin.ServerRate(limit=10, per_seconds=0.5)
    async with standin.running(script=server) as gemini, sidecar(database, gemini) as subject:
        await subject.result("configure", **FAST)
        done = await subject.tag(batch_size=10, max_parallel=8)
        assert done["processed_files"] == 300 and done["failed_files"] == 0
        assert server.refused and not server.early
        waits = [p for p in subject.events("tagging-progress") if p["waiting_seconds"] > 0]
        assert waits and "rate limit" in waits[0]["status"]
    check_library(database, before, tagged=300)


def _nth(replies: dict[int, Reply]) -> standin.Script:
    return lambda received: replies.get(received.number)


@pytest.mark.parametrize(
    ("reply", "status", "words"),
    [
        (standin.per_day(), "quota_exhausted", "PerDay"),
        (standin.key_invalid(), "failed", "API key"),
        (standin.model_not_found(), "failed", "LIGEIA_MODEL"),
        (standin.rate_limited("4000s"), "quota_exhausted", "wait until"),
    ],
)
async def test_what_no_later_request_can_mend_ends_the_run(
    tmp_path: Path, reply: Reply, status: str, words: str
) -> None:
    database = library(tmp_path, 60)
    before = files_of(database)
    async with standin.running(script=lambda _: reply) as gemini, sidecar(database, gemini) as subject:
        done = await subject.tag(batch_size=10, max_parallel=1)
        assert done["status"] == status and words in done["message"] and not done["success"]
        assert gemini.arrived == 1 and done["remaining_files"] == 60
    assert files_of(database) == before


@pytest.mark.parametrize(
    "reply",
    [
        standin.unavailable(),
        standin.error(500, "An internal error has occurred.", "INTERNAL"),
        standin.html_page(),
        standin.finish("STOP"),
        Reply(drop="before"),
        Reply(drop="mid"),
        standin.text_reply("no json at all"),
        standin.error(
            400, "The specified schema produces a constraint that has too many states.", "INVALID_ARGUMENT"
        ),
        standin.unknown_name("systemInstruction"),
        standin.rate_limited(None),
    ],
)
async def test_what_passes_costs_no_file(tmp_path: Path, reply: Reply) -> None:
    database = library(tmp_path, 40)
    before = files_of(database)
    async with standin.running(script=_nth({1: reply})) as gemini, sidecar(database, gemini) as subject:
        await subject.result("configure", **FAST)
        done = await subject.tag(batch_size=20, max_parallel=1)
        assert done["processed_files"] == 40, done
    check_library(database, before, tagged=40)


async def test_a_blocked_file_is_found_by_halving_and_fails_alone(tmp_path: Path) -> None:
    database = library(tmp_path, 40)
    guilty = rows(database, "SELECT file_path FROM audio_files WHERE id = 17")[0]["file_path"].rsplit("/", 1)[-1]

    def script(received: Received) -> Reply | None:
        return standin.blocked_prompt() if any(f["path"].endswith(guilty) for f in received.files) else None

    before = files_of(database)
    async with standin.running(script=script) as gemini, sidecar(database, gemini) as subject:
        done = await subject.tag(batch_size=20)
        failures = (await subject.result("get_run"))["failures"]
        assert [(f["file_id"], f["reason"]) for f in failures] == [(17, "blocked")]
        assert done["processed_files"] == 39 and done["failed_files"] == 1
    check_library(database, before, tagged=39)


async def test_a_file_changed_or_deleted_meanwhile_is_skipped(tmp_path: Path) -> None:
    database = library(tmp_path, 30)
    gate = trio.Event()
    async with standin.running(script=lambda _: Reply(gate=gate)) as gemini, sidecar(database, gemini) as subject:
        await subject.result("auto_tag_files")
        with trio.fail_after(20):
            await gemini.wait_for(1)
        execute(database, "UPDATE audio_files SET genre = 'by hand' WHERE id = 3")
        execute(
            database, "INSERT INTO rpg_tags (audio_file_id, tag_type, tag_value) VALUES (4, 'occasion', 'mine')"
        )
        execute(database, "DELETE FROM audio_files WHERE id = 6")
        gate.set()
        done = await subject.complete()
        assert (done["processed_files"], done["skipped_files"], done["failed_files"]) == (27, 3, 0)
        reasons = {f["file_id"]: f["reason"] for f in (await subject.result("get_run"))["failures"]}
        assert reasons == {3: "changed", 4: "changed", 6: "deleted"}
    assert files_of(database)[3]["genre"] == "by hand" and not files_of(database)[3]["auto_tagged"]


async def test_merge_keeps_a_persons_tags_and_replace_does_not(tmp_path: Path) -> None:
    database = library(tmp_path, 10)
    execute(database, "UPDATE audio_files SET genre = 'ambient', mood = 'eerie' WHERE id = 1")
    execute(
        database, "INSERT INTO rpg_tags (audio_file_id, tag_type, tag_value) VALUES (1, 'keyword', 'of a person')"
    )
    execute(
        database,
        "INSERT OR IGNORE INTO tag_vocabulary (tag_type, tag_value, is_active) VALUES ('mood', 'eerie', 1)",
    )
    execute(
        database,
        "INSERT OR IGNORE INTO tag_vocabulary (tag_type, tag_value, is_active) VALUES ('genre', 'ambient', 1)",
    )

    def tags() -> set[str]:
        return {r["tag_value"] for r in rows(database, "SELECT * FROM rpg_tags WHERE audio_file_id = 1")}

    async with standin.running() as gemini, sidecar(database, gemini) as subject:
        await subject.tag(file_ids=[1, 2])
        first, second = files_of(database)[1], files_of(database)[2]
        assert (first["genre"], first["mood"]) == ("ambient", "eerie") and "of a person" in tags()
        await subject.tag(file_ids=[1, 2, 2])
        assert files_of(database)[2]["genre"] == second["genre"] and "of a person" in tags()
        await subject.tag(file_ids=[1], mode="replace")
        assert "of a person" not in tags() and files_of(database)[1]["mood"] != "eerie"
        refused = await subject.call("auto_tag_files", file_ids=[1, 999])
        assert refused["error"]["code"] == -32602 and "999" in refused["error"]["message"]
        assert (await subject.result("auto_tag_files", file_ids=[]))["status"] == "nothing_to_do"


async def test_a_file_that_the_database_refuses_fails_alone(tmp_path: Path) -> None:
    database = library(tmp_path, 20)
    execute(
        database,
        "CREATE TRIGGER no BEFORE UPDATE ON audio_files WHEN NEW.id = 7 BEGIN SELECT RAISE(ABORT, 'no'); END",
    )
    async with standin.running() as gemini, sidecar(database, gemini) as subject:
        done = await subject.tag(batch_size=10)
        assert done["processed_files"] == 19
        failures = (await subject.result("get_run"))["failures"]
        assert [(f["file_id"], f["reason"]) for f in failures] == [(7, "database_error")]


@pytest.mark.parametrize(
    "kind", ["missing", "not_a_library", "older", "corrupt", "no_vocabulary", "read_only", "empty"]
)
async def test_a_database_that_cannot_be_used_is_told_by_kind(tmp_path: Path, kind: str) -> None:
    database = library(tmp_path, 5)
    if kind == "missing":
        database = tmp_path / "elsewhere.db"
    elif kind == "empty":
        database = tmp_path / "empty.db"
        database.touch()
    elif kind == "not_a_library":
        database = tmp_path / "other.db"
        sqlite3.connect(database).execute("CREATE TABLE t (x)").connection.close()
    elif kind == "older":
        execute(database, "DROP TABLE auto_tag_history")
    elif kind == "corrupt":
        execute(database, "PRAGMA journal_mode = DELETE")
        with database.open("r+b") as file:
            file.write(os.urandom(200))
    elif kind == "no_vocabulary":
        execute(database, "UPDATE tag_vocabulary SET is_active = 0")
    else:
        execute(database, "PRAGMA journal_mode = DELETE")
        database.chmod(0o444)
    async with standin.running() as gemini, sidecar(database, gemini) as subject:
        assert (await subject.result("status"))["name"] == "ligeia-sidecar"
        error = (await subject.call("auto_tag_files"))["error"]
        expected = "not_a_library" if kind in ("older", "empty") else kind
        assert error["code"] == -32010 and error["data"]["kind"] == expected, error
        assert gemini.arrived == 0


async def test_a_foreign_lock_of_a_moment_costs_nothing(tmp_path: Path) -> None:
    database = library(tmp_path, 40)
    gate = trio.Event()
    async with standin.running(script=lambda _: Reply(gate=gate)) as gemini, sidecar(database, gemini) as subject:
        await subject.result("auto_tag_files", batch_size=20)
        with trio.fail_after(20):
            await gemini.wait_for(2)
        holder = sqlite3.connect(database, isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        gate.set()
        with trio.fail_after(20):
            await gemini.wait_until_idle()
        assert (await subject.result("status"))["active_run_id"]
        holder.execute("ROLLBACK")
        holder.close()
        assert (await subject.complete())["processed_files"] == 40


async def test_protocol_edges(tmp_path: Path) -> None:
    async with sidecar(library(tmp_path, 5)) as subject:
        await subject.raw(b'{"jsonrpc":"2.0","id":1.0,"method":"status"}\r\n\n  \n')
        first = await subject.wait_for(lambda m: m.get("id") == 1.0)
        assert first["result"]["api_key_present"] is False
        assert (await subject.call("status", nonsense=1))["error"]["message"].count("nonsense") == 1
        assert (await subject.call("nope"))["error"]["code"] == -32601
        assert (await subject.call("auto_tag_files", batch_size=0))["error"]["code"] == -32602
        assert (await subject.result("get_untagged_files", limit=None))[0]["id"] == 1
        assert (await subject.call("auto_tag_files"))["error"]["code"] == -32011
        assert (await subject.call("cancel"))["error"]["code"] == -32002
        for line, code in (
            (b"{nonsense\n", -32700),
            (b"\xff\n", -32700),
            (b"x" * (16 * 2**20 + 1) + b"\n", -32700),
            (b"[]\n", -32600),
            (b'{"jsonrpc":"2.0","method":"status","params":3,"id":null}\n', -32600),
            (b'{"jsonrpc":"2.0","method":"status","params":[1],"id":null}\n', -32602),
        ):
            at = len(subject.transcript)
            await subject.raw(line)
            refused = await subject.wait_for(lambda m: "error" in m and m["id"] is None, at)
            assert refused["error"]["code"] == code, line[:40]
        at = len(subject.transcript)
        await subject.raw(
            b'[{"jsonrpc":"2.0","id":"a","method":"status"},{"jsonrpc":"2.0","method":"status"},1]\n'
        )
        batch = await subject.batch(at)
        assert [answer["id"] for answer in batch] == ["a", None]


async def test_a_shell_that_never_reads_does_not_stop_the_run(tmp_path: Path) -> None:
    database = library(tmp_path, 200)
    async with standin.running() as gemini, sidecar(database, gemini) as subject:
        await subject.raw(
            b'{"jsonrpc":"2.0","method":"auto_tag_files","params":{"batch_size":1,"max_parallel":8}}\n'
        )
        with trio.fail_after(30):
            await gemini.wait_for(200)
        done = await subject.complete()
        assert done["processed_files"] == 200


async def test_a_file_whose_change_the_database_ignores_is_not_counted_as_tagged(tmp_path: Path) -> None:
    database = library(tmp_path, 20)
    execute(
        database,
        "CREATE TRIGGER no BEFORE UPDATE ON audio_files WHEN NEW.id = 7 BEGIN SELECT RAISE(IGNORE); END",
    )
    async with standin.running() as gemini, sidecar(database, gemini) as subject:
        done = await subject.tag(batch_size=10)
        assert (done["processed_files"], done["failed_files"]) == (19, 1)
        failures = (await subject.result("get_run"))["failures"]
        assert [(f["file_id"], f["reason"]) for f in failures] == [(7, "database_error")]
        assert await subject.result("get_tagging_history", file_id=7) == []
