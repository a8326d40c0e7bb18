"""Notices the death of the process that this one works for, while stdin is still open (somebody may hold it).

That is the parent; and in a onefile, where the parent is only its bootloader, that one's parent too: the
shell. Linux tells at once, by a pidfd; other POSIX systems are polled. `PR_SET_PDEATHSIG` is not used: it
fires when the thread that started us ends, and a Rust runtime's threads come and go. Windows waits on handles;
that was tried under Wine. macOS was not tried.

A shell that died before we looked is told by the session of who took its place; not where that is the same one,
as on a system whose first process leads the only session.
"""

import os
import sys
from pathlib import Path
from typing import Final

import trio

from sidecar.process import unpacked, windows

POLL_SECONDS: Final = 0.25


async def wait_for_death(parent_pid: int) -> None:
    """Returns when the parent is gone, or in a onefile the bootloader or the shell above it.

    `parent_pid`: the parent at this process's start; where another has taken its place it has died since.
    """
    if os.getppid() != parent_pid or is_adopted(os.getpid(), parent_pid):
        return
    pids = {parent_pid}
    bootloader = unpacked.bootloader_pid()
    if bootloader is not None:
        above = await _parent_of(bootloader)
        if is_adopted(bootloader, above):  # the shell died while the bootloader unpacked us
            return
        pids |= {bootloader, above}
    async with trio.open_nursery() as nursery:

        async def watch(pid: int) -> None:
            await death_of(pid)
            nursery.cancel_scope.cancel()

        for pid in pids:
            nursery.start_soon(watch, pid)


if sys.platform == "win32":

    def is_adopted(_pid: int, _parent: int) -> bool:
        """Windows gives an orphan no other parent."""
        return False

    async def death_of(pid: int) -> None:
        """Returns when that process is gone; never for one that is not ours to watch."""
        try:
            handle = windows.open_process(pid)
        except ProcessLookupError:
            return
        if handle is None:
            await trio.sleep_forever()
        try:
            await trio.lowlevel.WaitForSingleObject(handle)
        finally:
            windows.close(handle)

    async def _parent_of(pid: int) -> int:
        return windows.parent_of(pid)

else:

    def is_adopted(pid: int, parent: int) -> bool:
        """Whether an orphan's parent took the place of the one that made it. False also where that cannot be told.

        A session is inherited: who neither leads its own nor shares its parent's was made by somebody else.
        """
        try:
            session = os.getsid(pid)
            return session not in (0, pid, os.getsid(parent))  # 0: one from outside of a container
        except OSError:
            return False

    async def death_of(pid: int) -> None:
        """Returns when that process is gone."""
        if sys.platform != "linux":
            await _poll(pid)
            return
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        except OSError:  # an old kernel, a sandbox, a parent outside of it (pid 0)
            await _poll(pid)
            return
        try:
            await trio.lowlevel.wait_readable(fd)
        finally:
            os.close(fd)

    async def _poll(pid: int) -> None:
        # An orphan gets another parent at once, while a dead process that nobody reaps keeps its pid.
        parent = os.getppid()
        while os.getppid() == parent and unpacked.is_alive(pid):  # noqa: ASYNC110 - no event exists for it
            await trio.sleep(POLL_SECONDS)

    async def _parent_of(pid: int) -> int:
        """Its parent's pid; 0, which never dies, when that cannot be told."""
        return _parent_in_proc(pid) if sys.platform == "linux" else await _parent_by_ps(pid)

    async def _parent_by_ps(pid: int) -> int:
        command = ["ps", "-o", "ppid=", "-p", str(pid)]
        try:
            return int((await trio.run_process(command, capture_stdout=True, check=False)).stdout or 0)
        except (OSError, ValueError):  # no `ps`, or another one than POSIX describes
            return 0

    def _parent_in_proc(pid: int) -> int:
        try:
            line = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")  # `pid (name) state parent …`
        except OSError:
            return 0
        return int(line.rpartition(")")[2].split()[1])
