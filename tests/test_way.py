"""gemini.way: who waits for Gemini is let go as soon as nothing holds it up any more."""

import math

import pytest
import trio
from trio.testing import MockClock

from sidecar.gemini.backoff import Limits
from sidecar.gemini.pace import Pace, Sign
from sidecar.gemini.requests import NotSent
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


async def test_nobody_leaves_while_an_answer_is_read_that_may_ask_for_a_delay(autojump_clock: MockClock) -> None:
    way = Way(Pace(3, LIMITS), LIMITS, lambda: None)
    refused, other = way.turn(lambda: True), way.turn(lambda: True)
    await refused.enter()
    refused.refused()
    with pytest.raises(NotSent):
        await other.enter()
    other.leave()
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(way.free, -math.inf)
        await trio.sleep(1)
        refused.leave()
    assert trio.current_time() == began + 1
    other.check()


async def test_two_answers_that_are_read_are_both_waited_for(autojump_clock: MockClock) -> None:
    way = Way(Pace(3, LIMITS), LIMITS, lambda: None)
    first, second = way.turn(lambda: True), way.turn(lambda: True)
    for turn in (first, second):
        await turn.enter()
    for turn in (first, second):
        turn.refused()
    first.leave()
    with trio.move_on_after(1) as scope:
        await way.free(-math.inf)
    assert scope.cancelled_caught
