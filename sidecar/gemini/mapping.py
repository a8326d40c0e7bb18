"""Unknown tags: one request for each in the whole process, however many batches meet it.

The first batch that meets a tag asks; the others wait for its answer instead of asking again. If the
asking batch is cut off or fails, one of those that wait takes over. Tags that cannot be answered together
are asked for in halves, as files are: only the one at fault is given up.
"""

from collections.abc import Awaitable, Callable, Iterable

import trio

from sidecar.contract import TagType
from sidecar.gemini.calls import Stop
from sidecar.gemini.policy import End, GiveUp, Halve
from sidecar.tagging.answers import MappedTag, MappingReading, RawTags, Reply, read_mapping
from sidecar.tagging.mappings import REMOVE, Key, Mappings
from sidecar.tagging.vocabulary import Vocabulary, normalise, tag_type

MOST_TAGS_A_REQUEST = 100

Ask = Callable[[list[tuple[TagType, str]]], Awaitable[Reply | Stop]]


class UnknownTags:
    """Who asks for which unknown tag. One for each open library; only the trio thread may call it."""

    def __init__(self, mappings: Mappings) -> None:
        self.mappings = mappings
        self._asking: dict[Key, trio.Event] = {}

    async def learn(self, tags: Iterable[RawTags], vocabulary: Vocabulary, ask: Ask) -> Stop | None:
        """Fills the mappings until all of `tags` are known or given up.

        Returns why some stay unresolved: End when the run has to end, else the reason for this batch.
        """
        raw_tags = list(tags)
        while unknown := self.mappings.unknown(raw_tags, vocabulary):
            mine = [(key, raw) for key, raw in unknown.items() if key not in self._asking]
            if not mine:
                await self._asking[next(iter(unknown))].wait()
                continue
            for start in range(0, len(mine), MOST_TAGS_A_REQUEST):
                stop = await self._ask(dict(mine[start : start + MOST_TAGS_A_REQUEST]), vocabulary, ask)
                if stop is not None:
                    return stop
        return None

    async def _ask(self, tags: dict[Key, str], vocabulary: Vocabulary, ask: Ask) -> Stop | None:
        answered = trio.Event()
        self._asking.update(dict.fromkeys(tags, answered))
        try:
            parts = [tags]
            while parts:
                part = parts.pop()
                outcome = await ask([(kind, raw) for (kind, _), raw in part.items()])
                if isinstance(outcome, GiveUp | End):
                    return outcome
                parts.extend(self._sort(part, outcome, vocabulary))
            return None
        finally:
            for key in tags:
                del self._asking[key]
            answered.set()

    def _sort(self, tags: dict[Key, str], outcome: Reply | Halve, vocabulary: Vocabulary) -> list[dict[Key, str]]:
        """Books what an answer settles; the parts that are left to be asked, the first half last."""
        reading = read_mapping(outcome) if isinstance(outcome, Reply) else MappingReading([], broken=True)
        unanswered = self._take(reading.mapped, tags, vocabulary)
        if reading.broken and len(tags) > 1:
            middle = (len(unanswered) + 1) // 2
            return [dict(half) for half in (unanswered[middle:], unanswered[:middle]) if half]
        for key, _ in unanswered:
            self.mappings.give_up(key)
        return []

    def _take(
        self, answers: list[MappedTag], tags: dict[Key, str], vocabulary: Vocabulary
    ) -> list[tuple[Key, str]]:
        """Learns the usable answers, gives up the tags that have others only; those that have none."""
        open_tags, answered = dict(tags), set[Key]()
        for mapped in answers:
            kind = tag_type(mapped.type)
            key = (kind, normalise(mapped.invalid)) if kind else None
            if key is None or kind is None or key not in open_tags:
                continue
            answered.add(key)
            valid = REMOVE if mapped.valid is None else vocabulary.find(kind, mapped.valid)
            if valid is not None:
                raw = open_tags.pop(key)
                if self.mappings.find(key, vocabulary) is None:  # else a person has said it meanwhile
                    self.mappings.learn(kind, raw, valid)
        for key in answered & open_tags.keys():
            self.mappings.give_up(key)
        return [(key, raw) for key, raw in open_tags.items() if key not in answered]
