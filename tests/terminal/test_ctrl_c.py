"""CONTRACT sections 1 and 7: Ctrl-C in the middle of `demo` and `tag` cancels cleanly and leaves nothing."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from sidecar.demo import standin
from sidecar.demo.standin import StandIn
from tests import harness
from tests.contract.scenes import answering
from tests.harness import Library

CANCELLED = 130

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a Ctrl-C of Windows reaches the tests too")


class Command:
    """A subcommand at work, its output in pipes. `printed` and `errors` grow as it speaks."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.printed = b""
        self.errors = b""

    async def read_stdout(self) -> None:
        assert self.process.stdout is not None
        async for chunk in self.process.stdout:
            self.printed += chunk

    async def read_stderr(self) -> None:
        assert self.process.stderr is not None
        async for chunk in self.process.stderr:
            self.errors += chunk

    async def interrupted(self, by: signal.Signals = signal.SIGINT) -> int:
        """Ctrl-C, as a terminal sends it: to the whole foreground group. The exit code; no process is left."""
        processes = harness.family(self.process.pid)
        os.killpg(self.process.pid, by)
        with trio.fail_after(harness.DEADLINE_SECONDS):
            code = await self.process.wait()
        await harness.none_left(processes)
        return code


@asynccontextmanager
async def running(
    *arguments: str,
    gemini: StandIn | None = None,
    env: Mapping[str, str | None] | None = None,
    wrapper: Sequence[str] = (),
) -> AsyncIterator[Command]:
    """The subcommand in a process group of its own; killed, if need be, when the block ends."""
    process: trio.Process = await trio.lowlevel.open_process(
        [*wrapper, *harness.command(), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=harness.environment(gemini, env),
        start_new_session=True,
        # The tests may themselves be under nohup.
        preexec_fn=partial(signal.signal, signal.SIGHUP, signal.SIG_DFL),
    )
    command = Command(process)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(command.read_stdout)
            nursery.start_soon(command.read_stderr)
            yield command
            nursery.cancel_scope.deadline = trio.current_time() + 5
    finally:
        for member in harness.family(process.pid) if process.returncode is None else []:
            member.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
        for pipe in (process.stdout, process.stderr):
            assert pipe is not None
            await pipe.aclose()


@pytest.mark.parametrize("by", ["SIGINT", "SIGTERM", "SIGHUP"])
async def test_ctrl_c_or_a_closed_terminal_in_the_middle_of_tag(tmp_path: Path, by: str) -> None:
    library = harness.library(tmp_path, 60)
    options = ["--database", str(library), "--batch-size", "10", "--max-parallel", "2"]
    async with standin.running(script=answering(2)) as gemini:
        async with running("tag", *options, gemini=gemini) as command:
            await harness.eventually(lambda: library.tagged == 20)
            with trio.fail_after(20):
                await gemini.wait_for(4)
            assert await command.interrupted(signal.Signals[by]) == CANCELLED
            with trio.fail_after(5):
                await gemini.wait_until_idle()
        assert command.printed.splitlines()[-1].startswith(b"Cancelled: 20 files tagged, 40 remaining.")
        assert command.errors == b""
        assert library.tagged == 20
        harness.check_invariants(library, [])
        gemini.script = None
        async with harness.start(library, gemini) as subject:
            assert [run["status"] for run in await subject.result("list_runs")] == ["cancelled"]
            assert (await subject.tag())["processed_files"] == 40
    assert library.tagged == 60


async def test_a_tag_under_nohup_outlives_its_terminal(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 60)
    options = ["--database", str(library), "--batch-size", "10", "--max-parallel", "2"]
    async with (
        standin.running(script=answering(2)) as gemini,
        running("tag", *options, gemini=gemini, wrapper=["nohup"]) as command,
    ):
        await harness.eventually(lambda: library.tagged == 20)
        os.killpg(command.process.pid, signal.SIGHUP)
        await harness.never(lambda: command.process.poll() is not None, 0.5)
        assert await command.interrupted() == CANCELLED


async def test_ctrl_c_in_the_middle_of_the_demo(tmp_path: Path) -> None:
    path = tmp_path / "demo.db"
    async with running("demo", "--files", "400", "--database", str(path)) as command:
        await harness.eventually(lambda: b"A sample library of 400 sounds" in command.printed)
        library = Library(path)
        assert not library.baseline["auto_tag_history"], "the baseline was taken before the run"
        await harness.eventually(lambda: bool(re.search(rb"^[1-9]\d*/400 ", command.printed, re.MULTILINE)))
        assert len(harness.family(command.process.pid)) > 1, "the sidecar is a process of its own"
        assert await command.interrupted() == CANCELLED
    tagged = library.tagged
    assert tagged % 20 == 0 and 0 < tagged < 400
    assert f"Cancelled: {tagged} files tagged, {400 - tagged} remaining.".encode() in command.printed
    assert f" tag --database {path}\n".encode() in command.printed, "another demo would not go on"
    assert command.errors == b""
    harness.check_invariants(library, [])
    assert library.query("SELECT status FROM auto_tag_runs") == [{"status": "cancelled"}]


@pytest.mark.skipif("LIGEIA_SIDECAR_COMMAND" in os.environ, reason="a frozen file does not tell what it imports")
@pytest.mark.parametrize("module", ["sidecar.contract", "trio", "sidecar.terminal"])
@pytest.mark.parametrize("command", ["tag", "demo"])
async def test_ctrl_c_in_the_midst_of_the_imports(tmp_path: Path, command: str, module: str) -> None:
    path = harness.library(tmp_path, 60).path if command == "tag" else tmp_path / "demo.db"
    async with standin.running(script=answering(0)) as gemini:
        assert await _interrupted_at(module, [command, "--database", str(path)], gemini) == CANCELLED


async def test_ctrl_c_in_the_midst_of_the_imports_of_the_server() -> None:
    assert await _interrupted_at("sidecar.contract", []) == 0


async def _interrupted_at(module: str, arguments: list[str], gemini: StandIn | None = None) -> int:
    """The exit code of a process that gets a Ctrl-C as soon as it has imported that module."""
    async with running(*arguments, gemini=gemini, env={"PYTHONPROFILEIMPORTTIME": "1"}) as command:
        imported = re.compile(rb"\| +%b\n" % re.escape(module.encode()))
        await harness.eventually(lambda: bool(imported.search(command.errors)))
        code = await command.interrupted()
    assert b"Traceback" not in command.errors and b"KeyboardInterrupt" not in command.errors
    return code


async def test_ctrl_c_again_and_again(tmp_path: Path) -> None:
    """Until the process is gone: none of them turns its end into another."""
    library = harness.library(tmp_path, 60)
    async with standin.running(script=answering(2)) as gemini:
        options = ["--database", str(library), "--batch-size", "10", "--max-parallel", "2"]
        async with running("tag", *options, gemini=gemini) as command:
            await harness.eventually(lambda: library.tagged == 20)
            with trio.fail_after(harness.DEADLINE_SECONDS):
                while command.process.poll() is None:
                    command.process.send_signal(signal.SIGINT)
                    await trio.sleep(0.001)
        assert command.process.returncode == CANCELLED
        assert command.errors == b""
        assert command.printed.splitlines()[-1].startswith(b"Cancelled: 20 files tagged, 40 remaining.")
