"""The one slot that a process has for what keeps runs out: a run, an undo, or proposals that are written.

Starts come one after another, and one that finds the slot filled is refused. A cancel, or the end of the process,
may come while something is still starting: `settled` lets that start finish. One that takes longer than a moment
waits for another program's lock, and is cut off; but a cancel is for runs, and cuts off no undo.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import trio

from sidecar.contract import Code, RpcError
from sidecar.library.store import Library
from sidecar.runs.run_lock import give_back, run_active
from sidecar.runs.under_way import ActiveRun, Revision

CUT_OFF = "Tagging was cancelled before it had begun."
ABOUT_TO_END = "The sidecar is about to end: nothing starts any more."

T = TypeVar("T")


class _Start:
    """One that was asked for, until it has `ended`: something is under way, or it was refused."""

    def __init__(self, *, of_run: bool) -> None:
        self.of_run = of_run
        self.scope = trio.CancelScope()
        self.ended = trio.Event()


class Slot:
    """What is under way in this process, and the way in. Every method is called from the trio thread."""

    def __init__(self, library: Library) -> None:
        self.under_way: ActiveRun | Revision | None = None
        self._library = library
        self._turn = trio.Lock()
        self._starts: list[_Start] = []
        self._is_closed = False

    @property
    def run_id(self) -> str | None:
        """The run that is under way."""
        under_way = self.under_way
        return under_way.run_id if under_way is not None and under_way.is_run else None

    def close(self) -> None:
        """Nothing starts any more: the process is about to end."""
        self._is_closed = True

    async def start(self, begin: Callable[[], Awaitable[T]], *, of_run: bool) -> T:
        """Does `begin`, which may `fill` the slot, once the starts asked for before have ended.

        `of_run`: what it begins is a run, or becomes one. Raises RpcError -32001 where something is under way,
        -32002 where the start was cut off or the slot is closed, LibraryError where there is no library, and what
        `begin` raises.
        """
        start = _Start(of_run=of_run)
        self._starts.append(start)
        try:
            with start.scope:
                async with self._turn:
                    self._refuse_second()
                    await self._library.read(lambda _, __: None)  # no lock's file where there is no library
                    return await begin()
        finally:
            self._starts.remove(start)
            start.ended.set()
        raise RpcError(Code.NO_SUCH_RUN, CUT_OFF if of_run else ABOUT_TO_END)

    def fill(self, under_way: ActiveRun | Revision) -> None:
        """It has taken the run lock, and keeps others out from here on."""
        self.under_way = under_way

    async def free(self, under_way: ActiveRun | Revision) -> None:
        """It is over: the next may start, here or in another process."""
        await give_back(self._library, under_way.lock)
        self.under_way = None
        under_way.stopped.set()

    async def settled(self, patience_seconds: float, *, runs_only: bool = False) -> ActiveRun | Revision | None:
        """What is under way once the starts asked for before have ended; those that take too long are cut off.

        `runs_only`: the others go on, and are not waited for.
        """
        starts = [start for start in self._starts if start.of_run or not runs_only]
        with trio.move_on_after(patience_seconds):
            await _all_ended(starts)
        for start in starts:
            start.scope.cancel()
        await _all_ended(starts)
        return self.under_way

    async def under_way_within(self, patience_seconds: float) -> ActiveRun | Revision | None:
        """What is under way once the runs' starts asked for before have ended; those that take too long go on."""
        with trio.move_on_after(patience_seconds):
            await _all_ended([start for start in self._starts if start.of_run])
        return self.under_way

    def _refuse_second(self) -> None:
        if self.under_way is not None:
            raise run_active(self.under_way.run_id, self.under_way.sentence)
        if self._is_closed:
            raise RpcError(Code.NO_SUCH_RUN, ABOUT_TO_END)


async def _all_ended(starts: Sequence[_Start]) -> None:
    for start in starts:
        await start.ended.wait()
