"""A batch's outcomes, committed: what each file becomes, and the transaction that makes it so.

What is to be written is worked out before the lock is taken, as if nobody had changed anything; what somebody
has changed meanwhile is sorted out under the lock. The first happens in the trio thread: two threads that compute
contend for the GIL and make each other slower.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import astuple, replace

from sidecar.contract import Mode, Reason, Sources, Usage
from sidecar.gemini.verdicts import GiveUp, Halve
from sidecar.library import queries
from sidecar.library.changes import FileChange, Stamp, rows_of
from sidecar.library.faults import Fault, LibraryError
from sidecar.library.procedures import Rows, write_rows
from sidecar.library.proposals import StoredProposal
from sidecar.library.refusals import refused
from sidecar.library.run_writes import BatchCount, RunRow
from sidecar.library.writer import Transaction
from sidecar.runs.batch import Asked, Batch
from sidecar.runs.knowledge import Knowledge, Tables
from sidecar.runs.outcomes import (
    CHANGED,
    ELSEWHERE,
    EXCLUDED,
    GONE,
    NO_TAGS,
    REFUSED,
    BatchOutcome,
    NotTagged,
    failures_of,
)
from sidecar.tagging.mappings import Mapping, Mappings
from sidecar.tagging.paths import is_same_sound
from sidecar.tagging.tags import decide
from sidecar.tagging.vocabulary import Vocabulary


class Terms(Struct, frozen=True, kw_only=True):
    """What is written of a batch beside what becomes of its files.

    `row` is the run's, `paths` are those of its files, by id. `seconds` is the batch's own time,
    `elapsed_seconds` that since the run's start. In a dry run proposals are written in the place of tags.
    """

    stamp: Stamp
    row: RunRow
    number: int
    total_files: int
    paths: dict[int, str]
    usage: Usage
    elapsed_seconds: float
    seconds: float
    dry_run: bool = False


class Decided(Struct, frozen=True):
    """What becomes of a batch's files, by this vocabulary. `used`: each mapping, and how often."""

    vocabulary: Vocabulary
    changes: list[FileChange]
    not_tagged: dict[int, NotTagged]
    used: Counter[Mapping]
    sources: Sources


class Prepared(Struct, frozen=True):
    """Decisions with all that is to be written and told of them."""

    decided: Decided
    rows: Rows
    outcome: BatchOutcome


class Written(Struct, frozen=True):
    """What one transaction did. `mappings` are new rows, `tables` what it found changed by another process."""

    outcome: BatchOutcome
    mappings: list[Mapping]
    tables: Tables | None


# --- before the lock ----------------------------------------------------------------------------


def decide_batch(batch: Batch, asked: Asked, mappings: Mappings, vocabulary: Vocabulary, mode: Mode) -> Decided:
    """What becomes of each file, if nobody has changed it since it was read."""
    not_tagged, used, sources = dict(asked.not_tagged), Counter[Mapping](), list[Sources]()
    changes: list[FileChange] = []
    for snapshot in batch.files:
        raw_tags = asked.tags.get(snapshot.file.id)
        if raw_tags is None:
            continue
        resolved = mappings.resolve(raw_tags, vocabulary)
        used.update(resolved.used)
        sources.append(resolved.sources)
        earlier = snapshot.record.change if snapshot.record else None
        change = decide(snapshot.tags, earlier, resolved.suggestion, mode, vocabulary)
        if change is None:
            # The reason of another file's unknown tags is none of this one's.
            is_open = bool(mappings.unknown([raw_tags], vocabulary))
            not_tagged[snapshot.file.id] = _untaggable(asked) if is_open else NO_TAGS
        else:
            changes.append(
                FileChange(
                    snapshot, change, resolved.suggestion, resolved.mapped, resolved.dropped, resolved.sources
                )
            )
    return Decided(vocabulary, changes, not_tagged, used, sum_of(sources))


def prepare(decisions: Decided, terms: Terms, *, is_written: bool = False) -> Prepared:
    """Decisions as rows. `is_written`: those of files and mappings stand already."""
    outcome = BatchOutcome(
        terms.total_files - len(decisions.not_tagged), failures_of(decisions.not_tagged, terms.paths)
    )
    dry_run = terms.dry_run
    rows = rows_of(
        terms.stamp,
        () if dry_run or is_written else decisions.changes,
        proposals=(_proposal(entry) for entry in decisions.changes) if dry_run else (),
        used=None if dry_run or is_written else decisions.used,
        failures=outcome.failures,
        batch=_count(terms, outcome, decisions.sources),
    )
    return Prepared(decisions, rows, outcome)


# --- under the lock -----------------------------------------------------------------------------


def commit(
    batch: Batch, asked: Asked, knowledge: Knowledge, terms: Terms, ready: Prepared, transaction: Transaction
) -> Written:
    """Writes a batch of a run, for whose files `ready` was worked out before.

    Raises sqlite3.Error, LibraryError.
    """
    tables = knowledge.newer(transaction)
    vocabulary = knowledge.vocabulary if tables is None else tables.vocabulary
    mappings = knowledge.mappings if tables is None else knowledge.mappings.corrected(tables.mappings)
    decisions = ready.decided
    if vocabulary.fingerprint != decisions.vocabulary.fingerprint or mappings.contradict(decisions.used):
        decisions = decide_batch(batch, asked, mappings, vocabulary, terms.stamp.mode)
    if transaction.generation != batch.generation:
        decisions = _unless_changed(transaction.connection, decisions)
        decisions = _unless_excluded(transaction.connection, decisions)
    if decisions is not ready.decided:
        ready = prepare(decisions, terms)
    return write(transaction, ready, terms, tables)


def write(transaction: Transaction, ready: Prepared, terms: Terms, tables: Tables | None) -> Written:
    """Writes it; in a careful transaction without the files and mappings that the database refuses.

    Raises sqlite3.Error, LibraryError where the database is another than the run's or has no vocabulary any more.
    """
    connection = transaction.connection
    if not ready.decided.vocabulary.can_tag:
        raise LibraryError(Fault.NO_VOCABULARY)
    terms.row.require(transaction)
    if transaction.careful and not terms.dry_run:
        ready = prepare(_unless_refused(connection, ready.decided, terms.stamp), terms, is_written=True)
    write_rows(connection, ready.rows)
    learnt = [] if terms.dry_run else [entry for entry in ready.decided.used if not entry.saved]
    return Written(ready.outcome, learnt, tables)


def _unless_changed(connection: sqlite3.Connection, decisions: Decided) -> Decided:
    """Without files that somebody has touched since the batch read them."""
    ids = [entry.snapshot.file.id for entry in decisions.changes]
    now, paths = queries.current_tags(connection, ids), queries.paths(connection, ids)
    others: dict[int, NotTagged] = {}
    for entry in decisions.changes:
        file = entry.snapshot.file
        if file.id not in now:
            others[file.id] = GONE
        elif not is_same_sound(paths[file.id], file.file_path):
            others[file.id] = ELSEWHERE
        elif now[file.id] != entry.snapshot.tags:
            others[file.id] = CHANGED
    return _without(decisions, others)


def _unless_excluded(connection: sqlite3.Connection, decisions: Decided) -> Decided:
    """Without files that somebody has excluded since the batch read them."""
    ids = [entry.snapshot.file.id for entry in decisions.changes]
    excluded = {*ids} - {*queries.without_excluded(connection, ids)}
    return _without(decisions, dict.fromkeys(excluded, EXCLUDED))


def _without(decisions: Decided, others: dict[int, NotTagged]) -> Decided:
    """The same object where there are none."""
    if not others:
        return decisions
    changes = [entry for entry in decisions.changes if entry.snapshot.file.id not in others]
    return replace(decisions, changes=changes, not_tagged=decisions.not_tagged | others)


def _unless_refused(connection: sqlite3.Connection, decisions: Decided, stamp: Stamp) -> Decided:
    """Writes files and mappings one by one; without those that the database refuses."""
    used = decisions.used

    def write_mapping(entry: Mapping) -> None:
        write_rows(connection, rows_of(stamp, used=Counter({entry: used[entry]})))

    stopped = refused(connection, decisions.changes, lambda entry: write_rows(connection, rows_of(stamp, [entry])))
    decisions = _without(decisions, dict.fromkeys((entry.snapshot.file.id for entry in stopped), REFUSED))
    unsaved = refused(connection, [*used], write_mapping)
    return replace(decisions, used=Counter({entry: used[entry] for entry in used.keys() - unsaved}))


# --- afterwards ---------------------------------------------------------------------------------


def lost_batch(batch: Batch, asked: Asked, error: LibraryError) -> BatchOutcome:
    """Every file of the batch as failed, after its transaction was rolled back."""
    outcome = NotTagged(Reason.DATABASE_ERROR, error.sentence)
    not_tagged = {snapshot.file.id: outcome for snapshot in batch.files} | asked.not_tagged
    return BatchOutcome(0, failures_of(not_tagged, batch.paths))


def sum_of(sources: Iterable[Sources]) -> Sources:
    """Counts of several files together."""
    return Sources(*(sum(counts) for counts in zip(*map(astuple, sources), strict=True)))


def _untaggable(asked: Asked) -> NotTagged:
    if isinstance(asked.unresolved, Halve | GiveUp):
        return NotTagged(asked.unresolved.reason, asked.unresolved.message)
    return NO_TAGS


def _count(terms: Terms, outcome: BatchOutcome, sources: Sources) -> BatchCount:
    return BatchCount(
        batch=terms.number,
        ended_at=terms.stamp.date,
        elapsed_seconds=terms.elapsed_seconds,
        seconds=terms.seconds,
        tagged=outcome.tagged,
        failed=outcome.failed,
        skipped=outcome.skipped,
        usage=terms.usage,
        sources=sources,
    )


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
