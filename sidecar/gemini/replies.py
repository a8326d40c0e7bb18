"""What a 200 of Gemini's says: its text, how it ended, and what it counted.

Shapes: https://ai.google.dev/api/generate-content, as far as they are read.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Struct

from sidecar.contract import Reason, Usage
from sidecar.gemini.failures import Failure, GeminiError
from sidecar.tagging.answers import Reply

_BLOCKED = frozenset(
    {
        "SAFETY",
        "RECITATION",
        "LANGUAGE",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "MODEL_ARMOR",
        "JAILBREAK",
        "ESCALATION",
    }
)
_CLEAN = frozenset({"STOP", "FINISH_REASON_UNSPECIFIED", ""})


class _Part(Struct):
    text: str | None = None
    thought: bool | None = None


class _Content(Struct):
    parts: list[_Part] | None = None


class _Candidate(Struct, rename="camel"):
    content: _Content | None = None
    finish_reason: str | None = None


class _Feedback(Struct, rename="camel"):
    block_reason: str | None = None


class _Counted(Struct, rename="camel"):
    """Whatever stands there: an answer is not thrown away because of how it is counted."""

    prompt_token_count: Any = None
    cached_content_token_count: Any = None
    candidates_token_count: Any = None
    thoughts_token_count: Any = None


class _Response(Struct, rename="camel"):
    candidates: list[_Candidate] | None = None
    prompt_feedback: _Feedback | None = None
    usage_metadata: msgspec.Raw = msgspec.Raw(b"{}")


MOST_CANDIDATES = 8
"""As many as `candidateCount` may ask for; it is never sent, so that one is what comes."""
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
"""Gemini's own are int32; the sum of many larger ones would be too large for SQLite. Gateways write them as text
or with a decimal point, too.
"""
_decoder = msgspec.json.Decoder(_Response)
_counted = msgspec.json.Decoder(_Counted)


class Answer(Struct, frozen=True):
    """A usable 200 and what Gemini counted for it."""

    reply: Reply
    usage: Usage


def read_answer(body: str) -> Answer:
    """Raises GeminiError: FOREIGN_PAGE for what is no JSON, UNUSABLE for another shape and for no content."""
    try:
        response = _decoder.decode(body.removeprefix("\ufeff"))
    except (msgspec.ValidationError, RecursionError):
        raise GeminiError(Failure.UNUSABLE, "an answer of an unknown shape", status="BAD_ANSWER") from None
    except (msgspec.DecodeError, UnicodeEncodeError):
        raise GeminiError(Failure.FOREIGN_PAGE, "a page that is not Gemini's", status="BAD_ANSWER") from None
    usage = _usage(response.usage_metadata)
    reply = _reply(response)
    if not reply.text and reply.fault is None:
        raise GeminiError(Failure.UNUSABLE, "an answer without content", status="EMPTY", usage=usage)
    return Answer(reply, usage)


def _reply(response: _Response) -> Reply:
    """The first candidate that says something and was not blocked; where there is none, the first of all.

    Of an answer that names a reason for a block what it says all the same is kept: it is paid for.
    """
    replies = [_said(candidate) for candidate in (response.candidates or [])[:MOST_CANDIDATES]]
    sound = (reply for reply in replies if reply.text and reply.fault is not Reason.BLOCKED)
    reply = next(sound, replies[0] if replies else Reply(""))
    if response.prompt_feedback is not None and response.prompt_feedback.block_reason:
        return Reply(reply.text, Reason.BLOCKED)
    return reply


def _said(candidate: _Candidate) -> Reply:
    """A candidate's text without thoughts, and what is wrong with how it ended."""
    parts = (candidate.content.parts if candidate.content else None) or []
    text = "".join(part.text for part in parts if part.text and not part.thought)
    finish = candidate.finish_reason or ""
    if finish in _BLOCKED:
        return Reply(text, Reason.BLOCKED)
    return Reply(text, None if finish in _CLEAN else Reason.BAD_RESPONSE)


def _usage(metadata: msgspec.Raw) -> Usage:
    """What is no count counts as 0: the answer that it stands beside is good, and paid for."""
    try:
        counted = _counted.decode(metadata)
    except (msgspec.DecodeError, RecursionError):
        return Usage()
    prompt_tokens = _count(counted.prompt_token_count)
    return Usage(
        prompt_tokens=prompt_tokens,
        cached_tokens=min(prompt_tokens, _count(counted.cached_content_token_count)),
        output_tokens=_count(counted.candidates_token_count),
        thoughts_tokens=_count(counted.thoughts_token_count),
    )


def _count(value: object) -> int:
    try:
        return msgspec.convert(value or 0, _Count, strict=False)
    except msgspec.ValidationError:
        return 0
