"""How a run has ended: remembered at once, and written, later on where another program is in the way."""

import logging
from collections.abc import Sequence

import trio
from msgspec import Struct

from sidecar.contract import FileFailure, RunSummary, Usage
from sidecar.library import run_writes
from sidecar.library.faults import Fault, LibraryError
from sidecar.library.store import Library
from sidecar.library.writer import Transaction
from sidecar.runs.archive import Archive

log = logging.getLogger(__name__)

LAST_WRITE_PATIENCE_SECONDS = 0.4
"""For a run's end state, behind whatever the writer has to do before: an exit has 2 s, and a state that is not
written reads as `interrupted`."""
LAST_WRITE_PAUSE_SECONDS = 1.0
"""Between two tries to write how a run has ended; they go on as long as the process lives."""


class _End(Struct, frozen=True):
    """What is written of a run at its end; see `Ends.book`."""

    row: int
    summary: RunSummary
    rest: Usage
    unsaved: Sequence[FileFailure]

    def write(self, transaction: Transaction) -> None:
        run_writes.end_run(transaction.connection, self.row, self.summary, self.rest, self.unsaved)


class Ends:
    """Those of this process's runs. `nursery` lives as long as the process."""

    def __init__(self, library: Library, archive: Archive, nursery: trio.Nursery) -> None:
        self._library = library
        self._archive = archive
        self._nursery = nursery
        self._unwritten: list[_End] = []
        self._turn = trio.Lock()

    async def book(self, row: int, summary: RunSummary, rest: Usage, unsaved: Sequence[FileFailure] = ()) -> None:
        """The run in that row has ended. No cancel reaches this; it takes 0.4 s at most.

        `rest` is the usage that is in no batch's row, `unsaved` are the failures that have no row.
        """
        end = _End(row, summary, rest, unsaved)
        if not await self._write(end):
            self._unwritten.append(end)
            self._nursery.start_soon(self._write_later, end)
        self._archive.remember(summary, unsaved)

    async def catch_up(self) -> None:
        """Writes what is not written yet: what those runs have spent counts for the next. Raises LibraryError."""
        async with self._turn:
            for end in [*self._unwritten]:
                await self._library.write(end.write)
                self._unwritten.remove(end)

    async def _write(self, end: _End) -> bool:
        """False where that takes too long: another program is in the way."""
        try:
            with trio.move_on_after(LAST_WRITE_PATIENCE_SECONDS, shield=True):
                await self._library.write(end.write)
                return True
        except LibraryError as error:
            log.warning("the end of the run could not be saved: %s", error.fault)
            return error.fault is not Fault.LOCKED
        except Exception:
            log.exception("the end of the run could not be saved")
            return True
        log.warning("the end of the run could not be saved in time")
        return False

    async def _write_later(self, end: _End) -> None:
        while end in self._unwritten:
            await trio.sleep(LAST_WRITE_PAUSE_SECONDS)
            async with self._turn:
                if end in self._unwritten and await self._write(end):
                    self._unwritten.remove(end)
