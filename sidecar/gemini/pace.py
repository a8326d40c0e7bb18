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

from sidecar.gemini.policy import Limits, backoff

SLEPT_SECONDS = 60.0
"""Who comes so late to the end of an outage has slept over it: on Windows the clock goes on meanwhile."""


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

    def succeeded(self) -> None:
        """A request was answered with something to work on."""
        self.reached()
        self._successes += 1
        if self._successes >= self.concurrency and self.concurrency < self._ceiling:
            self.concurrency += 1
            self._successes = 0

    def reached(self) -> None:
        """Gemini answered, if only with a refusal of this request: no outage, or the end of one."""
        self._streak = 0
        self._streak_batches.clear()
        if self.outage_since is not None:
            self.outage_since = None
            self.concurrency = self._concurrency_before_outage

    def hold(self, seconds: float, now: float, *, is_overload: bool = False) -> None:
        """Nobody sends for that long."""
        if now + seconds > self._held_until:
            self._held_until, self.is_overload = now + seconds, is_overload

    def refused(self, sent_at: float, now: float) -> None:
        """A 429: less at once from here on."""
        self._successes = 0
        if sent_at >= self._reduced_at:
            self.concurrency = max(1, self.concurrency // 2)
            self._concurrency_before_outage = max(1, self._concurrency_before_outage // 2)
            self._reduced_at = now

    def unanswered(self, sent_at: float, now: float, jitter: float) -> bool:
        """A captive portal answered, or nobody did; or Gemini sent a request away, which ends no outage.

        True when it costs the request a try, False in an outage.
        """
        if self.outage_since is not None and sent_at >= self.outage_since:
            self._probe_failed(now, jitter)
        return self.outage_since is None

    def failed(self, batch: int, sent_at: float, now: float, jitter: float) -> bool:
        """A transient failure. True when it costs the batch an attempt, False in an outage."""
        if not self.unanswered(sent_at, now, jitter):
            return False
        self._streak += 1
        self._streak_batches.add(batch)
        if self._streak < self._limits.max_attempts or len(self._streak_batches) < 2:
            return True
        self.outage_since = now
        self.outages += 1
        self._concurrency_before_outage = self.concurrency
        self.concurrency = 1
        self._probes = 0
        self._probe_failed(now, jitter)
        return False

    def _probe_failed(self, now: float, jitter: float) -> None:
        self._probes += 1
        # At least half of the step: with full jitter alone a run of small draws would hammer a dead server.
        self._probe_at = now + backoff(self._probes, self._limits, 0.5 + jitter / 2)
