"""What our runs have made of the library's files, file by file: for reports, and for what is stale."""

import itertools
import sqlite3
from collections.abc import Iterable, Iterator

from msgspec import Struct

from sidecar.contract import TagType
from sidecar.library.own_tables import LATEST
from sidecar.library.proposals import decoded_proposal
from sidecar.library.queries import current_tags
from sidecar.library.run_reads import BookedRun
from sidecar.tagging.records import Mapped, Record, ours, read_record, set_by_run
from sidecar.tagging.tags import Change, Tags
from sidecar.tagging.worries import JudgedFile

_FILES_A_STEP = 500


class LatestTagging(Struct, frozen=True):
    """A file's latest tagging, the number of its run, and what the file holds now."""

    file_id: int
    record: Record
    run: int
    now: Tags


def tagged_in_run(connection: sqlite3.Connection, run: BookedRun) -> Iterator[JudgedFile]:
    """The files that a run tagged (or, in a dry run, proposed to tag) and that still exist."""
    if run.dry_run:
        proposed = connection.execute(
            """SELECT CAST(f.file_path AS TEXT), p.proposal
                FROM auto_tag_proposals p CROSS JOIN audio_files f ON f.id = p.file_id
                WHERE p.run = ? ORDER BY p.file_id""",
            (run.row,),
        )
        for path, text in proposed:
            entry = decoded_proposal(text)
            tags = set_by_run(Change(entry.after, entry.person))
            yield _tagged(entry.file_id, path or "", tags, entry.mapped, entry.after)
        return
    rows = connection.execute(
        """SELECT f.id, CAST(f.file_path AS TEXT), CAST(h.tags_applied AS TEXT)
            FROM auto_tag_history h CROSS JOIN audio_files f ON f.id = h.file_id
            WHERE h.id >= ? AND h.id < ifnull(
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
        f"""SELECT auto_tag_latest.file_id, CAST(tags_applied AS TEXT), auto_tag_latest.run FROM {LATEST}
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
) -> JudgedFile:
    known = [*tags]
    still_mapped = sum((entry.type, entry.tag) in known for entry in mapped)  # a person's genre may have been kept
    return JudgedFile(file_id, path, known, still_mapped, sum(1 for _ in after.pairs()))
