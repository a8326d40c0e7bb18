"""The way to Gemini, which all requests of a run share: when one may leave, beside how many others, and when none.

The only place that waits for Gemini. What it waits for is the pace's to say.
"""

import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

from sidecar.gemini.backoff import Limits
from sidecar.gemini.failures import GeminiError
from sidecar.gemini.pace import Pace, Sign
from sidecar.gemini.policy import TABLE, ended_by_outage
from sidecar.gemini.requests import NotSent, Place
from sidecar.gemini.verdicts import End, Verdict, Wait


class Way:
    """Owns the run's CapacityLimiter and its Pace.

    Guarantees: at most `pace.concurrency` requests are under way; none leaves while a delay that Gemini
    asked for runs, or while an answer is read that may ask for one; a place is held from just before a
    request's first byte to the last of its answer (of a refusal, and in an outage of any answer, until it has
    been judged), never while waiting; after `close` none leaves.
    """

    def __init__(self, pace: Pace, limits: Limits, on_wait: Callable[[], None]) -> None:
        self.pace = pace
        self._is_closed = False
        self._limits = limits
        self._on_wait = on_wait
        self.limiter = trio.CapacityLimiter(pace.concurrency)
        self.unjudged: set[Turn] = set()
        self._news = trio.Event()
        self._under_way: set[trio.CancelScope] = set()
        self._end_of_outage: End | None = None

    def close(self) -> None:
        """No request leaves any more: the run ends, and cuts off whoever waits."""
        self._is_closed = True

    async def free(self, not_before: float) -> None:
        """Waits until then, and until a request may leave or an outage has lasted too long; closed, for ever."""
        await trio.sleep_until(not_before)
        if self._is_closed:
            await trio.sleep_forever()
        while not self._is_free(now := trio.current_time()) and now < self.pace.outage_ends_at:
            seconds = self.pace.wait_seconds(now) or math.inf
            with trio.CancelScope(deadline=min(now + seconds, self.pace.outage_ends_at)):
                await self._news.wait()

    def outage_over(self) -> End | None:
        """The end of the run, where an outage has lasted for too long."""
        return self._end_of_outage if self.pace.outage_is_over(trio.current_time()) else None

    def turn(self, may_leave: Callable[[], bool]) -> "Turn":
        """One for a request that leaves only if `may_leave` says so in the last instant, too."""
        return Turn(self, lambda: not self._is_closed and self._is_free(trio.current_time()) and may_leave())

    def judged(self, turn: "Turn") -> None:
        """What its answer asked for is known. Idempotent."""
        if turn in self.unjudged:
            self.unjudged.remove(turn)
            self._tell()

    @contextmanager
    def while_outage_may_last(self) -> Iterator[None]:
        """Cut off when an outage ends the run: a server that accepts and never answers would hold it longer."""
        with trio.CancelScope(deadline=self.pace.outage_ends_at) as scope:
            self._under_way.add(scope)
            try:
                yield
            finally:
                self._under_way.discard(scope)

    def succeeded(self) -> None:
        """A request was answered with something to work on."""
        self.pace.succeeded()
        self._follow_pace()

    def failed(self, error: GeminiError, batch: int, sent_at: float, now: float) -> bool:
        """A request of `batch` failed. True when that uses up one of its tries."""
        sign = TABLE[error.kind].sign
        if sign in (Sign.DOWN, Sign.FOREIGN):
            self._end_of_outage = ended_by_outage(error, self._limits)
        counts = self.pace.failed(sign, batch, sent_at, now, random.random())
        self._follow_pace()
        return counts

    def hold(self, error: GeminiError, decided: Verdict, now: float) -> None:
        """Nobody sends until the server's delay has passed, whatever becomes of the request that met it."""
        seconds = error.delay_seconds or 0
        if isinstance(decided, Wait) and decided.everyone:
            seconds = max(seconds, decided.seconds)
        is_overload = TABLE[error.kind].sign is not Sign.RATE_LIMITED
        self.pace.hold(seconds, now, is_overload=is_overload)
        if self.pace.wait_seconds(now) > 0:
            self._on_wait()

    def _is_free(self, now: float) -> bool:
        return not self.unjudged and self.pace.wait_seconds(now) == 0

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()

    def _follow_pace(self) -> None:
        self._tell()  # an outage may have ended before its next probe was due
        if self.limiter.total_tokens != self.pace.concurrency:
            self.limiter.total_tokens = self.pace.concurrency
        for scope in self._under_way:
            scope.deadline = self.pace.outage_ends_at


class Turn(Place):
    """A place among the requests under way. `used`: it was given, and the request's first byte may have left.

    `entered_at`: when it was given; before that, when it was asked for.
    """

    def __init__(self, way: Way, may_leave: Callable[[], bool]) -> None:
        self.entered_at = trio.current_time()
        self.used = False
        self._way = way
        self._may_leave = may_leave
        self._taken = False

    async def enter(self) -> None:
        await self._way.limiter.acquire_on_behalf_of(self)
        self._taken = True
        self.entered_at = trio.current_time()
        self.check()

    def check(self) -> None:
        self.used = self._may_leave()
        if not self.used:
            raise NotSent

    def refused(self) -> None:
        self._way.unjudged.add(self)

    def answered(self) -> None:
        if self._way.pace.outage_since is None:  # else the next probe has to wait for what is said of this one
            self.leave()

    def leave(self) -> None:
        if self._taken:
            self._taken = False
            self._way.limiter.release_on_behalf_of(self)
        self._way.judged(self)
