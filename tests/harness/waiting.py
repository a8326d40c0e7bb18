"""Waiting for what tells nobody when it changes: another process's database, a process's death."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import psutil
import trio

DEADLINE_SECONDS: Final = 30.0
"""Every wait in the tests ends: one that hangs fails instead."""


async def eventually(condition: Callable[[], bool], seconds: float = DEADLINE_SECONDS) -> None:
    """Polls until the condition holds."""
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - nothing tells
            await trio.sleep(0.01)


async def never(condition: Callable[[], bool], seconds: float) -> None:
    """Fails when the condition comes true within that time."""
    with trio.move_on_after(seconds) as scope:
        await eventually(condition, seconds + 1)
    assert scope.cancelled_caught, "what must not happen has happened"


def alive(process: int | psutil.Process) -> bool:
    """Whether the process runs; one that has ended and waits to be reaped does not."""
    try:
        known = psutil.Process(process) if isinstance(process, int) else process
        return known.is_running() and known.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def family(pid: int) -> list[psutil.Process]:
    """The process and all that descend from it: a frozen file is two."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def kill(processes: Sequence[psutil.Process]) -> None:
    """SIGKILL to each that is there still."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


async def none_left(processes: Sequence[psutil.Process], seconds: float = 2.0) -> None:
    """Fails unless all of them have ended within that time."""
    await eventually(lambda: not any(map(alive, processes)), seconds)
