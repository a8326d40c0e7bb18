"""runs: what `get_run` says of a run is no older than what the shell has been told before that answer."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from sidecar.contract import AutoTagParams, Completion, Event, FileFailure, Progress
from sidecar.demo import standin
from sidecar.demo.library import create_library
from sidecar.demo.standin import Received, Reply
from sidecar.redaction import Redactor
from sidecar.rpc.methods import running_app
from sidecar.runs.archive import Archive
from sidecar.settings import Settings

BATCHES = 5


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("answered", [3, BATCHES])
async def test_a_run_that_goes_on_while_it_is_looked_up_is_told_as_it_stands_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answered: int, *, dry_run: bool
) -> None:
    create_library(tmp_path / "library.db", files=BATCHES)
    looked_up, may_answer, told, never = trio.Event(), trio.Event(), trio.Event(), trio.Event()
    failures = Archive.failures

    async def then_wait(self: Archive, run_id: str, unsaved: Sequence[FileFailure] = ()) -> list[FileFailure]:
        found = await failures(self, run_id, unsaved)
        looked_up.set()
        await told.wait()
        return found

    def script(received: Received) -> Reply:
        return Reply(gate=may_answer if received.number <= answered else never)

    def emit(event: Event) -> None:
        last = Completion if answered == BATCHES else Progress
        if isinstance(event, last) and event.processed_files == answered:
            told.set()

    async def answer_later() -> None:
        await looked_up.wait()
        may_answer.set()

    monkeypatch.setattr(Archive, "failures", then_wait)
    async with standin.running(script=script) as gemini:
        settings = Settings(database=tmp_path / "library.db", api_key="key", base_url=gemini.base_url)
        async with running_app(settings, emit, Redactor()) as app, trio.open_nursery() as nursery:
            params = AutoTagParams(batch_size=1, max_parallel=1, dry_run=dry_run)
            _, active = await app.runs.start(params, settings)
            assert active is not None
            active.release()
            nursery.start_soon(answer_later)
            with trio.fail_after(20):
                details = await app.runs.details(None)
    assert (details.processed_files, details.remaining_files) == (answered, BATCHES - answered)
    assert (details.status == "completed") == (answered == BATCHES)
    assert not dry_run or len(details.proposals or ()) == answered
