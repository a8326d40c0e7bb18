"""What one tagging leaves behind about one file: the JSON in `auto_tag_history.tags_applied`.

From it later runs tell their own tags from a person's, an undo knows what was there before, and
`explain` says where a tag comes from.
"""

from collections.abc import Iterator

import msgspec
from msgspec import Struct

from sidecar.contract import Mode, TagType
from sidecar.tagging.tags import AudioFile, Before, Change, Kept, Tags, tags_of


class Mapped(Struct, frozen=True, array_like=True):
    """A tag that came through the mapping cache: what Gemini had called it."""

    type: TagType
    tag: str
    invalid: str


class Dropped(Struct, frozen=True, array_like=True):
    """A tag of Gemini's that stands for nothing in the vocabulary."""

    type: TagType
    tag: str


class Record(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one tagging did to one file.

    `applied` is everything the file held afterwards, `person` the part of it that the run left alone.
    `previous` is the id of the history row that was the file's latest before.
    """

    run_id: str
    model: str
    mode: Mode
    before: Before
    applied: Tags
    person: Kept = Kept()
    previous: int | None = None
    mapped: tuple[Mapped, ...] = ()
    dropped: tuple[Dropped, ...] = ()

    @property
    def change(self) -> Change:
        """What the tagging left, as the rules of a later one look at it."""
        return Change(self.applied, self.person)


class Snapshot(Struct, frozen=True):
    """A file as its batch read it. `record` is what our latest tagging of it left, if any."""

    file: AudioFile
    before: Before
    record: Record | None = None
    record_id: int | None = None

    @property
    def tags(self) -> Tags:
        """The tags alone, comparable with what the row holds later."""
        return tags_of(self.before)


_decoder = msgspec.json.Decoder(Record)


def read_record(text: str | None) -> Record | None:
    """The record in a history row; None for rows that another program wrote."""
    try:
        return _decoder.decode(text) if text else None
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None


def ours(record: Record) -> Iterator[tuple[TagType, str]]:
    """The tags that the run set, without those that it left to a person."""
    return set_by_run(record.change)


def set_by_run(change: Change) -> Iterator[tuple[TagType, str]]:
    """The tags of a change without the person's."""
    after, person = change.after, change.person
    kept = {
        TagType.GENRE: (after.genre,) if person.genre else (),
        TagType.MOOD: after.moods if person.mood else (),
        TagType.OCCASION: person.occasions,
        TagType.KEYWORD: person.keywords,
    }
    return ((kind, value) for kind, value in after.pairs() if value not in kept[kind])
