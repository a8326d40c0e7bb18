"""The run lock as a run takes it: at once, or refused with the id of the run that holds it."""

import sqlite3

import trio

from sidecar.contract import ActiveRunData, Code, RpcError
from sidecar.library import run_rows
from sidecar.library.connections import Shape
from sidecar.library.lock import RunLock
from sidecar.library.store import Library

HOLDER_PATIENCE_SECONDS = 1.0
PROBES = 3
UNDER_WAY = "Tagging is already under way for this library. Wait for its end or cancel it first."
ELSEWHERE = "Another process is tagging this library. Wait for its end or cancel it there."


async def take_run_lock(library: Library) -> RunLock:
    """The lock, held. Raises RpcError -32001 with the holder's run, LibraryError."""
    await library.read(lambda _, __: None)  # where there is no library no file is to be made beside it
    lock = RunLock(library.known_path)
    for _ in range(PROBES):
        if lock.take():
            return lock
        await trio.sleep(0.01)  # another process may hold it for an instant, to see whether a run is alive
    raise run_active(await _holder(library), ELSEWHERE)


async def _holder(library: Library) -> str | None:
    """The run that holds the lock, where the database says so in time."""
    with trio.move_on_after(HOLDER_PATIENCE_SECONDS):
        # Between the holder's lock and its first transaction; only the database can tell.
        while (holder := await library.read(_running_run)) is None:  # noqa: ASYNC110
            await trio.sleep(0.02)
        return holder
    return None


def _running_run(connection: sqlite3.Connection, _shape: Shape) -> str | None:
    return run_rows.running_run(connection)


def run_active(run_id: str | None, sentence: str = UNDER_WAY) -> RpcError:
    """-32001: one run at a time."""
    return RpcError(Code.RUN_ACTIVE, sentence, ActiveRunData(run_id))
