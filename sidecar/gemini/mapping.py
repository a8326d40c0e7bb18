"""Unknown tags: one request for each in the whole process, however many batches meet it.

The first batch that meets a tag asks; the others wait for its answer instead of asking again. If the
asking batch is cut off or fails, one of those that wait takes over.
"""

from collections.abc import Awaitable, Callable, Iterable

import trio

from sidecar.contract import Reason, TagType
from sidecar.gemini.calls import Stop
from sidecar.gemini.verdicts import Halve
from sidecar.tagging.answers import RawTags, Reply, read_mapping
from sidecar.tagging.mappings import REMOVE, Key, Mappings
from sidecar.tagging.vocabulary import Vocabulary, normalise, tag_type

MOST_TAGS_A_REQUEST = 100
MOST_UNUSABLE = 8
"""So many unusable answers lead to one tag at fault among a hundred; where more come, no tag is to blame."""

Ask = Callable[[list[tuple[TagType, str]]], Awaitable[Reply | Stop]]
VocabularyNow = Callable[[], Vocabulary]
"""It may change while a request is under way, and a person map a tag to a new one."""


class UnknownTags:
    """Who asks for which unknown tag. One for the whole process; only the trio thread may call it."""

    def __init__(self, mappings: Mappings) -> None:
        self.mappings = mappings
        self._asking: dict[Key, trio.Event] = {}

    async def learn(self, tags: Iterable[RawTags], vocabulary: VocabularyNow, ask: Ask) -> Stop | None:
        """Fills the mappings until all of `tags` are known or given up.

        Returns why some stay unresolved: End when the run has to end, else the reason for this batch.
        """
        raw_tags = list(tags)
        while unknown := self.mappings.unknown(raw_tags, vocabulary()):
            # Looked at anew after each request: what others ask for meanwhile is theirs.
            mine = [(key, raw) for key, raw in unknown.items() if key not in self._asking]
            if not mine:
                await self._asking[next(iter(unknown))].wait()
                continue
            stop = await self._ask(dict(mine[:MOST_TAGS_A_REQUEST]), vocabulary, ask)
            if stop is not None:
                return stop
        return None

    async def _ask(self, tags: dict[Key, str], vocabulary: VocabularyNow, ask: Ask) -> Stop | None:
        answered = trio.Event()
        self._asking.update(dict.fromkeys(tags, answered))
        try:
            return await self._settle(tags, vocabulary, ask, [])
        finally:
            for key in tags:
                del self._asking[key]
            answered.set()

    async def _settle(
        self, tags: dict[Key, str], vocabulary: VocabularyNow, ask: Ask, unusable: list[Halve]
    ) -> Stop | None:
        """Asks for these tags, by halves where they cannot be answered together. Returns what `learn` returns."""
        outcome = await ask([(kind, raw) for (kind, _), raw in tags.items()])
        if isinstance(outcome, Reply):
            rest, is_refused = self._take(outcome, tags, vocabulary()), outcome.fault is not None
        elif isinstance(outcome, Halve) and not outcome.foreign:
            if outcome.reason is Reason.BAD_RESPONSE:
                unusable.append(outcome)
            rest, is_refused = tags, len(unusable) <= MOST_UNUSABLE
        else:  # nothing that Gemini says of them: they are asked for again
            return outcome
        if is_refused and len(tags) > 1:  # for one tag among them, or since the answer would be too long
            halves = [*rest.items()]
            middle = (len(halves) + 1) // 2
            for half in filter(None, (halves[:middle], halves[middle:])):
                if (stop := await self._settle(dict(half), vocabulary, ask, unusable)) is not None:
                    return stop
            return None
        for key in rest:  # asking again would bring the same answer
            self.mappings.give_up(key)
        return None

    def _take(self, reply: Reply, tags: dict[Key, str], vocabulary: Vocabulary) -> dict[Key, str]:
        """Learns what a reply says; the tags that it says nothing of."""
        open_tags = dict(tags)
        for mapped in read_mapping(reply):
            kind = tag_type(mapped.type)
            key = (kind, normalise(mapped.invalid)) if kind else None
            if key is None or kind is None or key not in open_tags:
                continue
            valid = REMOVE if mapped.valid is None else vocabulary.find(kind, mapped.valid)
            if valid is not None:
                raw = open_tags.pop(key)
                if self.mappings.find(key, vocabulary) is None:  # else a person has said it meanwhile
                    self.mappings.learn(kind, raw, valid)
        return open_tags
