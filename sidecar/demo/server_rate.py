"""A script that keeps a limit as a server does, and notices the clients that do not heed its delays."""

from collections import deque
from dataclasses import dataclass, field

from sidecar.demo.replies import Received, Reply, rate_limited


@dataclass
class ServerRate:
    """A script: at most `limit` generateContent requests in any `per_seconds`, a 429 with a delay beyond.

    `refused` counts the 429s. `early` holds the requests that came while an announced delay was running;
    those within `grace_seconds` of the announcement were on their way and are not held against anyone.
    """

    limit: int
    per_seconds: float
    grace_seconds: float = 0.05
    refused: int = 0
    early: list[Received] = field(default_factory=list)
    _accepted: deque[float] = field(default_factory=deque)
    _announced_at: float = float("-inf")
    _closed_until: float = float("-inf")

    def __call__(self, received: Received) -> Reply | None:
        if received.method != "POST":
            return None
        now = received.at
        if self._announced_at + self.grace_seconds < now < self._closed_until:
            self.early.append(received)
        while self._accepted and self._accepted[0] <= now - self.per_seconds:
            self._accepted.popleft()
        if len(self._accepted) < self.limit:
            self._accepted.append(now)
            return None
        return self._refusal(now, self._accepted[0] + self.per_seconds - now if self._accepted else 1.0)

    def _refusal(self, now: float, delay_seconds: float) -> Reply:
        self.refused += 1
        if now >= self._closed_until:
            self._announced_at = now
        self._closed_until = max(self._closed_until, now + delay_seconds)
        # A millisecond more than is needed, so that no rounding makes an obedient client early.
        reply = rate_limited(f"{delay_seconds + 0.001:.9f}s", quota_value=self.limit)
        reply.delay_seconds = 0
        return reply
