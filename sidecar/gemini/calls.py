"""One call done properly: sent when the way is free, and again, changed or not, as the policy's verdicts say."""

import math
import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol, assert_never

import msgspec
import trio
from msgspec.structs import replace

from sidecar.contract import Usage
from sidecar.gemini.backoff import Limits
from sidecar.gemini.failures import Failure, GeminiError
from sidecar.gemini.meter import Meter
from sidecar.gemini.pace import Pace
from sidecar.gemini.policy import counted, ended_by_versions, verdict
from sidecar.gemini.requests import API_VERSIONS, ApiVersion, NotSent, Request
from sidecar.gemini.verdicts import End, GiveUp, Halve, OtherVersion, Plain, Standard, Tries, Wait
from sidecar.gemini.way import Turn, Way
from sidecar.tagging.answers import Reply

if TYPE_CHECKING:
    from sidecar.gemini.client import GeminiClient

LONG_SECONDS = 1.0
"""What was looked at longer ago is looked at anew before it is sent. Not so after a wait for its turn alone: that
costs some ms, in which its place would stand empty.
"""

Stop = Halve | GiveUp | End
"""What a call may come to instead of a reply."""


class Current(Protocol):
    """A request as it is to be sent now."""

    @property
    def request(self) -> Request: ...

    @property
    def looked_at(self) -> float:
        """When, by trio's clock, it was last made sure of what it may hold; infinity where that never changes."""

    def is_current(self) -> bool:
        """Whether `request` may be sent as it is, as far as this process has a say."""

    async def renew(self) -> bool:
        """Makes it so, whoever has a say; False where nothing is left to be asked."""


class Unchanging(msgspec.Struct, frozen=True):
    """A request that nothing changes."""

    request: Request
    looked_at: float = math.inf

    def is_current(self) -> bool:
        """Always."""
        return True

    async def renew(self) -> bool:
        """Nothing to do."""
        return True


class _Call(msgspec.Struct):
    """One request on its way to an answer. `outages`: those that had begun when it was last tried.

    `is_repeat`: it was sent before; `not_before`, of trio's clock, is when it may be sent again.
    """

    current: Current
    batch: int
    meter: Meter
    outages: int
    tries: Tries = Tries()
    is_repeat: bool = False
    not_before: float = -math.inf


class _Form(msgspec.Struct, frozen=True):
    """How a request is sent; what made it so may change while it waits for its turn."""

    version: str
    plain: bool
    standard: bool

    def of(self, request: Request) -> Request:
        return replace(
            request,
            schema=None if self.plain else request.schema,
            flex=request.flex and not self.standard,
        )


class Calls:
    """All of one run's requests, on the Way that they share."""

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
        self._way = Way(pace, limits, on_wait)
        self._schema_refused = False

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
        call = _Call(current, batch, meter, self._way.pace.outages)
        while True:
            await self._way.free(call.not_before)
            if trio.current_time() > current.looked_at + LONG_SECONDS or not current.is_current():
                if not await current.renew():
                    return None
            elif (end := self._way.outage_over()) is not None:
                self._way.close()
                return end
            elif (result := await self._tried(call)) is not None:
                return result

    async def _tried(self, call: _Call) -> Reply | Stop | None:
        """What came of one try; None when it is to be tried again."""
        if call.outages != self._way.pace.outages:  # no batch spends its attempts on an outage
            call.outages, call.tries = self._way.pace.outages, replace(call.tries, attempts=0)
        form = self._form(call)
        turn = self._way.turn(lambda: call.current.is_current() and self._form(call) == form)
        try:
            outcome = await self._sent(call, form, turn)
            self._schema_refused |= form.plain and _went_through(outcome)
            # Judged before the turn is over: who is next sees the new pace.
            result = self._judged(outcome, call, form, turn) if isinstance(outcome, GeminiError) else outcome
            if isinstance(result, End):
                self._way.close()
            return result
        finally:
            turn.leave()

    def _form(self, call: _Call) -> _Form:
        """How the call's request is to be sent now."""
        tries = call.tries
        plain = tries.plain or self._schema_refused
        return _Form(self._version.without(tries.refused_by), plain, tries.standard)

    async def _sent(self, call: _Call, form: _Form, turn: Turn) -> Reply | GeminiError | None:
        """One send; None when the way was closed before the first byte left, or an outage has lasted too long."""
        try:
            with self._way.while_outage_may_last():
                answer = await self._client.generate(form.of(call.current.request), form.version, turn)
                call.meter.add(answer.usage)
                self._way.succeeded()
                return answer.reply
        except NotSent:
            return None
        except GeminiError as error:
            call.meter.add(error.usage)
            return error.with_traceback(None)  # a value from here on; its frames would hold this call
        finally:
            if turn.used:  # also what a cancel cuts off: it may be billed
                call.meter.add(Usage(requests=1, retries=int(call.is_repeat)))
                call.is_repeat = True
        return None

    def _judged(self, error: GeminiError, call: _Call, form: _Form, turn: Turn) -> Stop | None:
        """Tells the way and decides; None when it is to be tried again. Synchronous: nothing is cut off inside."""
        now = trio.current_time()
        counts = self._way.failed(error, call.batch, turn.entered_at, now)
        tries = replace(call.tries, plain=form.plain)
        tries = counted(tries, error) if counts else replace(tries, attempts=0)
        decided = verdict(error, tries, self._limits, random.random(), datetime.now(UTC))
        if not isinstance(decided, End):
            self._way.hold(error, decided, now)
        match decided:
            case Wait(seconds=seconds, everyone=everyone):
                call.not_before = now if everyone or not counts else now + seconds
            case Plain():
                tries = replace(tries, plain=True)
            case Standard():
                tries = replace(tries, standard=True)
            case OtherVersion():
                self._version.refuse(form.version)
                tries = replace(tries, refused_by=tries.refused_by | {form.version})
                if tries.refused_by.issuperset(API_VERSIONS):
                    return ended_by_versions(error)
            case Halve() | GiveUp() | End():
                return decided
            case _:
                assert_never(decided)
        call.tries = tries
        return None


def _went_through(outcome: Reply | GeminiError | None) -> bool:
    """Gemini took the request: a 200, whatever its content. (Other failures may come before it looks at it.)"""
    return isinstance(outcome, Reply) or (outcome is not None and outcome.kind is Failure.UNUSABLE)
