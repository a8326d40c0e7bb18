"""What a run may still spend: a state machine without clock.

A batch begins only when the budget covers it, counting one request for each that is under way; so a run ends
at a batch's end (CONTRACT section 8), and only retries and requests about unknown tags can exceed it.
"""

from sidecar.contract import Budget, BudgetPeriod, RunStatus, Usage
from sidecar.gemini.verdicts import End


class Allowance:
    """A budget and what counts against it besides this run: for a day's budget, what was spent that day."""

    def __init__(self, budget: Budget, day: str, spent_before: Usage, tokens_a_batch: int) -> None:
        self._budget = budget
        self._day = day
        self._requests = spent_before.requests if budget.per is BudgetPeriod.DAY else 0
        self._tokens = spent_before.tokens if budget.per is BudgetPeriod.DAY else 0
        self._tokens_a_batch = tokens_a_batch

    def covers(self, spent: Usage, under_way: int, day: str) -> bool:
        """Whether one more batch may begin. `spent` is the run's so far, `under_way` counts its open batches.

        On a new `day` what the run spent before does not count any more. A clock that is set back begins none.
        """
        if self._budget.per is BudgetPeriod.DAY and day > self._day:
            self._day, self._requests, self._tokens = day, -spent.requests, -spent.tokens
        requests, tokens = self._budget.max_requests, self._budget.max_tokens
        a_batch = max(self._tokens_a_batch, spent.tokens // max(1, spent.requests))
        return (requests is None or self._requests + spent.requests + under_way < requests) and (
            tokens is None or self._tokens + spent.tokens + under_way * a_batch < tokens
        )

    @property
    def is_bounded(self) -> bool:
        """Whether there is a budget at all."""
        return self._budget.max_requests is not None or self._budget.max_tokens is not None

    @property
    def end(self) -> End:
        """Of a run that has used it up."""
        budget = self._budget
        bounds = [
            f"{bound:,} {unit}{'' if bound == 1 else 's'}"
            for bound, unit in ((budget.max_requests, "request"), (budget.max_tokens, "token"))
            if bound is not None
        ]
        how = "or wait until midnight UTC" if budget.per is BudgetPeriod.DAY else "to get further in one run"
        return End(
            RunStatus.QUOTA_EXHAUSTED,
            f"The budget of {' and '.join(bounds)} a {budget.per} is used up.",
            f"Raise the budget {how}, and {{again}}: it {{goes_on}}.",
        )
