"""gemini.failures: recorded refusals of Google's servers (tests/gemini_cases, each with its source)."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.gemini.failures import Failure, GeminiError, classify, seconds
from sidecar.redaction import Redactor

CASES = {
    path.stem: json.loads(path.read_text("utf-8"))
    for path in sorted((Path(__file__).parent / "gemini_cases").glob("*.json"))
}
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MODEL = "gemini-3.5-flash-lite"


def judged(
    status: int, body: Any = None, headers: dict[str, str] | None = None, *, flex: bool = False
) -> GeminiError:
    return classify(status, headers or {}, body, model=MODEL, flex=flex, now=NOW)


def error(message: str, status: int = 400, details: Any = None, word: str = "X") -> dict[str, Any]:
    return {"error": {"code": status, "message": message, "status": word, "details": details}}


def quota(*violations: Any, retry: str | None = None) -> dict[str, Any]:
    details: list[Any] = [{"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": list(violations)}]
    details += [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": retry}] if retry else []
    return error("You exceeded your current quota.", 429, details, "RESOURCE_EXHAUSTED")


@pytest.mark.parametrize(
    ("case", "kind", "delay"),
    [
        ("400-api-key-expired", Failure.KEY_REFUSED, None),
        ("400-api-key-invalid", Failure.KEY_REFUSED, None),
        ("400-api-key-not-found", Failure.KEY_REFUSED, None),
        ("400-deadline-too-short", Failure.REJECTED, None),
        ("400-location", Failure.LOCATION, None),
        ("400-schema-too-many-states", Failure.REJECTED, None),
        ("400-thinking-budget-invalid", Failure.REJECTED, None),
        ("403-key-leaked", Failure.FORBIDDEN, None),
        ("403-no-permission", Failure.FORBIDDEN, None),
        ("404-model-not-found", Failure.MODEL_UNKNOWN, None),
        ("429-input-tokens-per-minute-free", Failure.RATE_LIMITED, 26),
        ("429-legacy-no-details", Failure.RATE_LIMITED, None),
        ("429-paid-per-day-old", Failure.QUOTA_EXHAUSTED, None),
        ("429-paid-per-minute-old", Failure.RATE_LIMITED, 44),
        ("429-per-day-flash-lite", Failure.QUOTA_EXHAUSTED, 37),
        ("429-per-day-free-with-short-retry", Failure.QUOTA_EXHAUSTED, 36),
        ("429-per-minute-free", Failure.RATE_LIMITED, 15),
        ("500-internal", Failure.UNAVAILABLE, None),
        ("503-high-demand", Failure.UNAVAILABLE, None),
        ("503-overloaded", Failure.UNAVAILABLE, None),
        ("504-deadline-exceeded", Failure.UNAVAILABLE, None),
    ],
)
def test_a_recorded_refusal_is_understood(case: str, kind: Failure, delay: float | None) -> None:
    recorded = CASES[case]
    found = judged(recorded["status"], recorded["body"], recorded["headers"])
    assert found.kind is kind
    assert found.delay_seconds == delay
    assert found.status == recorded["body"]["error"]["status"]
    assert judged(recorded["status"], [recorded["body"]]).kind is kind


def test_every_recorded_refusal_is_judged_here() -> None:
    assert len(CASES) == 21


def test_a_used_up_day_names_the_quota_and_the_model_of_the_violation() -> None:
    detail = judged(429, CASES["429-per-day-flash-lite"]["body"]).detail
    assert "GenerateRequestsPerDayPerProjectPerModel-FreeTier" in detail
    assert "gemini-2.5-flash-lite" in detail
    assert "20 a day" in detail


def test_a_violation_without_dimensions_names_the_model_that_was_asked() -> None:
    assert MODEL in judged(429, CASES["429-per-day-free-with-short-retry"]["body"]).detail


def test_a_day_quota_wins_over_a_minute_quota_before_it_and_a_short_delay() -> None:
    body = quota({"quotaId": "RequestsPerMinute"}, {"quotaId": "RequestsPerDayPerModel"}, retry="1s")
    assert judged(429, body).kind is Failure.QUOTA_EXHAUSTED


def test_a_limit_of_zero_ends_whether_in_the_violation_or_in_the_sentence() -> None:
    for value in ("0", 0):
        body = quota({"quotaId": "RequestsPerMinute", "quotaValue": value}, retry="5s")
        found = judged(429, body)
        assert (found.kind, found.detail) == (Failure.NOT_IN_PLAN, f"RequestsPerMinute of model {MODEL} is 0")
    sentence = "Quota exceeded for metric: x, limit: 0, model: m"
    assert judged(429, error(sentence, 429)).kind is Failure.NOT_IN_PLAN


def test_a_limit_of_zero_wins_over_a_used_up_day_since_no_reset_lifts_it() -> None:
    day, none = {"quotaId": "RequestsPerDay", "quotaValue": "20"}, {"quotaId": "Tokens", "quotaValue": "0"}
    assert judged(429, quota(day, none)).kind is Failure.NOT_IN_PLAN
    assert judged(429, quota({**day, "quotaValue": "0"})).kind is Failure.NOT_IN_PLAN
    body = quota({"quotaId": "RequestsPerDay"})
    assert judged(429, body).kind is Failure.QUOTA_EXHAUSTED
    body["error"]["message"] += " limit: 0"
    found = judged(429, body)
    assert found.kind is Failure.NOT_IN_PLAN and "RequestsPerDay" in found.detail


@pytest.mark.parametrize("sentence", ["This plan has limit: 0.", "limit: 0", "x" * 500 + " limit: 0, model: m"])
def test_a_limit_of_zero_is_found_wherever_it_stands(sentence: str) -> None:
    assert judged(429, error(sentence, 429)).kind is Failure.NOT_IN_PLAN


@pytest.mark.parametrize("sentence", ["limit: 0.5, model: m", "limit: 00", "limit: 10", "limit: 05"])
def test_a_limit_that_only_begins_with_zero_does_not_end(sentence: str) -> None:
    assert judged(429, error(sentence, 429)).kind is Failure.RATE_LIMITED


@pytest.mark.parametrize(
    "sentence",
    ["Your prepayment credits are depleted.", "Your project exceeded its spending cap.", "No prepaid credit."],
)
def test_spent_credit_ends(sentence: str) -> None:
    assert judged(429, error(sentence, 429)).kind is Failure.CREDIT_SPENT


# --- delays ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("4.2s", 4.2),
        ("45.837906927s", 45.837906927),
        ("500ms", 0.5),
        ("3", 3.0),
        (" 7s ", 7.0),
        ({"seconds": 3}, 3.0),
        ({"seconds": "3", "nanos": 500_000_000}, 3.5),
        ({}, 0.0),
        ("-1s", None),
        ("soon", None),
        ("", None),
        (None, None),
        (5, None),
        (["5s"], None),
        ({"seconds": "x"}, None),
    ],
)
def test_a_duration_is_read_in_every_spelling(value: object, expected: float | None) -> None:
    assert seconds(value) == expected


def test_the_longest_of_the_delays_counts() -> None:
    body = quota({"quotaId": "PerMinute"}, retry="5s")
    assert judged(429, body, {"retry-after": "9"}).delay_seconds == 9
    assert judged(429, body, {"retry-after": "2"}).delay_seconds == 5


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("37.295530399s", 37.295530399),
        ("250ms", 0.25),
        ("18m5.5s", 1085.5),
        ("2h47m56.5s", 10076.5),  # as Gemini says it of a quota that stays used up for hours
        ("19h34m29s", 70469),
        ("1h30m", 5400),
        ("2h 15m 30s", 8130),
        ("5m", 300),
        ("5 moments", None),
        ("a while", None),
    ],
)
def test_the_sentence_counts_when_nothing_else_names_a_delay(asked: str, expected: float | None) -> None:
    assert judged(429, error(f"Please retry in {asked}.", 429)).delay_seconds == expected


@pytest.mark.parametrize("status", [429, 503, 504])
def test_retry_after_is_read_on_429_503_and_504(status: int) -> None:
    assert judged(status, None, {"retry-after": "7"}).delay_seconds == 7


@pytest.mark.parametrize("status", [400, 403, 500, 502])
def test_retry_after_is_not_read_elsewhere(status: int) -> None:
    assert judged(status, None, {"retry-after": "7"}).delay_seconds is None


def test_retry_after_may_be_a_date() -> None:
    later = format_datetime(NOW + timedelta(seconds=30), usegmt=True)
    earlier = format_datetime(NOW - timedelta(seconds=30), usegmt=True)
    assert judged(503, None, {"retry-after": later, "date": "noon"}).delay_seconds == 30
    assert judged(503, None, {"retry-after": earlier}).delay_seconds is None
    assert judged(503, None, {"retry-after": "tomorrow"}).delay_seconds is None


@pytest.mark.parametrize("wrong_by", [timedelta(hours=-5), timedelta(hours=5)])
def test_a_date_is_one_of_the_servers_clock_whatever_this_computers_says(wrong_by: timedelta) -> None:
    sent = NOW + wrong_by
    dates = {"date": sent, "retry-after": sent + timedelta(seconds=30)}
    headers = {name: format_datetime(date, usegmt=True) for name, date in dates.items()}
    assert judged(503, None, headers).delay_seconds == 30


# --- rows without a recorded answer ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, Failure.KEY_REFUSED),
        (403, Failure.FORBIDDEN),
        (404, Failure.MODEL_UNKNOWN),
        (408, Failure.UNAVAILABLE),
        (413, Failure.REJECTED),
        (422, Failure.REJECTED),
        (499, Failure.REJECTED),
        (429, Failure.RATE_LIMITED),
        (500, Failure.UNAVAILABLE),
        (502, Failure.UNAVAILABLE),
        (503, Failure.UNAVAILABLE),
        (504, Failure.UNAVAILABLE),
        (200, Failure.FOREIGN_PAGE),
        (302, Failure.FOREIGN_PAGE),
    ],
)
def test_a_bare_number_is_enough(status: int, kind: Failure) -> None:
    found = judged(status)
    assert (found.kind, found.status, found.detail) == (kind, str(status), f"HTTP {status}")


def test_flex_sheds_with_a_503_only() -> None:
    kinds = [judged(status, flex=True).kind for status in (503, 500, 504, 429)]
    assert kinds == [Failure.SHED, Failure.UNAVAILABLE, Failure.UNAVAILABLE, Failure.RATE_LIMITED]


def test_an_unknown_field_asks_for_the_other_api_version() -> None:
    message = "Invalid JSON payload received. Unknown name \"responseSchema\" at 'generation_config'"
    assert judged(400, error(message)).kind is Failure.UNKNOWN_FIELD


def test_an_unknown_field_may_be_named_in_the_details_alone() -> None:
    sentence = 'Unknown name "serviceTier": Cannot find field.'
    details = [{"fieldViolations": ["text", {"field": "x"}, {"description": 7}, {"description": sentence}]}]
    found = judged(400, error("Invalid JSON payload received.", details=details))
    assert (found.kind, found.detail) == (Failure.UNKNOWN_FIELD, sentence)
    assert judged(400, error("x", details=[{"fieldViolations": [{"description": "x"}]}])).kind is Failure.REJECTED


def test_a_country_without_a_free_tier_is_a_location_too() -> None:
    sentence = "Gemini API free tier is not available in your country. Please enable billing on your project."
    assert judged(400, error(sentence, word="FAILED_PRECONDITION")).kind is Failure.LOCATION


def test_a_bad_key_is_known_by_its_reason_whatever_the_number() -> None:
    for status in (400, 403):
        body = error("x", status, [{"reason": "API_KEY_INVALID"}])
        assert judged(status, body).kind is Failure.KEY_REFUSED


def test_what_is_shown_is_one_short_line() -> None:
    detail = judged(400, error("a\n  b\t" + "c" * 1000)).shown(Redactor()).detail
    assert detail.startswith("a b c")
    assert len(detail) == 400


@pytest.mark.parametrize("position", [0, 370, 399])
def test_no_part_of_a_key_is_shown_wherever_the_line_is_cut(position: int) -> None:
    redactor = Redactor()
    redactor.add("a-key-of-25-characters-xyz")
    body = error("y" * position + " a-key-of-25-characters-xyz " + "z" * 100, word="a-key-of-25-characters-xyz")
    shown = judged(403, body).shown(redactor)
    assert "a-k" not in shown.detail + shown.status
    assert shown.status == "[key]"


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "error",
                    "message",
                    "status",
                    "details",
                    "reason",
                    "violations",
                    "fieldViolations",
                    "description",
                    "quotaId",
                    "quotaValue",
                    "quotaDimensions",
                    "retryDelay",
                    "seconds",
                    "nanos",
                    "model",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(st.integers(100, 599), JSON_VALUES, JSON_VALUES, st.none() | st.text())
def test_no_body_and_no_header_raises(status: int, body: Any, details: Any, retry_after: str | None) -> None:
    headers = {} if retry_after is None else {"retry-after": retry_after}
    for sent in (body, {"error": body}, {"error": {"details": [details, {"violations": [details]}]}}):
        found = judged(status, sent, headers)
        assert found.delay_seconds is None or found.delay_seconds >= 0
        assert found.status
