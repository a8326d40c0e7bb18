"""CONTRACT sections 1, 3 and 9: what comes while a run is starting: a cancel, the end, another program's lock.

Some processes are started anew: in the first run of such a one what comes meets the SDK's import.
"""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from sidecar.demo import standin
from tests import harness
from tests.harness import Client, Library, Message

START = b'{"jsonrpc":"2.0","id":"a","method":"auto_tag_files"}'
CANCEL = b'{"jsonrpc":"2.0","id":"b","method":"cancel"}'
SHUTDOWN = b'{"jsonrpc":"2.0","id":"b","method":"shutdown"}'


@contextmanager
def locked(library: Library) -> Iterator[None]:
    """Another program is about to write."""
    with closing(library.connect()) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


async def answer(subject: Client, number: str) -> Message:
    return await subject.wait_for(lambda message: message.get("id") == number)


@pytest.mark.parametrize("end", [SHUTDOWN, b""], ids=["shutdown", "end of stdin"])
async def test_the_end_behind_a_start_cancels_its_run_and_says_so(tmp_path: Path, end: bytes) -> None:
    library = harness.library(tmp_path, 60)
    async with standin.running(latency_seconds=60) as gemini:
        async with harness.start(library, gemini, anew=True) as subject:
            await subject.send_line(START + b"\n" + end)
            await subject.close_stdin()
            assert await subject.exit_code(2) == 0
            [complete] = subject.events(harness.COMPLETE)
            started = (await answer(subject, "a"))["result"]
            assert (complete["run_id"], complete["status"]) == (started["run_id"], "cancelled")
        async with harness.start(library, gemini) as subject:
            [run] = await subject.result("list_runs")
            assert run["status"] == "cancelled"


async def test_a_cancel_behind_a_retry_finds_its_run(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    blocked = standin.finish("SAFETY")
    async with standin.running(script=lambda _: blocked) as gemini, harness.start(library, gemini) as subject:
        first = await subject.tag(batch_size=1)
        assert first["failed_files"] == 20
        gemini.script, gemini.latency_seconds = None, 60
        await subject.send_line(START.replace(b"auto_tag_files", b"retry_failed") + b"\n" + CANCEL)
        cancelled = (await answer(subject, "b"))["result"]
        assert cancelled["cancelled"] and cancelled["run_id"] == (await answer(subject, "a"))["result"]["run_id"]
        assert cancelled["run_id"] != first["run_id"]


async def test_a_cancel_behind_a_batch_finds_the_run_that_its_last_member_starts(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    status = [{"jsonrpc": "2.0", "id": number, "method": "status"} for number in range(30)]
    async with standin.running(latency_seconds=60) as gemini, harness.start(library, gemini, anew=True) as subject:
        line = json.dumps([*status, json.loads(START)]).encode()
        await subject.send_line(line + b"\n" + CANCEL)
        assert (await answer(subject, "b"))["result"]["cancelled"]


@pytest.mark.parametrize("starts", ["a", "ac"], ids=["one", "and another behind it"])
async def test_a_start_that_waits_for_a_lock_can_be_cancelled(tmp_path: Path, starts: str) -> None:
    library = harness.library(tmp_path, 20)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        with locked(library):
            lines = [START.replace(b'"a"', f'"{number}"'.encode()) for number in starts]
            await subject.send_line(b"\n".join([*lines, CANCEL]))
            for number in (*starts, "b"):
                error = (await answer(subject, number))["error"]
                assert error["code"] == -32002
            assert "before it had begun" in (await answer(subject, "a"))["error"]["message"]
            assert gemini.arrived == 0
        assert (await subject.tag())["processed_files"] == 20


@pytest.mark.parametrize("named", ["a finished run", "no run"])
async def test_a_cancel_of_another_run_cuts_off_no_start(tmp_path: Path, named: str) -> None:
    library = harness.library(tmp_path, 20)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        done = await subject.tag(file_ids=[1])
        with locked(library):
            await subject.send_line(START)
            if named == "a finished run":
                cancelled = await subject.result("cancel", run_id=done["run_id"])
                assert (cancelled["run_id"], cancelled["cancelled"]) == (done["run_id"], False)
            else:
                assert (await subject.error("cancel", run_id="4711"))["code"] == -32002
        started = (await answer(subject, "a"))["result"]
        assert (await subject.complete(started["run_id"]))["processed_files"] == 19


async def test_a_cancel_of_nothing_in_particular_cuts_off_no_undo_that_waits_for_a_lock(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        done = await subject.tag()
        undo = {"jsonrpc": "2.0", "id": "u", "method": "undo_run", "params": {"run_id": done["run_id"]}}
        with locked(library):
            await subject.send_line(json.dumps(undo).encode() + b"\n" + CANCEL)
            cancelled = (await answer(subject, "b"))["result"]
            assert (cancelled["run_id"], cancelled["cancelled"]) == (done["run_id"], False)
        assert (await answer(subject, "u"))["result"]["restored_files"] == 20


async def test_a_start_that_waits_for_a_lock_holds_up_no_end(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    async with harness.start(library) as subject:
        with locked(library):
            await subject.send_line(START + b"\n" + SHUTDOWN)
            assert await subject.exit_code(2) == 0
            assert "before it had begun" in (await answer(subject, "a"))["error"]["message"]


async def test_nothing_starts_once_the_process_is_ending(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    async with standin.running(latency_seconds=60) as gemini, harness.start(library, gemini, anew=True) as subject:
        second = START.replace(b'"a"', b'"c"')
        await subject.send_line(START)
        assert (await answer(subject, "a"))["result"]["status"] == "started"
        await subject.send_line(SHUTDOWN + b"\n" + second)
        assert await subject.exit_code(2) == 0
        assert (await answer(subject, "c"))["error"]["code"] in (-32001, -32002)
        assert len(subject.events(harness.COMPLETE)) == 1
