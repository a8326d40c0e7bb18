"""run: a transaction that fails loses its batch, two in a row end the run."""

import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from sidecar.contract import AutoTagParams, Completion, Event, Reason, RetryParams, RunStatus
from sidecar.demo import standin
from sidecar.demo.library import create_library
from sidecar.library.faults import Fault, LibraryError
from sidecar.library.store import Library
from sidecar.library.writer import Transaction
from sidecar.redaction import Redactor
from sidecar.rpc.methods import running_app
from sidecar.runs.writing import commit
from sidecar.settings import Settings
from tests.contract.scenes import answering


@pytest.mark.parametrize(
    ("lost", "status", "tagged", "failed"),
    [({1, 3, 5}, RunStatus.COMPLETED, 20, 30), ({2, 3}, RunStatus.FAILED, 10, 20)],
    ids=["with others between", "in a row"],
)
async def test_batches_that_cannot_be_written_end_the_run_only_in_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: set[int], status: RunStatus, tagged: int, failed: int
) -> None:
    create_library(tmp_path / "library.db", files=50)
    ends: list[Completion] = []
    commits, turn, write = itertools.count(1), trio.Lock(), Library.write

    async def locked(library: Library, run: Callable[[Transaction], Any], **options: bool) -> Any:
        async with turn:  # of two that end in the same moment trio wakes up either first
            if isinstance(run, partial) and run.func is commit and next(commits) in lost:
                raise LibraryError(Fault.LOCKED)
            return await write(library, run, **options)

    def emit(event: Event) -> None:
        if isinstance(event, Completion):
            ends.append(event)

    monkeypatch.setattr(Library, "write", locked)
    # A batch that Gemini has answered when the run ends would still be written.
    answered = 5 if status is RunStatus.COMPLETED else max(lost)
    async with standin.running(script=answering(answered)) as gemini:
        settings = Settings(database=tmp_path / "library.db", api_key="key", base_url=gemini.base_url)
        async with running_app(settings, emit, Redactor()) as app:
            _, active = await app.runs.start(AutoTagParams(batch_size=10, max_parallel=1), settings)
            assert active is not None
            active.release()
            with trio.fail_after(20):
                await active.announced.wait()
            failures = (await app.runs.details(active.run_id)).failures
        async with running_app(settings, emit, Redactor()) as app:  # as a later process
            later = await app.runs.details(active.run_id)
            again, _ = await app.runs.retry(RetryParams(run_id=active.run_id), settings)
    [end] = ends
    assert (end.status, end.processed_files, end.failed_files) == (status, tagged, failed)
    assert end.remaining_files == 50 - tagged - failed
    assert [failure.reason for failure in failures] == [Reason.DATABASE_ERROR] * failed
    assert later.failures == failures
    assert (later.processed_files, later.failed_files) == (tagged, failed)
    assert again.total_files == failed
