"""What is known about tags outside the vocabulary: the mapping cache's rows, in memory.

Pure. Loaded once a process, shared by all batches; `gemini.mapping` adds what Gemini says,
`library` writes what a batch used in that batch's transaction.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Struct

from sidecar.contract import Sources, TagType
from sidecar.tagging.answers import RawTags
from sidecar.tagging.records import Dropped, Mapped
from sidecar.tagging.tags import Suggestion
from sidecar.tagging.vocabulary import Vocabulary, normalise

REMOVE = "REMOVE"
"""The shell's word in `valid_tag` for: nothing in the vocabulary fits."""

MAX_UNKNOWN_LENGTH = 100
"""Characters. Longer 'tags' that nobody knows are prose: dropped without a word, and not worth a request."""

Key = tuple[TagType, str]
"""An unknown tag: its type and its normalised spelling."""


class Mapping(Struct, frozen=True):
    """One row of `tag_mapping_cache`. `type_text` is the row's own spelling of the type.

    `saved`: the row stands in the database. `stale`: the valid tag that it replaces, which has left the
    vocabulary.
    """

    kind: TagType
    invalid: str
    valid: str
    type_text: str
    saved: bool = True
    stale: str | None = None

    @property
    def key(self) -> Key:
        """What it is found by."""
        return self.kind, normalise(self.invalid)


class Mappings:
    """All mappings by unknown tag. Changed from the trio thread only; the writer thread reads them meanwhile."""

    def __init__(self, rows: Iterable[Mapping] = ()) -> None:
        self._by_key: dict[Key, Mapping] = {}
        self._unmappable: set[Key] = set()
        self.replace(rows)

    def replace(self, rows: Iterable[Mapping]) -> None:
        """What the database holds now; what is learnt but not yet saved stays, unless a row says better."""
        by_key: dict[Key, Mapping] = {}
        for entry in rows:
            by_key.setdefault(entry.key, entry)
        for entry in self._by_key.values():
            # A row that still holds the tag which this one replaces has not been corrected by anybody.
            if not entry.saved and by_key.setdefault(entry.key, entry).valid == entry.stale:
                by_key[entry.key] = entry
        self._by_key = by_key  # in one step: other threads look things up meanwhile

    def corrected(self, rows: Iterable[Mapping]) -> "Mappings":
        """With what these rows say otherwise; itself where they do not. Changes nothing here."""
        other: dict[Key, Mapping] = {}
        for entry in rows:
            known = self._by_key.get(entry.key)
            if known is not None and entry.valid not in (known.valid, known.stale):
                other.setdefault(entry.key, entry)
        if not other:
            return self
        found = Mappings()
        found._by_key, found._unmappable = self._by_key | other, self._unmappable
        return found

    def contradict(self, used: Iterable[Mapping]) -> bool:
        """Whether one that was used says other than is known now."""
        known = ((entry, self._by_key.get(entry.key, entry)) for entry in used)
        return any(normalise(now.valid) != normalise(entry.valid) for entry, now in known)

    def learn(self, kind: TagType, raw: str, valid: str) -> None:
        """What Gemini said; `valid` is an active tag or REMOVE."""
        old = self._by_key.get((kind, normalise(raw)))
        entry = (
            Mapping(kind, raw, valid, kind.value, saved=False)
            if old is None
            else Mapping(kind, old.invalid, valid, old.type_text, saved=False, stale=old.valid)
        )
        self._by_key[entry.key] = entry

    def give_up(self, key: Key) -> None:
        """Gemini had no usable word on it: dropped for the rest of the process, not asked again."""
        self._unmappable.add(key)

    def saved(self, entries: Iterable[Mapping]) -> None:
        """These stand in the database now."""
        for entry in entries:
            if self._by_key.get(entry.key) is entry:
                self._by_key[entry.key] = Mapping(entry.kind, entry.invalid, entry.valid, entry.type_text)

    def find(self, key: Key, vocabulary: Vocabulary) -> Mapping | None:
        """The mapping of an unknown tag; None when none is known or its valid tag left the vocabulary."""
        entry = self._by_key.get(key)
        if entry is None or entry.valid == REMOVE or vocabulary.has(entry.kind, entry.valid):
            return entry
        # A person may have spelled it in another way.
        valid = vocabulary.find(entry.kind, entry.valid)
        return None if valid is None else msgspec.structs.replace(entry, valid=valid)

    def unknown(self, tags: Iterable[RawTags], vocabulary: Vocabulary) -> dict[Key, str]:
        """The tags that neither vocabulary nor mappings resolve, with one spelling of each."""
        found: dict[Key, str] = {}
        for raw_tags in tags:
            if _are_valid(raw_tags, vocabulary):
                continue
            for kind, raw in raw_tags.pairs():
                if len(raw) <= MAX_UNKNOWN_LENGTH and vocabulary.find(kind, raw) is None:
                    key = (kind, normalise(raw))
                    if key not in self._unmappable and self.find(key, vocabulary) is None:
                        found.setdefault(key, raw)
        return found

    def remove(self, key: Key) -> None:
        """Forgets what is known about an unknown tag: the next batch that meets it asks again."""
        self._by_key.pop(key, None)
        self._unmappable.discard(key)

    def put(self, entry: Mapping) -> None:
        """A row that a person has set, in the place of what was known."""
        self.remove(entry.key)
        self._by_key[entry.key] = entry

    def behind(self, mapped: Iterable[Mapped]) -> Iterator[Mapping]:
        """The mappings through which these tags came.

        What an earlier process has learnt and not saved is not known here: it comes as a new mapping, to be saved.
        """
        for came in mapped:
            entry = self._by_key.get((came.type, normalise(came.invalid)))
            if entry is None:
                yield Mapping(came.type, came.invalid, came.tag, came.type.value, saved=False)
            elif normalise(entry.valid) == normalise(came.tag):
                yield entry

    def resolve(self, tags: RawTags, vocabulary: Vocabulary) -> "Resolved":
        """The valid tags that these stand for, and how each came about."""
        if _are_valid(tags, vocabulary):  # as most are
            as_they_are = Suggestion(tags.genre, tags.moods, tags.occasions, tags.keywords)
            count = bool(tags.genre) + len(tags.moods) + len(tags.occasions) + len(tags.keywords)
            return Resolved(as_they_are, [], (), (), Sources(valid=count))
        used: list[Mapping] = []
        dropped: list[Dropped] = []
        valid: dict[TagType, dict[str, str | None]] = {kind: {} for kind in TagType}
        counts: Counter[str] = Counter()
        for kind, raw in tags.pairs():
            if (tag := vocabulary.find(kind, raw)) is not None:
                counts["valid" if tag == raw else "normalised"] += 1
                valid[kind][tag] = None
                continue
            entry = self.find((kind, normalise(raw)), vocabulary)
            if entry is None and len(raw) > MAX_UNKNOWN_LENGTH:
                continue
            if entry is not None:
                used.append(entry)
            if entry is None or entry.valid == REMOVE:
                counts["dropped"] += 1
                dropped.append(Dropped(kind, raw))
            else:
                counts["mapped_by_cache" if entry.saved else "mapped_by_gemini"] += 1
                valid[kind].setdefault(entry.valid, raw)
        suggestion = Suggestion(
            next(iter(valid[TagType.GENRE]), None),
            tuple(valid[TagType.MOOD]),
            tuple(valid[TagType.OCCASION]),
            tuple(valid[TagType.KEYWORD]),
        )
        mapped = tuple(Mapped(kind, tag, raw) for kind in TagType for tag, raw in valid[kind].items() if raw)
        return Resolved(suggestion, used, mapped, tuple(dropped), Sources(**counts))


def _are_valid(tags: RawTags, vocabulary: Vocabulary) -> bool:
    return (
        (tags.genre is None or vocabulary.has(TagType.GENRE, tags.genre))
        and vocabulary.has_all(TagType.MOOD, tags.moods)
        and vocabulary.has_all(TagType.OCCASION, tags.occasions)
        and vocabulary.has_all(TagType.KEYWORD, tags.keywords)
    )


class Resolved(Struct, frozen=True):
    """What became of one file's raw tags. `used` holds each mapping once for each use."""

    suggestion: Suggestion
    used: list[Mapping]
    mapped: tuple[Mapped, ...]
    dropped: tuple[Dropped, ...]
    sources: Sources
