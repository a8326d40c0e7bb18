"""Reads the lines of stdin, in a thread of its own, and hands them to the trio thread."""

import os
import select
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Final

import outcome
import trio

from sidecar.process.lines import Line, LineSplitter
from sidecar.process.stdio import CHUNK_BYTES, wait

HANG_UP_SECONDS: Final = 0.25
"""While the gates are closed: how often is looked whether the sender is still there."""


async def read_lines(
    fd: int, deliver: Callable[[list[Line]], None], gates: Sequence[threading.Event] = ()
) -> None:
    """Reads lines until the end of input (or an error, which is the same); returns then.

    Calls `deliver` in the trio thread with all lines of one read, never with none; what it raises ends the
    reading. The reading thread waits for nothing but the input, the event loop and the `gates`: it reads on when
    all are open, so that a sender of more than can be kept is held up by its own pipe. It is at most one read
    ahead of what was delivered. Cancelled, it is abandoned where it stands: `deliver` is not called any more,
    but what it reads until the process ends is lost.
    """
    with trio.CancelScope() as scope:
        reader = _Reader(deliver, gates, scope)
        try:
            # A limiter of its own: it holds its token for ever, and the others are for work.
            await trio.to_thread.run_sync(reader.run, fd, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1))
        finally:
            reader.abandoned = True
    reader.delivered.unwrap()


class _Reader:
    """What the reading thread does; cancels `scope` where `deliver` has raised.

    `abandoned` and `delivered` belong to the trio thread.
    """

    def __init__(
        self, deliver: Callable[[list[Line]], None], gates: Sequence[threading.Event], scope: trio.CancelScope
    ) -> None:
        self.abandoned = False
        self.delivered: outcome.Outcome[None] = outcome.Value(None)
        self._scope = scope
        self._deliver = deliver
        self._gates = gates
        self._event_loop = trio.lowlevel.current_trio_token()
        self._turn = threading.Semaphore()

    def run(self, fd: int) -> None:
        """To the end of the input, or of the event loop: RunFinishedError, then nobody is left to tell.

        What is delivered last comes before the news that this has ended: both go through `run_sync_soon`.
        """
        splitter = LineSplitter()
        while self._may_read(fd) and (chunk := _read(fd)):
            self._hand_over(splitter.feed(chunk))
        self._hand_over(splitter.end())

    def _may_read(self, fd: int) -> bool:
        """Waits for the gates; False when the sender has gone meanwhile."""
        for gate in self._gates:
            while not (gate.is_set() or gate.wait(HANG_UP_SECONDS)):
                if _has_hung_up(fd):
                    return False
        return True

    def _hand_over(self, lines: list[Line]) -> None:
        """Does not wait until they are delivered, only until those before are: to be woken up costs time."""
        if lines:
            self._turn.acquire()
            self._event_loop.run_sync_soon(self._deliver_unless_abandoned, lines)

    def _deliver_unless_abandoned(self, lines: list[Line]) -> None:
        if not self.abandoned:
            self.delivered = outcome.capture(self._deliver, lines)
            if isinstance(self.delivered, outcome.Error):
                self.abandoned = True
                self._scope.cancel()
        self._turn.release()


def _read(fd: int) -> bytes:
    """The next bytes; none at the end of input, and when it cannot be read."""
    while True:
        try:
            return os.read(fd, CHUNK_BYTES)
        except BlockingIOError:  # whoever made the pipe set O_NONBLOCK on it
            if not wait(readable=[fd]):
                return b""
        except OSError:
            return b""


def _has_hung_up(fd: int) -> bool:
    """Whether nobody can write to the pipe any more, though it may hold bytes that were not read.

    Windows cannot tell before they are; there the death of the shell ends the process (`parent`).
    """
    if sys.platform == "win32":
        return False
    poll = select.poll()
    poll.register(fd, select.POLLHUP)  # POSIX tells it unasked; macOS looks for nothing where nothing is asked
    return bool(poll.poll(0))
