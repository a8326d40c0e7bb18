"""gemini.policy: what a person reads where Gemini did not answer, and what helps."""

from datetime import UTC, datetime

import pytest

from sidecar.gemini.backoff import Limits
from sidecar.gemini.failures import Failure, GeminiError
from sidecar.gemini.policy import ended_by_outage, ended_by_versions, verdict
from sidecar.gemini.verdicts import End, GiveUp, Halve, Tries
from sidecar.library.run_writes import RunKind
from sidecar.runs.advice import why_ended

LIMITS = Limits(max_attempts=5, backoff_base_seconds=1, backoff_max_seconds=60, outage_max_seconds=600)
LAST = Tries(attempts=5, unusable=3)


def told(kind: Failure, detail: str = "the detail", http_status: int = 0, limits: Limits = LIMITS) -> str:
    """The sentence about a request that is not sent again."""
    error = GeminiError(kind, detail, status="WORD", http_status=http_status)
    tries = LAST if limits is LIMITS else Tries(attempts=1)
    found = verdict(error, tries, limits, 0.5, datetime(2026, 3, 1, tzinfo=UTC))
    assert isinstance(found, GiveUp | Halve)
    return found.message


def test_who_cannot_be_reached_is_told_so_with_what_to_check() -> None:
    sentence = told(Failure.UNAVAILABLE, "No route")
    assert sentence == "Gemini could not be reached, tried 5 times (No route). Check the network connection."


@pytest.mark.parametrize(
    ("kind", "http_status"), [(Failure.UNAVAILABLE, 503), (Failure.TIMEOUT, 0), (Failure.UNTRUSTED, 0)]
)
def test_who_answers_with_errors_or_too_late_did_not_answer(kind: Failure, http_status: int) -> None:
    assert told(kind, http_status=http_status) == "Gemini did not answer, tried 5 times (the detail)."


def test_one_try_is_once_and_without_a_detail_the_word_is_told() -> None:
    assert "tried once (WORD)" in told(Failure.TIMEOUT, "", limits=Limits(1, 1, 60, 600))


def test_a_page_of_somebody_else_asks_to_look_for_a_sign_in() -> None:
    sentence = "Gemini's answer could not be used (the detail)."
    assert told(Failure.FOREIGN_PAGE) == f"{sentence} Check whether the network asks for a sign-in."
    assert told(Failure.UNUSABLE) == sentence


def test_an_end_whose_sentence_says_what_to_do_is_told_by_it_alone() -> None:
    error = GeminiError(Failure.SETTING, "the detail")
    end = verdict(error, Tries(), LIMITS, 0.5, datetime(2026, 3, 1, tzinfo=UTC))
    assert isinstance(end, End)
    assert why_ended(end, RunKind.UNTAGGED) == "Requests cannot be sent with these settings: the detail."
    versions = why_ended(ended_by_versions(GeminiError(Failure.UNKNOWN_FIELD, "the detail.")), RunKind.UNTAGGED)
    assert versions.endswith("(the detail). Update Ligeia.")


@pytest.mark.parametrize(
    ("kind", "http_status", "words", "advice"),
    [
        (
            Failure.UNAVAILABLE,
            503,
            "Gemini could not be reached for 10 min: it was overloaded (the cause). Start",
            "again later: it",
        ),
        (
            Failure.UNAVAILABLE,
            502,
            "Gemini could not be reached for 10 min: it answered with errors only (the cause).",
            "again later",
        ),
        (Failure.TIMEOUT, 0, "Gemini could not be reached for 10 min (the cause). Check", "network connection"),
        (Failure.UNTRUSTED, 0, "Gemini could not be reached for 10 min. the cause.", "Mend that and start"),
        (
            Failure.FOREIGN_PAGE,
            200,
            "Gemini could not be reached for 10 min: something else answered (the cause).",
            "sign-in",
        ),
    ],
)
def test_an_outage_is_told_by_its_last_cause_and_what_helps_against_that(
    kind: Failure, http_status: int, words: str, advice: str
) -> None:
    end = ended_by_outage(GeminiError(kind, "the cause.", http_status=http_status), LIMITS)
    message = why_ended(end, RunKind.UNTAGGED)
    assert message.startswith(words) and advice in message
    assert message.endswith("it goes on where it stopped.")
    assert ("network" in message) == (http_status in (0, 200) and kind is not Failure.UNTRUSTED)
