"""CONTRACT sections 2, 5 and 8: a dry run, its proposals, and what of them is written when a person says so."""

import json
from pathlib import Path
from typing import Any

import trio

from sidecar.demo import standin
from sidecar.demo.standin import Received, Reply
from tests import harness
from tests.harness import Client, Library, Message

NO_KEY = {"GEMINI_API_KEY": None}
"""For processes that must do their work without Gemini: no key, and a port that nobody listens on."""


async def propose(subject: Client, **params: Any) -> tuple[str, list[Message]]:
    """A whole dry run: its id and its proposals."""
    run_id = (await subject.tag(dry_run=True, **params))["run_id"]
    return run_id, (await subject.result("get_run", run_id=run_id))["proposals"]


def held(library: Library, file_id: int) -> Message:
    """What the file holds, in a proposal's shape."""
    row, tags = library.file(file_id), library.tags(file_id)
    return {
        "file_id": file_id,
        "file_path": row["file_path"],
        "genre": row["genre"],
        "moods": row["mood"].split("; ") if row["mood"] else [],
        "occasions": sorted(value for kind, value in tags if kind == "occasion"),
        "keywords": sorted(value for kind, value in tags if kind == "keyword"),
    }


async def test_a_dry_run_changes_no_row_of_the_shells_and_survives_its_process(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 60, with_dates=True)
    before = library.shell_rows()
    async with standin.running(hallucinate=0.4) as gemini, harness.start(library, gemini) as subject:
        done = await subject.tag(dry_run=True, batch_size=20)
        assert (done["status"], done["processed_files"], done["failed_files"]) == ("completed", 60, 0)
        assert {received.kind for received in gemini.journal} == {"tagging", "mapping"}
        proposals = (await subject.result("get_run"))["proposals"]
        assert library.shell_rows() == before
        assert (await subject.result("count_untagged_files"))["count"] == 60
    async with harness.start(library, env=NO_KEY) as subject:
        assert (await subject.result("get_run"))["proposals"] == proposals
        assert (await subject.result("get_run", run_id=done["run_id"]))["proposals"] == proposals
        [run] = await subject.result("list_runs")
        assert (run["run_id"], run["dry_run"], run["status"]) == (done["run_id"], True, "completed")
        assert await subject.result("get_tagging_history", file_id=1) == []
    assert library.shell_rows() == before
    assert [proposal["file_id"] for proposal in proposals] == list(range(1, 61))


async def test_what_was_proposed_is_what_is_written_without_key_request_or_notification(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 60, with_dates=True)
    async with standin.running(hallucinate=0.4) as gemini, harness.start(library, gemini) as subject:
        run_id, proposals = await propose(subject, batch_size=25)
        asked = gemini.arrived
    assert library.query("SELECT * FROM tag_mapping_cache") == []
    async with harness.start(library, env=NO_KEY) as subject:
        applied = await subject.result("apply_proposals", run_id=run_id, accept="all")
        assert (applied["applied_files"], applied["skipped_files"]) == (60, 0)
        assert len(subject.transcript) == 1, "an answer and no notification"
        assert [held(library, proposal["file_id"]) for proposal in proposals] == proposals
        assert (await subject.result("count_untagged_files"))["count"] == 0
        details = await subject.result("get_run", run_id=applied["run_id"])
        assert (details["status"], details["processed_files"], details["usage"]["requests"]) == (
            "completed",
            60,
            0,
        )
        assert [run["dry_run"] for run in await subject.result("list_runs")] == [False, True]
        [entry] = await subject.result("get_tagging_history", file_id=1)
        record = json.loads(entry["tags_applied"])
        assert "proposals" not in details
        assert record["run_id"] == applied["run_id"] and entry["api_version"] == standin.MODELS[0]
    assert gemini.arrived == asked
    assert library.query("SELECT * FROM tag_mapping_cache"), "what Gemini said of unknown tags is used by now"


async def test_a_run_in_the_place_of_the_dry_run_would_have_written_the_same(tmp_path: Path) -> None:
    libraries = []
    for name, dry_run in (("dry", True), ("wet", False)):
        (tmp_path / name).mkdir()
        library = harness.library(tmp_path / name, 40)
        for file_id in (1, 2, 3):
            library.execute("UPDATE audio_files SET genre = 'folk:tavern', mood = 'calm' WHERE id = ?", file_id)
        async with standin.running(hallucinate=0.4) as gemini, harness.start(library, gemini) as subject:
            done = await subject.tag(dry_run=dry_run, mode="merge", batch_size=20, max_parallel=1)
            if dry_run:
                await subject.result("apply_proposals", run_id=done["run_id"])
        libraries.append(library)
    dry, wet = ({file_id: held(library, file_id) for file_id in library.ids} for library in libraries)
    assert dry == wet
    mappings = [
        library.query("SELECT tag_type, invalid_tag, valid_tag FROM tag_mapping_cache ORDER BY 1, 2, 3")
        for library in libraries
    ]
    kept = [row for row in mappings[1] if row["valid_tag"] != "REMOVE"]
    assert [row for row in mappings[0] if row["valid_tag"] != "REMOVE"] == kept and kept


async def test_only_what_is_accepted_and_not_rejected_is_written(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 30)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        run_id, proposals = await propose(subject)
        before = library.shell_rows()["audio_files"]
        applied = await subject.result("apply_proposals", run_id=run_id, accept=[3, 4, 5, 4], reject=[4])
        assert (applied["applied_files"], applied["skipped_files"]) == (2, 0)
        assert library.query("SELECT id FROM audio_files WHERE auto_tagged = 1") == [{"id": 3}, {"id": 5}]
        assert library.file(4) == before[4]
        applied = await subject.result("apply_proposals", run_id=run_id, reject=[1, 2, 3, 4, 5])
        assert (applied["applied_files"], applied["skipped_files"]) == (25, 0)
        for file_id in (1, 2, 4):
            assert library.file(file_id) == before[file_id] and not library.tags(file_id)
        nothing = await subject.result("apply_proposals", run_id=run_id, accept=[4], reject=[4])
        assert nothing == {"run_id": None, "applied_files": 0, "skipped_files": 0}
        assert nothing == await subject.result("apply_proposals", run_id=run_id, accept=[])
        assert len(proposals) == 30 and len(await subject.result("list_runs")) == 3


async def test_ids_without_a_proposal_are_refused_by_name_and_nothing_is_written(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 30)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        assert (await subject.error("apply_proposals", run_id="nope"))["code"] == -32002
        run_id, _ = await propose(subject, file_ids=[1, 2, 3])
        before = library.shell_rows()
        for params in ({"accept": [1, 4, -5]}, {"reject": [4, 2, -5]}):
            error = await subject.error("apply_proposals", run_id=run_id, **params)
            assert error["code"] == -32602 and "4, -5" in error["message"], error
        wrong: list[Message] = [{"accept": "some"}, {"accept": 1}, {"accept": ["1"]}, {"apply": "all"}]
        for params in wrong:
            assert (await subject.error("apply_proposals", run_id=run_id, **params))["code"] == -32602
        assert library.shell_rows() == before
        wet = (await subject.tag(file_ids=[7]))["run_id"]
        error = await subject.error("apply_proposals", run_id=wet)
        assert error["code"] == -32602 and "dry run" in error["message"]


async def test_applied_twice_the_second_time_finds_the_files_changed(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        run_id, _ = await propose(subject)
        assert (await subject.result("apply_proposals", run_id=run_id))["applied_files"] == 20
        before = library.shell_rows()
        again = await subject.result("apply_proposals", run_id=run_id)
        assert (again["applied_files"], again["skipped_files"]) == (0, 20)
        assert library.shell_rows() == before


async def test_a_real_run_since_the_dry_run_wins(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        run_id, _ = await propose(subject)
        await subject.tag(file_ids=[1, 2, 3])
        applied = await subject.result("apply_proposals", run_id=run_id)
        assert (applied["applied_files"], applied["skipped_files"]) == (17, 3)
        failures = (await subject.result("get_run", run_id=applied["run_id"]))["failures"]
        assert [(failure["file_id"], failure["reason"]) for failure in failures] == [
            (file_id, "changed") for file_id in (1, 2, 3)
        ]


async def test_edits_deletions_and_retired_tags_since_the_dry_run(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 30)
    genre, mood, occasion = (harness.vocabulary(kind)[0] for kind in ("genre", "mood", "occasion"))
    retired, kept = harness.vocabulary("keyword")[:2]
    lone_genre = harness.vocabulary("genre")[1]

    def script(received: Received) -> Reply:
        items = [
            {
                "id": file["id"],
                "genre": lone_genre if file["path"].endswith(library.name(9)) else genre,
                "moods": [mood], "occasions": [occasion], "keywords": [retired, kept],
            }
            for file in received.files
        ]  # fmt: skip
        return standin.ok(items)

    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        run_id, _ = await propose(subject, file_ids=[1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    with library.edited() as shell:
        shell.execute("UPDATE audio_files SET genre = 'jazz:noir' WHERE id = 1")
        shell.execute("UPDATE audio_files SET mood = 'calm' WHERE id = 2")
        shell.execute("INSERT INTO rpg_tags (audio_file_id, tag_type, tag_value) VALUES (3, 'keyword', 'mine')")
        shell.execute("DELETE FROM rpg_tags WHERE audio_file_id = 5")
        shell.execute("UPDATE audio_files SET title = 'Another title', rating = 5 WHERE id = 6")
        shell.execute("DELETE FROM audio_files WHERE id = 7")
        shell.execute("UPDATE tag_vocabulary SET is_active = 0 WHERE tag_value IN (?, ?)", (retired, lone_genre))
    before = library.shell_rows()
    async with harness.start(library, env=NO_KEY) as subject:
        applied = await subject.result("apply_proposals", run_id=run_id)
        assert (applied["applied_files"], applied["skipped_files"]) == (4, 6)
        failures = (await subject.result("get_run", run_id=applied["run_id"]))["failures"]
        assert {failure["file_id"]: failure["reason"] for failure in failures} == {
            1: "changed", 2: "changed", 3: "changed", 5: "changed", 7: "deleted", 9: "invalid_tags",
        }  # fmt: skip
        assert all(failure["message"] and failure["file_path"] for failure in failures)
    for file_id in (1, 2, 3, 5, 9):
        assert library.file(file_id) == before["audio_files"][file_id]
    assert library.file(6)["title"] == "Another title" and library.file(6)["genre"] == genre
    for file_id in (4, 6, 8, 10):
        assert library.tags(file_id) == {("occasion", occasion), ("keyword", kept)}


async def test_replace_is_applied_as_replace(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 30)  # 5 and 11 carry a person's tags
    library.execute("UPDATE audio_files SET genre = 'jazz:noir', mood = 'calm' WHERE id = 5")
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        run_id, [proposal] = await propose(subject, mode="replace", file_ids=[5])
        await subject.result("apply_proposals", run_id=run_id)
        assert held(library, 5) == proposal
        assert ("keyword", "source:field-recording") not in library.tags(5) and proposal["genre"] != "jazz:noir"
        run_id, [proposal] = await propose(subject, mode="merge", file_ids=[11])
        await subject.result("apply_proposals", run_id=run_id)
        assert held(library, 11) == proposal and ("occasion", "wilderness-camp") in library.tags(11)


async def test_the_proposals_of_a_cancelled_dry_run_may_be_applied(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 40)
    gate = trio.Event()
    async with (
        standin.running(script=lambda r: None if r.number <= 2 else Reply(gate=gate)) as gemini,
        harness.start(library, gemini) as subject,
    ):
        await subject.result("auto_tag_files", dry_run=True, batch_size=10, max_parallel=1)
        await subject.wait_for(lambda m: m.get("method") == "tagging-progress" and _batches(m) == 2)
        cancelled = await subject.result("cancel")
        assert (cancelled["status"], cancelled["processed_files"]) == ("cancelled", 20)
        assert len((await subject.result("get_run"))["proposals"]) == 20
        applied = await subject.result("apply_proposals", run_id=cancelled["run_id"])
        assert applied["applied_files"] == library.tagged == 20


def _batches(message: Message) -> int:
    return int(message["params"]["current_batch"])


async def test_the_proposals_of_a_killed_dry_run_may_be_applied(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 40)
    gate = trio.Event()
    async with (
        standin.running(script=lambda r: None if r.number <= 2 else Reply(gate=gate)) as gemini,
        harness.start(library, gemini) as subject,
    ):
        await subject.result("auto_tag_files", dry_run=True, batch_size=10, max_parallel=1)
        await subject.wait_for(lambda m: m.get("method") == "tagging-progress" and _batches(m) == 2)
        await subject.kill()
    async with harness.start(library, env=NO_KEY) as subject:
        details = await subject.result("get_run")
        assert (details["status"], len(details["proposals"])) == ("interrupted", 20)
        applied = await subject.result("apply_proposals", run_id=details["run_id"])
        assert applied["applied_files"] == library.tagged == 20


async def test_while_a_run_is_active_here_or_elsewhere_nothing_is_applied(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 40)
    gate = trio.Event()
    async with (
        standin.running() as gemini,
        harness.start(library, gemini) as first,
        harness.start(library, gemini) as second,
    ):
        dry, _ = await propose(first, file_ids=[1, 2])
        gemini.script = lambda _: Reply(gate=gate)
        run_id = (await first.result("auto_tag_files", file_ids=[3, 4]))["run_id"]
        for subject in (first, second):
            error = await subject.error("apply_proposals", run_id=dry)
            assert (error["code"], error["data"]) == (-32001, {"run_id": run_id}) and error["message"]
        gate.set()
        await first.complete(run_id)
        assert (await second.result("apply_proposals", run_id=dry))["applied_files"] == 2
        # A dry run is a run too.
        gate = trio.Event()
        dry = (await second.result("auto_tag_files", file_ids=[5, 6], dry_run=True))["run_id"]
        for subject in (first, second):
            error = await subject.error("apply_proposals", run_id=dry)
            assert (error["code"], error["data"]) == (-32001, {"run_id": dry})
        gate.set()
        await second.complete(dry)


async def test_an_application_waits_for_the_shells_transaction_and_sees_what_it_did(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    async with (
        standin.running() as gemini,
        harness.start(library, gemini) as subject,
        harness.start(library, gemini) as second,
    ):
        run_id, _ = await propose(subject, batch_size=5)
        with library.edited() as shell:
            asked = await subject.send("apply_proposals", run_id=run_id)
            for _ in range(20):  # each is a round of the sidecar's event loop: by then it waits for us
                await subject.result("status")
            error = await second.error("apply_proposals", run_id=run_id)
            assert error["code"] == -32001 and error["message"]
            shell.execute("UPDATE audio_files SET genre = 'jazz:noir' WHERE id = 7")
        answer = await subject.wait_for(lambda m: harness.is_answer(m, asked))
        assert (answer["result"]["applied_files"], answer["result"]["skipped_files"]) == (19, 1)
        assert library.file(7)["genre"] == "jazz:noir"


async def test_the_end_of_the_input_in_the_middle_ends_the_process_in_time(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 600)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        run_id, _ = await propose(subject, batch_size=2, max_parallel=8)
    async with harness.start(library, env=NO_KEY) as subject:
        await subject.send("apply_proposals", run_id=run_id)
        await harness.eventually(lambda: library.tagged > 0)
        await subject.close_stdin()
        assert await subject.exit_code(seconds=2) == 0
        subject.heard_all = False  # whether there was time for an answer is left open
    written = library.tagged
    assert written > 0 and written % 2 == 0
    async with harness.start(library, env=NO_KEY) as subject:
        applied = await subject.result("apply_proposals", run_id=run_id)
        assert applied["applied_files"] == 600 - written


async def test_killed_in_the_middle_whole_batches_are_written_and_the_rest_can_be(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 800)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        run_id, _ = await propose(subject, batch_size=4, max_parallel=8)
        before = library.shell_rows()
    async with harness.start(library, env=NO_KEY) as subject:
        await subject.send("apply_proposals", run_id=run_id)
        await harness.eventually(lambda: library.tagged > 0)
        await subject.kill()
    written = library.tagged
    assert 0 < written < 800 and written % 4 == 0
    async with harness.start(library, env=NO_KEY) as subject:
        killed = (await subject.result("list_runs"))[0]
        assert (killed["status"], killed["processed_files"]) == ("interrupted", written)
        applied = await subject.result("apply_proposals", run_id=run_id)
        assert (applied["applied_files"], applied["skipped_files"]) == (800 - written, written)
        for each in (killed["run_id"], applied["run_id"]):
            await subject.result("undo_run", run_id=each)
    after = library.shell_rows()
    for table in ("audio_files", "rpg_tags"):
        assert after[table] == before[table]
