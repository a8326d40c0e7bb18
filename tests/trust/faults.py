"""What can go wrong with an answer of Gemini's, and what the contract makes of it: its section 6, and worse.

A fault is a reply of the stand-in, so that it can be given over real HTTP and in virtual time alike.
"""

import email.utils
import gzip
import json
import time
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from sidecar.demo import standin
from sidecar.demo.standin import Received, Reply
from tests import harness

COMPLETED, FAILED, EXHAUSTED = "completed", "failed", "quota_exhausted"


class Outcome(Struct, frozen=True):
    """How the run ends.

    `reason`: with which all files fail, or some where only `partly`; None where all are tagged.
    """

    status: str = COMPLETED
    reason: str | None = None
    partly: bool = False


class Fault(Struct, frozen=True):
    """An answer at fault, and how a run ends that meets it `once` and `always`."""

    name: str
    reply: Callable[[Received], Reply]
    once: Outcome
    always: Outcome


PASSES: Final = Outcome()
OUTAGE: Final = Outcome(FAILED, "service_unavailable")
_KEY_SHOWN: Final = f"API key not valid: {harness.KEY}. Please pass a valid API key."
_HEADERS: Final = {"content-encoding": "gzip"}
_HTML: Final = {"content-type": "text/html"}


def _tagged(received: Received) -> str:
    return json.dumps(harness.answers(received))


def _envelope(received: Received) -> bytes:
    return json.dumps(standin.text_reply(_tagged(received)).body).encode()


def _of_status(status: int, word: str) -> Callable[[Received], Reply]:
    return lambda _: standin.error(status, "Something is wrong.", word)


def _http_date(seconds: float) -> str:
    return email.utils.formatdate(time.time() + seconds, usegmt=True)


def _zipped(received: Received) -> Reply:
    return Reply(body=gzip.compress(_envelope(received)), headers=_HEADERS)


def _swollen(_: Received) -> Reply:
    """300 MB that come as 300 kB."""
    return Reply(body=_SWOLLEN, headers=_HEADERS)


_SWOLLEN: Final = gzip.compress(b" " * 300_000_000, 9)


def _duplicate_keys(received: Received) -> Reply:
    text = _tagged(received).replace('{"id":', '{"id": 99, "genre": "no such genre", "id":')
    body = json.dumps(standin.text_reply(text).body)
    return Reply(body=body.replace('{"candidates":', '{"candidates": [], "candidates":', 1).encode())


def _foreign_ids(received: Received) -> Reply:
    items = harness.answers(received)
    return standin.ok([{**items[0], "id": 999}, *items, {**items[0], "genre": "no such genre"}])


def _first_missing(received: Received) -> Reply:
    return standin.ok(harness.answers(received)[1:])


def _cut_short(received: Received) -> Reply:
    text = _tagged(received)
    return standin.text_reply(text[: len(text) * 2 // 3], "MAX_TOKENS")


def _constant(reply: Reply) -> Callable[[Received], Reply]:
    return lambda _: reply


def _ends(status: str) -> tuple[Outcome, Outcome]:
    return Outcome(status), Outcome(status)


def _content(reason: str) -> tuple[Outcome, Outcome]:
    return PASSES, Outcome(COMPLETED, reason)


_REFUSED: Final = _content("rate_limited")
_TRANSIENT: Final = (PASSES, OUTAGE)
_UNUSABLE: Final = _content("bad_response")

_ROWS: tuple[tuple[str, Callable[[Received], Reply], tuple[Outcome, Outcome]], ...] = (
    # Contract 6, row by row.
    ("429 with a delay of 1 ms", _constant(standin.rate_limited("0.001s")), _REFUSED),
    ("429 with a delay of 2 s", _constant(standin.rate_limited("2s")), _REFUSED),
    ("429 without a delay", _constant(standin.rate_limited(None)), _REFUSED),
    ("429 with a delay of an hour", _constant(standin.rate_limited("3600s")), _ends(EXHAUSTED)),
    ("429 with a Retry-After in the past", lambda _: _retry_after(_http_date(-3600)), _REFUSED),
    ("429 with a Retry-After in an hour", lambda _: _retry_after(_http_date(3600)), _ends(EXHAUSTED)),
    ("429 of a daily quota", _constant(standin.per_day()), _ends(EXHAUSTED)),
    ("429 of a limit of 0", _constant(standin.rate_limited("1s", quota_value=0)), _ends(EXHAUSTED)),
    ("408", _of_status(408, "DEADLINE_EXCEEDED"), _TRANSIENT),
    ("500", _of_status(500, "INTERNAL"), _TRANSIENT),
    ("502", _of_status(502, "INTERNAL"), _TRANSIENT),
    ("503", _constant(standin.unavailable()), _TRANSIENT),
    ("503 with a Retry-After of 1 s", _constant(standin.unavailable("1")), _TRANSIENT),
    ("503 with a Retry-After in the past", lambda _: standin.unavailable(_http_date(-60)), _TRANSIENT),
    ("504", _of_status(504, "DEADLINE_EXCEEDED"), _TRANSIENT),
    ("reset before the answer", _constant(Reply(drop="before")), _TRANSIENT),
    ("closed before the answer", _constant(Reply(drop="before", reset=False)), _TRANSIENT),
    ("reset in mid-body", _constant(Reply(drop="mid")), _TRANSIENT),
    ("a body shorter than its length", _constant(Reply(drop="mid", reset=False)), _TRANSIENT),
    ("a byte a second", _constant(Reply(drip_bytes_per_second=1)), (PASSES, Outcome(FAILED, "timeout"))),
    ("400 of a bad key, which it shows", _constant(standin.key_invalid(_KEY_SHOWN)), _ends(FAILED)),
    ("401", _of_status(401, "UNAUTHENTICATED"), _ends(FAILED)),
    ("403", _of_status(403, "PERMISSION_DENIED"), _ends(FAILED)),
    ("404 of the model", _constant(standin.model_not_found()), _ends(FAILED)),
    (
        "400 of the location",
        lambda _: standin.error(400, "User location is not supported for the API use.", "FAILED_PRECONDITION"),
        _ends(FAILED),
    ),
    ("400 of an unknown field", _constant(standin.unknown_name("systemInstruction")), (PASSES, Outcome(FAILED))),
    ("400 of another kind", _of_status(400, "INVALID_ARGUMENT"), _content("request_rejected")),
    ("422", _of_status(422, "INVALID_ARGUMENT"), _content("request_rejected")),
    ("200 without a candidate", _constant(Reply(body={"candidates": []})), _UNUSABLE),
    ("200 of STOP without parts", _constant(standin.finish("STOP")), _UNUSABLE),
    ("a captive portal's page", _constant(standin.html_page()), _UNUSABLE),
    (
        "a captive portal's redirection",
        _constant(Reply(302, b"", {"location": "http://wifi.invalid/"})),
        _UNUSABLE,
    ),
    ("MAX_TOKENS within the text", _cut_short, (PASSES, Outcome(COMPLETED, "bad_response", partly=True))),
    ("MAX_TOKENS without text", _constant(standin.finish("MAX_TOKENS")), _UNUSABLE),
    ("OTHER", _constant(standin.finish("OTHER")), _UNUSABLE),
    ("text that is no JSON", _constant(standin.text_reply("I am sorry, Dave.")), _UNUSABLE),
    ("JSON of a wrong shape", _constant(standin.ok({"tags": 7})), _UNUSABLE),
    ("SAFETY", _constant(standin.finish("SAFETY")), _content("blocked")),
    ("RECITATION", _constant(standin.finish("RECITATION")), _content("blocked")),
    ("a blocked prompt", _constant(standin.blocked_prompt()), _content("blocked")),
    ("no file in the answer", _constant(standin.ok([])), _content("missing_in_response")),
    ("ids that nobody asked for, and twice", _foreign_ids, (PASSES, PASSES)),
    (
        "the first file left out",
        _first_missing,
        (PASSES, Outcome(COMPLETED, "missing_in_response", partly=True)),
    ),
    # And worse.
    ("an answer in gzip", _zipped, (PASSES, PASSES)),
    ("gzip garbage", _constant(Reply(body=b"\x1f\x8b\x08garbage" * 99, headers=_HEADERS)), _UNUSABLE),
    ("a body of 300 MB", _swollen, _UNUSABLE),
    ("duplicate keys", _duplicate_keys, (PASSES, PASSES)),
    ("an envelope nested 10,000 deep", _constant(Reply(body=b"[" * 10_000 + b"]" * 10_000)), _UNUSABLE),
    ("a text nested 10,000 deep", _constant(standin.text_reply("[" * 10_000 + "]" * 10_000)), _UNUSABLE),
    # Whatever the page holds, the number says enough.
    ("an error nested 10,000 deep", _constant(Reply(500, b'{"error":' * 10_000 + b"}" * 10_000)), _TRANSIENT),
    ("a balancer's page with a 503", lambda _: Reply(503, b"<html>try later</html>", _HTML), _TRANSIENT),
    ("an empty 502", _constant(Reply(502, b"")), _TRANSIENT),
)

FAULTS: Final = tuple(Fault(name, reply, *outcomes) for name, reply, outcomes in _ROWS)


def _retry_after(value: str) -> Reply:
    reply = standin.rate_limited(None)
    reply.headers = {"retry-after": value}
    return reply
