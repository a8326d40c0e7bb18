"""gemini.pace: holding, halving, growing back, outages. Times are numbers, nothing waits."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.gemini.backoff import Limits
from sidecar.gemini.pace import Pace, Sign

LIMITS = Limits(max_attempts=3, backoff_base_seconds=1, backoff_max_seconds=60, outage_max_seconds=600)


def outage(ceiling: int = 8, at: float = 10) -> Pace:
    """A pace whose third failure in a row, from two batches, came at `at`."""
    pace = Pace(ceiling, LIMITS)
    for batch in (1, 2, 1):
        pace.failed(Sign.DOWN, batch, 0, at, 0)
    assert pace.outage_since == at
    return pace


def refused(pace: Pace, sent_at: float, now: float) -> bool:
    """A 429 to some batch."""
    return pace.failed(Sign.RATE_LIMITED, 1, sent_at, now, 0)


def reached(pace: Pace) -> bool:
    """Gemini has judged some request, if only to refuse it."""
    return pace.failed(Sign.ANSWERED, 1, 0, 0, 0)


# --- 429 ------------------------------------------------------------------------------------------


def test_at_the_start_the_way_is_free() -> None:
    pace = Pace(8, LIMITS)
    assert (pace.concurrency, pace.wait_seconds(0), pace.outage_ends_at) == (8, 0, math.inf)
    assert not pace.is_overload


def test_a_hold_counts_for_everybody_until_it_has_passed() -> None:
    pace = Pace(8, LIMITS)
    pace.hold(15, 100)
    assert (pace.wait_seconds(100), pace.wait_seconds(110), pace.wait_seconds(115)) == (15, 5, 0)


def test_a_shorter_hold_does_not_shorten_a_longer_one() -> None:
    pace = Pace(8, LIMITS)
    pace.hold(15, 100)
    pace.hold(1, 101)
    assert pace.wait_seconds(101) == 14


def test_a_success_does_not_shorten_a_hold() -> None:
    pace = Pace(8, LIMITS)
    pace.hold(15, 100)
    pace.succeeded()
    assert pace.wait_seconds(100) == 15


def test_a_burst_of_429s_halves_once() -> None:
    pace = Pace(8, LIMITS)
    for answered_at in (5.0, 5.1, 5.2, 9.0):
        refused(pace, 4.0, answered_at)
    assert pace.concurrency == 4


def test_a_429_to_a_request_sent_after_the_halving_halves_again() -> None:
    pace = Pace(8, LIMITS)
    refused(pace, 4, 5)
    refused(pace, 6, 7)
    assert pace.concurrency == 2


def test_a_request_that_left_at_the_instant_of_the_halving_did_not_leave_before_it() -> None:
    pace = Pace(8, LIMITS)
    refused(pace, 4, 5)
    refused(pace, 5, 6)
    assert pace.concurrency == 2


def test_at_least_one_place_is_left() -> None:
    pace = Pace(3, LIMITS)
    for at in range(5):
        refused(pace, at, at + 0.5)
    assert pace.concurrency == 1


def test_concurrency_grows_by_one_for_as_many_successes_as_there_are_places() -> None:
    pace = Pace(8, LIMITS)
    refused(pace, 0, 1)
    seen = []
    for _ in range(4 + 5 + 6 + 7 + 20):
        pace.succeeded()
        seen.append(pace.concurrency)
    assert [seen.index(places) + 1 for places in (5, 6, 7, 8)] == [4, 9, 15, 22]
    assert max(seen) == 8


def test_successes_before_a_429_do_not_help_to_grow_back() -> None:
    pace = Pace(4, LIMITS)
    for _ in range(100):
        pace.succeeded()
    refused(pace, 0, 1)
    pace.succeeded()
    assert pace.concurrency == 2


# --- outages ----------------------------------------------------------------------------------------


def test_failures_of_one_batch_alone_are_no_outage_and_cost_it_attempts() -> None:
    pace = Pace(8, LIMITS)
    assert all(pace.failed(Sign.DOWN, 1, 0, at, 0) for at in range(20))
    assert pace.outage_since is None


def test_an_outage_begins_at_max_attempts_failures_in_a_row_from_two_batches() -> None:
    pace = Pace(8, LIMITS)
    assert pace.failed(Sign.DOWN, 1, 0, 1, 0)
    assert pace.failed(Sign.DOWN, 2, 0, 2, 0)
    assert pace.outage_since is None
    assert not pace.failed(Sign.DOWN, 1, 0, 3, 0)
    assert pace.outage_since == 3


def test_a_second_batch_turns_a_long_streak_into_an_outage() -> None:
    pace = Pace(8, LIMITS)
    for at in range(10):
        pace.failed(Sign.DOWN, 1, 0, at, 0)
    assert not pace.failed(Sign.DOWN, 2, 0, 10, 0)
    assert pace.outage_since == 10


def test_a_success_or_an_answer_between_breaks_the_streak() -> None:
    for answer in (Pace.succeeded, reached):
        pace = Pace(8, LIMITS)
        pace.failed(Sign.DOWN, 1, 0, 1, 0)
        pace.failed(Sign.DOWN, 2, 0, 1, 0)
        answer(pace)
        assert pace.failed(Sign.DOWN, 1, 0, 2, 0)
        assert pace.failed(Sign.DOWN, 2, 0, 2, 0)
        assert pace.outage_since is None


def test_batches_that_failed_before_an_answer_are_not_held_against_the_one_that_fails_after_it() -> None:
    pace = Pace(8, LIMITS)
    pace.failed(Sign.DOWN, 2, 0, 1, 0)
    pace.succeeded()
    assert all(pace.failed(Sign.DOWN, 1, 2, at, 0) for at in range(3, 10))
    assert pace.outage_since is None


def test_in_an_outage_one_probe_at_a_time_leaves_and_costs_no_attempt() -> None:
    pace = outage()
    assert pace.concurrency == 1
    assert not pace.failed(Sign.DOWN, 1, 11, 12, 0)
    assert not pace.failed(Sign.DOWN, 3, 13, 14, 0)
    assert pace.concurrency == 1


def test_probes_back_off_to_the_maximum() -> None:
    pace, now, waits = outage(), 10.0, []
    for _ in range(9):
        waits.append(pace.wait_seconds(now))
        now += waits[-1]
        pace.failed(Sign.DOWN, 1, now, now, 0.999999999)
    assert [round(wait, 3) for wait in waits] == [0.5, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_probe_waits_at_least_half_of_its_step_whatever_the_jitter() -> None:
    pace, now = outage(), 10.0
    for step in (1, 2, 4, 8, 16, 32, 60, 60):
        assert pace.wait_seconds(now) == step / 2
        now += step
        pace.failed(Sign.DOWN, 1, now, now, 0)


def test_an_outage_ends_the_run_when_it_has_lasted_as_long_as_it_may() -> None:
    pace = outage(at=10)
    assert [pace.outage_is_over(now) for now in (10, 609.9, 610, 669.9)] == [False, False, True, True]


def test_an_outage_whose_end_was_slept_over_begins_anew_with_a_probe_at_once() -> None:
    pace = outage(at=10)
    pace.hold(30, 20)
    assert not pace.outage_is_over(670)
    assert (pace.outage_since, pace.wait_seconds(670), pace.concurrency) == (670, 0, 1)
    pace.failed(Sign.DOWN, 1, 671, 672, 0)
    assert pace.wait_seconds(672) == 0.5
    assert [pace.outage_is_over(now) for now in (1269, 1270)] == [False, True]


def test_failures_of_requests_sent_before_the_outage_do_not_push_the_probe_back() -> None:
    pace = outage(at=10)
    wait = pace.wait_seconds(10)
    for batch in range(20):
        assert not pace.failed(Sign.DOWN, batch, 9, 10, 0)
    assert pace.wait_seconds(10) == wait


def test_the_failure_of_a_request_sent_at_the_instant_of_the_outage_pushes_the_probe_back() -> None:
    pace = outage(at=10)
    wait = pace.wait_seconds(10)
    pace.failed(Sign.DOWN, 3, 10, 10, 0)
    assert pace.wait_seconds(10) == 2 * wait


def test_the_first_success_ends_the_outage_with_the_concurrency_of_before() -> None:
    pace = outage(ceiling=8)
    pace.succeeded()
    assert (pace.outage_since, pace.concurrency, pace.wait_seconds(10)) == (None, 8, 0)


def test_what_a_429_had_halved_is_still_halved_after_an_outage() -> None:
    pace = Pace(8, LIMITS)
    refused(pace, 0, 1)
    for batch in (1, 2, 1):
        pace.failed(Sign.DOWN, batch, 2, 3, 0)
    assert pace.concurrency == 1
    reached(pace)
    assert pace.concurrency == 4


def test_an_answer_other_than_a_429_ends_the_outage_too() -> None:
    pace = outage(ceiling=8)
    reached(pace)
    assert (pace.outage_since, pace.concurrency) == (None, 8)
    pace = outage(ceiling=8)
    refused(pace, 11, 12)
    assert (pace.outage_since, pace.concurrency) == (10, 1)
    pace.succeeded()
    assert (pace.outage_since, pace.concurrency) == (None, 4)


@pytest.mark.parametrize("sign", [Sign.FOREIGN, Sign.NONE, Sign.RATE_LIMITED])
def test_who_was_not_heard_by_gemini_neither_begins_nor_ends_an_outage(sign: Sign) -> None:
    pace = Pace(8, LIMITS)
    assert all(pace.failed(sign, batch % 3, 0, batch, 0) for batch in range(20))
    assert pace.outage_since is None
    pace = outage(at=10)
    assert not pace.failed(sign, 1, 11, 12, 0)
    assert pace.outage_since == 10
    assert pace.wait_seconds(12) == 1


@pytest.mark.parametrize("sign", [Sign.FOREIGN, Sign.NONE, Sign.RATE_LIMITED])
def test_who_was_not_heard_by_gemini_does_not_break_a_streak(sign: Sign) -> None:
    pace = Pace(8, LIMITS)
    for batch in (1, 2):
        assert pace.failed(Sign.DOWN, batch, 0, 1, 0) and pace.failed(sign, batch, 0, 1, 0)
    assert not pace.failed(Sign.DOWN, 1, 0, 2, 0)


@pytest.mark.parametrize("sign", [sign for sign in Sign if sign is not Sign.RATE_LIMITED])
def test_only_a_429_asks_for_less(sign: Sign) -> None:
    pace = Pace(8, LIMITS)
    assert pace.failed(sign, 1, 0, 1, 0)
    assert pace.concurrency == 8


def test_a_refusal_of_the_request_itself_uses_up_a_try_even_where_it_ends_an_outage() -> None:
    assert reached(outage())


def test_after_an_outage_a_new_one_needs_a_whole_streak_and_probes_from_the_start() -> None:
    pace = outage(at=10)
    pace.failed(Sign.DOWN, 1, 11, 12, 0)
    pace.succeeded()
    assert pace.failed(Sign.DOWN, 1, 20, 20, 0)
    assert pace.failed(Sign.DOWN, 2, 20, 20, 0)
    assert not pace.failed(Sign.DOWN, 2, 20, 20, 0)
    assert pace.wait_seconds(20) == 0.5


def test_an_outage_runs_out() -> None:
    pace = outage(at=10)
    assert pace.outage_ends_at == 610
    pace.succeeded()
    assert pace.outage_ends_at == math.inf


def test_a_429_neither_breaks_a_streak_nor_ends_an_outage() -> None:
    pace = Pace(8, LIMITS)
    assert pace.failed(Sign.DOWN, 1, 0, 0, 0)
    refused(pace, 1, 1)
    assert pace.failed(Sign.DOWN, 2, 2, 2, 0)
    refused(pace, 3, 3)
    assert not pace.failed(Sign.DOWN, 2, 4, 4, 0)
    refused(pace, 5, 5)
    assert (pace.outage_since, pace.outages, pace.concurrency) == (4, 1, 1)


def test_after_an_outage_as_many_may_leave_as_before_it() -> None:
    pace = Pace(8, LIMITS)
    refused(pace, 0, 1)
    for _ in range(4):
        pace.succeeded()
    assert pace.concurrency == 5
    for batch in (1, 2, 1):
        pace.failed(Sign.DOWN, batch, 2, 3, 0)
    pace.succeeded()
    assert pace.concurrency == 5
    alone = outage(ceiling=1)
    refused(alone, 11, 12)
    alone.succeeded()
    assert alone.concurrency == 1


def test_a_delay_says_whether_it_was_an_overload_that_asked_for_it() -> None:
    pace = Pace(8, LIMITS)
    pace.hold(30, 0, is_overload=True)
    assert pace.held_until == 30
    pace.hold(20, 0)
    assert pace.is_overload
    pace.hold(40, 0)
    assert not pace.is_overload


def test_a_hold_counts_in_an_outage_as_well() -> None:
    pace = outage(at=10)
    pace.hold(30, 10)
    assert pace.wait_seconds(10) == 30


Event = tuple[Sign | None, int, float, float]
EVENTS = st.lists(
    st.tuples(
        st.sampled_from([None, *Sign]),
        st.integers(1, 3),
        st.floats(0, 20),
        st.floats(0, 1, exclude_max=True),
    )
)


@given(st.integers(1, 32), EVENTS)
def test_concurrency_always_stays_between_one_and_the_ceiling(ceiling: int, events: list[Event]) -> None:
    pace, now = Pace(ceiling, LIMITS), 0.0
    for sign, batch, age, jitter in events:
        now += 1
        if sign is None:
            pace.succeeded()
        else:
            pace.failed(sign, batch, now - age, now, jitter)
        assert sign not in (None, Sign.ANSWERED) or pace.outage_since is None
        assert 1 <= pace.concurrency <= ceiling
        assert 0 <= pace.wait_seconds(now) <= 60
        assert pace.outage_since is None or pace.concurrency == 1
