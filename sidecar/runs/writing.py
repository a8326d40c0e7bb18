"""One batch's outcomes, committed: what each file becomes, and the transaction that makes it so.

What is to be written is worked out before the lock is taken, as if nobody had changed anything; what somebody
has changed meanwhile is sorted out under the lock. In the trio thread, since two threads that compute at the same
time pass the GIL to and fro, and make each other slower by more than they gain.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence

from msgspec import Struct
from msgspec.structs import astuple, replace

from sidecar.contract import Reason, Sources
from sidecar.gemini.policy import GiveUp, Halve
from sidecar.library import queries
from sidecar.library.changes import FileChange, Stamp, rows_of
from sidecar.library.faults import LibraryError
from sidecar.library.procedures import Rows, write_rows
from sidecar.library.proposals import StoredProposal
from sidecar.library.refusals import refused
from sidecar.library.run_rows import BatchCount
from sidecar.library.writer import Transaction
from sidecar.runs.batch import CHANGED, GONE, Asked, Batch, Failed
from sidecar.runs.knowledge import Knowledge, Tables
from sidecar.runs.progress import BatchOutcome
from sidecar.tagging.mappings import Mapping
from sidecar.tagging.tags import decide
from sidecar.tagging.vocabulary import Vocabulary

NO_TAGS = "Gemini's tags for this file lack a valid genre, a valid mood, or an occasion and keyword."
REFUSED = Failed(Reason.DATABASE_ERROR, "The database refused this file's tags.")


class Written(Struct, frozen=True):
    """What one transaction did. `mappings` are new rows, `tables` what it found changed by another process."""

    outcome: BatchOutcome
    mappings: list[Mapping]
    tables: Tables | None


class _Outcomes(Struct, frozen=True):
    """A batch's outcomes, as far as nobody changes the database before they are written."""

    vocabulary: Vocabulary
    changes: list[FileChange]
    failed: dict[int, Failed]
    used: Counter[Mapping]
    sources: Sources


class _Prepared(Struct, frozen=True):
    """Outcomes with all that is to be written and told of them."""

    outcomes: _Outcomes
    rows: Rows
    told: BatchOutcome


class Writing:
    """One batch on its way into the database: made in the trio thread, called in the writer's."""

    def __init__(
        self,
        batch: Batch,
        asked: Asked,
        knowledge: Knowledge,
        stamp: Stamp,
        *,
        dry_run: bool,
        elapsed_seconds: float,
        seconds: float,
    ) -> None:
        self._batch = batch
        self._asked = asked
        self._knowledge = knowledge
        self._stamp = stamp
        self._dry_run = dry_run
        self._elapsed_seconds = elapsed_seconds
        self._seconds = seconds
        self._prepared = self._ready(self._outcomes(self._knowledge.vocabulary))

    def __call__(self, transaction: Transaction) -> Written:
        """Between BEGIN and COMMIT."""
        tables = self._knowledge.newer(transaction)
        vocabulary = self._knowledge.vocabulary if tables is None else tables.vocabulary
        prepared = self._prepared
        if vocabulary.fingerprint != prepared.outcomes.vocabulary.fingerprint:
            prepared = self._ready(self._outcomes(vocabulary))
        if transaction.generation != self._batch.generation:
            prepared = self._unless_changed(transaction.connection, prepared)
        if transaction.careful:
            prepared = self._unless_refused(transaction.connection, prepared)
        write_rows(transaction.connection, prepared.rows)
        learnt = [] if self._dry_run else [entry for entry in prepared.outcomes.used if not entry.saved]
        return Written(prepared.told, learnt, tables)

    def _outcomes(self, vocabulary: Vocabulary) -> _Outcomes:
        failed, used, sources = dict(self._asked.failed), Counter[Mapping](), list[Sources]()
        changes: list[FileChange] = []
        for snapshot in self._batch.files:
            raw_tags = self._asked.tags.get(snapshot.file.id)
            if raw_tags is None:
                continue
            resolved = self._knowledge.mappings.resolve(raw_tags, vocabulary)
            used.update(resolved.used)
            sources.append(resolved.sources)
            earlier = snapshot.record.change if snapshot.record else None
            change = decide(snapshot.tags, earlier, resolved.suggestion, self._stamp.mode, vocabulary)
            if change is None:
                failed[snapshot.file.id] = _untaggable(self._asked)
            else:
                changes.append(
                    FileChange(
                        snapshot,
                        change,
                        resolved.suggestion,
                        resolved.mapped,
                        resolved.dropped,
                        resolved.sources,
                    )
                )
        return _Outcomes(vocabulary, changes, failed, used, sum_of(sources))

    def _ready(self, outcomes: _Outcomes, *, files_written: bool = False) -> _Prepared:
        """Outcomes as rows; `files_written`: those of the files stand already."""
        told = BatchOutcome(self._batch.total_files - len(outcomes.failed), self._batch.failures(outcomes.failed))
        dry_run = self._dry_run
        rows = rows_of(
            self._stamp,
            () if dry_run or files_written else outcomes.changes,
            proposals=(_proposal(entry) for entry in outcomes.changes) if dry_run else (),
            used=None if dry_run else outcomes.used,
            failures=told.failures,
            batch=self._count(told, outcomes.sources),
        )
        return _Prepared(outcomes, rows, told)

    def _unless_changed(self, connection: sqlite3.Connection, prepared: _Prepared) -> _Prepared:
        """Without files that somebody has touched since the batch read them."""
        outcomes = prepared.outcomes
        now = queries.current_tags(connection, [entry.snapshot.file.id for entry in outcomes.changes])
        changes, failed = [], dict(outcomes.failed)
        for entry in outcomes.changes:
            file_id = entry.snapshot.file.id
            if now.get(file_id) == entry.snapshot.tags:
                changes.append(entry)
            else:
                failed[file_id] = CHANGED if file_id in now else GONE
        if len(changes) == len(outcomes.changes):
            return prepared
        return self._ready(replace(outcomes, changes=changes, failed=failed))

    def _unless_refused(self, connection: sqlite3.Connection, prepared: _Prepared) -> _Prepared:
        """Writes the files one by one; what is left to be written are the rows about the batch."""
        outcomes = prepared.outcomes
        if self._dry_run:
            return prepared
        changes, failed = without_refused(connection, self._stamp, outcomes.changes, outcomes.failed)
        return self._ready(replace(outcomes, changes=changes, failed=failed), files_written=True)

    def _count(self, outcome: BatchOutcome, sources: Sources) -> BatchCount:
        return BatchCount(
            batch=self._batch.number,
            ended_at=self._stamp.date,
            elapsed_seconds=self._elapsed_seconds,
            seconds=self._seconds,
            tagged=outcome.tagged,
            failed=outcome.failed,
            skipped=outcome.skipped,
            usage=self._batch.meter.usage,
            sources=sources,
        )


def lost(batch: Batch, asked: Asked, error: LibraryError) -> BatchOutcome:
    """Every file of the batch as failed, after its transaction was rolled back."""
    failed = {snapshot.file.id: Failed(Reason.DATABASE_ERROR, error.sentence) for snapshot in batch.files}
    return BatchOutcome(0, batch.failures({**failed, **asked.failed}))


def without_refused(
    connection: sqlite3.Connection, stamp: Stamp, changes: Sequence[FileChange], failed: dict[int, Failed]
) -> tuple[list[FileChange], dict[int, Failed]]:
    """Writes the files that the database takes, one by one; them, and the failures with the others."""
    stopped = refused(connection, changes, lambda entry: write_rows(connection, rows_of(stamp, [entry])))
    ids = {entry.snapshot.file.id for entry in stopped}
    taken = [entry for entry in changes if entry.snapshot.file.id not in ids]
    return taken, {**failed, **dict.fromkeys(ids, REFUSED)}


def _untaggable(asked: Asked) -> Failed:
    if isinstance(asked.unresolved, Halve | GiveUp):
        return Failed(asked.unresolved.reason, asked.unresolved.message)
    return Failed(Reason.INVALID_TAGS, NO_TAGS)


def _proposal(entry: FileChange) -> StoredProposal:
    return StoredProposal(
        file_id=entry.snapshot.file.id,
        file_path=entry.snapshot.file.file_path,
        before=entry.snapshot.tags,
        record_id=entry.snapshot.record_id,
        suggestion=entry.suggestion,
        after=entry.change.after,
        person=entry.change.person,
        mapped=entry.mapped,
        dropped=entry.dropped,
        sources=entry.sources,
    )


def sum_of(sources: Iterable[Sources]) -> Sources:
    """Counts of several files together."""
    return Sources(*(sum(counts) for counts in zip(*map(astuple, sources), strict=True)))
