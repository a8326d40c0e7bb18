"""Writes what a dry run proposed, as a run of its own, by the rules of a run. Keeps other runs out meanwhile."""

import sqlite3
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

import msgspec
import trio

from sidecar.contract import OWN_ERROR, Applied, ApplyParams, RunStatus, RunSummary, TagType, Usage, invalid_params
from sidecar.library import queries
from sidecar.library.changes import FileChange
from sidecar.library.faults import LibraryError
from sidecar.library.proposals import StoredProposal, proposed_ids, stored_proposals
from sidecar.library.run_reads import BookedRun
from sidecar.library.run_writes import NewRun, RunKind, RunRow
from sidecar.library.store import Library
from sidecar.library.writer import Transaction
from sidecar.runs.advice import ended_by, why_ended
from sidecar.runs.booking import book_run, new_run_id
from sidecar.runs.choosing import refuse_ids
from sidecar.runs.knowledge import Tables
from sidecar.runs.outcomes import CHANGED_SINCE, ELSEWHERE_SINCE, EXCLUDED, GONE_SINCE, RETIRED_SINCE, NotTagged
from sidecar.runs.progress import Tally
from sidecar.runs.runs import Runs
from sidecar.runs.stamps import rfc3339, stamp_at
from sidecar.runs.summary import summary_of
from sidecar.runs.under_way import Revision
from sidecar.runs.writing import Decided, Terms, Written, prepare, sum_of, write
from sidecar.tagging.mappings import REMOVE, Mapping, Mappings
from sidecar.tagging.paths import is_same_sound
from sidecar.tagging.records import Snapshot
from sidecar.tagging.tags import Suggestion, decide
from sidecar.tagging.vocabulary import Vocabulary, normalise

APPLIED = "Proposals are about to be written to this library. Wait for the end of that."


async def apply(runs: Runs, library: Library, params: ApplyParams) -> Applied:
    """Writes those that are accepted. Raises RpcError -32001, -32002, -32602, LibraryError."""
    async with runs.nobody_tagging(params.run_id, APPLIED, becomes_run=True) as revision:
        source = await runs.archive.booked(params.run_id)
        if not source.dry_run:
            raise invalid_params("`run_id`: this run was no dry run, so it has no proposals to apply.")
        ids = await _accepted(library, source, params)
        if not ids:
            return Applied(None, 0, 0)
        return await _ApplyingRun(runs, library, source, ids).work(revision)


async def _accepted(library: Library, source: BookedRun, params: ApplyParams) -> list[int]:
    """Worked out in a reader's thread: there may be a million."""
    return await library.read(lambda connection, _: _chosen(connection, source, params))


def _chosen(connection: sqlite3.Connection, source: BookedRun, params: ApplyParams) -> list[int]:
    proposed = proposed_ids(connection, source.row)
    known = {*proposed}
    accepted = proposed if params.accept == "all" else list(dict.fromkeys(params.accept))
    complaint = "this run has no proposal for the id"
    refuse_ids([file_id for file_id in accepted if file_id not in known], f"`accept`: {complaint}")
    refuse_ids([file_id for file_id in params.reject if file_id not in known], f"`reject`: {complaint}")
    rejected = {*params.reject}
    return [file_id for file_id in accepted if file_id not in rejected]


class _ApplyingRun:
    """The run that writes the proposals of `source` for the files `ids`, batch by batch."""

    def __init__(self, runs: Runs, library: Library, source: BookedRun, ids: Sequence[int]) -> None:
        self._runs = runs
        self._library = library
        self._knowledge = runs.knowledge
        self._source = source
        self._source_row = RunRow(source.row, source.run_id)
        size = source.batch_size
        self._batches = [ids[start : start + size] for start in range(0, len(ids), size)]
        self._began_at = time.monotonic()
        self._run = NewRun(
            run_id=new_run_id(),
            mode=source.mode,
            dry_run=False,
            model=source.model,
            rules=source.rules,
            batch_size=size,
            kind=RunKind.APPLY,
            total_files=len(ids),
            total_batches=len(self._batches),
            started_at=rfc3339(datetime.now(UTC)),
        )
        self._tally = Tally(total_files=len(ids), total_batches=len(self._batches))

    async def work(self, revision: Revision) -> Applied:
        """All of it, or as much as there is time for; then `revision.summary` says how it ended.

        Raises LibraryError; what was written before stays.
        """
        with revision.scope:
            revision.lock.run_id = self._run.run_id
            row, tables = await self._library.write(self._book)
            self._knowledge.adopt(tables)
            revision.becomes(self._run.run_id)
            await self._work_as(row, revision)
        if not revision.is_run:  # cancelled before it was booked
            return Applied(None, 0, 0)
        tally = self._tally
        return Applied(self._run.run_id, tally.processed_files, tally.failed_files + tally.skipped_files)

    async def _work_as(self, row: int, revision: Revision) -> None:
        status, why = RunStatus.FAILED, OWN_ERROR
        try:
            await self._commit_all(RunRow(row, self._run.run_id))
            status, why = RunStatus.COMPLETED, ""
        except LibraryError as error:
            why = why_ended(ended_by(error), RunKind.APPLY)
            raise
        except trio.Cancelled:
            status, why = RunStatus.CANCELLED, ""
            raise
        finally:
            revision.summary = self._summary(status, why)
            await self._runs.ends.book(row, revision.summary, Usage())

    async def _commit_all(self, row: RunRow) -> None:
        for number, ids in enumerate(self._batches, 1):
            done = await self._library.write(partial(self._commit, row, number, ids))
            self._remember(done)
            self._tally = self._tally.with_batch(done.outcome)

    def _summary(self, status: RunStatus, why: str) -> RunSummary:
        elapsed_seconds = time.monotonic() - self._began_at
        ended_at = datetime.now(UTC)
        return summary_of(self._run, self._tally, status, why, ended_at, elapsed_seconds, Usage())

    def _book(self, transaction: Transaction) -> tuple[int, Tables | None]:
        self._source_row.require(transaction)
        tables, root = self._knowledge.newer(transaction), queries.library_root(transaction.connection)
        return book_run(transaction, self._knowledge, tables, self._run, root, self._source.vocabulary), tables

    def _commit(self, row: RunRow, number: int, ids: Sequence[int], transaction: Transaction) -> Written:
        """The proposals that still fit. On the writer thread."""
        run, connection = self._run, transaction.connection
        self._source_row.require(transaction)
        tables = self._knowledge.newer(transaction)
        vocabulary = tables.vocabulary if tables else self._knowledge.vocabulary
        stored = stored_proposals(connection, self._source.row, ids)
        present = {found.file.id: found for found in queries.snapshots(connection, transaction.shape, ids)}
        allowed = {*queries.without_excluded(connection, present)}
        changes: list[FileChange] = []
        not_tagged: dict[int, NotTagged] = {}
        for entry in stored:
            snapshot = present.get(entry.file_id)
            if snapshot is not None and entry.file_id not in allowed:
                outcome: FileChange | NotTagged = EXCLUDED
            else:
                outcome = self._outcome(entry, snapshot, vocabulary)
            if isinstance(outcome, NotTagged):
                not_tagged[entry.file_id] = outcome
            else:
                changes.append(outcome)
        used = _used(changes, self._knowledge.mappings, vocabulary)
        decisions = Decided(vocabulary, changes, not_tagged, used, sum_of(entry.sources for entry in changes))
        terms = Terms(
            stamp=stamp_at(datetime.now(UTC), run.run_id, row.row, run.model, run.mode),
            row=row,
            number=number,
            total_files=len(stored),
            paths={entry.file_id: entry.file_path for entry in stored},
            usage=Usage(),
            elapsed_seconds=round(time.monotonic() - self._began_at, 3),
            seconds=0.0,
        )
        return write(transaction, prepare(decisions, terms), terms, tables)

    def _outcome(
        self, entry: StoredProposal, snapshot: Snapshot | None, vocabulary: Vocabulary
    ) -> FileChange | NotTagged:
        if snapshot is None:
            return GONE_SINCE
        if not is_same_sound(snapshot.file.file_path, entry.file_path):
            return ELSEWHERE_SINCE
        if snapshot.tags != entry.before or snapshot.record_id != entry.record_id:
            return CHANGED_SINCE
        suggestion = _still_active(entry.suggestion, vocabulary)
        earlier = snapshot.record.change if snapshot.record else None
        change = decide(snapshot.tags, earlier, suggestion, self._run.mode, vocabulary)
        if change is None:
            return RETIRED_SINCE
        mapped = tuple(tag for tag in entry.mapped if vocabulary.has(tag.type, tag.tag))
        return FileChange(snapshot, change, suggestion, mapped, entry.dropped, entry.sources)

    def _remember(self, done: Written) -> None:
        """Those of its mappings that nobody here knew, since an earlier process has learnt them, are known now."""
        knowledge = self._knowledge
        knowledge.adopt(done.tables, done.mappings)
        for entry in done.mappings:
            if knowledge.mappings.find(entry.key, knowledge.vocabulary) is None:
                knowledge.mappings.put(msgspec.structs.replace(entry, saved=True))


def _used(changes: Sequence[FileChange], mappings: Mappings, vocabulary: Vocabulary) -> Counter[Mapping]:
    """The mappings behind what is written and behind what was dropped, once for each use."""
    used = Counter[Mapping]()
    for entry in changes:
        used.update(mappings.behind(entry.mapped))
        for dropped in entry.dropped:
            known = mappings.find((dropped.type, normalise(dropped.tag)), vocabulary)
            if known is not None and known.valid == REMOVE:
                used[known] += 1
    return used


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
