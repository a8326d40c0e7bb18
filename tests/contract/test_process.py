"""CONTRACT section 1: how the process starts, speaks and ends."""

import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import trio

from sidecar.demo import standin
from sidecar.demo.standin import Reply
from tests import harness
from tests.contract.scenes import answering

start = partial(harness.start, anew=True)
"""With an interpreter of its own: its start belongs to what is tested here."""
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and process trees")


async def test_a_password_in_the_base_url_is_shown_to_nobody(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 10)
    debug = ["--log-level", "debug"]
    async with standin.running() as gemini:
        by_environment, by_call = (
            gemini.base_url.replace("//", f"//ann:{word}%40Secret@") for word in ("First", "Second")
        )
        env = {"GOOGLE_GEMINI_BASE_URL": by_environment}
        async with start(library, gemini, env=env, arguments=debug) as subject:
            await subject.tag(file_ids=[1])
            await subject.result("configure", base_url=by_call)
            await subject.tag(file_ids=[1])
            await subject.close_stdin()
            await subject.exit_code()
            assert gemini.arrived == 2 and b"//ann:[key]@" in subject.log
            assert b"Secret" not in subject.log + b"".join(subject.raw)


async def test_nothing_false_is_logged_of_which_key_is_used(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 10)
    env = {"GOOGLE_API_KEY": "the-other-key"}
    async with standin.running() as gemini, start(library, gemini, env=env) as subject:
        await subject.tag()
        await subject.close_stdin()
        await subject.exit_code()
        assert gemini.journal[0].headers["x-goog-api-key"] == harness.KEY
        assert b"GOOGLE_API_KEY" not in subject.log


async def test_status_is_answered_before_anything_is_there(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere" / "ligeia.db"
    async with start(missing, None, env=harness.NO_KEY) as subject:
        status = await subject.result("status")
        assert (status["name"], status["protocol_version"]) == ("ligeia-sidecar", 1)
        assert not status["database"]["ok"] and status["database"]["error"]
        assert status["database"]["path"] == str(missing)
        assert status["api_key_present"] is False and status["active_run_id"] is None
    assert not missing.parent.exists()


async def test_without_a_database_setting_it_starts_too(tmp_path: Path) -> None:
    async with start(None) as subject:
        assert (await subject.result("status"))["database"]["ok"] is False
        for method, params in (
            ("count_untagged_files", {}),
            ("auto_tag_files", {}),
            ("undo_run", {"run_id": "a"}),
            ("apply_proposals", {"run_id": "a", "accept": "all"}),
        ):
            error = await subject.error(method, **params)
            assert error["code"] == -32010 and error["data"]["kind"] == "missing"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every file name is a text")
@posix
async def test_an_env_file_on_a_disk_that_does_not_answer_keeps_nobody_waiting(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 10)
    os.mkfifo(tmp_path / ".env")  # who opens it waits until somebody else does
    async with standin.running() as gemini, start(library, gemini) as subject:
        assert (await subject.result("status"))["api_key_present"]
        assert (await subject.tag())["processed_files"] == 10
        await subject.close_stdin()
        assert await subject.exit_code(2) == 0
        assert b"could not be read in time" in subject.log


async def test_the_library_may_have_a_name_that_is_no_text(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    path = library.path.rename(tmp_path / "tavern \udcff\udcfe.db")
    async with standin.running() as gemini, start(path, gemini) as subject:
        assert (await subject.result("status"))["database"]["ok"]
        assert (await subject.tag())["processed_files"] == 20


@pytest.mark.parametrize("how", ["stdin", "shutdown", "SIGTERM", "SIGINT"])
async def test_each_end_takes_less_than_two_seconds_in_the_middle_of_a_run(tmp_path: Path, how: str) -> None:
    if how.startswith("SIG") and sys.platform == "win32":
        pytest.skip("no such signal")
    library = harness.library(tmp_path, 100)
    async with standin.running(script=answering(2)) as gemini, start(library, gemini) as subject:
        await subject.result("auto_tag_files", batch_size=10, max_parallel=4)
        with trio.fail_after(20):
            await gemini.wait_for(6)
        await subject.wait_for(lambda m: m.get("method") == "tagging-progress")
        began = time.monotonic()
        if how == "stdin":
            await subject.close_stdin()
        elif how == "shutdown":
            number = await subject.send("shutdown")
        else:
            subject.send_signal(how)
        assert await subject.exit_code() == 0
        assert time.monotonic() - began < 2
        [complete] = subject.events(harness.COMPLETE)
        assert complete["status"] == "cancelled"
        if how == "shutdown":
            assert any(harness.is_answer(m, number) and m["result"] is None for m in subject.transcript)
        assert library.tagged == complete["processed_files"] > 0


@posix
async def test_a_killed_parent_takes_it_along_though_stdin_stays_open(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 60)
    gate = trio.Event()
    parent = [sys.executable, "-c", "import subprocess, sys; subprocess.Popen(sys.argv[1:]).wait()"]
    async with (
        standin.running(script=lambda _: Reply(gate=gate)) as gemini,
        start(library, gemini, wrapper=parent) as subject,
    ):
        pid = (await subject.result("status"))["pid"]
        await subject.result("auto_tag_files", batch_size=10)
        with trio.fail_after(20):
            await gemini.wait_for(3)
        assert pid != subject.process.pid and harness.alive(pid)
        processes = harness.family(subject.process.pid)
        subject.process.kill()
        await harness.none_left(processes, seconds=2)
        with trio.fail_after(5):
            await gemini.wait_until_idle()
    assert library.tagged == 0


ORPHANED = """
import os, sys, time
os.setsid()
parent = os.getpid()
if os.fork():
    os._exit(0)
while os.getppid() == parent:
    time.sleep(0.01)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Stands for a shell that is killed right after it has launched us."""


@posix
async def test_a_parent_killed_before_the_start_takes_it_along_though_stdin_stays_open(tmp_path: Path) -> None:
    database = harness.library(tmp_path, 20).path
    command = [sys.executable, "-c", ORPHANED, *harness.command(), "--database", str(database)]
    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=harness.environment(None)
    )
    assert process.stdin is not None and process.stdout is not None
    async with process.stdin, process.stdout:
        with trio.fail_after(harness.DEADLINE_SECONDS):
            assert await process.stdout.receive_some() == b"", "its end, as it says nothing unasked"
        await process.wait()


async def test_nothing_but_the_protocol_reaches_stdout_and_no_secret_the_log(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 60)
    for level in ("info", "debug"):
        async with (
            standin.running(hallucinate=0.5) as gemini,
            start(library, gemini, arguments=["--log-level", level]) as subject,
        ):
            await subject.result("configure", **harness.FAST)
            gemini.script = lambda r: standin.unavailable() if r.number == 2 else None
            ids = list(range(1, 31)) if level == "info" else None
            await subject.tag(batch_size=10, file_ids=ids)
            await subject.result("get_untagged_files")
            await subject.send_line(b"print me")
            await subject.close_stdin()
            assert await subject.exit_code() == 0
            for message in subject.transcript:
                assert message["jsonrpc"] == "2.0" and message.keys() & {"result", "error", "method"}
            assert harness.KEY.encode() not in subject.log + b"".join(subject.raw)
            if level == "info":
                assert harness.USER.encode() not in subject.log and b"Dungeon" not in subject.log
    assert library.tagged == 60


async def test_a_run_completes_though_nobody_reads_stdout_or_stderr(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 400)
    reading = trio.Event()
    arguments = ["--log-level", "debug"]
    async with (
        standin.running() as gemini,
        start(library, gemini, reading=reading, arguments=arguments) as subject,
    ):
        await subject.send("auto_tag_files", batch_size=1, max_parallel=8)
        await harness.eventually(lambda: library.tagged == 400)
        number = await subject.send("get_run")
        reading.set()
        details = await subject.wait_for(lambda m: harness.is_answer(m, number))
        assert details["result"]["processed_files"] == 400
        complete = await subject.complete(details["result"]["run_id"])
        assert complete["success"] and complete["processed_files"] == 400
        assert library.tagged == 400


async def test_a_key_that_was_sent_in_the_place_of_a_name_is_not_repeated(tmp_path: Path) -> None:
    async with harness.start(harness.library(tmp_path, 4)) as subject:
        error = await subject.error(f"check {harness.KEY}")
        assert error["code"] == -32601 and "`check [key]`" in error["message"]
