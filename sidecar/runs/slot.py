"""The one slot that a process has for what keeps runs out: a run, an undo, or proposals that are written.

Starts come one after another, and one that finds the slot filled is refused. A cancel, or the end of the process,
may come while something is still starting: `settled` lets that start finish. One that takes longer than a moment
waits for another program's lock, and is cut off.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from sidecar.contract import Code, RpcError
from sidecar.library.lock import given_back
from sidecar.library.store import Library
from sidecar.runs.run_lock import run_active
from sidecar.runs.under_way import ActiveRun, Revision

T = TypeVar("T")


class Slot:
    """What is under way in this process, and the way in. Every method is called from the trio thread."""

    def __init__(self, library: Library) -> None:
        self.under_way: ActiveRun | Revision | None = None
        self._library = library
        self._starting = trio.Lock()
        self._start = trio.CancelScope()
        self._is_closed = False

    @property
    def run_id(self) -> str | None:
        """The run that is under way."""
        under_way = self.under_way
        return under_way.run_id if under_way is not None and under_way.is_run else None

    def close(self) -> None:
        """Nothing starts any more: the process is about to end."""
        self._is_closed = True

    async def start(self, start: Callable[[], Awaitable[T]]) -> T:
        """Does `start`, which may `fill` the slot, once the starts asked for before have ended.

        Raises RpcError -32001 where something is under way, -32002 where the start was cut off or the slot is
        closed, LibraryError where there is no library, and what `start` raises.
        """
        async with self._starting:
            self._refuse_second()
            with trio.CancelScope() as self._start:
                await self._library.read(lambda _, __: None)  # no lock's file where there is no library
                return await start()
            raise RpcError(Code.NO_SUCH_RUN, "Tagging was cancelled before it had begun.")

    def fill(self, under_way: ActiveRun | Revision) -> None:
        """It has taken the run lock, and keeps others out from here on."""
        self.under_way = under_way

    async def free(self, under_way: ActiveRun | Revision) -> None:
        """It is over: the next may start, here or in another process."""
        await given_back(under_way.lock)
        self.under_way = None
        under_way.stopped.set()

    async def settled(self, patience_seconds: float) -> ActiveRun | Revision | None:
        """What is under way once the starts asked for before have ended; one that takes too long is cut off."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._cut_off_starts, patience_seconds)
            async with self._starting:
                under_way = self.under_way
            nursery.cancel_scope.cancel()
        return under_way

    async def under_way_within(self, patience_seconds: float) -> ActiveRun | Revision | None:
        """As `settled`, but a start that takes too long goes on."""
        with trio.move_on_after(patience_seconds):
            async with self._starting:
                pass
        return self.under_way

    async def _cut_off_starts(self, patience_seconds: float) -> None:
        while True:
            await trio.sleep(patience_seconds)
            self._start.cancel()

    def _refuse_second(self) -> None:
        if self.under_way is not None:
            raise run_active(self.under_way.run_id, self.under_way.sentence)
        if self._is_closed:
            raise RpcError(Code.NO_SUCH_RUN, "The sidecar is about to end: no run starts any more.")
