"""What each failure means, as a table: which count it uses up, what it tells the pace, and what is done.

No I/O: a decision returns, only the caller waits.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from msgspec import Struct

from sidecar.contract import Reason, RunStatus, duration
from sidecar.gemini.backoff import Limits, backoff
from sidecar.gemini.failures import Failure, GeminiError
from sidecar.gemini.pace import Sign
from sidecar.gemini.verdicts import (
    Counter,
    End,
    GiveUp,
    Halve,
    OtherVersion,
    Plain,
    Standard,
    Tries,
    Verdict,
    Wait,
)

MAX_REFUSALS = 10
"""429s that one request may meet before it fails as `rate_limited` (CONTRACT section 6)."""
MAX_UNUSABLE = 2
"""Sends after the first, for a 200 that holds nothing usable (CONTRACT sections 6 and 9)."""

OVERLOADED = 503
"""HTTP's number for it, and Gemini's."""


Decide = Callable[[GeminiError, Tries, Limits, float], Verdict]
"""A failure, the tries with this one counted, the limits and a jitter in [0, 1) → what to do about it."""


class Row(Struct, frozen=True):
    """All that one kind of failure means. `counter` is None where sending it again is bounded otherwise."""

    counter: Counter | None
    sign: Sign
    decide: Decide


def counted(tries: Tries, error: GeminiError) -> Tries:
    """`tries` with this failure added to the count that it uses up."""
    counter = TABLE[error.kind].counter
    return tries if counter is None else tries.with_one_more(counter)


def verdict(error: GeminiError, tries: Tries, limits: Limits, jitter: float, now: datetime) -> Verdict:
    """What to do about a failure. `tries` counts it already; `now` dates the end of a long wait."""
    decided = TABLE[error.kind].decide(error, tries, limits, jitter)
    delay = error.delay_seconds
    # A cause that ends the run says more than when: no wait lifts a limit of 0.
    if delay is not None and delay > limits.outage_max_seconds and not isinstance(decided, End):
        return End(
            RunStatus.QUOTA_EXHAUSTED,
            f"Gemini asks to wait until {_clock(now + timedelta(seconds=min(delay, 8.64e6)), now)}.",
            "{Again} after that: it {goes_on}.",
        )
    return decided


def _rate_limited(error: GeminiError, tries: Tries, limits: Limits, jitter: float) -> Verdict:
    if tries.refusals >= MAX_REFUSALS:
        return GiveUp(
            Reason.RATE_LIMITED,
            f"Gemini's rate limit refused this {MAX_REFUSALS} times. Lower max_parallel or try later.",
        )
    if error.delay_seconds is not None:
        return Wait(error.delay_seconds, everyone=True)
    return Wait(backoff(tries.refusals, limits, jitter), everyone=True)


def _transient(reason: Reason) -> Decide:
    def decide(error: GeminiError, tries: Tries, limits: Limits, jitter: float) -> Verdict:
        if tries.attempts >= limits.max_attempts:
            tried = "once" if tries.attempts == 1 else f"{tries.attempts} times"
            return GiveUp(reason, _unanswered(error, tried))
        wait = backoff(max(tries.attempts, 1), limits, jitter)
        if error.delay_seconds is not None:
            return Wait(max(error.delay_seconds, wait), everyone=True)
        return Wait(wait, everyone=False)

    return decide


def _unanswered(error: GeminiError, tried: str) -> str:
    cause = error.detail or error.status
    if error.kind is Failure.UNAVAILABLE and not error.http_status:
        return f"Gemini could not be reached, tried {tried} ({cause}). Check the network connection."
    return f"Gemini did not answer, tried {tried} ({cause})."


SIGN_IN = "Check whether the network asks for a sign-in."
"""How the sentence ends that tells of a page which something else than Gemini has answered with."""


def _unusable(error: GeminiError, tries: Tries, limits: Limits, jitter: float) -> Verdict:
    if tries.unusable > MAX_UNUSABLE:
        sentence = f"Gemini's answer could not be used ({error.detail})."
        foreign = error.kind is Failure.FOREIGN_PAGE
        if foreign:
            sentence += f" {SIGN_IN}"
        return Halve(Reason.BAD_RESPONSE, sentence, foreign)
    return Wait(backoff(tries.unusable, limits, jitter), everyone=False)


def _rejected(error: GeminiError, tries: Tries, _limits: Limits, _jitter: float) -> Verdict:
    if not tries.plain:
        return Plain()
    return Halve(Reason.REQUEST_REJECTED, f"Gemini rejected the request: {error.detail}")


def _ends(sentence: str, status: RunStatus = RunStatus.FAILED, advice: str = "") -> Decide:
    def decide(error: GeminiError, _tries: Tries, _limits: Limits, _jitter: float) -> Verdict:
        return End(status, sentence.format(detail=error.detail.rstrip(".") or error.status), advice)

    return decide


_refused_in_its_place = _ends(
    "Something other than Gemini has answered ({detail}). Check the network and, if GOOGLE_GEMINI_BASE_URL is "
    "set, that address and the key for it."
)


def _ends_if_google_says_so(sentence: str) -> Decide:
    """Of key and model only Google's own answer tells: a proxy that blocks the address says 403 as well."""
    ends = _ends(sentence)

    def decide(error: GeminiError, tries: Tries, limits: Limits, jitter: float) -> Verdict:
        is_foreign = error.http_status != 0 and not error.from_google
        return (_refused_in_its_place if is_foreign else ends)(error, tries, limits, jitter)

    return decide


TABLE: dict[Failure, Row] = {
    Failure.RATE_LIMITED: Row("refusals", Sign.RATE_LIMITED, _rate_limited),
    Failure.UNAVAILABLE: Row("attempts", Sign.DOWN, _transient(Reason.SERVICE_UNAVAILABLE)),
    Failure.UNTRUSTED: Row("attempts", Sign.DOWN, _transient(Reason.SERVICE_UNAVAILABLE)),
    Failure.TIMEOUT: Row("attempts", Sign.DOWN, _transient(Reason.TIMEOUT)),
    Failure.UNUSABLE: Row("unusable", Sign.ANSWERED, _unusable),
    Failure.FOREIGN_PAGE: Row("unusable", Sign.FOREIGN, _unusable),
    Failure.REJECTED: Row(None, Sign.ANSWERED, _rejected),
    Failure.SHED: Row(None, Sign.NONE, lambda *_: Standard()),
    Failure.UNKNOWN_FIELD: Row(None, Sign.ANSWERED, lambda *_: OtherVersion()),
    Failure.QUOTA_EXHAUSTED: Row(
        None,
        Sign.ANSWERED,
        _ends(
            "Gemini's quota is used up: {detail}.",
            RunStatus.QUOTA_EXHAUSTED,
            "{tagging} {goes_on} when you start it again after the quota's reset (midnight Pacific time for daily "
            "quotas) or with a larger plan.",
        ),
    ),
    Failure.NOT_IN_PLAN: Row(
        None,
        Sign.ANSWERED,
        _ends(
            "This plan does not include the model: {detail}.",
            RunStatus.QUOTA_EXHAUSTED,
            "Choose another model (the setting `model`) or a larger plan and {again}: it {goes_on}.",
        ),
    ),
    Failure.CREDIT_SPENT: Row(
        None,
        Sign.ANSWERED,
        _ends(
            "Gemini's prepaid credit or spending limit is used up ({detail}).",
            RunStatus.QUOTA_EXHAUSTED,
            "Add credit or raise the limit in Google AI Studio and {again}: it {goes_on}.",
        ),
    ),
    Failure.KEY_REFUSED: Row(
        None,
        Sign.ANSWERED,
        _ends_if_google_says_so(
            "Gemini refused the API key ({detail}). Check the key in the settings (GEMINI_API_KEY) or make a "
            "new one in Google AI Studio."
        ),
    ),
    Failure.FORBIDDEN: Row(
        None,
        Sign.ANSWERED,
        _ends_if_google_says_so(
            "Gemini denies this API key access ({detail}). Check in Google AI Studio that the key is not "
            "blocked and that the Gemini API is enabled for its project."
        ),
    ),
    Failure.MODEL_UNKNOWN: Row(
        None,
        Sign.ANSWERED,
        _ends_if_google_says_so(
            "Gemini does not know the model or no longer offers it ({detail}). Choose another one with the "
            "`model` setting (LIGEIA_MODEL); also check GOOGLE_GEMINI_BASE_URL if you have set it."
        ),
    ),
    Failure.LOCATION: Row(
        None,
        Sign.ANSWERED,
        _ends(
            "Gemini is not offered where this computer is ({detail}). A key of a billed project or another "
            "network may help."
        ),
    ),
    Failure.SETTING: Row(None, Sign.NONE, _ends("Requests cannot be sent with these settings: {detail}.")),
    Failure.INCOMPLETE: Row(None, Sign.NONE, _ends("Gemini cannot be asked: {detail}.")),
}
"""A row for each `Failure`: what it uses up, what it tells the pace and what is done is said here alone."""


def ended_by_versions(error: GeminiError) -> End:
    """Both API versions refused a field."""
    detail = error.detail.rstrip(".")
    if "servicetier" in detail.lower().replace("_", ""):
        sentence = f"Gemini does not know the tier `flex` here ({detail}). Set `service_tier` to `standard`."
        return End(RunStatus.FAILED, sentence)
    return End(
        RunStatus.FAILED,
        f"Gemini does not accept the requests of this version of the sidecar ({detail}). Update Ligeia.",
    )


def ended_by_outage(error: GeminiError, limits: Limits) -> End:
    """An outage has lasted for as long as it may, with `error` last; below a second that is not worth a number."""
    how_long = f" for {duration(limits.outage_max_seconds)}" if limits.outage_max_seconds >= 1 else ""
    cause = error.detail.rstrip(".") or error.status
    if error.kind is Failure.UNTRUSTED:
        why, advice = f". {cause}", "Mend that and {again}"
    elif error.kind is Failure.FOREIGN_PAGE:
        why = f": something else answered ({cause})"
        advice = "Check whether the network asks for a sign-in, and {again}"
    elif error.http_status == OVERLOADED:
        why, advice = f": it was overloaded ({cause})", "{Again} later"
    elif error.http_status:
        why, advice = f": it answered with errors only ({cause})", "{Again} later"
    else:
        why, advice = f" ({cause})", "Check the network connection and {again}"
    return End(RunStatus.FAILED, f"Gemini could not be reached{how_long}{why}.", f"{advice}: it {{goes_on}}.")


def _clock(when: datetime, now: datetime) -> str:
    local, today = when.astimezone(), now.astimezone()
    return f"{local:%H:%M}" if local.date() == today.date() else f"{local:%Y-%m-%d %H:%M}"
