"""runs: an error of our own ends its run with a sentence, and nothing else."""

from pathlib import Path

import pytest
import trio

from sidecar.contract import AutoTagParams, BatchReport, Completion, Event
from sidecar.demo import standin
from sidecar.demo.library import create_library
from sidecar.redaction import Redactor
from sidecar.rpc.server import running_app
from sidecar.runs.runs import ActiveRun
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
