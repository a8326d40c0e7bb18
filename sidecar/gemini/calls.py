"""One call done properly: pace, limiter, retries by verdict. The only place that waits for Gemini."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Protocol

import msgspec
import trio

from sidecar.contract import Usage
from sidecar.gemini.failures import Failure, GeminiError
from sidecar.gemini.meter import Meter
from sidecar.gemini.pace import Pace
from sidecar.gemini.policy import (
    End,
    GiveUp,
    Halve,
    Limits,
    OtherVersion,
    Plain,
    Standard,
    Tries,
    Verdict,
    Wait,
    counted,
    ended_by_outage,
    ended_by_versions,
    verdict,
)
from sidecar.gemini.requests import API_VERSIONS, ApiVersion, NotSent, Place, Request
from sidecar.tagging.answers import Reply

if TYPE_CHECKING:
    from sidecar.gemini.client import GeminiClient

Stop = Halve | GiveUp | End
"""What a call may come to instead of a reply."""

TRANSIENT = (Failure.UNAVAILABLE, Failure.UNTRUSTED, Failure.TIMEOUT)


class Current(Protocol):
    """A request as it is to be sent now."""

    @property
    def request(self) -> Request: ...

    def is_current(self) -> bool:
        """Whether `request` may be sent as it is."""

    async def renew(self) -> bool:
        """Makes it so; False where nothing is left to be asked."""


class Unchanging(msgspec.Struct, frozen=True):
    """A request that nothing changes."""

    request: Request

    def is_current(self) -> bool:
        """Always."""
        return True

    async def renew(self) -> bool:
        """Nothing to do."""
        return True


class Calls:
    """All of one run's requests. Owns the run's CapacityLimiter and Pace.

    Guarantees: at most `pace.concurrency` requests are under way; none leaves while a delay that Gemini
    asked for runs; a place is held from just before a request's first byte to the last of its answer (of
    a refusal: until it has been judged), never while waiting.
    """

    def __init__(
        self,
        client: "GeminiClient",
        version: ApiVersion,
        pace: Pace,
        limits: Limits,
        on_wait: Callable[[], None],
    ) -> None:
        self._client = client
        self._version = version
        self._limits = limits
        self._on_wait = on_wait
        self._limiter = trio.CapacityLimiter(pace.concurrency)
        self._under_way: set[trio.CancelScope] = set()
        self._over = False
        self._schema_refused = False
        self._end_of_outage: End | None = None
        self.pace = pace

    async def ask(self, request: Request, batch: int, meter: Meter) -> Reply | Stop:
        """Gemini's reply, or why there will be none. Retries, waits and outages happen in here."""
        answer = await self.ask_current(Unchanging(request), batch, meter)
        assert answer is not None
        return answer

    async def ask_current(self, current: Current, batch: int, meter: Meter) -> Reply | Stop | None:
        """As `ask`, for a request that may change while it waits; None where nothing is left of it.

        After the first End no request leaves: the others wait for their run to cut them off. Once a request
        was refused with the response schema and taken without, none is sent with it any more.
        """
        tries, repeated, outages = Tries(), False, self.pace.outages
        while True:
            await self._way_free()
            if not current.is_current():
                if not await current.renew():
                    return None
                continue
            if (end := self._outage_over()) is not None:
                self._over = True
                return end
            if outages != self.pace.outages:  # no batch spends its attempts on an outage
                tries, outages = msgspec.structs.replace(tries, attempts=0), self.pace.outages
            if self._schema_refused:
                tries = msgspec.structs.replace(tries, plain=True)
            version = self._version.without(tries.refused_by)
            still = partial(self._may_leave, current, tries, version)
            place = _Place(self._limiter, self.pace, version, still)
            try:
                outcome = await self._attempt(current.request, tries, meter, place, repeated=repeated)
                repeated |= place.used
                if outcome is None:
                    continue
                self._schema_refused |= tries.plain and _went_through(outcome)
                # Judged before the place is given away: who gets it next sees the new pace.
                result = outcome if isinstance(outcome, Reply) else self._judge(outcome, place, tries, batch)
                self._over |= isinstance(result, End)
            finally:
                place.leave()
            if isinstance(result, _Again):
                tries = result.tries
                await trio.sleep(result.after_seconds)
            else:
                return result

    async def _attempt(
        self, request: Request, tries: Tries, meter: Meter, place: "_Place", *, repeated: bool
    ) -> Reply | GeminiError | None:
        """One send; None when the way was closed before the first byte left, or an outage has lasted too long."""
        with self._while_outage_may_last():
            return await self._sent(request, tries, meter, place, repeated=repeated)
        return None

    async def _sent(
        self, request: Request, tries: Tries, meter: Meter, place: "_Place", *, repeated: bool
    ) -> Reply | GeminiError | None:
        varied = msgspec.structs.replace(
            request,
            schema=None if tries.plain else request.schema,
            flex=request.flex and not tries.standard,
        )
        try:
            answer = await self._client.generate(varied, place.version, place)
        except NotSent:
            return None
        except GeminiError as error:
            meter.add(error.usage)
            return error.with_traceback(None)  # a value from here on; its frames would hold this call
        finally:
            if place.used:  # also what a cancel cuts off: it may be billed
                meter.add(Usage(requests=1, retries=int(repeated)))
        meter.add(answer.usage)
        self.pace.succeeded()
        self._follow_pace()
        return answer.reply

    def _judge(self, error: GeminiError, place: "_Place", tries: Tries, batch: int) -> "_Again | Stop":
        """Books the failure with the pace and decides. Synchronous: nothing can be cut off inside."""
        now = trio.current_time()
        costs = self._book(error, place.entered_at, batch, now)
        after = counted(tries, error) if costs else msgspec.structs.replace(tries, attempts=0)
        decided = verdict(error, after, self._limits, random.random(), datetime.now(UTC))
        self._follow_pace()
        if not isinstance(decided, End):
            self._hold(error, decided, now)
        match decided:
            case Wait(seconds=seconds, everyone=everyone):
                return _Again(after, 0 if everyone or not costs else seconds)
            case Plain():
                return _Again(msgspec.structs.replace(after, plain=True), 0)
            case Standard():
                return _Again(msgspec.structs.replace(after, standard=True), 0)
            case OtherVersion():
                self._version.refuse(place.version)
                refused_by = tries.refused_by | {place.version}
                if refused_by.issuperset(API_VERSIONS):
                    return ended_by_versions(error)
                return _Again(msgspec.structs.replace(after, refused_by=refused_by), 0)
            case Halve() | GiveUp() | End():
                return decided

    def _book(self, error: GeminiError, sent_at: float, batch: int, now: float) -> bool:
        """Tells the pace; True when the failure uses up one of the request's tries."""
        if error.kind in TRANSIENT or error.kind is Failure.FOREIGN_PAGE:
            self._end_of_outage = ended_by_outage(error, self._limits)
        if error.kind in TRANSIENT:
            return self.pace.failed(batch, sent_at, now, random.random())
        if error.kind is Failure.RATE_LIMITED:
            self.pace.refused(sent_at, now)
        if error.kind in (Failure.FOREIGN_PAGE, Failure.RATE_LIMITED, Failure.SHED):
            return self.pace.unanswered(sent_at, now, random.random())
        self.pace.reached()
        return True

    def _hold(self, error: GeminiError, decided: Verdict, now: float) -> None:
        """Nobody sends until the server's delay has passed, whatever becomes of the request that met it."""
        seconds = error.delay_seconds or 0
        if isinstance(decided, Wait) and decided.everyone:
            seconds = max(seconds, decided.seconds)
        self.pace.hold(seconds, now, is_overload=error.kind is not Failure.RATE_LIMITED)
        if self.pace.wait_seconds(now) > 0:
            self._on_wait()

    def _follow_pace(self) -> None:
        if self._limiter.total_tokens != self.pace.concurrency:
            self._limiter.total_tokens = self.pace.concurrency
        for scope in self._under_way:
            scope.deadline = self.pace.outage_ends_at

    @contextmanager
    def _while_outage_may_last(self) -> Iterator[None]:
        """Cut off when an outage ends the run: a server that accepts and never answers would hold it longer."""
        with trio.CancelScope(deadline=self.pace.outage_ends_at) as scope:
            self._under_way.add(scope)
            try:
                yield
            finally:
                self._under_way.discard(scope)

    def _may_leave(self, current: Current, tries: Tries, version: str) -> bool:
        """Whether a request that was made before it got its place is still what would be made now."""
        is_current = version == self._version.without(tries.refused_by) and current.is_current()
        return not self._over and is_current and (tries.plain or not self._schema_refused)

    async def _way_free(self) -> None:
        if self._over:
            await trio.sleep_forever()
        while (seconds := self.pace.wait_seconds(trio.current_time())) > 0:
            if trio.current_time() + seconds > self.pace.outage_ends_at:
                await trio.sleep_until(self.pace.outage_ends_at)
                return
            await trio.sleep(seconds)

    def _outage_over(self) -> End | None:
        return self._end_of_outage if self.pace.outage_is_over(trio.current_time()) else None


class _Place(Place):
    """A place among the requests under way. `used`: it was given, and the request's first byte may have left."""

    def __init__(
        self, limiter: trio.CapacityLimiter, pace: Pace, version: str, may_leave: Callable[[], bool]
    ) -> None:
        self.version = version
        self.entered_at = trio.current_time()
        self.used = False
        self._limiter = limiter
        self._pace = pace
        self._may_leave = may_leave
        self._taken = False

    async def enter(self) -> None:
        await self._limiter.acquire_on_behalf_of(self)
        self._taken = True
        self.entered_at = trio.current_time()
        self.check()

    def check(self) -> None:
        self.used = self._may_leave() and self._pace.wait_seconds(trio.current_time()) == 0
        if not self.used:
            raise NotSent

    def leave(self) -> None:
        if self._taken:
            self._taken = False
            self._limiter.release_on_behalf_of(self)


class _Again(msgspec.Struct, frozen=True):
    tries: Tries
    after_seconds: float


def _went_through(outcome: Reply | GeminiError) -> bool:
    """Gemini took the request: a 200, whatever its content. (Other failures may come before it looks at it.)"""
    return isinstance(outcome, Reply) or outcome.kind is Failure.UNUSABLE
