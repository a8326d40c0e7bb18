"""gemini.policy: the contract's table of section 6, a test for each row."""

import itertools
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.contract import Reason, RunStatus
from sidecar.gemini.backoff import Limits, backoff
from sidecar.gemini.failures import Failure, GeminiError
from sidecar.gemini.pace import Sign
from sidecar.gemini.policy import (
    MAX_REFUSALS,
    MAX_UNUSABLE,
    TABLE,
    counted,
    ended_by_outage,
    ended_by_versions,
    verdict,
)
from sidecar.gemini.verdicts import End, GiveUp, Halve, OtherVersion, Plain, Standard, Tries, Verdict, Wait

COUNTED = (
    Failure.RATE_LIMITED,
    Failure.UNUSABLE,
    Failure.FOREIGN_PAGE,
    Failure.UNAVAILABLE,
    Failure.UNTRUSTED,
    Failure.TIMEOUT,
)
LIMITS = Limits(max_attempts=5, backoff_base_seconds=1, backoff_max_seconds=60, outage_max_seconds=600)
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def decided(
    kind: Failure,
    tries: Tries | None = None,
    *,
    detail: str = "the detail.",
    delay: float | None = None,
    jitter: float = 0.5,
    limits: Limits = LIMITS,
    now: datetime = NOW,
) -> Verdict:
    """The verdict on a failure that `tries` do not count yet."""
    error = GeminiError(kind, detail, status="WORD", delay_seconds=delay)
    return verdict(error, counted(tries or Tries(), error), limits, jitter, now)


def sentence(found: Verdict) -> str:
    """What a person reads about it."""
    assert isinstance(found, End | GiveUp | Halve)
    return found.message


def test_a_429_with_a_delay_holds_everybody_at_least_that_long() -> None:
    assert decided(Failure.RATE_LIMITED, delay=15) == Wait(15, everyone=True)


def test_a_429_without_a_delay_backs_off_for_everybody() -> None:
    assert decided(Failure.RATE_LIMITED) == Wait(0.5, everyone=True)
    assert decided(Failure.RATE_LIMITED, Tries(refusals=3)) == Wait(4, everyone=True)


def test_a_429_does_not_use_up_attempts() -> None:
    tries = counted(Tries(attempts=4), GeminiError(Failure.RATE_LIMITED))
    assert tries == Tries(attempts=4, refusals=1)
    assert isinstance(decided(Failure.RATE_LIMITED, Tries(attempts=4)), Wait)


@pytest.mark.parametrize("delay", [None, 3.0])
def test_the_tenth_429_fails_as_rate_limited(delay: float | None) -> None:
    assert MAX_REFUSALS == 10
    assert isinstance(decided(Failure.RATE_LIMITED, Tries(refusals=8), delay=delay), Wait)
    tenth = decided(Failure.RATE_LIMITED, Tries(refusals=9), delay=delay)
    assert isinstance(tenth, GiveUp)
    assert tenth.reason is Reason.RATE_LIMITED


@pytest.mark.parametrize("delay", [None, 36.0, 21_600.0])
def test_a_used_up_quota_ends_the_run_whatever_delay_stands_beside_it(delay: float | None) -> None:
    end = decided(Failure.QUOTA_EXHAUSTED, delay=delay)
    assert isinstance(end, End)
    assert end.status is RunStatus.QUOTA_EXHAUSTED
    assert "the detail" in end.message


def test_what_no_reset_lifts_ends_the_run_with_what_does() -> None:
    cures = {
        Failure.NOT_IN_PLAN: "another model (the setting `model`) or a larger",
        Failure.CREDIT_SPENT: "Add cr",
    }
    for (kind, cure), delay in itertools.product(cures.items(), (None, 36.0, 3600.0)):
        end = decided(kind, delay=delay)
        assert isinstance(end, End) and end.status is RunStatus.QUOTA_EXHAUSTED
        assert cure in end.advice and "the detail" in end.message and "reset" not in end.message + end.advice


@pytest.mark.parametrize("kind", [Failure.RATE_LIMITED, Failure.UNAVAILABLE])
def test_a_delay_longer_than_an_outage_ends_the_run_and_says_until_when(kind: Failure) -> None:
    assert isinstance(decided(kind, delay=600), Wait)
    end = decided(kind, delay=601)
    assert isinstance(end, End)
    assert end.status is RunStatus.QUOTA_EXHAUSTED
    assert "until" in end.message


def test_a_delay_of_centuries_is_no_overflow() -> None:
    assert isinstance(decided(Failure.RATE_LIMITED, delay=1e12), End)
    noon = datetime(2026, 3, 1, 12, 0).astimezone()
    assert "until 2026-06-09 " in sentence(decided(Failure.RATE_LIMITED, delay=1e12, now=noon)), "a hundred days"


def test_the_end_of_a_long_wait_is_told_in_local_time_with_its_date_unless_that_is_today() -> None:
    noon = datetime(2026, 3, 1, 12, 0).astimezone().astimezone(UTC)
    later = {660: "until 12:11.", 86_400: "until 2026-03-02 12:00.", 365 * 86_400: "until 2026-06-09 "}
    for delay, words in later.items():
        assert words in sentence(decided(Failure.RATE_LIMITED, delay=delay, now=noon))


def test_a_flex_request_that_was_shed_goes_to_the_standard_tier_when_the_server_allows() -> None:
    assert decided(Failure.SHED) == Standard()
    assert decided(Failure.SHED, delay=7) == Standard()
    assert isinstance(decided(Failure.SHED, delay=601), End)


@pytest.mark.parametrize("kind", [kind for kind in Failure if kind not in COUNTED])
def test_a_failure_that_another_request_form_or_nothing_mends_uses_up_no_try(kind: Failure) -> None:
    tries = Tries(1, 2, 1, plain=True, standard=True)
    assert counted(tries, GeminiError(kind)) == tries


@pytest.mark.parametrize("kind", [Failure.UNUSABLE, Failure.FOREIGN_PAGE])
def test_an_unusable_answer_uses_up_one_of_its_own_tries_only(kind: Failure) -> None:
    tries = Tries(1, 2, 1, plain=True, standard=True)
    assert counted(tries, GeminiError(kind)) == Tries(1, 2, 2, plain=True, standard=True)


def test_a_request_has_met_nothing_and_is_sent_with_schema_on_the_configured_tier_at_first() -> None:
    assert Tries() == Tries(attempts=0, refusals=0, unusable=0, plain=False, standard=False)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Failure.UNAVAILABLE, Reason.SERVICE_UNAVAILABLE),
        (Failure.UNTRUSTED, Reason.SERVICE_UNAVAILABLE),
        (Failure.TIMEOUT, Reason.TIMEOUT),
    ],
)
def test_a_transient_failure_backs_off_and_fails_at_the_last_attempt(kind: Failure, reason: Reason) -> None:
    waits = [decided(kind, Tries(attempts=done)) for done in range(4)]
    assert waits == [Wait(seconds, everyone=False) for seconds in (0.5, 1, 2, 4)]
    last = decided(kind, Tries(attempts=4))
    assert isinstance(last, GiveUp)
    assert last.reason is reason


def test_a_transient_failure_uses_up_an_attempt_and_nothing_else() -> None:
    for kind in (Failure.UNAVAILABLE, Failure.UNTRUSTED, Failure.TIMEOUT):
        assert counted(Tries(1, 2, 1, True), GeminiError(kind)) == Tries(2, 2, 1, True)


def test_retry_after_on_a_503_holds_everybody_at_least_that_long_and_adds_no_attempt() -> None:
    assert decided(Failure.UNAVAILABLE, delay=20) == Wait(20, everyone=True)
    assert decided(Failure.UNAVAILABLE, Tries(attempts=3), delay=1) == Wait(4, everyone=True)
    assert isinstance(decided(Failure.UNAVAILABLE, Tries(attempts=4), delay=20), GiveUp)


def test_in_an_outage_an_uncounted_failure_waits() -> None:
    error = GeminiError(Failure.UNAVAILABLE)
    assert verdict(error, Tries(), LIMITS, 0.5, NOW) == Wait(0.5, everyone=False)


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (Failure.KEY_REFUSED, "GEMINI_API_KEY"),
        (Failure.FORBIDDEN, "API key"),
        (Failure.MODEL_UNKNOWN, "LIGEIA_MODEL"),
        (Failure.LOCATION, "not offered"),
        (Failure.SETTING, "settings"),
        (Failure.INCOMPLETE, "cannot be asked"),
    ],
)
def test_what_no_retry_can_mend_ends_the_run_with_what_to_do(kind: Failure, word: str) -> None:
    end = decided(kind)
    assert isinstance(end, End)
    assert end.status is RunStatus.FAILED
    assert word in end.message
    assert "the detail" in end.message


@pytest.mark.parametrize("kind", [Failure.KEY_REFUSED, Failure.FORBIDDEN, Failure.MODEL_UNKNOWN])
def test_only_googles_own_answer_tells_of_key_and_model(kind: Failure) -> None:
    googles, proxys = (GeminiError(kind, "HTTP 1", http_status=1, from_google=own) for own in (True, False))
    assert verdict(googles, Tries(), LIMITS, 0.5, NOW) == decided(kind, detail="HTTP 1")
    assert verdict(proxys, Tries(), LIMITS, 0.5, NOW) == End(
        RunStatus.FAILED,
        "Something other than Gemini has answered (HTTP 1). Check the network and, if GOOGLE_GEMINI_BASE_URL is "
        "set, that address and the key for it.",
    )


@pytest.mark.parametrize("kind", [Failure.KEY_REFUSED, Failure.QUOTA_EXHAUSTED, Failure.SETTING])
def test_a_detail_is_told_without_its_full_stop_and_gemini_s_word_where_there_is_none(kind: Failure) -> None:
    told = sentence(decided(kind, detail="Refused for project X."))
    assert "Refused for project X" in told and "X.)" not in told and ".." not in told
    assert "WORD" in sentence(decided(kind, detail=""))


def test_files_that_are_halved_are_told_why() -> None:
    assert "the detail" in sentence(decided(Failure.UNUSABLE, Tries(unusable=2)))
    assert "the detail" in sentence(decided(Failure.REJECTED, Tries(plain=True)))


def test_the_tenth_429_says_that_it_is_the_tenth() -> None:
    assert "refused this 10 times" in sentence(decided(Failure.RATE_LIMITED, Tries(refusals=9)))


def test_an_unknown_field_goes_to_the_other_api_version_and_both_refusing_ends_the_run() -> None:
    assert decided(Failure.UNKNOWN_FIELD) == OtherVersion()
    end = ended_by_versions(GeminiError(Failure.UNKNOWN_FIELD, "Unknown name X."))
    assert end.status is RunStatus.FAILED
    assert "(Unknown name X)" in end.message and "Update" in end.message


def test_a_tier_that_both_versions_refuse_is_told_by_its_setting() -> None:
    for name in ("serviceTier", "service_tier"):
        end = ended_by_versions(GeminiError(Failure.UNKNOWN_FIELD, f'Unknown name "{name}".'))
        assert f'(Unknown name "{name}")' in end.message
        assert "Set `service_tier` to `standard`." in end.message and "Update" not in end.message


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, ""), (0.5, ""), (1, " for 1 s"), (90, " for 1 min 30 s"), (600.0, " for 10 min"), (86_400, " for 24 h")],
)
def test_an_outage_that_ends_the_run_is_told_with_its_length(seconds: float, words: str) -> None:
    limits = msgspec.structs.replace(LIMITS, outage_max_seconds=seconds)
    for detail, cause in (("No route to X.", "No route to X"), ("", "WORD")):
        end = ended_by_outage(GeminiError(Failure.UNAVAILABLE, detail, status="WORD"), limits)
        assert end.status is RunStatus.FAILED
        assert end.message == f"Gemini could not be reached{words} ({cause})."
        assert end.advice.startswith("Check the network")


@pytest.mark.parametrize("kind", [Failure.UNUSABLE, Failure.FOREIGN_PAGE])
def test_an_unusable_200_is_sent_twice_more_then_halved(kind: Failure) -> None:
    assert MAX_UNUSABLE == 2
    assert decided(kind) == Wait(0.5, everyone=False)
    assert decided(kind, Tries(unusable=1)) == Wait(1, everyone=False)
    halved = decided(kind, Tries(unusable=2))
    assert isinstance(halved, Halve) and halved.foreign == (kind is Failure.FOREIGN_PAGE)
    assert halved.reason is Reason.BAD_RESPONSE


def test_another_400_goes_once_without_the_schema_then_is_halved() -> None:
    assert decided(Failure.REJECTED) == Plain()
    halved = decided(Failure.REJECTED, Tries(plain=True))
    assert isinstance(halved, Halve) and not halved.foreign
    assert halved.reason is Reason.REQUEST_REJECTED


def test_the_table_says_of_every_failure_what_it_tells_the_pace() -> None:
    told = {
        Sign.RATE_LIMITED: {Failure.RATE_LIMITED},
        Sign.DOWN: {Failure.UNAVAILABLE, Failure.UNTRUSTED, Failure.TIMEOUT},
        Sign.FOREIGN: {Failure.FOREIGN_PAGE},
        Sign.NONE: {Failure.SHED, Failure.SETTING, Failure.INCOMPLETE},
    }
    told[Sign.ANSWERED] = set(Failure).difference(*told.values())
    assert {sign: {kind for kind, row in TABLE.items() if row.sign is sign} for sign in Sign} == told


@pytest.mark.parametrize("kind", list(Failure))
def test_every_failure_has_a_verdict_and_braces_in_its_detail_do_no_harm(kind: Failure) -> None:
    error = GeminiError(kind, "{x} {0} {")
    assert verdict(error, counted(Tries(), error), LIMITS, 0, NOW)


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_backoff_is_full_jitter_below_a_ceiling(failures: int, jitter: float) -> None:
    assert 0 <= backoff(failures, LIMITS, jitter) <= min(60, 2.0 ** min(failures - 1, 6))


def test_backoff_doubles_until_its_maximum() -> None:
    assert [backoff(n, LIMITS, 1) for n in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]
