"""Requests as the stand-in received them, and the replies that it can be told to give.

Shapes of the Gemini API (https://ai.google.dev/api) and of real error bodies.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal

import msgspec
import trio

MODELS: Final = ("gemini-3.5-flash-lite", "gemini-3.1-flash-lite", "gemini-3.8-flash")
ROUTE: Final = re.compile(r"/(v1|v1beta)/models(?:/([^/:?]+)(:generateContent)?)?(?:\?.*)?")
_RPC: Final = "type.googleapis.com/google.rpc."
_SERVICE: Final = "generativelanguage.googleapis.com"


class _Part(msgspec.Struct):
    text: str = ""


class _Content(msgspec.Struct):
    parts: list[_Part] = []


class _Envelope(msgspec.Struct, rename="camel"):
    """What of a generateContent body the normal answer looks at; msgspec skips the rest unread."""

    contents: list[_Content] = []
    system_instruction: _Content | None = None


@dataclass
class Received:
    """One request as it arrived: `number` counts from 1, `at` is `trio.current_time()` of its last byte.

    `headers` has lower-case names. `status` is that of the answer from the moment its last bytes go to the
    socket; None while the request is open, and for ever where the connection broke before.
    """

    number: int
    at: float
    method: str
    path: str
    headers: dict[str, str]
    body: bytes = field(repr=False)
    status: int | None = None

    @cached_property
    def json(self) -> Any:
        """The whole body decoded. Raises msgspec.DecodeError where it is not JSON."""
        return msgspec.json.decode(self.body)

    @cached_property
    def _envelope(self) -> _Envelope:
        try:
            return msgspec.json.decode(self.body, type=_Envelope)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return _Envelope()

    @property
    def model(self) -> str:
        """The model id in the path, "" where there is none."""
        match = ROUTE.fullmatch(self.path)
        return (match and match[2]) or ""

    @property
    def system(self) -> str:
        """The text of the system instruction, "" where there is none."""
        content = self._envelope.system_instruction
        return "".join(part.text for part in content.parts) if content else ""

    @cached_property
    def user(self) -> dict[str, Any]:
        """The JSON object in the text of the first user part, {} where there is none."""
        try:
            value = msgspec.json.decode(self._envelope.contents[0].parts[0].text)
        except (IndexError, msgspec.DecodeError, UnicodeError):
            return {}
        return value if isinstance(value, dict) else {}

    @property
    def files(self) -> list[dict[str, Any]]:
        """The files that a tagging request asks about, [] in any other request."""
        return list(self.user.get("files", ()))

    @property
    def invalid_tags(self) -> list[dict[str, Any]]:
        """The `{type, tag}` objects that a mapping request asks about, [] in any other request."""
        return list(self.user.get("invalid_tags", ()))

    @property
    def kind(self) -> Literal["tagging", "mapping", "other"]:
        """What is asked for, by the fields of the user part."""
        return "tagging" if "files" in self.user else "mapping" if "invalid_tags" in self.user else "other"


@dataclass
class Reply:
    """What to answer, and how badly. `body` None is the normal answer, bytes go out as they are, else JSON.

    The waits, in order: `gate` until it is set, then `delay_seconds` (None: the stand-in's latency).
    `drop` breaks the connection before any byte or in the middle of the body, by a reset or, with
    `reset=False`, by an orderly close. `drip_bytes_per_second` sends the body that slowly.
    """

    status: int = 200
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_seconds: float | None = None
    gate: trio.Event | None = None
    drop: Literal["before", "mid"] | None = None
    reset: bool = True
    drip_bytes_per_second: float | None = None


Script = Callable[[Received], Reply | None]
"""Called once for each request, in order of arrival; None is the normal answer."""


def usage_metadata(prompt: int, output: int, cached: int = 0) -> dict[str, object]:
    usage: dict[str, object] = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": output,
        "totalTokenCount": prompt + output,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": prompt}],
    }
    # As the API does: the cached tokens are counted in the prompt's too, and the field is absent at zero.
    return usage | {"cachedContentTokenCount": cached} if cached else usage


def json_text(value: object) -> str:
    return msgspec.json.encode(value).decode()


def text_reply(text: str, finish: str = "STOP", usage: Mapping[str, object] | None = None) -> Reply:
    """A 200 whose one candidate says `text`; `usage` defaults to a plausible one."""
    return Reply(
        body={
            "candidates": [
                {"content": {"parts": [{"text": text}], "role": "model"}, "finishReason": finish, "index": 0}
            ],
            "usageMetadata": usage if usage is not None else usage_metadata(1000, 1 + len(text) // 4),
            "modelVersion": MODELS[0],
            "responseId": "c3RhbmQtaW4",
        }
    )


def ok(items: object, finish: str = "STOP", usage: Mapping[str, object] | None = None) -> Reply:
    """A 200 whose text is `items` as JSON."""
    return text_reply(json_text(items), finish, usage)


def finish(reason: str) -> Reply:
    """A 200 whose candidate has a finish reason and no content, as SAFETY or RECITATION come."""
    usage = {"promptTokenCount": 171, "totalTokenCount": 171}
    return Reply(body={"candidates": [{"finishReason": reason, "index": 0}], "usageMetadata": usage})


def blocked_prompt(reason: str = "PROHIBITED_CONTENT") -> Reply:
    """A 200 without candidates: the prompt itself was blocked."""
    return Reply(body={"promptFeedback": {"blockReason": reason}, "usageMetadata": {"promptTokenCount": 171}})


def html_page() -> Reply:
    """A 200 that is no JSON: what a captive portal answers in the API's place."""
    page = b"<!DOCTYPE html><html><head><title>Wi-Fi</title></head><body>Please sign in.</body></html>"
    return Reply(body=page, headers={"content-type": "text/html; charset=utf-8"})


def error(status: int, message: str, google_status: str, details: Sequence[object] = ()) -> Reply:
    """An error in Google's envelope; `details` are left out when empty, as the API does."""
    body: dict[str, object] = {"code": status, "message": message, "status": google_status}
    return Reply(status, {"error": body | {"details": list(details)} if details else body})


def rate_limited(
    delay: str | None = "1s",
    quota_id: str = "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
    *,
    quota_value: int = 15,
) -> Reply:
    """A 429 with a QuotaFailure and, unless `delay` is None, a RetryInfo ("1s", "4.2s")."""
    violation = {
        "quotaMetric": f"{_SERVICE}/generate_content_free_tier_requests",
        "quotaId": quota_id,
        "quotaDimensions": {"location": "global", "model": MODELS[0]},
        "quotaValue": str(quota_value),
    }
    link = {
        "description": "Learn more about Gemini API quotas",
        "url": "https://ai.google.dev/gemini-api/docs",
    }
    message = (
        "You exceeded your current quota, please check your plan and billing details. \n* Quota exceeded for"
        f" metric: {violation['quotaMetric']}, limit: {quota_value}, model: {MODELS[0]}"
    )
    details: list[object] = [
        {"@type": _RPC + "QuotaFailure", "violations": [violation]},
        {"@type": _RPC + "Help", "links": [link]},
    ]
    if delay is not None:
        message += f"\nPlease retry in {delay}."
        details.append({"@type": _RPC + "RetryInfo", "retryDelay": delay})
    return error(429, message, "RESOURCE_EXHAUSTED", details)


def per_day(delay: str | None = "36s") -> Reply:
    """A 429 of a per-day quota, with the worthless short delay that really stands beside it."""
    return rate_limited(delay, "GenerateRequestsPerDayPerProjectPerModel-FreeTier", quota_value=20)


def key_invalid(message: str = "API key not valid. Please pass a valid API key.") -> Reply:
    """The 400 that a bad key gets."""
    info = {"reason": "API_KEY_INVALID", "domain": "googleapis.com", "metadata": {"service": _SERVICE}}
    localized = {"@type": _RPC + "LocalizedMessage", "locale": "en-US", "message": message}
    return error(400, message, "INVALID_ARGUMENT", [{"@type": _RPC + "ErrorInfo"} | info, localized])


def unavailable(retry_after: str | None = None) -> Reply:
    """A 503 of an overloaded model, with a Retry-After header where one is given."""
    reply = error(503, "The model is overloaded. Please try again later.", "UNAVAILABLE")
    reply.headers = {} if retry_after is None else {"retry-after": retry_after}
    return reply


def model_not_found(model: str = MODELS[0], version: str = "v1beta") -> Reply:
    """The 404 of a model that is retired, unknown or closed to this key."""
    return error(
        404,
        f"models/{model} is not found for API version {version}, or is not supported for generateContent."
        " Call ListModels to see the list of available models and their supported methods.",
        "NOT_FOUND",
    )


def unknown_name(name: str) -> Reply:
    """The 400 of an API version that does not know a field."""
    message = f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.'
    bad_request = {"@type": _RPC + "BadRequest", "fieldViolations": [{"description": message}]}
    return error(400, message, "INVALID_ARGUMENT", [bad_request])
