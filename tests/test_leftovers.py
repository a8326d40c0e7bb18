"""gemini: a call that has ended holds nothing, however it ended, without help of the garbage collector.

Rings of exceptions, frames and responses would hold 100 KB of request each. They make a run's memory grow, and
when the collector comes for them it holds up the event loop for 50 to 90 ms.
"""

import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import httpx
import pytest
import trio

from sidecar.demo import standin as api
from sidecar.demo.standin import Reply, StandIn, running
from sidecar.gemini.backoff import Limits
from sidecar.gemini.calls import Calls
from sidecar.gemini.client import GeminiClient, open_client
from sidecar.gemini.failures import GeminiError
from sidecar.gemini.meter import Meter
from sidecar.gemini.pace import Pace
from sidecar.gemini.requests import ApiVersion, FreePlace, NotSent, Place, Request
from sidecar.gemini.verdicts import GiveUp
from sidecar.settings import Settings

ENDS = {
    "answer": Reply(),
    "rate limit": api.rate_limited("30s"),
    "unavailable": api.unavailable(),
    "wrong key": api.key_invalid(),
    "foreign page": api.html_page(),
    "not JSON": Reply(body=b"{"),
    "closed before the answer": Reply(drop="before"),
    "closed within the answer": Reply(drop="mid"),
    "timeout": Reply(delay_seconds=30),
}
REQUEST = Request("rules", '{"files": []}', {"type": "ARRAY"})


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def left_in_memory() -> list[str]:
    """What a call would leave behind: its request, and the error that it ended with."""
    return [type(thing).__name__ for thing in gc.get_objects() if isinstance(thing, httpx.Request | GeminiError)]


class ClosedPlace(FreePlace):
    """The way closes while the request waits."""

    async def enter(self) -> None:
        raise NotSent


class ClosedBeforeTheFirstByte(FreePlace):
    """The way closes in the last instant."""

    def check(self) -> None:
        raise NotSent


async def call(client: GeminiClient, place: Place | None = None) -> str:
    """How the call ended."""
    try:
        await client.generate(REQUEST, "v1beta", place or FreePlace())
    except (GeminiError, NotSent) as error:
        return type(error).__name__
    return "answered"


@asynccontextmanager
async def asked(reply: Reply) -> AsyncIterator[tuple[StandIn, GeminiClient]]:
    async with running(script=lambda _request: reply) as standin:
        settings = Settings(api_key="key", base_url=standin.base_url, request_timeout_seconds=0.3)
        async with open_client(settings) as client:
            yield standin, client


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("reply", ENDS.values(), ids=list(ENDS))
async def test_a_call_that_has_ended_holds_nothing(reply: Reply) -> None:
    async with asked(reply) as (_, client):
        for _ in range(3):
            assert await call(client) == ("answered" if reply is ENDS["answer"] else "GeminiError")
        assert left_in_memory() == []


@pytest.mark.usefixtures("no_collector")
async def test_a_call_that_was_not_sent_holds_nothing() -> None:
    async with asked(Reply()) as (standin, client):
        for place in (ClosedPlace(), ClosedBeforeTheFirstByte()):
            assert await call(client, place) == "NotSent"
        assert left_in_memory() == []
        assert standin.arrived == 0


@pytest.mark.usefixtures("no_collector")
async def test_a_call_that_was_cut_off_holds_nothing() -> None:
    async with asked(Reply(gate=trio.Event())) as (standin, client):
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(call, client)
            await standin.wait_for(3)
            nursery.cancel_scope.cancel()
        assert left_in_memory() == []


@pytest.mark.usefixtures("no_collector")
async def test_a_request_that_was_tried_in_vain_holds_nothing() -> None:
    limits = Limits(max_attempts=3, backoff_base_seconds=0, backoff_max_seconds=0, outage_max_seconds=60)
    async with asked(api.unavailable()) as (standin, client):
        calls = Calls(client, ApiVersion(), Pace(1, limits), limits, lambda: None)
        assert isinstance(await calls.ask(REQUEST, 1, Meter()), GiveUp)
        assert standin.arrived == 3
        assert left_in_memory() == []
