"""What has become of runs and files: the report on a run, where a file's tags come from, what is stale."""

import functools
import sqlite3
from collections import Counter

from sidecar.contract import (
    ExplainedTag,
    ReasonCount,
    Report,
    RetiredTag,
    Stale,
    TagCount,
    TagName,
    TagType,
    invalid_params,
)
from sidecar.library import queries, run_rows
from sidecar.library.connections import Shape
from sidecar.library.own_tables import has_own_tables
from sidecar.library.store import Library
from sidecar.library.tagged_files import latest_taggings, tagged_in_run
from sidecar.runs.archive import Archive
from sidecar.settings import Settings
from sidecar.tagging.prompts import RULES_FINGERPRINT
from sidecar.tagging.records import Record, Snapshot, ours
from sidecar.tagging.staleness import Additions, Pair, added, retired_from
from sidecar.tagging.worries import Look, worrying_files

MOST_WORRIES = 200


async def report(library: Library, archive: Archive, run_id: str | None) -> Report:
    """How a run (None: the latest) came out. Raises RpcError -32002, LibraryError."""
    run = await archive.booked(run_id)
    summary = await archive.summary(run.run_id)
    failures = Counter(failure.reason for failure in await archive.failures(run.run_id))

    def query(connection: sqlite3.Connection, _shape: Shape) -> Report:
        files = list(tagged_in_run(connection, run))
        counts = Counter(pair for file in files for pair in file.tags)
        worries = worrying_files(Look(file.file_id, file.file_path, file.tags, len(file.mapped)) for file in files)
        return Report(
            run=summary,
            sources=run_rows.sources(connection, run.row),
            tags=[
                TagCount(*pair, counts[pair]) for pair in sorted(counts, key=lambda pair: (-counts[pair], pair))
            ],
            failures=[
                ReasonCount(reason, failures[reason])
                for reason in sorted(failures, key=lambda r: (-failures[r], r))
            ],
            batches=run_rows.batches(connection, run.row),
            worries=worries[:MOST_WORRIES],
            worrying_files=len(worries),
        )

    return await library.read(query)


async def explain(library: Library, file_id: int) -> list[ExplainedTag]:
    """Where each tag of a file comes from. Raises RpcError -32602 for an unknown file, LibraryError."""

    def query(connection: sqlite3.Connection, shape: Shape) -> tuple[Snapshot, str | None] | None:
        found = queries.snapshots(connection, shape, [file_id])
        if not found:
            return None
        entries = queries.history(connection, file_id)
        dates = {entry.id: entry.tagged_at for entry in entries}
        return found[0], dates.get(found[0].record_id or 0)

    found = await library.read(query)
    if found is None:
        raise invalid_params(f"`file_id`: no file has the id {file_id}.")
    snapshot, tagged_at = found
    record = snapshot.record
    from_run = {*_still_ours(record, snapshot)} if record else set()
    return [
        _from_run(pair, record, tagged_at)
        if record is not None and pair in from_run
        else ExplainedTag(tag_type=pair[0], tag_value=pair[1], set_by="person")
        for pair in snapshot.tags.pairs()
    ]


def _still_ours(record: Record, snapshot: Snapshot) -> list[Pair]:
    """What the run set; a mood column that someone has changed since is theirs as a whole, as in a merge."""
    return [
        (kind, value)
        for kind, value in ours(record)
        if kind is not TagType.MOOD or snapshot.tags.mood == record.applied.mood
    ]


def _from_run(pair: Pair, record: Record, tagged_at: str | None) -> ExplainedTag:
    mapped = {(entry.type, entry.tag): entry.invalid for entry in record.mapped}
    return ExplainedTag(
        tag_type=pair[0],
        tag_value=pair[1],
        set_by="run",
        run_id=record.run_id,
        model=record.model,
        tagged_at=tagged_at,
        mapped_from=mapped.get(pair),
    )


async def find_stale(library: Library, settings: Settings) -> Stale:
    """What has changed since the last run, and which taggings that touches. Raises LibraryError."""

    def query(connection: sqlite3.Connection, shape: Shape) -> Stale:
        if not has_own_tables(connection):
            return Stale(None, [], [], [])
        vocabulary = queries.vocabulary(connection, shape)
        runs = run_rows.booked_runs(connection)
        if not runs:
            return Stale(None, [], [], [])
        last = runs[max(runs)]
        before = run_rows.kept_vocabulary(connection, last.vocabulary)

        @functools.cache  # hundreds of runs may share a vocabulary, and it is large
        def additions_since(fingerprint: str) -> Additions:
            return Additions(added(run_rows.kept_vocabulary(connection, fingerprint), vocabulary))

        retired: Counter[Pair] = Counter(dict.fromkeys(added(vocabulary, before), 0))
        ids = []
        for tagging in latest_taggings(connection):
            gone = retired_from(tagging.record, tagging.now, vocabulary)
            retired.update(gone)
            run = runs.get(tagging.run)
            if (
                gone
                or run is None
                or (run.model, run.rules) != (settings.model, RULES_FINGERPRINT)
                or additions_since(run.vocabulary).touch(tagging.record)
            ):
                ids.append(tagging.file_id)
        changed = (last.vocabulary, last.rules, last.model) != (
            vocabulary.fingerprint,
            RULES_FINGERPRINT,
            settings.model,
        )
        return Stale(
            last.run_id if changed else None,
            [TagName(*pair) for pair in added(before, vocabulary)],
            [RetiredTag(*pair, n) for pair, n in sorted(retired.items())],
            queries.without_excluded(connection, ids).tolist(),
        )

    return await library.read(query)
