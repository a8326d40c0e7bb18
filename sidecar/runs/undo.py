"""Takes a run back. Keeps runs out meanwhile, and goes part by part, one transaction each."""

from functools import partial

from sidecar.contract import Undone
from sidecar.library import run_writes
from sidecar.library.own_tables import create_tables
from sidecar.library.run_writes import RunRow
from sidecar.library.store import Library
from sidecar.library.undo import undo_files, undoable_ids
from sidecar.library.writer import Transaction
from sidecar.runs.runs import Runs

TAKEN_BACK = "A run is being taken back in this library. Wait until that is done."
PART_FILES = 100
"""Some 10 ms, so that the shell's own writes find the lock free."""


async def undo(runs: Runs, library: Library, run_id: str) -> Undone:
    """Takes back what a run wrote; cut off, it tells what it did until then, and may be called again to go on.

    Raises RpcError -32001, -32002, LibraryError.
    """
    async with runs.nobody_tagging(run_id, TAKEN_BACK) as revision:
        booked = await runs.archive.booked(run_id)
        tagged = 0 if booked.dry_run else (await runs.archive.summary(run_id)).processed_files
        ids = await library.read(lambda connection, _: undoable_ids(connection, booked.row))
        row, restored, left = RunRow(booked.row, booked.run_id), 0, len(ids)
        with revision.scope:
            if ids:
                await library.write(partial(_prepare, row))
            for start in range(0, len(ids), PART_FILES):
                part = ids[start : start + PART_FILES]
                restored += await library.write(partial(_undo_part, row, part))
                left -= len(part)
    return Undone(run_id, restored, tagged - restored - left)


def _prepare(row: RunRow, transaction: Transaction) -> None:
    """Without its index each file would take a look through all that runs have taken away."""
    row.require(transaction)
    create_tables(transaction.connection)


def _undo_part(row: RunRow, ids: list[int], transaction: Transaction) -> int:
    row.require(transaction)
    run_writes.interrupt_dead(transaction.connection)  # who asks who holds the run lock is told of no dead run
    return undo_files(transaction, row.row, ids)
