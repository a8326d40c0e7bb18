"""Unknown tags: one request for each in the whole process, however many batches meet it.

The first batch that meets a tag asks; the others wait for its answer instead of asking again. If the
asking batch is cut off or fails, one of those that wait takes over.
"""

from collections.abc import Awaitable, Callable, Iterable

import trio

from sidecar.contract import TagType
from sidecar.gemini.calls import Stop
from sidecar.gemini.policy import Halve
from sidecar.tagging.answers import RawTags, Reply, read_mapping
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
            # Looked at anew after each request: what others ask for meanwhile is theirs.
            mine = [(key, raw) for key, raw in unknown.items() if key not in self._asking]
            if not mine:
                await self._asking[next(iter(unknown))].wait()
                continue
            stop = await self._ask(dict(mine[:MOST_TAGS_A_REQUEST]), vocabulary, ask)
            if stop is not None:
                return stop
        return None

    async def _ask(self, tags: dict[Key, str], vocabulary: Vocabulary, ask: Ask) -> Stop | None:
        answered = trio.Event()
        self._asking.update(dict.fromkeys(tags, answered))
        try:
            outcome = await ask([(kind, raw) for (kind, _), raw in tags.items()])
            if isinstance(outcome, Reply):
                self._take(outcome, tags, vocabulary)
                return None
            if isinstance(outcome, Halve):
                # Refused for its content: asking again would bring the same answer.
                for key in tags:
                    self.mappings.give_up(key)
                return None
            return outcome
        finally:
            for key in tags:
                del self._asking[key]
            answered.set()

    def _take(self, reply: Reply, tags: dict[Key, str], vocabulary: Vocabulary) -> None:
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
        for key in open_tags:
            self.mappings.give_up(key)
