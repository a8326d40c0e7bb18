"""runs.advice: what ended a run, and what a person does about it: by the kind of run."""

from datetime import UTC, datetime

import pytest

from sidecar.contract import Budget, BudgetPeriod, Usage
from sidecar.gemini.backoff import Limits
from sidecar.gemini.failures import Failure, GeminiError
from sidecar.gemini.policy import ended_by_outage, verdict
from sidecar.gemini.verdicts import End, Tries
from sidecar.library.faults import Fault, LibraryError
from sidecar.library.run_writes import RunKind
from sidecar.runs.advice import ended_by, why_ended
from sidecar.runs.budget import Allowance

LIMITS = Limits(max_attempts=5, backoff_base_seconds=1, backoff_max_seconds=60, outage_max_seconds=600)


def judged(kind: Failure, delay_seconds: float | None = None) -> End:
    error = GeminiError(kind, "{the} detail", delay_seconds=delay_seconds)
    end = verdict(error, Tries(), LIMITS, 0.5, datetime(2026, 3, 1, 12, tzinfo=UTC))
    assert isinstance(end, End)
    return end


ENDS = {
    "quota": (
        judged(Failure.QUOTA_EXHAUSTED),
        "Gemini's quota is used up: {the} detail. Tagging goes on where it stopped when you start it again after "
        "the quota's reset (midnight Pacific time for daily quotas) or with a larger plan.",
    ),
    "plan": (
        judged(Failure.NOT_IN_PLAN),
        "This plan does not include the model: {the} detail. Choose another model (the setting `model`) or a "
        "larger plan and start tagging again: it goes on where it stopped.",
    ),
    "credit": (
        judged(Failure.CREDIT_SPENT),
        "Gemini's prepaid credit or spending limit is used up ({the} detail). Add credit or raise the limit in "
        "Google AI Studio and start tagging again: it goes on where it stopped.",
    ),
    "long wait": (
        judged(Failure.RATE_LIMITED, 4000),
        "Start tagging again after that: it goes on where it stopped.",
    ),
    "outage": (
        ended_by_outage(GeminiError(Failure.UNAVAILABLE, "{No} route"), LIMITS),
        "Gemini could not be reached for 10 min ({No} route). Check the network connection and start tagging "
        "again: it goes on where it stopped.",
    ),
    "budget": (
        Allowance(Budget(2, None, BudgetPeriod.RUN), "2026-03-01", Usage(), 1000).end,
        "The budget of 2 requests a run is used up. Raise the budget to get further in one run, and start tagging "
        "again: it goes on where it stopped.",
    ),
    "a day's budget": (
        Allowance(Budget(None, 1, BudgetPeriod.DAY), "2026-03-01", Usage(), 1000).end,
        "The budget of 1 token a day is used up. Raise the budget or wait until midnight UTC, and start tagging "
        "again: it goes on where it stopped.",
    ),
    "disk": (
        ended_by(LibraryError(Fault.FULL)),
        "The disk is full, so no tags can be saved. Free some space and start tagging again: it goes on where it "
        "stopped.",
    ),
}
ends = pytest.mark.parametrize(("end", "sentence"), ENDS.values(), ids=ENDS.keys())


@ends
def test_of_untagged_files_the_next_run_goes_on(end: End, sentence: str) -> None:
    assert why_ended(end, RunKind.UNTAGGED).endswith(sentence)


@ends
def test_of_a_dry_run_and_of_files_that_were_named_the_next_run_begins_anew(end: End, sentence: str) -> None:
    dry, named = why_ended(end, RunKind.DRY), why_ended(end, RunKind.NAMED)
    for said in (dry, named):
        assert said.startswith(end.message) and "begins at the first file" in said
        assert "where it stopped" not in said
    assert "dry run" in dry and "start tagging" not in dry.lower()


def test_where_only_a_setting_helps_nothing_is_said_of_the_next_run() -> None:
    end = judged(Failure.KEY_REFUSED)
    assert {why_ended(end, kind) for kind in RunKind} == {end.message}


def test_proposals_that_could_not_all_be_written_are_applied_again() -> None:
    said = why_ended(ended_by(LibraryError(Fault.FULL)), RunKind.APPLY)
    assert said.endswith("Free some space and apply the proposals again: it goes on where it stopped.")
