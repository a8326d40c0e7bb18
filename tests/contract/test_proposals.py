"""CONTRACT sections 2, 5 and 8: a dry run, its proposals, and what of them is written when a person says so."""

import json
from pathlib import Path

from sidecar.demo import standin
from sidecar.demo.standin import Received, Reply
from tests import harness
from tests.contract.scenes import item, propose, said
from tests.harness import NO_KEY, Library, Message


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


async def test_a_run_since_the_dry_run_that_left_the_same_tags_wins_too(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    plain, caves = said(library, {}), {1: item("ambient", "calm", "inn-rest", "biome:cave time:night")}
    async with standin.running(script=plain) as gemini, harness.start(library, gemini) as subject:
        await subject.tag(file_ids=[1])
        before = library.tags(1)
        gemini.script = said(library, caves)
        run_id, _ = await propose(subject, file_ids=[1, 2])
        gemini.script = plain
        await subject.tag(file_ids=[1])
        assert library.tags(1) == before
        applied = await subject.result("apply_proposals", run_id=run_id)
        assert (applied["applied_files"], applied["skipped_files"]) == (1, 1)
        [failure] = (await subject.result("get_run", run_id=applied["run_id"]))["failures"]
        assert (failure["file_id"], failure["reason"]) == (1, "changed")
    assert library.tags(1) == before


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
        assert all("the dry run" in failure["message"] and failure["file_path"] for failure in failures)
        assert "left the vocabulary" in failures[-1]["message"] and "Gemini" not in failures[-1]["message"]
        assert (await subject.result("list_runs"))[0]["message"] == (
            "4 files tagged, 1 failed (left without usable tags by a change of the vocabulary), 5 skipped "
            "(4 changed meanwhile, 1 deleted meanwhile). Start tagging again to ask Gemini anew."
        )
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
