"""What keeps all other runs out: a run, an undo, or proposals that are written."""

import trio

from sidecar.contract import RunSummary
from sidecar.library.lock import RunLock
from sidecar.runs.run import Run

UNDER_WAY = "Tagging is already under way for this library. Wait for its end or cancel it first."


class UnderWay:
    """What holds the run lock. Cancel `scope` to stop it; after `stopped`, `summary` is set if it `is_run`.

    `sentence` is for those whom it keeps out.
    """

    is_run = False
    sentence = UNDER_WAY

    def __init__(self, run_id: str, lock: RunLock) -> None:
        self.run_id = run_id
        self.lock = lock
        self.scope = trio.CancelScope()
        self.stopped = trio.Event()
        self.summary: RunSummary | None = None


class ActiveRun(UnderWay):
    """A run that Gemini is asked for, from the lock's taking to its last notification."""

    is_run = True

    def __init__(self, run: Run, lock: RunLock) -> None:
        super().__init__(run.plan.run_id, lock)
        self.run = run
        self.released = trio.Event()
        self.announced = trio.Event()

    def release(self) -> None:
        """Lets the run begin: its answer is on its way to the shell."""
        self.released.set()


class Revision(UnderWay):
    """The run `run_id` is undone, or its proposals are applied: that `becomes_run`, of its own.

    `begun`: it is booked as that run, or over.
    """

    def __init__(self, run_id: str, lock: RunLock, sentence: str, *, becomes_run: bool) -> None:
        super().__init__(run_id, lock)
        self.sentence = sentence
        self.becomes_run = becomes_run
        self.begun = trio.Event()

    def becomes(self, run_id: str) -> None:
        """It is booked as that run from here on."""
        self.run_id, self.is_run, self.sentence = run_id, True, UNDER_WAY
        self.begun.set()
