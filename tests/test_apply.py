"""apply: proposals of a library that is replaced in the very moment in which they are applied."""

import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio

from sidecar.contract import ApplyParams
from sidecar.demo import standin
from sidecar.library.faults import Fault, LibraryError
from sidecar.library.store import open_library
from sidecar.runs import apply
from sidecar.runs.runs import Runs
from tests import harness


async def proposed(folder: Path, ids: Sequence[int]) -> tuple[Path, str]:
    """A library with a dry run over those files."""
    folder.mkdir()
    library = harness.library(folder, 20)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        return library.path, (await subject.tag(dry_run=True, file_ids=list(ids)))["run_id"]


@pytest.mark.skipif(sys.platform == "win32", reason="replaces an open file")
async def test_proposals_of_another_library_are_not_taken_for_those_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, run_id = await proposed(tmp_path / "a", [1, 2, 3, 4])
    other, _ = await proposed(tmp_path / "b", [3, 4, 5, 6])
    accepted = apply._accepted

    async def accepted_then_replaced(*arguments: Any) -> list[int]:
        ids = await accepted(*arguments)
        for kind in ("-wal", "-shm"):
            path.with_name(path.name + kind).unlink(missing_ok=True)
        other.replace(path)
        return ids

    monkeypatch.setattr(apply, "_accepted", accepted_then_replaced)
    async with open_library(path) as opened, trio.open_nursery() as nursery:
        runs = Runs(opened, lambda _: None, nursery)
        with pytest.raises(LibraryError) as refusal:
            await apply.apply(runs, opened, ApplyParams(run_id=run_id))
        nursery.cancel_scope.cancel()
    assert refusal.value.fault is Fault.REPLACED
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT id FROM audio_files WHERE auto_tagged = 1").fetchall() == []
