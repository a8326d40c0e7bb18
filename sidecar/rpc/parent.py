"""Notices the death of the parent process while stdin is still open (somebody else may hold it).

POSIX: an orphan gets another parent, so a slow poll of the parent's id tells; `PR_SET_PDEATHSIG` is not
used, since it fires when the thread that started us ends, and a Rust runtime's threads come and go.
Windows: a wait on the parent's handle; written after the documentation of OpenProcess, not run here.
"""

import os
import sys

import trio

POLL_SECONDS = 0.25
_SYNCHRONIZE = 0x00100000


async def wait_for_death() -> None:
    """Returns when the process that started this one is gone."""
    if sys.platform == "win32":
        import ctypes  # noqa: PLC0415 - needed on Windows only

        handle = ctypes.windll.kernel32.OpenProcess(_SYNCHRONIZE, False, os.getppid())
        if handle:
            await trio.lowlevel.WaitForSingleObject(handle)
        else:
            await trio.sleep_forever()
    else:
        parent = os.getppid()
        while os.getppid() == parent:  # noqa: ASYNC110 - no event exists for it
            await trio.sleep(POLL_SECONDS)
