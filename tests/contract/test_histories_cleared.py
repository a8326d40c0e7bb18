"""CONTRACT section 5: the history is the shell's; it may clear it, and ids of its rows may come again."""

from pathlib import Path

import pytest

from sidecar.demo import standin
from tests import harness
from tests.contract.scenes import files_and_tags, undo


async def test_a_history_row_of_another_file_is_nobodys_record(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    # As a path: the invariants look every tagging up in the history.
    async with standin.running() as gemini, harness.start(library.path, gemini) as subject:
        first = (await subject.tag(file_ids=[1]))["run_id"]
        with library.edited() as shell:
            shell.execute("DELETE FROM auto_tag_history")
            shell.execute("DELETE FROM sqlite_sequence WHERE name = 'auto_tag_history'")
        second = (await subject.tag(file_ids=[3]))["run_id"]
        assert library.scalar("SELECT count(*) FROM auto_tag_history") == 1
        library.execute("UPDATE audio_files SET genre = 'folk:tavern', mood = 'calm' WHERE id = 1")
        before = files_and_tags(library)
        assert {tag["set_by"] for tag in await subject.result("explain", file_id=1)} == {"person"}
        assert await undo(subject, first) == (0, 1)
        assert files_and_tags(library) == before
        await subject.tag(file_ids=[1])
        assert (library.file(1)["genre"], library.file(1)["mood"]) == ("folk:tavern", "calm")
        assert await undo(subject, second) == (1, 0)


@pytest.mark.parametrize("text", ["'by hand'", "NULL", "x'00ff'", "'[1]'"])
async def test_an_older_row_that_somebody_has_rewritten_is_in_no_undos_way(tmp_path: Path, text: str) -> None:
    library = harness.library(tmp_path, 20)
    async with standin.running() as gemini, harness.start(library.path, gemini) as subject:
        await subject.tag(file_ids=[1, 2])
        between = files_and_tags(library)
        second = (await subject.tag(file_ids=[1, 2], mode="replace"))["run_id"]
        library.execute(f"UPDATE auto_tag_history SET tags_applied = {text} WHERE file_id = 1 AND id <= 2")
        assert await undo(subject, second) == (2, 0)
        assert files_and_tags(library) == between
