"""One batch's questions: ask, sort the answers, ask again, halve, resolve unknown tags.

May be cut off at any time, and is then asked for again by the next run: a batch is written whole or not at all.
`writing` commits what came of it. Between the two nothing is lost: a batch that Gemini has answered, with what
its unknown tags stand for, waits in memory to be written.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence

import trio
from msgspec import Struct

from sidecar.contract import Reason
from sidecar.gemini.calls import Calls, Stop
from sidecar.gemini.meter import Meter
from sidecar.gemini.verdicts import End, GiveUp, Halve
from sidecar.library.faults import Fault, LibraryError
from sidecar.runs.knowledge import Knowledge
from sidecar.runs.outcomes import BLOCKED, EXCLUDED, LEFT_OUT, UNUSABLE, NotTagged
from sidecar.runs.prompt import Prompt
from sidecar.tagging.answers import RawTags, Reply, read_tagging
from sidecar.tagging.records import Snapshot

Allowed = Callable[[Sequence[int]], Awaitable[Collection[int]]]
"""Those of the ids whose files are not excluded now."""


class Asked(Struct, frozen=True):
    """What came of asking for a batch: tags, or why there are none, by file id.

    `unresolved` says why some unknown tags could not be mapped.
    """

    tags: dict[int, RawTags]
    not_tagged: dict[int, NotTagged]
    unresolved: Stop | None = None


class Found(Struct, frozen=True):
    """A batch's files as they were read, and those that are not to be asked for, with the paths they have."""

    files: Sequence[Snapshot]
    not_tagged: dict[int, NotTagged] = {}
    other_paths: dict[int, str] = {}


class Batch:
    """Batch `number` (from 1) of a run.

    `generation` is the library's when the files were read: as long as it stands, nobody has changed them.
    `exclusions_version` is that of `Knowledge` then.
    """

    def __init__(
        self, number: int, found: Found, generation: int, exclusions_version: int, run_meter: Meter
    ) -> None:
        self.number = number
        self.files = found.files
        self.generation = generation
        self._exclusions_version = exclusions_version
        self.meter = Meter(run_meter)
        self.began_at = trio.current_time()
        self._found = found

    @property
    def total_files(self) -> int:
        """Files with and without an outcome."""
        return len(self.files) + len(self._found.not_tagged)

    @property
    def paths(self) -> dict[int, str]:
        """Where the files lie, by id; of those that were gone before nobody knows it."""
        return self._found.other_paths | {entry.file.id: entry.file.file_path for entry in self.files}

    async def ask(self, calls: Calls, prompt: Prompt, knowledge: Knowledge, allowed: Allowed) -> Asked | End:
        """Tags from Gemini for every file, or why not. Returns End when the run has to end.

        Files that are excluded while a request waits are in no later one, but for those that another process
        excludes while it waits for its turn alone. Raises what `allowed` raises, and LibraryError where the
        library has lost its vocabulary: every tag would be unknown.
        """
        tags: dict[int, RawTags] = {}
        not_tagged = dict(self._found.not_tagged)
        parts = [Part(self.files)] if self.files else []
        while parts:
            part = parts.pop()
            asking = _Asking(part, prompt, knowledge, self._exclusions_version, self.began_at, allowed)
            answer = await calls.ask_current(asking, self.number, self.meter)
            if isinstance(answer, End):
                return answer
            not_tagged |= _all(asking.excluded, EXCLUDED)
            settled = Settled() if answer is None else settle(asking.part, answer)
            tags |= settled.tags
            not_tagged |= settled.not_tagged
            parts.extend(reversed(settled.parts))
        if not knowledge.vocabulary.can_tag:
            raise LibraryError(Fault.NO_VOCABULARY)
        unresolved = await knowledge.unknown_tags.learn(
            tags.values(),
            lambda: knowledge.vocabulary,
            lambda unknown: calls.ask(prompt.mapping(unknown), self.number, self.meter),
        )
        return unresolved if isinstance(unresolved, End) else Asked(tags, not_tagged, unresolved)

    def without_answer(self, outcome: NotTagged) -> Asked:
        """The same outcome for every file, for a batch that met an error of our own."""
        return Asked(
            {}, dict.fromkeys((snapshot.file.id for snapshot in self.files), outcome) | self._found.not_tagged
        )


class Part(Struct, frozen=True):
    """Files to be asked for together; `again`: an answer has left them out before."""

    files: Sequence[Snapshot]
    again: bool = False


class _Asking:
    """A part while it is being asked for, without the files that are excluded meanwhile."""

    def __init__(
        self,
        part: Part,
        prompt: Prompt,
        knowledge: Knowledge,
        exclusions_version: int,
        looked_at: float,
        allowed: Allowed,
    ) -> None:
        self.part = part
        self.excluded: list[Snapshot] = []
        self.looked_at = looked_at
        self.request = prompt.tagging([snapshot.file for snapshot in part.files])
        self._prompt = prompt
        self._knowledge = knowledge
        self._exclusions_version = exclusions_version
        self._allowed = allowed

    def is_current(self) -> bool:
        """Whether this process has excluded nothing since."""
        return self._knowledge.exclusions_version == self._exclusions_version

    async def renew(self) -> bool:
        """Leaves out what is excluded now; False where that is all. Raises what `allowed` raises."""
        self._exclusions_version = self._knowledge.exclusions_version
        self.looked_at = trio.current_time()
        files = self.part.files
        allowed = await self._allowed([snapshot.file.id for snapshot in files])
        kept = [snapshot for snapshot in files if snapshot.file.id in allowed]
        if len(kept) < len(files):
            self.excluded += [snapshot for snapshot in files if snapshot.file.id not in allowed]
            self.part = Part(kept, self.part.again)
            self.request = self._prompt.tagging([snapshot.file for snapshot in kept])
        return bool(kept)


class Settled(Struct, frozen=True):
    """What one answer decides, by file id, and which `parts` are still to be asked for, in that order."""

    tags: dict[int, RawTags] = {}
    not_tagged: dict[int, NotTagged] = {}
    parts: Sequence[Part] = ()


def settle(part: Part, answer: Reply | Halve | GiveUp) -> Settled:
    """What an answer means for each file that it was to be about."""
    files = part.files
    if isinstance(answer, Halve):
        return _halved(part, files, NotTagged(answer.reason, answer.message))
    if isinstance(answer, GiveUp):
        return Settled(not_tagged=_all(files, NotTagged(answer.reason, answer.message)))
    reading = read_tagging(answer, len(files))
    tags = {files[index].file.id: raw_tags for index, raw_tags in reading.usable.items()}
    if reading.broken:
        alone = BLOCKED if reading.reason is Reason.BLOCKED else UNUSABLE
        rest = _halved(part, [files[index] for index in reading.broken], alone)
        return Settled(tags, rest.not_tagged, rest.parts)
    missing = [files[index] for index in reading.missing]
    if missing and not part.again:
        return Settled(tags, parts=(Part(missing, again=True),))
    return Settled(tags, _all(missing, LEFT_OUT))


def _halved(part: Part, files: Sequence[Snapshot], alone: NotTagged) -> Settled:
    """Two halves of those `files` of a part that cannot be answered together.

    `alone`: the outcome of a file that was asked for alone.
    """
    if len(part.files) == 1:
        return Settled(not_tagged=_all(files, alone))
    middle = (len(files) + 1) // 2
    halves = [half for half in (files[:middle], files[middle:]) if half]
    return Settled(parts=[Part(half, again=part.again) for half in halves])


def _all(files: Sequence[Snapshot], outcome: NotTagged) -> dict[int, NotTagged]:
    return {snapshot.file.id: outcome for snapshot in files}
