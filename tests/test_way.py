"""gemini.way: who waits for Gemini is let go as soon as nothing holds it up any more."""

import math

import trio
from trio.testing import MockClock

from sidecar.gemini.backoff import Limits
from sidecar.gemini.pace import Pace, Sign
from sidecar.gemini.way import Way

LIMITS = Limits(max_attempts=5, backoff_base_seconds=60, backoff_max_seconds=60, outage_max_seconds=600)


async def test_who_waits_in_an_outage_goes_on_when_a_request_from_before_it_is_answered(
    autojump_clock: MockClock,
) -> None:
    way = Way(Pace(3, LIMITS), LIMITS, lambda: None)
    for number in range(LIMITS.max_attempts):
        way.pace.failed(Sign.DOWN, number % 2, trio.current_time(), trio.current_time(), 1.0)
    began = trio.current_time()
    assert way.pace.wait_seconds(began) == 60
    async with trio.open_nursery() as nursery:
        nursery.start_soon(way.free, -math.inf)
        await trio.sleep(1)
        way.succeeded()
    assert trio.current_time() == began + 1


async def test_who_waits_in_an_outage_is_let_go_at_its_end(autojump_clock: MockClock) -> None:
    limits = Limits(max_attempts=5, backoff_base_seconds=60, backoff_max_seconds=60, outage_max_seconds=10)
    way = Way(Pace(3, limits), limits, lambda: None)
    for number in range(limits.max_attempts):
        way.pace.failed(Sign.DOWN, number % 2, trio.current_time(), trio.current_time(), 1.0)
    began = trio.current_time()
    await way.free(-math.inf)
    assert trio.current_time() == began + 10
