"""Which taggings are stale: what a change of vocabulary, rules, hints or model touches."""

import functools
import sqlite3
from collections import defaultdict

from sidecar.contract import RetiredTag, Stale, TagName, TagType
from sidecar.library import queries, run_reads
from sidecar.library.connections import Shape
from sidecar.library.run_reads import BookedRun
from sidecar.library.store import Library
from sidecar.library.tagged_files import latest_taggings
from sidecar.settings import Settings
from sidecar.tagging.prompts import are_rules
from sidecar.tagging.staleness import Additions, Pair, added, carried_from, redefined, retired
from sidecar.tagging.vocabulary import Vocabulary


async def find_stale(library: Library, settings: Settings) -> Stale:
    """What has changed since the last run, and which taggings that touches. Raises LibraryError."""
    return await library.scan(lambda connection, shape: _stale(connection, shape, settings))


def _stale(connection: sqlite3.Connection, shape: Shape, settings: Settings) -> Stale:
    latest = run_reads.last_tagging_run(connection)
    if latest is None:
        return Stale(None, [], [], [])
    runs, vocabulary = run_reads.booked_runs(connection), queries.vocabulary(connection, shape)
    last = runs[latest]
    before = run_reads.kept_vocabulary(connection, last.vocabulary)
    touched, carriers = _touched(connection, runs, vocabulary, settings)
    ids = queries.without_excluded(connection, touched)
    allowed = frozenset(ids)
    counts = ((pair, len(allowed.intersection(files))) for pair, files in carriers.items())
    carried = {pair: count for pair, count in counts if count}
    is_same = last.vocabulary == vocabulary.fingerprint and _is_asked_alike(last, settings)
    gone = dict.fromkeys(added(vocabulary, before), 0) | carried  # also those that no file carries
    return Stale(
        None if is_same else last.run_id,
        [TagName(*pair) for pair in added(before, vocabulary)],
        [RetiredTag(*pair, files) for pair, files in sorted(gone.items())],
        ids.tolist(),
    )


def _touched(
    connection: sqlite3.Connection, runs: dict[int, BookedRun], vocabulary: Vocabulary, settings: Settings
) -> tuple[list[int], dict[Pair, list[int]]]:
    """The files whose tagging a change touches, and which of them carry each retired tag."""
    ids: list[int] = []
    carriers: defaultdict[Pair, list[int]] = defaultdict(list)
    parents = {tag.value: tag.parent for tag in vocabulary.tags if tag.type is TagType.GENRE and tag.parent}

    @functools.cache  # hundreds of runs may share a vocabulary, and it is large
    def changes_since(fingerprint: str) -> tuple[Additions, frozenset[Pair]]:
        before = run_reads.kept_vocabulary(connection, fingerprint)
        return Additions(added(before, vocabulary), parents), redefined(before, vocabulary)

    alike = {row: run.vocabulary for row, run in runs.items() if _is_asked_alike(run, settings)}
    for tagging in latest_taggings(connection):
        carried = carried_from(tagging.record, tagging.now)
        gone = retired(carried, vocabulary)
        for pair in gone:
            carriers[pair].append(tagging.file_id)
        fingerprint = alike.get(tagging.run)
        if gone or fingerprint is None:
            ids.append(tagging.file_id)
            continue
        additions, other_words = changes_since(fingerprint)
        if additions.touch(tagging.record) or not other_words.isdisjoint(carried):
            ids.append(tagging.file_id)
    return ids, carriers


def _is_asked_alike(run: BookedRun, settings: Settings) -> bool:
    return run.model == settings.model and are_rules(run.rules, settings.hints)
