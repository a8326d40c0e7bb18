"""The pace that all batches share: when the next request may leave, and how many at once.

A state machine without clock or waiting: every event brings its time (seconds of one monotonic clock),
every answer is a number to act on. So no cancellation can land inside a decision.

- A 429 holds everybody until its delay has passed and halves the concurrency, once per burst: answers
  to requests that left before the last halving do not halve again. It grows back by one for as many
  successes as there are places.
- An outage begins when `max_attempts` requests in a row failed, from two batches or more, nothing
  succeeding between (a 429 is no success, nor is what the flex tier sheds). Then one probe at a time leaves,
  its failures cost no batch an attempt and its 429s no refusal, and the first answer that is neither ends it.
  After `outage_max_seconds` the run ends.
"""

import math
from enum import Enum, auto

from sidecar.gemini.backoff import Limits, backoff

SLEPT_SECONDS = 60.0
"""Who comes so late to the end of an outage has slept over it: on Windows the clock goes on meanwhile."""


class Sign(Enum):
    """What a request that failed tells of Gemini.

    ANSWERED: it has judged the request, so there is no outage, or it is over.
    RATE_LIMITED: a 429, so less at once from here on.
    DOWN: no answer, or none but that it cannot answer: an outage, where many fail so in a row.
    FOREIGN: something else answered in its place. NONE: nothing, the request was not sent or not looked at.

    Of RATE_LIMITED, FOREIGN and NONE an outage neither begins nor ends.
    """

    ANSWERED = auto()
    RATE_LIMITED = auto()
    DOWN = auto()
    FOREIGN = auto()
    NONE = auto()


class Pace:
    """One run's pace. Only the trio thread may call it.

    `outages` counts those that have begun. `is_overload`: the present delay was asked for by a 503 or 504.
    """

    def __init__(self, ceiling: int, limits: Limits, held_until: float = -math.inf) -> None:
        self.concurrency: int = ceiling
        self.outage_since: float | None = None
        self.outages = 0
        self.is_overload = False
        self._ceiling = ceiling
        self._limits = limits
        self._held_until = held_until
        self._successes = 0
        self._reduced_at = -math.inf
        self._streak = 0
        self._streak_batches: set[int] = set()
        self._probes = 0
        self._probe_at = -math.inf
        self._concurrency_before_outage = ceiling

    @property
    def held_until(self) -> float:
        """When the longest delay that Gemini asked for has passed: for the next run, too."""
        return self._held_until

    def wait_seconds(self, now: float) -> float:
        """How long nobody may send; 0 when the way is free."""
        until = self._held_until if self.outage_since is None else max(self._held_until, self._probe_at)
        return max(0.0, until - now)

    @property
    def outage_ends_at(self) -> float:
        """When an outage ends the run; infinity outside an outage."""
        return math.inf if self.outage_since is None else self.outage_since + self._limits.outage_max_seconds

    def outage_is_over(self, now: float) -> bool:
        """Whether an outage ends the run. One whose end was slept over begins anew, with a probe at once."""
        if now >= self.outage_ends_at + SLEPT_SECONDS:
            self.outage_since = self._probe_at = now
            self._probes = 0
        return now >= self.outage_ends_at

    def hold(self, seconds: float, now: float, *, is_overload: bool = False) -> None:
        """Nobody sends for that long."""
        if now + seconds > self._held_until:
            self._held_until, self.is_overload = now + seconds, is_overload

    def succeeded(self) -> None:
        """A request was answered with something to work on."""
        self._reached()
        self._successes += 1
        if self._successes >= self.concurrency and self.concurrency < self._ceiling:
            self.concurrency += 1
            self._successes = 0

    def failed(self, sign: Sign, batch: int, sent_at: float, now: float, jitter: float) -> bool:
        """A request of `batch` failed. True when that uses up one of its tries: in an outage none does."""
        if sign is Sign.ANSWERED:
            self._reached()
            return True
        if sign is Sign.RATE_LIMITED:
            self._reduce(sent_at, now)
        if self.outage_since is None:
            if sign is Sign.DOWN:
                self._lengthen_streak(batch, now, jitter)
        elif sent_at >= self.outage_since:
            self._probe_failed(now, jitter)
        return self.outage_since is None

    def _reached(self) -> None:
        self._streak = 0
        self._streak_batches.clear()
        if self.outage_since is not None:
            self.outage_since = None
            self.concurrency = self._concurrency_before_outage

    def _reduce(self, sent_at: float, now: float) -> None:
        self._successes = 0
        if sent_at >= self._reduced_at:
            self.concurrency = max(1, self.concurrency // 2)
            self._concurrency_before_outage = max(1, self._concurrency_before_outage // 2)
            self._reduced_at = now

    def _lengthen_streak(self, batch: int, now: float, jitter: float) -> None:
        self._streak += 1
        self._streak_batches.add(batch)
        if self._streak >= self._limits.max_attempts and len(self._streak_batches) >= 2:
            self.outage_since = now
            self.outages += 1
            self._concurrency_before_outage = self.concurrency
            self.concurrency = 1
            self._probes = 0
            self._probe_failed(now, jitter)

    def _probe_failed(self, now: float, jitter: float) -> None:
        self._probes += 1
        # At least half of the step: with full jitter alone a run of small draws would hammer a dead server.
        self._probe_at = now + backoff(self._probes, self._limits, 0.5 + jitter / 2)
