"""Notices the death of the process that this one works for, while stdin is still open (somebody may hold it).

That is the parent; and in a onefile, where the parent is only its bootloader, that one's parent too: the
shell. Linux tells at once, by a pidfd; other POSIX systems are polled. `PR_SET_PDEATHSIG` is not used: it
fires when the thread that started us ends, and a Rust runtime's threads come and go. Windows: a wait on
handles, written after the documentation of OpenProcess and NtQueryInformationProcess, not run here; nor is
macOS.
"""

import os
import sys
from pathlib import Path
from typing import Final

import trio

from sidecar.process import unpacked

POLL_SECONDS: Final = 0.25
_SYNCHRONIZE: Final = 0x00100000
_QUERY_LIMITED_INFORMATION: Final = 0x1000


async def wait_for_death(parent_pid: int) -> None:
    """Returns when the parent is gone, or in a onefile the bootloader or the shell above it.

    `parent_pid`: the parent at this process's start; where another has taken its place it has died since.
    """
    if os.getppid() != parent_pid:
        return
    pids = {parent_pid}
    bootloader = unpacked.bootloader_pid()
    if bootloader is not None:
        pids |= {bootloader, await _parent_of(bootloader)}
    async with trio.open_nursery() as nursery:

        async def watch(pid: int) -> None:
            await death_of(pid)
            nursery.cancel_scope.cancel()

        for pid in pids:
            nursery.start_soon(watch, pid)


if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    _kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    _kernel32.OpenProcess.restype = wintypes.HANDLE
    _NO_SUCH_PROCESS: Final = 87
    """ERROR_INVALID_PARAMETER, which OpenProcess also says of pid 0."""

    def _open(pid: int) -> int:
        """A handle to wait on; 0 when there is no such process or it is not ours to watch."""
        return _kernel32.OpenProcess(_SYNCHRONIZE | _QUERY_LIMITED_INFORMATION, False, pid) or 0

    async def death_of(pid: int) -> None:
        """Returns when that process is gone."""
        handle = _open(pid)
        if handle:
            await trio.lowlevel.WaitForSingleObject(handle)
        elif pid == 0 or ctypes.get_last_error() != _NO_SUCH_PROCESS:
            await trio.sleep_forever()

    async def _parent_of(pid: int) -> int:
        handle = _open(pid)
        information = (ctypes.c_void_p * 6)()  # PROCESS_BASIC_INFORMATION, whose last word is the parent's id
        query = ctypes.WinDLL("ntdll").NtQueryInformationProcess
        query(wintypes.HANDLE(handle), 0, ctypes.byref(information), ctypes.sizeof(information), None)
        _kernel32.CloseHandle(wintypes.HANDLE(handle))
        return information[5] or 0

else:

    async def death_of(pid: int) -> None:
        """Returns when that process is gone."""
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        except (AttributeError, OSError):  # not Linux; an old kernel, a sandbox, a parent outside of it (pid 0)
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
