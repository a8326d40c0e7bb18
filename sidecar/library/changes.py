"""What becomes of files, as the rows that say so. Pure: all of it is worked out before the lock is taken."""

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct

from sidecar.contract import FileFailure, Mode, Sources
from sidecar.library.procedures import Rows
from sidecar.library.proposals import StoredProposal, encoded_proposal
from sidecar.library.run_writes import BatchCount, batch_row, failure_rows
from sidecar.tagging.mappings import Mapping
from sidecar.tagging.records import Dropped, Mapped, Record, Snapshot
from sidecar.tagging.tags import Change, Suggestion

_encoder = msgspec.json.Encoder()
_Tags = dict[str, dict[int, list[str]]]


class Stamp(Struct, frozen=True):
    """Who writes and when. `date` is RFC 3339 UTC, `updated_at` the shell's `YYYY-MM-DD HH:MM:SS`."""

    run_id: str
    row: int
    model: str
    mode: Mode
    version: str
    date: str
    updated_at: str


class FileChange(Struct, frozen=True):
    """What becomes of one file, from which suggestion, and how its tags came about."""

    snapshot: Snapshot
    change: Change
    suggestion: Suggestion
    mapped: tuple[Mapped, ...]
    dropped: tuple[Dropped, ...]
    sources: Sources


def rows_of(
    stamp: Stamp,
    changes: Sequence[FileChange] = (),
    *,
    proposals: Iterable[StoredProposal] = (),
    used: Counter[Mapping] | None = None,
    failures: Iterable[FileFailure] = (),
    batch: BatchCount | None = None,
) -> Rows:
    """The rows of a batch or of a part of it. A tag that stays is neither gone nor new: it keeps its row,
    id and date.
    """
    files: dict[int, tuple[str | None, str | None]] = {}
    records: dict[int, str] = {}
    gone, new = _no_tags(), _no_tags()
    kept: dict[int, dict[str, list[str]]] = {}
    for entry in changes:
        file_id, before, after = entry.snapshot.file.id, entry.snapshot.before, entry.change.after
        files[file_id] = (after.genre, after.mood)
        kept[file_id] = {}
        records[file_id] = _record(entry, stamp)
        for kind, old, now in (
            ("occasion", before.occasions, after.occasions),
            ("keyword", before.keywords, after.keywords),
        ):
            if not old:
                new[kind][file_id] = [*now]
                continue
            gone[kind][file_id] = [value for value in old if value not in now]
            kept[file_id][kind] = [value for value in old if value in now]
            new[kind][file_id] = [value for value in now if value not in old]
    return Rows(
        run=stamp.row,
        model=stamp.model,
        version=stamp.version,
        date=stamp.date,
        updated_at=stamp.updated_at,
        count=len(files),
        files=_text(files),
        records=_text(records),
        gone=_text(gone),
        kept=_text(kept if stamp.mode is Mode.REPLACE else {}),
        new=_text(new),
        proposals=_text({entry.file_id: encoded_proposal(entry) for entry in proposals}),
        mappings=_mappings(used) if used else "[]",
        failures=failure_rows(failures),
        batch=batch_row(batch) if batch is not None else None,
    )


def _no_tags() -> _Tags:
    return {"occasion": {}, "keyword": {}}


def _mappings(used: Counter[Mapping]) -> str:
    """One row for each invalid tag, whose mapping may have been saved while others of its uses were counted."""
    rows: dict[tuple[str, str], tuple[int, str | None, str | None]] = {}
    for entry, uses in used.items():
        before, valid, stale = rows.get((entry.invalid, entry.type_text), (0, None, None))
        if not entry.saved:
            valid, stale = entry.valid, entry.stale
        rows[entry.invalid, entry.type_text] = (before + uses, valid, stale)
    return _text([(*key, *row) for key, row in rows.items()])


def _record(entry: FileChange, stamp: Stamp) -> str:
    return _text(
        Record(
            run_id=stamp.run_id,
            model=stamp.model,
            mode=stamp.mode,
            before=entry.snapshot.before,
            applied=entry.change.after,
            person=entry.change.person,
            previous=entry.snapshot.record_id,
            mapped=entry.mapped,
            dropped=entry.dropped,
        )
    )


def _text(value: object) -> str:
    return _encoder.encode(value).decode()
