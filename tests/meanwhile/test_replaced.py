"""Another library is put in the place of the one that is being undone or written to: nothing of it is touched."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sidecar.contract import Code, DatabaseErrorData, DatabaseKind, RpcError
from sidecar.demo import standin
from sidecar.library.store import Library
from sidecar.redaction import Redactor
from sidecar.rpc.methods import running_app
from sidecar.settings import Settings
from tests import harness
from tests.meanwhile.scenes import Runs

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="replaces an open file")


@asynccontextmanager
async def after_a_run(folder: Path, *, dry_run: bool) -> AsyncIterator[tuple[harness.Library, Runs]]:
    """A library over which one run has gone, its first: in each library it has the same number."""
    folder.mkdir()
    library, runs = harness.library(folder, 150), Runs()
    async with standin.running() as gemini:
        settings = Settings(database=library.path, api_key="a-key", base_url=gemini.base_url)
        async with running_app(settings, runs.emit, Redactor()) as runs.app:
            await runs.start(dry_run=dry_run, batch_size=50)
            await runs.ended.wait()
            yield library, runs


@pytest.mark.parametrize("has_run", [True, False], ids=["with a run", "without any"])
@pytest.mark.parametrize("method", ["undo_run", "apply_proposals"])
async def test_the_second_part_meets_another_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, has_run: bool
) -> None:
    is_apply = method == "apply_proposals"
    if has_run:
        async with after_a_run(tmp_path / "other", dry_run=is_apply) as (other, _):
            pass
    else:
        (tmp_path / "other").mkdir()
        other = harness.library(tmp_path / "other", 150)
    before = other.shell_rows()
    write, parts = Library.write, 0

    async def replacing(self: Library, run: Any, **options: bool) -> Any:
        nonlocal parts
        parts += isinstance(run, partial) and run.func.__name__ in ("_undo_part", "_commit")
        if parts == 2:
            for kind in ("-wal", "-shm"):
                library.path.with_name(library.path.name + kind).unlink(missing_ok=True)
            other.path.replace(library.path)
        return await write(self, run, **options)

    async with after_a_run(tmp_path / "own", dry_run=is_apply) as (library, runs):
        monkeypatch.setattr(Library, "write", replacing)
        with pytest.raises(RpcError, match="replaced by another") as caught:
            await runs.call(method, run_id=runs.completed.run_id)
        assert (caught.value.code, caught.value.data) == (
            Code.DATABASE_UNAVAILABLE,
            DatabaseErrorData(DatabaseKind.MISSING),
        )
    assert parts >= 2
    assert harness.Library(library.path).shell_rows() == before
