"""What a 200 of Gemini's says, as the SDK has read it: text, how it ended, and what it counted."""

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from sidecar.contract import Reason, Usage
from sidecar.gemini.failures import Failure, GeminiError
from sidecar.tagging.answers import Reply

if TYPE_CHECKING:
    from google.genai import types

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


class Answer(Struct, frozen=True):
    """A usable 200 and what Gemini counted for it."""

    reply: Reply
    usage: Usage


def read_reply(response: "types.GenerateContentResponse") -> Reply:
    """The text of the first candidate without thoughts, and what is wrong with how it ended."""
    candidate = response.candidates[0] if response.candidates else None
    feedback = response.prompt_feedback
    if feedback is not None and feedback.block_reason is not None:
        return Reply("", Reason.BLOCKED)
    if candidate is None:
        raise GeminiError(Failure.UNUSABLE, "an answer without content", status="EMPTY")
    parts = (candidate.content.parts if candidate.content else None) or []
    text = "".join(part.text for part in parts if part.text and not part.thought)
    finish = _word(candidate.finish_reason)
    if finish in _BLOCKED:
        return Reply(text, Reason.BLOCKED)
    if finish in ("STOP", "FINISH_REASON_UNSPECIFIED", ""):
        if not text:
            raise GeminiError(Failure.UNUSABLE, "an answer without content", status="EMPTY")
        return Reply(text)
    return Reply(text, Reason.BAD_RESPONSE)


def _word(reason: Any) -> str:
    return str(getattr(reason, "value", reason) or "")


def read_usage(response: "types.GenerateContentResponse") -> Usage:
    counted = response.usage_metadata
    if counted is None:
        return Usage()
    return Usage(
        prompt_tokens=counted.prompt_token_count or 0,
        cached_tokens=counted.cached_content_token_count or 0,
        output_tokens=counted.candidates_token_count or 0,
        thoughts_tokens=counted.thoughts_token_count or 0,
    )
