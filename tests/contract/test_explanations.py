"""CONTRACT section 8: where each of a file's tags comes from."""

from pathlib import Path

from sidecar.demo import standin
from tests import harness
from tests.contract.scenes import ANSWERS, item, said
from tests.harness import NO_KEY, Client, Message


async def explained(subject: Client, file_id: int) -> dict[tuple[str, str], Message]:
    """Where each tag comes from; no tag twice."""
    tags = await subject.result("explain", file_id=file_id)
    found = {(tag["tag_type"], tag["tag_value"]): tag for tag in tags}
    assert len(found) == len(tags)
    for tag in tags:
        from_run = [tag[name] for name in ("run_id", "model", "tagged_at")]
        assert all(from_run) if tag["set_by"] == "run" else from_run == [None] * 3 and not tag["mapped_from"]
    return found


def persons(tags: dict[tuple[str, str], Message]) -> set[str]:
    return {value for (_, value), tag in tags.items() if tag["set_by"] == "person"}


async def test_each_tag_is_a_persons_or_a_runs_and_says_what_it_was_mapped_from(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)  # file 5 has a person's keyword
    library.execute("UPDATE audio_files SET genre = 'jazz:noir' WHERE id = 5")
    script = said(library, {5: item("folk:tavern", "spine-tingling", "inn-rest", "pub time:night vibey")})
    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        assert persons(await explained(subject, 5)) == {"jazz:noir", "source:field-recording"}
        done = await subject.tag(model=standin.MODELS[2])
    async with harness.start(library, env=NO_KEY) as subject:
        tags = await explained(subject, 5)
        assert persons(tags) == {"jazz:noir", "source:field-recording"}
        assert {pair: tag["mapped_from"] for pair, tag in tags.items() if tag["set_by"] == "run"} == {
            ("mood", "chilling"): "spine-tingling", ("keyword", "place:tavern"): "pub",
            ("occasion", "inn-rest"): None, ("keyword", "time:night"): None,
        }  # fmt: skip
        [entry] = await subject.result("get_tagging_history", file_id=5)
        run = tags[("keyword", "place:tavern")]
        assert (run["run_id"], run["model"]) == (done["run_id"], standin.MODELS[2])
        assert run["tagged_at"] == entry["tagged_at"] == library.file(5)["auto_tag_date"]
        for file_id in (0, 21, -1):
            error = await subject.error("explain", file_id=file_id)
            assert error["code"] == -32602 and str(file_id) in error["message"]


async def test_what_a_person_changes_becomes_theirs_and_a_new_run_takes_only_its_own(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    async with standin.running(script=said(library, {})) as gemini, harness.start(library, gemini) as subject:
        first = (await subject.tag())["run_id"]
        assert persons(await explained(subject, 1)) == set()
        with library.edited() as shell:
            shell.execute("UPDATE audio_files SET genre = 'jazz:noir' WHERE id = 1")
            shell.execute(
                "INSERT INTO rpg_tags (audio_file_id, tag_type, tag_value) VALUES (1, 'keyword', 'mine')"
            )
            shell.execute("UPDATE audio_files SET mood = 'calm; eerie' WHERE id = 2")
        assert persons(await explained(subject, 1)) == {"jazz:noir", "mine"}
        assert persons(await explained(subject, 2)) == {"calm", "eerie"}
        gemini.script = said(library, {1: item("folk:tavern", "eerie", "inn-rest", "time:dawn")})
        second = (await subject.tag(file_ids=[1, 2]))["run_id"]
        tags = await explained(subject, 1)
        assert persons(tags) == {"jazz:noir", "mine"}
        assert {tag["run_id"] for tag in tags.values()} == {None, second}
        await subject.result("undo_run", run_id=second)
        assert {tag["run_id"] for tag in (await explained(subject, 1)).values()} == {None, first}


async def test_an_applied_proposal_is_of_the_run_that_wrote_it_and_the_model_that_made_it(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 5)
    async with standin.running(script=said(library, ANSWERS)) as gemini, harness.start(library, gemini) as subject:
        dry = (await subject.tag(dry_run=True, model=standin.MODELS[1]))["run_id"]
        before = persons(await explained(subject, 3))
        assert {tag["set_by"] for tag in (await explained(subject, 3)).values()} <= {"person"}
        applied = await subject.result("apply_proposals", run_id=dry)
        report = await subject.result("report")
        assert report["run"]["run_id"] == applied["run_id"] and report["run"]["usage"]["requests"] == 0
        # As in the dry run, but for the file that had no proposal.
        assert report["sources"] == {
            "valid": 13, "normalised": 2, "mapped_by_cache": 0, "mapped_by_gemini": 3, "dropped": 1,
        }  # fmt: skip
        tags = await explained(subject, 3)
        assert {tag["run_id"] for tag in tags.values()} == {applied["run_id"]} and not before & persons(tags)
        assert {tag["model"] for tag in tags.values()} == {standin.MODELS[1]}
        assert tags[("keyword", "place:tavern")]["mapped_from"] == "pub"
