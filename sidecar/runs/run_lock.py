"""The run lock as a run takes it: at once, or refused with the id of the run that holds it."""

import sqlite3

import trio

from sidecar.contract import ActiveRunData, Code, RpcError
from sidecar.library import run_reads
from sidecar.library.connections import Shape
from sidecar.library.lock import RunLock, given_back, taken
from sidecar.library.store import Library

HOLDER_PATIENCE_SECONDS = 1.0
PASSING_SECONDS = 0.15
"""Who holds the lock for longer has a run."""
PROBE_SECONDS = 0.02
ELSEWHERE = "Another process is tagging this library. Wait for its end or cancel it there."


async def take_run_lock(library: Library) -> RunLock:
    """The lock, held. Raises RpcError -32001 with the holder's run, LibraryError.

    Another process may hold it for a moment only: to see whether a run is alive, or to find nothing to do.
    """
    lock = RunLock(library.known_path)
    asked_at = trio.current_time()
    with trio.move_on_after(HOLDER_PATIENCE_SECONDS):
        while not await taken(lock):
            # Only the database tells whose lock it is, and between its lock and its first transaction a run is
            # not there yet.
            holder = await library.read(_running_run)
            if holder is not None and trio.current_time() >= asked_at + PASSING_SECONDS:
                raise run_active(holder, ELSEWHERE)
            await trio.sleep(PROBE_SECONDS)
        library.run_lock = lock
        return lock
    raise run_active(None, ELSEWHERE)


async def give_back(library: Library, lock: RunLock) -> None:
    """No cancel keeps it from that."""
    library.run_lock = None  # before: who relies on it must not do so when it is another's
    await given_back(lock)


def _running_run(connection: sqlite3.Connection, _shape: Shape) -> str | None:
    return run_reads.running_run(connection)


def run_active(run_id: str | None, sentence: str) -> RpcError:
    """-32001: one run at a time."""
    return RpcError(Code.RUN_ACTIVE, sentence, ActiveRunData(run_id))
