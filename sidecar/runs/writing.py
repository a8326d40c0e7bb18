"""One batch's outcomes, committed: what each file becomes, and the transaction that makes it so.

What is to be written is worked out in the writer thread before it takes the lock, as if nobody had
changed anything; what somebody has changed meanwhile is sorted out under the lock.
"""

from collections import Counter

from msgspec import Struct

from sidecar.contract import Reason, Sources
from sidecar.gemini.policy import GiveUp, Halve
from sidecar.library import queries, run_rows
from sidecar.library.changes import Encoded, FileChange, Stamp, encoded, write_files, write_mappings
from sidecar.library.faults import LibraryError
from sidecar.library.proposals import StoredProposal, insert_proposals
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


class _Prepared(Struct, frozen=True):
    """A batch's outcomes as they are unless the database has changed meanwhile."""

    vocabulary: Vocabulary
    changes: list[FileChange]
    texts: Encoded
    failed: dict[int, Failed]
    used: Counter[Mapping]
    sources: Sources


class Writing:
    """One batch on its way into the database; `prepare`, then the call, both in the writer thread."""

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
        self._prepared: _Prepared | None = None

    def prepare(self) -> None:
        """Works out what is to be written. Only reads what the trio thread may be changing meanwhile."""
        self._prepared = self._outcomes(self._knowledge.vocabulary)

    def __call__(self, transaction: Transaction) -> Written:
        """Between BEGIN and COMMIT."""
        connection, stamp = transaction.connection, self._stamp
        tables = self._knowledge.newer(transaction)
        vocabulary = self._knowledge.vocabulary if tables is None else tables.vocabulary
        prepared = self._prepared
        if prepared is None or vocabulary.fingerprint != prepared.vocabulary.fingerprint:
            prepared = self._outcomes(vocabulary)
        changes, texts, failed = self._unless_changed(transaction, prepared)
        if self._dry_run:
            insert_proposals(connection, stamp.row, (_proposal(entry) for entry in changes))
        else:
            for file_id in write_files(connection, transaction.shape, changes, texts, stamp):
                failed[file_id] = REFUSED
            write_mappings(connection, transaction.shape, prepared.used, stamp.updated_at)
        outcome = BatchOutcome(self._batch.total_files - len(failed), self._batch.failures(failed))
        run_rows.insert_failures(connection, stamp.row, outcome.failures)
        run_rows.count_batch(connection, stamp.row, self._count(outcome, prepared.sources))
        learnt = [] if self._dry_run else [entry for entry in prepared.used if not entry.saved]
        return Written(outcome, learnt, tables)

    def lost(self, error: LibraryError) -> BatchOutcome:
        """Every file of the batch as failed, after its transaction was rolled back."""
        failed = {
            snapshot.file.id: Failed(Reason.DATABASE_ERROR, error.sentence) for snapshot in self._batch.files
        }
        return BatchOutcome(0, self._batch.failures({**failed, **self._asked.failed}))

    def _outcomes(self, vocabulary: Vocabulary) -> _Prepared:
        failed, used, sources = dict(self._asked.failed), Counter[Mapping](), Sources()
        changes: list[FileChange] = []
        for snapshot in self._batch.files:
            raw_tags = self._asked.tags.get(snapshot.file.id)
            if raw_tags is None:
                continue
            resolved = self._knowledge.mappings.resolve(raw_tags, vocabulary)
            used.update(resolved.used)
            sources = sum_of(sources, resolved.sources)
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
        texts = encoded([] if self._dry_run else changes, self._stamp)
        return _Prepared(vocabulary, changes, texts, failed, used, sources)

    def _unless_changed(
        self, transaction: Transaction, prepared: _Prepared
    ) -> tuple[list[FileChange], Encoded, dict[int, Failed]]:
        """What is left to write of files that nobody has touched since the batch read them."""
        failed = dict(prepared.failed)
        if transaction.generation == self._batch.generation:
            return prepared.changes, prepared.texts, failed
        now = queries.current_tags(transaction.connection, [entry.snapshot.file.id for entry in prepared.changes])
        changes: list[FileChange] = []
        for entry in prepared.changes:
            file_id = entry.snapshot.file.id
            if now.get(file_id) == entry.snapshot.tags:
                changes.append(entry)
            else:
                failed[file_id] = CHANGED if file_id in now else GONE
        if len(changes) == len(prepared.changes):
            return changes, prepared.texts, failed
        return changes, encoded([] if self._dry_run else changes, self._stamp), failed

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


def sum_of(one: Sources, other: Sources) -> Sources:
    """Counts of two files or batches together."""
    return Sources(*(getattr(one, name) + getattr(other, name) for name in Sources.__struct_fields__))
