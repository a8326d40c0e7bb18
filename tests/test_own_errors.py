"""runs: an error of our own ends its run with a sentence, and nothing else."""

from pathlib import Path

import pytest
import trio

from sidecar.contract import AutoTagParams, BatchReport, Completion, Event, Reason
from sidecar.demo import standin
from sidecar.demo.library import create_library
from sidecar.gemini.mapping import UnknownTags
from sidecar.redaction import Redactor
from sidecar.rpc.methods import running_app
from sidecar.runs.under_way import ActiveRun
from sidecar.settings import Settings


@pytest.mark.parametrize("cancelled", [False, True], ids=["alone", "beside a cancel"])
async def test_an_error_of_our_own_ends_its_run_and_nothing_else(tmp_path: Path, cancelled: bool) -> None:
    path = tmp_path / "library.db"
    create_library(path, files=40)
    send, receive = trio.open_memory_channel[Completion](10)
    runs: list[ActiveRun] = []

    def emit(event: Event) -> None:
        if isinstance(event, Completion):
            send.send_nowait(event)
        elif isinstance(event, BatchReport) and len(runs) == 1:
            if cancelled:
                runs[0].scope.cancel()
            raise LookupError("a defect")

    async with standin.running() as gemini:
        settings = Settings(database=path, api_key="key", base_url=gemini.base_url)
        async with running_app(settings, emit, Redactor()) as app:
            tagged = 0
            for status in ("failed", "completed"):
                _, active = await app.runs.start(AutoTagParams(batch_size=10, max_parallel=2), settings)
                assert active is not None
                runs.append(active)
                active.release()
                with trio.fail_after(20):
                    completion = await receive.receive()
                assert completion.status == status, completion
                assert completion.remaining_files == 0 or "error of its own" in completion.message
                tagged += completion.processed_files
                assert (await app.runs.details(None)).run_id == completion.run_id
            assert tagged == 40


async def test_files_that_an_error_of_our_own_has_failed_are_no_suspects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "library.db"
    create_library(path, files=40)
    send, receive = trio.open_memory_channel[Completion](10)

    def emit(event: Event) -> None:
        if isinstance(event, Completion):
            send.send_nowait(event)

    async def broken(*_: object) -> None:
        raise LookupError("a defect")

    async with standin.running() as gemini:
        settings = Settings(database=path, api_key="key", base_url=gemini.base_url)
        async with running_app(settings, emit, Redactor()) as app:
            for defect, failed, batches in ((True, 20, 1), (False, 0, 1)):
                with monkeypatch.context() as patch:
                    if defect:
                        patch.setattr(UnknownTags, "learn", broken)
                    ids = list(range(1, 21)) if defect else None
                    params = AutoTagParams(file_ids=ids, batch_size=40)
                    _, active = await app.runs.start(params, settings)
                    assert active is not None
                    active.release()
                    with trio.fail_after(20):
                        completion = await receive.receive()
                assert (completion.failed_files, completion.total_batches) == (failed, batches)
                details = await app.runs.details(None)
                assert all(failure.reason is Reason.SERVICE_UNAVAILABLE for failure in details.failures)
