"""What a budget lets begin."""

from sidecar.contract import Budget, BudgetPeriod, Usage
from sidecar.runs.budget import Allowance

YESTERDAY, TODAY, TOMORROW = "2026-11-23", "2026-11-24", "2026-11-25"


def allowance(
    requests: int | None = None,
    tokens: int | None = None,
    per: BudgetPeriod = BudgetPeriod.RUN,
    before: Usage | None = None,
) -> Allowance:
    return Allowance(Budget(requests, tokens, per), TODAY, before or Usage(), 1000)


def spent(requests: int, tokens: int = 0) -> Usage:
    return Usage(requests=requests, prompt_tokens=tokens)


def test_without_a_bound_everything_may_begin() -> None:
    assert allowance().covers(spent(10**9, 10**12), 32, TODAY)


def test_requests_under_way_count_as_spent() -> None:
    budget = allowance(requests=10)
    assert budget.covers(spent(7), 2, TODAY)
    assert not budget.covers(spent(7), 3, TODAY)
    assert not budget.covers(spent(10), 0, TODAY)


def test_a_budget_of_nothing_lets_nothing_begin() -> None:
    assert not allowance(requests=0).covers(spent(0), 0, TODAY)
    assert not allowance(tokens=0).covers(spent(0), 0, TODAY)


def test_tokens_under_way_are_guessed_from_the_prompt_and_then_from_the_run() -> None:
    budget = allowance(tokens=10_000)
    assert budget.covers(spent(0), 9, TODAY)
    assert not budget.covers(spent(0), 10, TODAY)
    assert budget.covers(spent(2, 6000), 1, TODAY)
    assert not budget.covers(spent(2, 8000), 1, TODAY)


def test_output_and_thoughts_are_tokens_too_and_cached_ones_only_once() -> None:
    usage = Usage(requests=1, prompt_tokens=400, cached_tokens=300, output_tokens=300, thoughts_tokens=300)
    assert allowance(tokens=1001).covers(usage, 0, TODAY)
    assert not allowance(tokens=1000).covers(usage, 0, TODAY)


def test_a_run_budget_takes_no_notice_of_what_was_spent_before() -> None:
    assert allowance(requests=5, before=spent(100)).covers(spent(4), 0, TODAY)


def test_a_day_budget_counts_what_all_runs_spent_that_day() -> None:
    budget = allowance(requests=5, per=BudgetPeriod.DAY, before=spent(3))
    assert budget.covers(spent(1), 0, TODAY)
    assert not budget.covers(spent(2), 0, TODAY)


def test_a_new_day_begins_with_what_is_spent_on_it() -> None:
    budget = allowance(requests=5, per=BudgetPeriod.DAY, before=spent(3))
    assert not budget.covers(spent(2), 0, TODAY)
    assert budget.covers(spent(2), 0, TOMORROW)
    assert budget.covers(spent(6), 0, TOMORROW)
    assert not budget.covers(spent(7), 0, TOMORROW)


def test_a_clock_that_is_set_back_begins_no_new_day() -> None:
    budget = allowance(requests=5, per=BudgetPeriod.DAY, before=spent(3))
    assert not budget.covers(spent(2), 0, YESTERDAY)
    assert not budget.covers(spent(2), 0, TODAY)


def test_the_sentence_names_the_budget() -> None:
    assert "budget of 1 request a run" in allowance(requests=1).end.message
    sentence = allowance(requests=1500, tokens=2_000_000, per=BudgetPeriod.DAY).end.message
    assert "budget of 1,500 requests and 2,000,000 tokens a day" in sentence
