"""Killed in whatever way, a onefile leaves no process, no unpacked folder and a whole library."""

import itertools
import os
import random
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from subprocess import DEVNULL

import psutil
import pytest
import trio

from sidecar.demo import standin
from sidecar.process.unpacked import MARKER
from tests import harness

LAUNCHES = 50
END_SECONDS = 2.0
SHELL = [sys.executable, "-c", "import subprocess, sys; subprocess.Popen(sys.argv[1:]).wait()"]
"""Stands for the desktop shell; it shares our end of stdin, which stays open when it is killed."""


class Tree:
    """The processes of one launch."""

    def __init__(self, subject: harness.Client, python_pid: int) -> None:
        self.subject = subject
        self.python = psutil.Process(python_pid)
        self.bootloader = psutil.Process(self.python.ppid())
        self.shell = psutil.Process(self.bootloader.ppid())


async def _close_stdin(tree: Tree) -> None:
    await tree.subject.close_stdin()


async def _shutdown(tree: Tree) -> None:
    await tree.subject.send("shutdown")


def _signal(member: str, name: str) -> Callable[[Tree], Awaitable[None]]:
    async def send(tree: Tree) -> None:
        getattr(tree, member).send_signal(getattr(signal, name))

    return send


WAYS: dict[str, Callable[[Tree], Awaitable[None]]] = {
    "stdin is closed": _close_stdin,
    "the bootloader is killed": _signal("bootloader", "SIGKILL"),
    "the shell is killed": _signal("shell", "SIGKILL"),
    "SIGTERM": _signal("bootloader", "SIGTERM"),
    "Python is killed": _signal("python", "SIGKILL"),
    "SIGTERM to Python": _signal("python", "SIGTERM"),
    "SIGINT": _signal("bootloader", "SIGINT"),
    "SIGHUP": _signal("bootloader", "SIGHUP"),
    "shutdown": _shutdown,
}


@pytest.fixture
def hang_up() -> Iterator[None]:
    """SIGHUP ends the processes of a test, though the tests may run under `nohup`, which ours obey."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hang_up")
async def test_of_fifty_launches_killed_in_a_run_nothing_is_left(tmp_path: Path, temp: Path) -> None:
    library = harness.library(tmp_path, 1500)
    instants = random.Random(20261124)
    async with standin.running(latency_seconds=0.02) as gemini:
        for _, way in zip(range(LAUNCHES), itertools.cycle(WAYS), strict=False):
            wrapper = SHELL if way == "the shell is killed" else []
            async with harness.start(library, gemini, wrapper=wrapper) as subject:
                tree = Tree(subject, (await subject.result("status"))["pid"])
                assert len(list(temp.iterdir())) == 1
                seen = gemini.arrived
                await subject.result("auto_tag_files", batch_size=5, max_parallel=2)
                with trio.fail_after(harness.DEADLINE_SECONDS):
                    await gemini.wait_for(seen + instants.randint(1, 5))
                await trio.sleep(instants.uniform(0, 0.03))
                await WAYS[way](tree)
                await harness.none_left([tree.python, tree.bootloader], END_SECONDS)
                assert list(temp.iterdir()) == [], way
                assert b"Fatal Python error" not in subject.log
                with trio.fail_after(END_SECONDS):
                    await gemini.wait_until_idle()
            assert library.tagged % 5 == 0
        assert 0 < library.tagged < 1500


async def test_a_run_from_the_terminal_ends_with_its_bootloader(onefile: Path, tmp_path: Path, temp: Path) -> None:
    library = harness.library(tmp_path, 1500)
    async with standin.running(latency_seconds=0.02) as gemini:
        command = [str(onefile), "tag", "--database", str(library.path), "--batch-size", "5"]
        process = await trio.lowlevel.open_process(
            command, env=harness.environment(gemini), stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL
        )
        with trio.fail_after(harness.DEADLINE_SECONDS):
            await gemini.wait_for(5)
        processes = harness.family(process.pid)
        process.kill()
        await process.wait()
        await harness.none_left(processes, END_SECONDS)
        assert list(temp.iterdir()) == []
        with trio.fail_after(END_SECONDS):
            await gemini.wait_until_idle()
    assert library.tagged % 5 == 0 and library.tagged < 1500


async def test_a_bootloader_that_is_killed_while_it_unpacks_leaves_nothing_that_runs_and_its_folder_is_swept(
    onefile: Path, temp: Path
) -> None:
    """Nobody can remove that folder at once: Python has not begun. The next start does."""
    left = 0
    for milliseconds in range(0, 120, 10):
        process = await trio.lowlevel.open_process([str(onefile)], stdin=-1, stdout=-1, stderr=-1)
        await trio.sleep(milliseconds / 1000)
        processes = harness.family(process.pid)
        process.kill()
        await process.wait()
        await harness.none_left(processes, END_SECONDS)
        left += len(list(temp.iterdir())) > 0
        async with harness.start(None) as subject:
            await subject.result("status")
            [own] = temp.glob(f"_MEI{subject.process.pid:08x}*")
            await harness.eventually(lambda own=own: list(temp.iterdir()) == [own])  # type: ignore[misc]
    assert left, "not one was killed in time"


async def test_a_start_sweeps_what_the_dead_have_left_and_nothing_else(temp: Path) -> None:
    async with harness.start(None) as other:
        await other.result("status")
        [alive] = temp.iterdir()
        dead = await _leave_a_folder(temp)
        foreign = _folder(temp / "_MEI003ffffeABCDEF")  # of some other program: no marker
        unpacking = _folder(temp / f"_MEI{os.getpid():08x}ABCDEF", MARKER)  # this very process's, as it seems
        link = temp / "_MEI003fffffABCDEF"
        link.symlink_to(dead)
        async with harness.start(None) as subject:
            await subject.result("status")
            [own] = temp.glob(f"_MEI{subject.process.pid:08x}*")
            await harness.eventually(lambda: not dead.exists())
            await subject.result("status")
            assert set(temp.iterdir()) == {alive, foreign, unpacking, link, own}
        assert (await other.result("status"))["pid"]
    for path in (foreign, unpacking):
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
    link.unlink()


async def test_a_bootloader_that_is_killed_between_pythons_end_and_its_own_leaves_an_empty_folder_at_most(
    temp: Path,
) -> None:
    """An app that closes does so: it asks for the end, and kills what it has started while that is under way."""
    async with harness.start(None) as subject:
        tree = Tree(subject, (await subject.result("status"))["pid"])
        [folder] = temp.iterdir()
        tree.bootloader.suspend()
        await subject.send("shutdown")
        await harness.none_left([tree.python], END_SECONDS)
        assert list(folder.iterdir()) == []
        tree.bootloader.kill()
        await harness.none_left([tree.bootloader])
    await _check_it_is_swept(temp, folder)


async def test_whatever_is_left_where_both_are_killed_while_the_folder_is_removed_is_swept(temp: Path) -> None:
    partly = 0
    for _ in range(10):
        async with harness.start(None) as subject:
            tree = Tree(subject, (await subject.result("status"))["pid"])
            [folder] = temp.iterdir()
            whole = len(list(folder.iterdir()))
            tree.bootloader.suspend()
            await subject.send("shutdown")
            with trio.fail_after(END_SECONDS):
                while len(list(folder.iterdir())) == whole:
                    await trio.lowlevel.checkpoint()
            tree.python.kill()
            tree.bootloader.kill()
            await harness.none_left([tree.python, tree.bootloader], END_SECONDS)
        partly += len(list(folder.iterdir())) > 0
        await _check_it_is_swept(temp, folder)
    assert partly, "not one was killed in time"


async def _check_it_is_swept(temp: Path, folder: Path) -> None:
    async with harness.start(None) as subject:
        await subject.result("status")
        await harness.eventually(lambda: not folder.exists())
        assert len(list(temp.iterdir())) == 1
    assert list(temp.iterdir()) == []


async def _leave_a_folder(temp: Path) -> Path:
    """Kills both processes of a launch so that neither gets to remove its folder."""
    async with harness.start(None) as subject:
        tree = Tree(subject, (await subject.result("status"))["pid"])
        [folder] = temp.glob(f"_MEI{tree.bootloader.pid:08x}*")
        tree.python.suspend()
        tree.bootloader.kill()
        tree.python.kill()
        await harness.none_left([tree.python, tree.bootloader])
    assert (folder / MARKER).exists()
    return folder


def _folder(path: Path, *files: str) -> Path:
    path.mkdir()
    for name in (*files, "content"):
        (path / name).touch()
    return path
