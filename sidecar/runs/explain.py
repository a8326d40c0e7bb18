"""Where each tag of a file comes from."""

import sqlite3

from sidecar.contract import ExplainedTag, TagType, invalid_params
from sidecar.library import queries
from sidecar.library.connections import Shape
from sidecar.library.store import Library
from sidecar.tagging.records import Record, Snapshot, ours
from sidecar.tagging.staleness import Pair


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
