"""One batch's questions: ask, sort the answers, ask again, halve, resolve unknown tags.

May be cut off at any time, and is then asked for again by the next run: a batch is written whole or not at all.
`writing` commits what came of it. Between the two nothing is lost: a batch that Gemini has answered, with what
its unknown tags stand for, waits in memory to be written.
"""

from collections.abc import Iterable, Sequence

import trio
from msgspec import Struct

from sidecar.contract import FileFailure, Reason, ServiceTier, TagType
from sidecar.gemini.calls import Calls, Meter, Stop
from sidecar.gemini.policy import End, GiveUp, Halve
from sidecar.gemini.requests import Request
from sidecar.runs.knowledge import Knowledge
from sidecar.settings import Settings
from sidecar.tagging import prompts
from sidecar.tagging.answers import RawTags, Reply, read_tagging
from sidecar.tagging.records import Snapshot
from sidecar.tagging.tags import AudioFile
from sidecar.tagging.vocabulary import Vocabulary

LEFT_OUT = "Gemini's answer left this file out, twice."


class Failed(Struct, frozen=True):
    """A file's outcome without tags."""

    reason: Reason
    message: str


GONE = Failed(Reason.DELETED, "The file was deleted while it was being tagged.")
CHANGED = Failed(
    Reason.CHANGED, "Someone changed the file's tags while it was being tagged; their tags were kept."
)
EXCLUDED = Failed(Reason.CHANGED, "Someone excluded the file from tagging after the run had begun.")


class Asked(Struct, frozen=True):
    """What came of asking for a batch: tags and failures by file id.

    `unresolved` says why some unknown tags could not be mapped.
    """

    tags: dict[int, RawTags]
    failed: dict[int, Failed]
    unresolved: Stop | None = None


class Prompt(Struct, frozen=True):
    """What is the same in every request of a run."""

    system: str
    root: str
    flex: bool = False

    def tagging(self, files: Sequence[AudioFile]) -> Request:
        """The request for these files' tags."""
        text = prompts.tagging_request(files, self.root)
        return Request(self.system, text, prompts.TAGGING_SCHEMA, self.flex)

    def mapping(self, unknown: list[tuple[TagType, str]]) -> Request:
        """The request for valid tags in the place of unknown ones."""
        return Request(self.system, prompts.mapping_request(unknown), prompts.MAPPING_SCHEMA, self.flex)


def prompt_for(settings: Settings, vocabulary: Vocabulary, root: str) -> Prompt:
    """What all requests of a run share; `root` is the folder that all of the library's paths share."""
    system = prompts.system_instruction(vocabulary, settings.hints)
    return Prompt(system, root, settings.service_tier is ServiceTier.FLEX)


class _Part(Struct, frozen=True):
    """Files still to be asked for together; `again`: they were left out of an answer before."""

    files: Sequence[Snapshot]
    again: bool = False


class Batch:
    """Batch `number` (from 1) of a run: its `files`, and those that `failed` before they were asked for.

    `generation` is the library's when the files were read: as long as it stands, nobody has changed them.
    """

    def __init__(
        self,
        number: int,
        files: Sequence[Snapshot],
        failed: dict[int, Failed],
        generation: int,
        run_meter: Meter | None = None,
    ) -> None:
        self.number = number
        self.files = files
        self.generation = generation
        self.meter = Meter(run_meter)
        self.began_at = trio.current_time()
        self._failed = failed

    @property
    def total_files(self) -> int:
        """Files with and without an outcome."""
        return len(self.files) + len(self._failed)

    async def ask(self, calls: Calls, prompt: Prompt, knowledge: Knowledge) -> Asked | End:
        """Tags from Gemini for every file, or why not. Returns End when the run has to end."""
        tags: dict[int, RawTags] = {}
        failed = dict(self._failed)
        parts = [_Part(self.files)] if self.files else []
        while parts:
            part = parts.pop()
            outcome = await calls.ask(prompt.tagging([s.file for s in part.files]), self.number, self.meter)
            if isinstance(outcome, End):
                return outcome
            parts.extend(_sort(part, outcome, tags, failed))
        unresolved = await knowledge.unknown_tags.learn(
            tags.values(),
            knowledge.vocabulary,
            lambda unknown: calls.ask(prompt.mapping(unknown), self.number, self.meter),
        )
        return unresolved if isinstance(unresolved, End) else Asked(tags, failed, unresolved)

    def without_answer(self, failed: Failed) -> Asked:
        """Every file failed, for a batch that met an error of our own."""
        return Asked({}, {**{snapshot.file.id: failed for snapshot in self.files}, **self._failed})

    def failures(self, failed: dict[int, Failed]) -> list[FileFailure]:
        """The failures as the shell sees them, by file id."""
        return failures_of(failed, {snapshot.file.id: snapshot.file.file_path for snapshot in self.files})


def failures_of(failed: dict[int, Failed], paths: dict[int, str]) -> list[FileFailure]:
    """Failures as the shell sees them, by file id."""
    return [
        FileFailure(file_id, paths.get(file_id, ""), outcome.reason, outcome.message)
        for file_id, outcome in sorted(failed.items())
    ]


def _sort(
    part: _Part, outcome: Reply | Halve | GiveUp, tags: dict[int, RawTags], failed: dict[int, Failed]
) -> Iterable[_Part]:
    """Books what an answer settles; the parts that are left to be asked."""
    files = part.files
    if isinstance(outcome, Halve):
        return _halved(files, Failed(outcome.reason, outcome.message), failed, asked=len(files))
    if isinstance(outcome, GiveUp):
        failed.update((s.file.id, Failed(outcome.reason, outcome.message)) for s in files)
        return ()
    reading = read_tagging(outcome, len(files))
    tags.update((files[index].file.id, raw_tags) for index, raw_tags in reading.usable.items())
    if reading.broken:
        broken = [files[index] for index in reading.broken]
        message = (
            "Gemini's safety filter blocked this file."
            if reading.reason is Reason.BLOCKED
            else "Gemini's answer for this file could not be used."
        )
        return _halved(broken, Failed(reading.reason, message), failed, asked=len(files))
    missing = [files[index] for index in reading.missing]
    if missing and not part.again:
        return (_Part(missing, again=True),)
    failed.update((s.file.id, Failed(Reason.MISSING_IN_RESPONSE, LEFT_OUT)) for s in missing)
    return ()


def _halved(files: Sequence[Snapshot], alone: Failed, failed: dict[int, Failed], *, asked: int) -> Iterable[_Part]:
    """Two halves of what cannot be answered together; a file that was asked for alone fails.

    `asked`: how many files the request had. The first half is asked first.
    """
    if asked == 1:
        failed[files[0].file.id] = alone
        return ()
    if len(files) == 1:
        return (_Part(files),)
    middle = (len(files) + 1) // 2
    return (_Part(files[middle:]), _Part(files[:middle]))
