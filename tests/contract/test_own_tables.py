"""CONTRACT section 5: the sidecar adds its own tables when they are missing, also when some of them are."""

from pathlib import Path

import pytest

from sidecar.demo import standin
from tests import harness


@pytest.mark.parametrize(
    "name",
    [
        "auto_tag_runs",
        "auto_tag_batches",
        "auto_tag_failures",
        "auto_tag_latest",
        "auto_tag_before",
        "auto_tag_removed",
        "auto_tag_removed_values",
        "auto_tag_proposals",
        "auto_tag_vocabularies",
        "auto_tag_exclusions",
        "auto_tag_exclusion_roots",
    ],
)
async def test_a_table_that_somebody_has_removed_is_made_anew_by_the_next_run(tmp_path: Path, name: str) -> None:
    library = harness.library(tmp_path, 20)
    # As a path: the invariants look for all runs.
    async with standin.running() as gemini, harness.start(library.path, gemini) as subject:
        await subject.tag(file_ids=[1, 2], batch_size=1)
        await subject.result("add_exclusion", file_id=20)
        library.execute(f"DROP TABLE {name}")
        assert await subject.result("list_runs") is not None
        kept = int(name != "auto_tag_exclusions")
        assert len(await subject.result("list_exclusions")) == kept
        assert (await subject.result("count_untagged_files"))["count"] == 18 - kept
        done = await subject.tag(batch_size=6)
        assert (done["processed_files"], done["failed_files"]) == (18 - kept, 0)
        run = (await subject.result("list_runs"))[0]
        assert (run["run_id"], run["processed_files"]) == (done["run_id"], 18 - kept)
        undone = await subject.result("undo_run", run_id=done["run_id"])
        assert (undone["restored_files"], undone["skipped_files"]) == (18 - kept, 0)
        assert library.query("PRAGMA integrity_check") == [{"integrity_check": "ok"}]
