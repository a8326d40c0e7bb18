"""Work on its way from a trio task to a thread, and its result on the way back.

Guarantees: either the thread claims the work, and then the task waits for its result whatever happens; or the task
is cancelled before, and then the thread finds that it is gone. Never both.
"""

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import outcome
import trio


class Handover:
    """Made by the task, which then waits in `trio.lowlevel.wait_task_rescheduled(handover.abort)`.

    `cancelled` is set when the task has been cancelled, whether it may leave or not.
    """

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self._token = trio.lowlevel.current_trio_token()
        self._task = trio.lowlevel.current_task()
        self._lock = threading.Lock()
        self._claimed = False
        self._raise_cancel: Callable[[], Any]

    def claim(self) -> bool:
        """For the thread: from here on the task waits for its result. False if it is gone."""
        with self._lock:
            self._claimed = not self.cancelled.is_set()
            return self._claimed

    def abort(self, raise_cancel: Callable[[], Any]) -> trio.lowlevel.Abort:
        """For trio: whether a cancel may take the task away now."""
        with self._lock:
            self._raise_cancel = raise_cancel
            self.cancelled.set()
            return trio.lowlevel.Abort.FAILED if self._claimed else trio.lowlevel.Abort.SUCCEEDED

    def given_up(self) -> "outcome.Outcome[Any]":
        """The result of claimed work that was cancelled and has done nothing: its task's cancellation."""
        result: outcome.Outcome[Any] = outcome.capture(self._raise_cancel)
        return result

    def post(self, result: "outcome.Outcome[Any]") -> None:
        """Hands the result to the task, which waits for it."""
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(trio.lowlevel.reschedule, self._task, result)
