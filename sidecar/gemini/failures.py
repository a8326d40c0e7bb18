"""What Gemini's refusals mean. Pure: HTTP status, headers and body → GeminiError.

Every part of Google's error envelope is optional and some are malformed in the wild, so each is looked
for, none is required. Sources: CONTRACT section 6, recorded answers named beside each rule.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple

from sidecar.contract import Usage
from sidecar.redaction import Redactor


class Failure(StrEnum):
    """The rows of the contract's table; the policy decides by these alone.

    SHED is the 503 of a request on the flex tier, which Gemini may turn away when it is busy. UNTRUSTED is a
    certificate that is not trusted: nothing was sent.
    """

    RATE_LIMITED = "rate_limited"
    QUOTA_EXHAUSTED = "quota_exhausted"
    NOT_IN_PLAN = "not_in_plan"
    CREDIT_SPENT = "credit_spent"
    UNAVAILABLE = "unavailable"
    UNTRUSTED = "untrusted"
    SHED = "shed"
    TIMEOUT = "timeout"
    UNUSABLE = "unusable"
    FOREIGN_PAGE = "foreign_page"
    REJECTED = "rejected"
    UNKNOWN_FIELD = "unknown_field"
    KEY_REFUSED = "key_refused"
    FORBIDDEN = "forbidden"
    MODEL_UNKNOWN = "model_unknown"
    LOCATION = "location"
    SETTING = "setting"
    INCOMPLETE = "incomplete"


NOTHING_COUNTED = Usage()


class GeminiError(Exception):
    """A request that brought no answer. `detail` is for the person: one line, may be empty.

    As `classify` makes it, it may be long and may echo the key; `shown` is what anybody may see.
    `delay_seconds` is what the server asked us to wait; `status` is Google's word or the HTTP number.
    `http_status` is 0 of a 200 and where none came, `usage` what Gemini counted for an answer that cannot be used;
    `from_google`: the answer had the form of Google's errors, not of a page that something in between has sent.
    """

    def __init__(
        self,
        kind: Failure,
        detail: str = "",
        *,
        status: str = "",
        delay_seconds: float | None = None,
        http_status: int = 0,
        usage: Usage = NOTHING_COUNTED,
        from_google: bool = False,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = _whole(detail)
        self.status = _whole(status)
        self.delay_seconds = delay_seconds
        self.http_status = http_status
        self.usage = usage
        self.from_google = from_google

    def shown(self, redactor: Redactor) -> "GeminiError":
        """This, without keys and cut to a readable length; in that order, or half a key would be left."""
        self.detail = redactor.redact(self.detail)[:MOST_DETAIL_CHARS]
        self.status = redactor.redact(self.status)[:MOST_STATUS_CHARS]
        return self


def _whole(text: str) -> str:
    """Without halves of surrogate pairs, as JSON holds them of texts cut within an emoji, and no database does."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def incomplete(error: ImportError | OSError) -> GeminiError:
    """A module of the program's own cannot be loaded: it is broken, or a scanner has taken a file.

    An OSError: it cannot be read, or a onefile, which unpacks it now, finds no room for it.
    """
    if isinstance(error, OSError):
        why = error.strerror or type(error).__name__
        return GeminiError(Failure.INCOMPLETE, f"a part of the program cannot be unpacked or read ({why})")
    what = error.name or type(error).__name__
    return GeminiError(
        Failure.INCOMPLETE, f"a part of the program is missing or blocked ({what}); install the program again"
    )


MAY_ASK_FOR_DELAY = frozenset({429, 503, 504})
"""The HTTP numbers whose answer may say how long to wait."""
MOST_DETAIL_CHARS = 400
MOST_STATUS_CHARS = 60
_DURATION = re.compile(r"^\s*([0-9]{1,12}(?:\.[0-9]{1,12})?)\s*(ms|s)?\s*$")
_STEP = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)\s?(ms|[hms])(?![a-z])", re.IGNORECASE)
_RETRY_IN_TEXT = re.compile(rf"retry in ((?:{_STEP.pattern}\s?)+)", re.IGNORECASE)
_UNIT_SECONDS = {"h": 3600, "m": 60, "s": 1, "ms": 0.001}
_ZERO_LIMIT = re.compile(r"\blimit: 0(?!\.?[0-9])")
_SPENT = re.compile(r"\b(?:credits?|prepa(?:y|id)\w*|spend(?:ing)? (?:cap|limit))\b", re.IGNORECASE)
_NO_FREE_TIER = "free tier is not available in your country"
_KEY_REASONS = frozenset({"API_KEY_INVALID", "API_KEY_EXPIRED", "API_KEY_NOT_FOUND"})


def classify(
    status: int, headers: Mapping[str, str], body: Any, *, model: str, flex: bool, now: datetime
) -> GeminiError:
    """The failure that an HTTP answer other than a usable 200 stands for; `now` is for one without a `Date`.

    `flex`: the request was one of the flex tier.
    """
    error = _envelope(body)
    message = _line(error.get("message"))
    details = [detail for detail in _list(error.get("details")) if isinstance(detail, dict)]
    word = error.get("status") if isinstance(error.get("status"), str) else str(status)
    delay = _delay(headers, details, message, now) if status in MAY_ASK_FOR_DELAY else None
    kind, detail = _kind(status, message, details, model, flex=flex)
    return GeminiError(
        kind,
        detail,
        status=word or str(status),
        delay_seconds=delay,
        http_status=status,
        from_google=bool(error),
    )


class _Answer(NamedTuple):
    status: int
    message: str
    reasons: frozenset[str]
    unknown_name: str
    flex: bool


_ROWS: tuple[tuple[Failure, Callable[[_Answer], bool]], ...] = (
    (Failure.RATE_LIMITED, lambda a: a.status == 429),
    (Failure.KEY_REFUSED, lambda a: bool(a.reasons & _KEY_REASONS) or a.status == 401),
    (Failure.KEY_REFUSED, lambda a: a.status == 400 and "api key" in a.message),
    (Failure.LOCATION, lambda a: "location is not supported" in a.message or _NO_FREE_TIER in a.message),
    (Failure.FORBIDDEN, lambda a: a.status == 403),
    (Failure.MODEL_UNKNOWN, lambda a: a.status == 404),
    (Failure.UNKNOWN_FIELD, lambda a: a.status == 400 and a.unknown_name != ""),
    (Failure.SHED, lambda a: a.status == 503 and a.flex),
    (Failure.UNAVAILABLE, lambda a: a.status == 408 or a.status >= 500),
    (Failure.REJECTED, lambda a: 400 <= a.status < 500),
    (Failure.FOREIGN_PAGE, lambda _: True),
)
"""First match wins: a bad key is a 400, so the reason is looked at before the number."""


def _kind(
    status: int, message: str, details: list[dict[str, Any]], model: str, *, flex: bool
) -> tuple[Failure, str]:
    if status == 429 and (exhausted := _exhausted(message, details, model)):
        return exhausted
    reasons = frozenset(str(detail.get("reason")) for detail in details)
    answer = _Answer(status, message.lower(), reasons, _unknown_name(message, details), flex)
    kind = next(failure for failure, matches in _ROWS if matches(answer))
    return kind, (answer.unknown_name if kind is Failure.UNKNOWN_FIELD else message) or f"HTTP {status}"


def _unknown_name(message: str, details: list[dict[str, Any]]) -> str:
    """The sentence that names a field which the API does not know; it may stand in the details alone."""
    told = [message, *(_line(violation.get("description")) for violation in _each(details, "fieldViolations"))]
    return next((sentence for sentence in told if "unknown name" in sentence.lower()), "")


def _exhausted(message: str, details: list[dict[str, Any]], model: str) -> tuple[Failure, str] | None:
    """Which quota is used up for today or for good; None when waiting a little would help.

    A limit of 0 wins, since no reset lifts it; then a per-day violation, whatever short delay stands beside
    it (OmniRoute#9504, Graphify#2840).
    """
    of_today = ""
    is_zero = bool(_ZERO_LIMIT.search(message))
    for violation in _each(details, "violations"):
        quota = str(violation.get("quotaId") or violation.get("quotaMetric") or "")
        limit = violation.get("quotaValue")
        dimensions = violation.get("quotaDimensions")
        of_model = dimensions.get("model") if isinstance(dimensions, dict) else None
        name = f"{quota or 'the quota'} of model {of_model or model}"
        if str(limit) == "0" or (is_zero and limit is None):
            return Failure.NOT_IN_PLAN, f"{name} is 0"
        if not of_today and "perday" in quota.lower().replace("_", ""):
            of_today = name + (f" ({limit} a day)" if limit else "")
    if is_zero:
        return Failure.NOT_IN_PLAN, f"the quota of model {model} is 0"
    if of_today:
        return Failure.QUOTA_EXHAUSTED, of_today
    return (Failure.CREDIT_SPENT, message) if _SPENT.search(message) else None


def _each(details: list[dict[str, Any]], name: str) -> Iterator[dict[str, Any]]:
    """The objects in the lists of that name."""
    for detail in details:
        for violation in _list(detail.get(name)):
            if isinstance(violation, dict):
                yield violation


def _delay(headers: Mapping[str, str], details: list[dict[str, Any]], message: str, now: datetime) -> float | None:
    """Seconds the server asks for: the longer of `RetryInfo` and `Retry-After`, else what the sentence says.

    None too where they say zero: who asks for no delay gets the backoff of one that asks for nothing.
    """
    asked = [seconds(detail.get("retryDelay")) for detail in details]
    asked.append(_retry_after(headers, now))
    if not any(asked):
        asked.append(_retry_in_text(message))
    return max((value for value in asked if value), default=None)


def _retry_in_text(message: str) -> float | None:
    """`Please retry in 37.3s`; of a quota that lasts longer, `Please retry in 2h47m56.58s`."""
    found = _RETRY_IN_TEXT.search(message)
    if found is None:
        return None
    return sum(float(number) * _UNIT_SECONDS[unit.lower()] for number, unit in _STEP.findall(found[1]))


def seconds(value: object) -> float | None:
    """A protobuf Duration: `"4.2s"`, `"45.837906927s"`, also `"500ms"` and `{"seconds": 3}`."""
    if isinstance(value, dict):
        whole, nanos = value.get("seconds", 0), value.get("nanos", 0)
        parts = [seconds(f"{part}") for part in (whole, nanos)]
        return None if parts[0] is None else parts[0] + (parts[1] or 0) / 1e9
    found = _DURATION.match(value) if isinstance(value, str) else None
    if found is None:
        return None
    return float(found[1]) / (1000 if found[2] == "ms" else 1)


def _retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """RFC 9110 10.2.3: seconds, or a date by the server's clock; a date in the past asks for nothing."""
    value = headers.get("retry-after")
    if value is None:
        return None
    if (plain := seconds(value)) is not None:
        return plain
    when, sent_at = _date(value), _date(headers.get("date", ""))
    return None if when is None else max(0.0, (when - (sent_at or now)).total_seconds())


def _date(text: str) -> datetime | None:
    try:
        from email.utils import parsedate_to_datetime  # noqa: PLC0415 - 2 ms of every start

        when = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _envelope(body: Any) -> dict[str, Any]:
    """The object in `error`; the whole is sometimes wrapped in a one-element array (continue#8516)."""
    if isinstance(body, list):
        body = body[0] if body else None
    error = body.get("error") if isinstance(body, dict) else None
    return error if isinstance(error, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _line(value: object) -> str:
    return " ".join(value.split()) if isinstance(value, str) else ""
