"""parent: the process above a bootloader, where no /proc tells of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from sidecar.process import parent

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX processes")


@pytest.mark.skipif(not Path("/bin/ps").exists(), reason="no ps")
async def test_ps_tells_a_parent() -> None:
    assert await parent._parent_by_ps(os.getpid()) == os.getppid()


@pytest.mark.parametrize("script", [None, "echo PPID", "echo; exit 1", "exit 1"])
async def test_a_parent_that_cannot_be_told_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None
) -> None:
    if script is not None:
        (tmp_path / "ps").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "ps").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert await parent._parent_by_ps(os.getpid()) == 0


async def test_a_parent_that_died_during_the_start_is_missed() -> None:
    with trio.fail_after(5):
        await parent.wait_for_death(os.getppid() + 1)


def test_who_was_launched_in_an_ordinary_way_is_no_orphan() -> None:
    assert not parent.is_adopted(os.getpid(), os.getppid())
    idle = [sys.executable, "-c", "import time; time.sleep(60)"]
    with subprocess.Popen(idle, start_new_session=True) as leader:  # as a service of the system's
        try:
            assert not parent.is_adopted(leader.pid, 1)
        finally:
            leader.kill()
    assert not parent.is_adopted(leader.pid, os.getpid()), "it is gone, and reaped"
