"""Lets a run's batches begin as its budget allows."""

from datetime import UTC, datetime

import trio

from sidecar.gemini.meter import Meter
from sidecar.gemini.verdicts import End
from sidecar.runs.budget import Allowance
from sidecar.runs.stamps import day


class BudgetGate:
    """Counts the batches that are being asked for. One task asks to be let in; any may say that one is done."""

    def __init__(self, allowance: Allowance, meter: Meter) -> None:
        self._allowance = allowance
        self._meter = meter
        self._under_way = 0
        self._one_done = trio.Event()

    @property
    def end(self) -> End:
        """Of a run of which nothing is let in any more."""
        return self._allowance.end

    async def admit(self) -> bool:
        """Whether the budget covers one more batch; waits for those under way where they decide."""
        while not self._allowance.covers(self._meter.usage, self._under_way, day(datetime.now(UTC))):
            if not self._under_way:
                return False
            self._one_done = trio.Event()
            await self._one_done.wait()
        self._under_way += 1
        return True

    def done(self) -> None:
        """One of them has been asked for, or was cut off."""
        self._under_way -= 1
        self._one_done.set()
