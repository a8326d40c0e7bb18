"""One batch, from files to committed outcomes: ask, sort the answers, ask again, halve, resolve, write.

Two halves that the run schedules apart: `ask` waits for Gemini and may be cut off at any time, `write`
is one transaction. Between them nothing is lost: what Gemini answered waits in memory to be written.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import trio
from msgspec import Struct

from sidecar.contract import FileFailure, Reason
from sidecar.gemini.calls import Calls, Meter, Stop
from sidecar.gemini.client import Request
from sidecar.gemini.policy import End, GiveUp, Halve
from sidecar.library import queries, run_rows
from sidecar.library.changes import FileChange, Stamp, write_files, write_mappings
from sidecar.library.faults import LibraryError
from sidecar.library.run_rows import BatchCount
from sidecar.library.store import Library
from sidecar.library.writer import Transaction
from sidecar.runs.knowledge import Knowledge, Tables
from sidecar.runs.progress import SKIPS
from sidecar.tagging import prompts
from sidecar.tagging.answers import RawTags, Reply, read_tagging
from sidecar.tagging.mappings import Mapping
from sidecar.tagging.tags import Change, Snapshot, Suggestion, decide
from sidecar.tagging.vocabulary import TagType, Vocabulary

GONE = "The file was deleted while it was being tagged."
CHANGED = "Someone changed the file's tags while it was being tagged; their tags were kept."
NO_TAGS = "Gemini's tags for this file lack a valid genre, a valid mood, or an occasion and keyword."
LEFT_OUT = "Gemini's answer left this file out, twice."


class Failed(Struct, frozen=True):
    """A file's outcome without tags."""

    reason: Reason
    message: str


class Asked(Struct, frozen=True):
    """What came of asking for a batch: tags and failures by file id.

    `unresolved` says why some unknown tags could not be mapped.
    """

    tags: dict[int, RawTags]
    failed: dict[int, Failed]
    unresolved: Stop | None = None


class Written(Struct, frozen=True):
    """What one transaction did. `tables` is what it found changed by another process."""

    tagged: int
    failures: list[FileFailure]
    mappings: list[Mapping]
    tables: Tables | None


class Prompt(Struct, frozen=True):
    """What is the same in every request of a run."""

    system: str
    root: str


class _Part(Struct, frozen=True):
    """Files still to be asked for together; `again`: they were left out of an answer before."""

    files: Sequence[Snapshot]
    again: bool = False


class _Prepared(Struct, frozen=True):
    """A batch's outcomes as they are unless the database has changed meanwhile."""

    vocabulary: Vocabulary
    changes: list[FileChange]
    failed: dict[int, Failed]
    used: Counter[Mapping]


class Batch:
    """Batch `number` (from 1) of a run: `ids` in order, `files` those of them that still exist."""

    def __init__(
        self, number: int, ids: Sequence[int], files: Sequence[Snapshot], run_meter: Meter | None = None
    ) -> None:
        self.number = number
        self.files = files
        self.meter = Meter(run_meter)
        self.began_at = trio.current_time()
        self._gone = set(ids) - {snapshot.file.id for snapshot in files}

    async def ask(self, calls: Calls, prompt: Prompt, knowledge: Knowledge) -> Asked | End:
        """Tags from Gemini for every file, or why not. Returns End when the run has to end."""
        tags: dict[int, RawTags] = {}
        failed = {file_id: Failed(Reason.DELETED, GONE) for file_id in self._gone}
        parts = [_Part(self.files)] if self.files else []
        while parts:
            part = parts.pop()
            text = prompts.tagging_request([snapshot.file for snapshot in part.files], prompt.root)
            request = Request(prompt.system, text, prompts.TAGGING_SCHEMA)
            outcome = await calls.ask(request, self.number, self.meter)
            if isinstance(outcome, End):
                return outcome
            parts.extend(_sort(part, outcome, tags, failed))
        unresolved = await knowledge.unknown_tags.learn(
            tags.values(), knowledge.vocabulary, lambda unknown: self._ask_mapping(calls, prompt, unknown)
        )
        return unresolved if isinstance(unresolved, End) else Asked(tags, failed, unresolved)

    async def _ask_mapping(self, calls: Calls, prompt: Prompt, unknown: list[tuple[TagType, str]]) -> Reply | Stop:
        request = Request(prompt.system, prompts.mapping_request(unknown), prompts.MAPPING_SCHEMA)
        return await calls.ask(request, self.number, self.meter)

    async def write(
        self, library: Library, knowledge: Knowledge, asked: Asked, stamp: Stamp, elapsed_seconds: float
    ) -> Written:
        """Commits the batch. Raises LibraryError when nothing could be written."""
        prepared = self._prepare(asked, knowledge.vocabulary, knowledge, stamp)
        written = await library.write(
            lambda transaction: self._write(transaction, knowledge, asked, prepared, stamp, elapsed_seconds)
        )
        knowledge.mappings.saved(written.mappings)
        knowledge.adopt(written.tables)
        return written

    def _prepare(self, asked: Asked, vocabulary: Vocabulary, knowledge: Knowledge, stamp: Stamp) -> _Prepared:
        """What is to be written, if nobody has changed anything. Done before the lock is taken."""
        failed, used = dict(asked.failed), Counter[Mapping]()
        changes: list[FileChange] = []
        for snapshot in self.files:
            raw_tags = asked.tags.get(snapshot.file.id)
            if raw_tags is None:
                continue
            suggestion, mappings = knowledge.mappings.resolve(raw_tags, vocabulary)
            used.update(mappings)
            outcome = _decided(snapshot, suggestion, stamp, vocabulary, asked.unresolved)
            if isinstance(outcome, Failed):
                failed[snapshot.file.id] = outcome
            else:
                changes.append((snapshot, outcome))
        return _Prepared(vocabulary, changes, failed, used)

    def _write(
        self,
        transaction: Transaction,
        knowledge: Knowledge,
        asked: Asked,
        prepared: _Prepared,
        stamp: Stamp,
        elapsed_seconds: float,
    ) -> Written:
        """In the writer thread, between BEGIN and COMMIT."""
        connection, shape = transaction.connection, transaction.shape
        tables = knowledge.newer(transaction)
        vocabulary = knowledge.vocabulary if tables is None else tables.vocabulary
        if vocabulary.fingerprint != prepared.vocabulary.fingerprint:
            prepared = self._prepare(asked, vocabulary, knowledge, stamp)
        failed = dict(prepared.failed)
        now = queries.current_tags(connection, list(asked.tags))
        changes: list[FileChange] = []
        for snapshot, change in prepared.changes:
            current = now.get(snapshot.file.id)
            if current == snapshot.tags:
                changes.append((snapshot, change))
            else:
                failed[snapshot.file.id] = (
                    Failed(Reason.DELETED, GONE) if current is None else Failed(Reason.CHANGED, CHANGED)
                )
        for file_id in write_files(connection, shape, changes, stamp):
            failed[file_id] = Failed(Reason.DATABASE_ERROR, "The database refused this file's tags.")
        write_mappings(connection, shape, prepared.used, stamp)
        failures = self.failures(failed)
        tagged = len(self.files) + len(self._gone) - len(failures)
        run_rows.insert_failures(connection, stamp.row, failures)
        skipped = sum(failure.reason in SKIPS for failure in failures)
        run_rows.count_batch(
            connection,
            stamp.row,
            BatchCount(tagged, len(failures) - skipped, skipped, elapsed_seconds, self.meter.usage),
        )
        return Written(tagged, failures, [entry for entry in prepared.used if not entry.saved], tables)

    def failures(self, failed: dict[int, Failed]) -> list[FileFailure]:
        """The failures as the shell sees them, by file id."""
        paths = {snapshot.file.id: snapshot.file.file_path for snapshot in self.files}
        return [
            FileFailure(file_id, paths.get(file_id, ""), outcome.reason, outcome.message)
            for file_id, outcome in sorted(failed.items())
        ]

    def unsaved(self, asked: Asked, error: LibraryError) -> list[FileFailure]:
        """Every file of the batch as failed, after its transaction was rolled back."""
        lost = {snapshot.file.id: Failed(Reason.DATABASE_ERROR, error.sentence) for snapshot in self.files}
        return self.failures({**lost, **asked.failed})


def _sort(
    part: _Part, outcome: Reply | Halve | GiveUp, tags: dict[int, RawTags], failed: dict[int, Failed]
) -> Iterable[_Part]:
    """Books what an answer settles; the parts that are left to be asked."""
    files = part.files
    if isinstance(outcome, Halve):
        return _halved(files, Failed(outcome.reason, outcome.message), failed)
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
        return _halved(broken, Failed(reading.reason, message), failed)
    missing = [files[index] for index in reading.missing]
    if missing and not part.again:
        return (_Part(missing, again=True),)
    failed.update((s.file.id, Failed(Reason.MISSING_IN_RESPONSE, LEFT_OUT)) for s in missing)
    return ()


def _halved(files: Sequence[Snapshot], alone: Failed, failed: dict[int, Failed]) -> Iterable[_Part]:
    """Two halves of what cannot be answered together; a file alone fails. The first half is asked first."""
    if len(files) == 1:
        failed[files[0].file.id] = alone
        return ()
    middle = (len(files) + 1) // 2
    return (_Part(files[middle:]), _Part(files[:middle]))


def _decided(
    snapshot: Snapshot, suggestion: Suggestion, stamp: Stamp, vocabulary: Vocabulary, unresolved: Stop | None
) -> Change | Failed:
    change = decide(snapshot.tags, snapshot.record, suggestion, stamp.mode, vocabulary)
    if change is not None:
        return change
    if unresolved is not None and not isinstance(unresolved, End):
        return Failed(unresolved.reason, unresolved.message)
    return Failed(Reason.INVALID_TAGS, NO_TAGS)
