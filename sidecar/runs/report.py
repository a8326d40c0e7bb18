"""How a run came out, and which of its files to look at first."""

import sqlite3
from collections import Counter

from sidecar.contract import ReasonCount, Report, TagCount
from sidecar.library import run_reads
from sidecar.library.connections import Shape
from sidecar.library.store import Library
from sidecar.library.tagged_files import tagged_in_run
from sidecar.runs.archive import Archive
from sidecar.tagging.worries import RunTags

MOST_WORRIES = 200


async def report(library: Library, archive: Archive, run_id: str | None) -> Report:
    """How a run (None: the latest) came out. Raises RpcError -32002, LibraryError."""
    run = await archive.booked(run_id)
    summary = await archive.summary(run.run_id)
    not_tagged = await archive.failures(run.run_id)

    def query(connection: sqlite3.Connection, _shape: Shape) -> Report:
        tags = RunTags()
        for file in tagged_in_run(connection, run):
            tags.count(file)
        # Read twice: in a large library it would take gigabytes to keep them.
        worries, worrying = tags.worrying(tagged_in_run(connection, run), MOST_WORRIES)
        counts, failures = tags.counts, Counter(failure.reason for failure in not_tagged)
        return Report(
            run=summary,
            sources=run_reads.sources(connection, run.row),
            tags=[
                TagCount(*pair, counts[pair]) for pair in sorted(counts, key=lambda pair: (-counts[pair], pair))
            ],
            failures=[
                ReasonCount(reason, failures[reason])
                for reason in sorted(failures, key=lambda r: (-failures[r], r))
            ],
            batches=run_reads.batches(connection, run.row),
            worries=worries,
            worrying_files=worrying,
        )

    return await library.scan(query)
