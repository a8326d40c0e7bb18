"""Which taggings a change of vocabulary, rules, hints or model touches. Pure.

A tag that has left the vocabulary touches the files that carry it, and so does one that Gemini is told of in other
words; one that has come touches those where Gemini meant it before (a tag that was mapped or dropped spells it),
and those with the genre above it.
"""

from collections.abc import Iterable, Mapping, Sequence

from sidecar.contract import TagType
from sidecar.tagging.records import Record, ours
from sidecar.tagging.tags import Tags
from sidecar.tagging.vocabulary import Vocabulary, normalise

Pair = tuple[TagType, str]


def added(old: Vocabulary, new: Vocabulary) -> list[Pair]:
    """The tags that `new` has and `old` had not, sorted."""
    return [(tag.type, tag.value) for tag in new.tags if not old.has(tag.type, tag.value)]


def redefined(old: Vocabulary, new: Vocabulary) -> frozenset[Pair]:
    """The tags of both that the one describes to Gemini in other words than the other."""
    notes = {(tag.type, tag.value): tag.note for tag in old.tags}
    pairs = ((tag, (tag.type, tag.value)) for tag in new.tags)
    return frozenset(pair for tag, pair in pairs if notes.get(pair, tag.note) != tag.note)


def carried_from(record: Record, now: Tags) -> set[Pair]:
    """The tags that a tagging set and that the file still carries."""
    return {*ours(record)}.intersection(now.pairs())


def retired(pairs: Iterable[Pair], vocabulary: Vocabulary) -> set[Pair]:
    """Those that are no tags any more."""
    return {pair for pair in pairs if not vocabulary.has(*pair)}


class Additions:
    """The tags that have come since some vocabulary, ready to be matched with taggings.

    `parents`: the genre that stands above another, where the vocabulary says so.
    """

    def __init__(self, pairs: Sequence[Pair], parents: Mapping[str, str] | None = None) -> None:
        self._spellings = {(kind, normalise(value)) for kind, value in pairs}
        self._above = _above([value for kind, value in pairs if kind is TagType.GENRE], parents or {})

    def touch(self, record: Record) -> bool:
        """Whether Gemini might well choose one of them for that file."""
        if not self._spellings:
            return False
        meant = [(entry.type, entry.invalid) for entry in record.mapped]
        meant += [(entry.type, entry.tag) for entry in record.dropped]
        if any((kind, normalise(raw)) in self._spellings for kind, raw in meant):
            return True
        genre = None if record.person.genre else record.applied.genre
        return genre in self._above


def _above(genres: list[str], parents: Mapping[str, str]) -> set[str]:
    """All genres above these, by their names (`orchestral:cinematic`) and by the tree."""
    found: set[str] = set()
    open_genres = [*genres]
    while open_genres:
        genre = open_genres.pop()
        for above in {genre.rpartition(":")[0], parents.get(genre, "")} - {""} - found:
            found.add(above)
            open_genres.append(above)
    return found
