"""What our runs have made of the library's files, file by file: for reports, and for what is stale."""

import itertools
import sqlite3
from collections.abc import Iterable, Iterator

from msgspec import Struct

from sidecar.contract import TagType
from sidecar.library.proposals import all_proposals
from sidecar.library.queries import current_tags
from sidecar.library.run_rows import BookedRun
from sidecar.tagging.records import Mapped, Record, ours, read_record, set_by_run
from sidecar.tagging.tags import Change, Tags

_FILES_A_STEP = 500


class TaggedFile(Struct, frozen=True):
    """One file as a run tagged it (or, in a dry run, proposed to): the tags that it set, those of them that
    were mapped, and how many the file held in all, a person's among them.

    A mapped genre is left out if the person's genre was kept.
    """

    file_id: int
    file_path: str
    tags: list[tuple[TagType, str]]
    mapped: list[Mapped]
    held: int


class LatestTagging(Struct, frozen=True):
    """A file's latest tagging, the number of its run, and what the file holds now."""

    file_id: int
    record: Record
    run: int
    now: Tags


def tagged_in_run(connection: sqlite3.Connection, run: BookedRun) -> Iterator[TaggedFile]:
    """The files that a run tagged and that still exist, by history row."""
    if run.dry_run:
        for entry in all_proposals(connection, run.row):
            tags = set_by_run(Change(entry.after, entry.person))
            yield _tagged(entry.file_id, entry.file_path, tags, entry.mapped, entry.after)
        return
    rows = connection.execute(
        """SELECT audio_files.id, CAST(file_path AS TEXT), CAST(tags_applied AS TEXT)
            FROM auto_tag_history JOIN audio_files ON audio_files.id = file_id
            WHERE auto_tag_history.id >= ? AND auto_tag_history.id < ifnull(
                (SELECT min(first_history_id) FROM auto_tag_runs WHERE id > ?), 9223372036854775807)""",
        (run.first_history_id, run.row),
    )
    for file_id, path, text in rows:
        record = read_record(text)
        if record is not None and record.run_id == run.run_id:
            yield _tagged(file_id, path, ours(record), record.mapped, record.applied)


def latest_taggings(connection: sqlite3.Connection) -> Iterator[LatestTagging]:
    """The latest tagging of every file that a run has tagged, by file id."""
    rows = connection.execute(
        """SELECT auto_tag_latest.file_id, CAST(tags_applied AS TEXT), run
            FROM auto_tag_latest JOIN auto_tag_history
                ON auto_tag_history.id = history_id AND auto_tag_history.file_id = auto_tag_latest.file_id
            ORDER BY auto_tag_latest.file_id"""
    )
    while part := list(itertools.islice(rows, _FILES_A_STEP)):
        now = current_tags(connection, [row[0] for row in part])
        for file_id, text, run in part:
            record = read_record(text)
            if record is not None and file_id in now:
                yield LatestTagging(file_id, record, run, now[file_id])


def _tagged(
    file_id: int, path: str, tags: Iterable[tuple[TagType, str]], mapped: Iterable[Mapped], after: Tags
) -> TaggedFile:
    known = [*tags]
    still_mapped = [entry for entry in mapped if (entry.type, entry.tag) in known]
    return TaggedFile(file_id, path, known, still_mapped, sum(1 for _ in after.pairs()))
