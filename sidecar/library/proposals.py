"""What dry runs propose: kept until a person has looked at it, in a table of the sidecar's own."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence

import msgspec
from msgspec import Struct

from sidecar.contract import Proposal, Sources
from sidecar.library.wanted import WANTED, as_json
from sidecar.tagging.records import Dropped, Mapped
from sidecar.tagging.tags import Kept, Suggestion, Tags


class StoredProposal(Struct, frozen=True, kw_only=True):
    """All that is needed to write it later by the same rules.

    `before` and `record_id` are what the dry run found, so that a change since then shows;
    `after` is what a person was shown, `person` the part of it that was a person's already.
    """

    file_id: int
    file_path: str
    before: Tags
    record_id: int | None
    suggestion: Suggestion
    after: Tags
    person: Kept = Kept()
    mapped: tuple[Mapped, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    sources: Sources = Sources()


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(StoredProposal)


def encoded_proposal(proposal: StoredProposal) -> str:
    """As it is kept."""
    return _encoder.encode(proposal).decode()


def decoded_proposal(text: str) -> StoredProposal:
    """As it was. Raises msgspec.DecodeError."""
    return _decoder.decode(text)


def proposed_ids(connection: sqlite3.Connection, run: int) -> list[int]:
    """The files that a dry run has a proposal for, in ascending order."""
    rows = connection.execute("SELECT file_id FROM auto_tag_proposals WHERE run = ? ORDER BY file_id", (run,))
    return [file_id for (file_id,) in rows]


def stored_proposals(connection: sqlite3.Connection, run: int, ids: Sequence[int]) -> list[StoredProposal]:
    """The proposals for these files, by file id."""
    rows = connection.execute(
        f"""SELECT proposal FROM {WANTED} auto_tag_proposals
                ON file_id = auto_tag_wanted AND run = ? ORDER BY file_id""",
        (as_json(ids), run),
    )
    return [_decoder.decode(text) for (text,) in rows]


def all_proposals(connection: sqlite3.Connection, run: int) -> Iterator[StoredProposal]:
    """All of a run, by file id."""
    rows = connection.execute("SELECT proposal FROM auto_tag_proposals WHERE run = ? ORDER BY file_id", (run,))
    return (_decoder.decode(text) for (text,) in rows)


def proposals(connection: sqlite3.Connection, run: int) -> list[Proposal]:
    """All of a run as the shell sees them, by file id."""
    same: dict[str, str] = {}  # of a tag that many files get, one text is kept

    def tags(values: Iterable[str]) -> list[str]:
        return [same.setdefault(value, value) for value in values]

    return [
        Proposal(
            entry.file_id,
            entry.file_path,
            entry.after.genre and same.setdefault(entry.after.genre, entry.after.genre),
            tags(entry.after.moods),
            tags(entry.after.occasions),
            tags(entry.after.keywords),
        )
        for entry in all_proposals(connection, run)
    ]
