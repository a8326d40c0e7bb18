"""How the stand-in answers one run, file by file, and what it was asked."""

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NamedTuple

import trio

from sidecar.demo import standin
from sidecar.demo.standin import Received, Reply
from tests.model.rules import Vocabulary
from tests.model.words import POOL, Pair, name

FAULTS: Final = {
    "silent": "missing_in_response",
    "blocked": "blocked",
    "garbage": "bad_response",
    "rejected": "request_rejected",
}
"""What a file may be answered with instead of tags, and the reason with which it then fails."""
Fault = Literal["silent", "blocked", "garbage", "rejected"]
Meaning = Literal["first", "last", "nothing", "unsaid", "invented"]
"""What Gemini maps each unknown tag to: the first or last of its type, null, no word on it, no tag at all."""


class Said(NamedTuple):
    """Tags as Gemini gives them for a file. `late`: left out of the first answer."""

    genre: str | None = None
    mood: tuple[str, ...] = ()
    occasion: tuple[str, ...] = ()
    keyword: tuple[str, ...] = ()
    late: bool = False

    def pairs(self) -> list[Pair]:
        """Each tag once, by type, in the order in which it was said."""
        found = [("genre", self.genre)] if self.genre else []
        for kind in ("mood", "occasion", "keyword"):
            found += [(kind, value) for value in dict.fromkeys(getattr(self, kind))]
        return found

    def item(self, number: int) -> dict[str, Any]:
        """As JSON, for the file that has that number in its request."""
        return {
            "id": number,
            "genre": self.genre,
            "moods": self.mood,
            "occasions": self.occasion,
            "keywords": self.keyword,
        }


Answer = Said | Fault


class Script:
    """Answers a run. `answers` are by file name.

    `meanwhile` is called with the names in the first tagging request, as it arrives. The request that holds
    `last` finds the day's quota used up, or stays open while `cancel` cancels the run.
    """

    def __init__(
        self,
        answers: Mapping[str, Answer],
        meaning: Meaning = "nothing",
        *,
        meanwhile: Callable[[list[str]], None] | None = None,
        last: str | None = None,
        cancel: Callable[[], None] | None = None,
    ) -> None:
        self.meaning = meaning
        self.mapped: list[tuple[Pair, str | None]] = []
        self._answers = answers
        self._meanwhile = meanwhile
        self._last = last
        self._cancel = cancel
        self._ended = False
        self._left_out: set[str] = set()

    def __call__(self, received: Received) -> Reply:
        """For the stand-in."""
        if received.kind == "mapping":
            return standin.per_day() if self._ended else self._mapping(received)
        names = [name(str(file["path"])) for file in received.files]
        if self._meanwhile is not None:
            meanwhile, self._meanwhile = self._meanwhile, None
            meanwhile(names)
        if self._last in names or self._ended:
            return self._end()
        answers = [self._answers[text] for text in names]
        if "rejected" in answers:
            return standin.error(400, "Request contains an invalid argument.", "INVALID_ARGUMENT")
        if "blocked" in answers:
            return standin.finish("SAFETY")
        if "garbage" in answers:
            return standin.text_reply("I would rather not.")
        return standin.ok([item for item in map(self._item, range(1, 99), names) if item is not None])

    def _item(self, number: int, text: str) -> dict[str, Any] | None:
        answer = self._answers[text]
        if not isinstance(answer, Said):
            return None
        if answer.late and text not in self._left_out:
            self._left_out.add(text)
            return None
        return answer.item(number)

    def _end(self) -> Reply:
        self._ended = True
        if self._cancel is None:
            return standin.per_day()
        self._cancel()
        return Reply(gate=trio.Event())

    def _mapping(self, received: Received) -> Reply:
        items = []
        for asked in received.invalid_tags:
            kind, tag = asked["type"], asked["tag"]
            valid = {"first": POOL[kind][0], "last": POOL[kind][-1], "invented": "so to say"}.get(self.meaning)
            if self.meaning != "unsaid":
                items.append({"type": kind, "invalid": tag, "valid": valid})
            self.mapped.append(((kind, tag), "" if self.meaning == "unsaid" else valid))
        return standin.ok(items)


def learnt(valid: str | None, kind: str, vocabulary: Vocabulary) -> str | None:
    """What is remembered of Gemini's word on an unknown tag: a tag, REMOVE, or None for no usable word."""
    if valid is None:
        return "REMOVE"
    return valid if (kind, valid) in vocabulary else None
