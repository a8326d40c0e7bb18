"""What can be done with a run once it has ended: take it back, or write what it proposed.

Both keep runs out while they work and go batch by batch, one transaction each, as a run does.
"""

import functools
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import msgspec

from sidecar.contract import (
    Applied,
    ApplyParams,
    Reason,
    RunStatus,
    RunSummary,
    Sources,
    TagType,
    Undone,
    Usage,
    invalid_params,
)
from sidecar.library import queries, run_rows
from sidecar.library.changes import FileChange, Stamp, rows_of
from sidecar.library.procedures import write_rows
from sidecar.library.proposals import StoredProposal, proposed_ids, stored_proposals
from sidecar.library.run_rows import BatchCount, BookedRun, NewRun
from sidecar.library.store import Library
from sidecar.library.undo import undo_files, undoable_ids
from sidecar.library.writer import Transaction
from sidecar.runs.batch import CHANGED, GONE, Failed, failures_of
from sidecar.runs.booking import book_run
from sidecar.runs.choice import refuse_ids
from sidecar.runs.knowledge import Tables
from sidecar.runs.progress import BatchOutcome, Tally, completion_message
from sidecar.runs.runs import Runs
from sidecar.runs.stamps import rfc3339, stamp_at
from sidecar.runs.writing import NO_TAGS, sum_of, without_refused
from sidecar.tagging.mappings import REMOVE, Mapping
from sidecar.tagging.records import Snapshot
from sidecar.tagging.tags import Suggestion, decide
from sidecar.tagging.vocabulary import Vocabulary, normalise

UNDO_FILES = 100
"""Files a transaction: some 10 ms, so that the shell's own writes find the lock free."""


async def undo(runs: Runs, library: Library, run_id: str) -> Undone:
    """Takes back what a run wrote. Raises RpcError -32001, -32002, LibraryError."""
    async with runs.nobody_tagging(run_id):
        booked = await runs.archive.booked(run_id)
        tagged = 0 if booked.dry_run else (await runs.archive.summary(run_id)).processed_files
        ids = await library.read(lambda c, _: undoable_ids(c, booked.row))
        restored = 0
        for part in _parts(ids, UNDO_FILES):
            restored += await library.write(functools.partial(_undo_part, booked.row, part))
    return Undone(run_id, restored, tagged - restored)


async def apply(runs: Runs, library: Library, params: ApplyParams) -> Applied:
    """Writes a dry run's proposals as a run of its own. Raises RpcError -32001, -32002, -32602, LibraryError."""
    async with runs.nobody_tagging(params.run_id):
        source = await runs.archive.booked(params.run_id)
        if not source.dry_run:
            raise invalid_params("`run_id`: this run was no dry run, so it has no proposals to apply.")
        ids = await _accepted(library, source, params)
        return await Application(runs, library, source, ids).run() if ids else Applied(None, 0, 0)


async def _accepted(library: Library, source: BookedRun, params: ApplyParams) -> list[int]:
    proposed = await library.read(lambda c, _: proposed_ids(c, source.row))
    known = {*proposed}
    accepted = proposed if params.accept == "all" else list(dict.fromkeys(params.accept))
    complaint = "this run has no proposal for the id"
    refuse_ids([file_id for file_id in accepted if file_id not in known], f"`accept`: {complaint}")
    refuse_ids([file_id for file_id in params.reject if file_id not in known], f"`reject`: {complaint}")
    rejected = {*params.reject}
    return [file_id for file_id in accepted if file_id not in rejected]


class Application:
    """One application of proposals under way."""

    def __init__(self, runs: Runs, library: Library, source: BookedRun, ids: Sequence[int]) -> None:
        self._runs = runs
        self._library = library
        self._source = source
        self._parts = list(_parts(ids, source.batch_size))
        self._began_at = time.monotonic()
        self._new = NewRun(
            run_id=str(uuid.uuid4()),
            mode=source.mode,
            dry_run=False,
            model=source.model,
            vocabulary="",
            rules=source.rules,
            batch_size=source.batch_size,
            started_at=rfc3339(datetime.now(UTC)),
            total_files=len(ids),
            total_batches=len(self._parts),
        )

    async def run(self) -> Applied:
        """Writes part by part; each is one batch of the new run."""
        knowledge = self._runs.knowledge

        def book(transaction: Transaction) -> tuple[int, Tables | None]:
            tables = knowledge.newer(transaction)
            return book_run(transaction, knowledge, tables, self._new), tables

        row, tables = await self._library.write(book)
        knowledge.adopt(tables)
        tally = Tally(total_files=self._new.total_files, total_batches=self._new.total_batches)
        for number, ids in enumerate(self._parts, 1):
            stamp = stamp_at(datetime.now(UTC), self._new.run_id, row, self._new.model, self._new.mode)
            count = functools.partial(self._count, number, stamp)
            outcome, used, tables = await self._library.write(functools.partial(self._write, stamp, count, ids))
            self._remember(used, tables)
            tally = tally.with_batch(outcome)
        await self._end(row, tally)
        return Applied(self._new.run_id, tally.processed_files, tally.failed_files + tally.skipped_files)

    def _write(
        self,
        stamp: Stamp,
        count: Callable[[BatchOutcome, Sources], BatchCount],
        ids: Sequence[int],
        transaction: Transaction,
    ) -> tuple[BatchOutcome, list[Mapping], Tables | None]:
        """Between BEGIN and COMMIT: the proposals that still fit, by the rules of a run."""
        connection, shape = transaction.connection, transaction.shape
        tables = self._runs.knowledge.newer(transaction)
        vocabulary = tables.vocabulary if tables else self._runs.knowledge.vocabulary
        stored = stored_proposals(connection, self._source.row, ids)
        now = {snapshot.file.id: snapshot for snapshot in queries.snapshots(connection, shape, ids)}
        changes: list[FileChange] = []
        failed: dict[int, Failed] = {}
        for entry in stored:
            outcome = self._outcome(entry, now.get(entry.file_id), vocabulary)
            if isinstance(outcome, Failed):
                failed[entry.file_id] = outcome
            else:
                changes.append(outcome)
        sources = sum_of(entry.sources for entry in changes)
        if transaction.careful:
            changes, failed = without_refused(connection, stamp, changes, failed)
        used = self._mappings(changes)
        paths = {entry.file_id: entry.file_path for entry in stored}
        result = BatchOutcome(len(stored) - len(failed), failures_of(failed, paths))
        unwritten = () if transaction.careful else changes
        booked = count(result, sources)
        write_rows(connection, rows_of(stamp, unwritten, used=used, failures=result.failures, batch=booked))
        return result, [entry for entry in used if not entry.saved], tables

    def _outcome(
        self, entry: StoredProposal, snapshot: Snapshot | None, vocabulary: Vocabulary
    ) -> FileChange | Failed:
        if snapshot is None:
            return GONE
        if snapshot.tags != entry.before or snapshot.record_id != entry.record_id:
            return CHANGED
        suggestion = _still_active(entry.suggestion, vocabulary)
        earlier = snapshot.record.change if snapshot.record else None
        change = decide(snapshot.tags, earlier, suggestion, self._source.mode, vocabulary)
        if change is None:
            return Failed(Reason.INVALID_TAGS, NO_TAGS)
        mapped = tuple(tag for tag in entry.mapped if vocabulary.has(tag.type, tag.tag))
        return FileChange(snapshot, change, suggestion, mapped, entry.dropped, entry.sources)

    def _mappings(self, changes: Sequence[FileChange]) -> Counter[Mapping]:
        """The mappings behind what was written and behind what was dropped, once for each use."""
        knowledge, used = self._runs.knowledge, Counter[Mapping]()
        for entry in changes:
            used.update(knowledge.mappings.behind(entry.mapped))
            for dropped in entry.dropped:
                known = knowledge.mappings.find((dropped.type, normalise(dropped.tag)), knowledge.vocabulary)
                if known is not None and known.valid == REMOVE:
                    used[known] += 1
        return used

    def _remember(self, used: Sequence[Mapping], tables: Tables | None) -> None:
        """These mappings stand in the database now; `tables` were read before they did, so they go first."""
        knowledge = self._runs.knowledge
        knowledge.adopt(tables)
        knowledge.mappings.saved(used)
        for entry in used:
            if knowledge.mappings.find(entry.key, knowledge.vocabulary) is None:
                knowledge.mappings.put(msgspec.structs.replace(entry, saved=True))

    async def _end(self, row: int, tally: Tally) -> None:
        usage = Usage()
        summary = RunSummary(
            run_id=self._new.run_id,
            status=RunStatus.COMPLETED,
            message=completion_message(tally, RunStatus.COMPLETED, ""),
            mode=self._new.mode,
            dry_run=False,
            model=self._new.model,
            started_at=self._new.started_at,
            ended_at=rfc3339(datetime.now(UTC)),
            **tally.counters,
            elapsed_seconds=round(time.monotonic() - self._began_at, 3),
            usage=usage,
        )
        await self._library.write(
            lambda transaction: run_rows.end_run(transaction.connection, row, summary, usage)
        )

    def _count(self, number: int, stamp: Stamp, result: BatchOutcome, sources: Sources) -> BatchCount:
        return BatchCount(
            batch=number,
            ended_at=stamp.date,
            elapsed_seconds=round(time.monotonic() - self._began_at, 3),
            seconds=0.0,
            tagged=result.tagged,
            failed=result.failed,
            skipped=result.skipped,
            usage=Usage(),
            sources=sources,
        )


def _undo_part(row: int, ids: Sequence[int], transaction: Transaction) -> int:
    return undo_files(transaction, row, ids)


def _still_active(suggestion: Suggestion, vocabulary: Vocabulary) -> Suggestion:
    """Without tags that have left the vocabulary since the dry run."""

    def active(kind: TagType, values: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(value for value in values if vocabulary.has(kind, value))

    return Suggestion(
        suggestion.genre if vocabulary.has(TagType.GENRE, suggestion.genre) else None,
        active(TagType.MOOD, suggestion.moods),
        active(TagType.OCCASION, suggestion.occasions),
        active(TagType.KEYWORD, suggestion.keywords),
    )


def _parts(ids: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    return (ids[start : start + size] for start in range(0, len(ids), size))
