"""The controlled vocabulary: active tags by type, how spellings are normalised, its fingerprint."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator

from msgspec import Struct

from sidecar.contract import TagType

MAX_NOTE_LENGTH = 120
"""Characters of a tag's description that Gemini is told."""


def tag_type(spelling: str) -> TagType | None:
    """The type a table's spelling stands for: `tag_vocabulary` says `keywords`, others `keyword`."""
    name = spelling.strip().casefold()
    try:
        return TagType(name.removesuffix("s"))
    except ValueError:
        return None


def pairs_of(
    genre: str | None, moods: Iterable[str], occasions: Iterable[str], keywords: Iterable[str]
) -> Iterator[tuple[TagType, str]]:
    """Every tag with its type."""
    if genre:
        yield TagType.GENRE, genre
    for kind, values in ((TagType.MOOD, moods), (TagType.OCCASION, occasions), (TagType.KEYWORD, keywords)):
        for value in values:
            yield kind, value


class VocabularyTag(Struct, frozen=True):
    """One active row of `tag_vocabulary`."""

    type: TagType
    value: str
    description: str | None = None
    parent: str | None = None

    @property
    def note(self) -> str:
        """What Gemini is told of it: its description, on one line and shortened; empty where that says nothing."""
        note = " ".join((self.description or "").split())[:MAX_NOTE_LENGTH]
        return "" if note == self.value else note


_SEPARATOR = re.compile(r"\s*[:>/]+\s*")
_GAP = re.compile(r"[\s_-]+")


def normalise(raw: str) -> str:
    """A spelling without what people and models vary: case, width, spaces, quotes, underscores.

    `" Orchestral / Cinematic"` and `orchestral:cinematic` become the same.
    """
    text = unicodedata.normalize("NFKC", raw).strip(" \t\r\n\"'`#.,;").casefold()
    return _GAP.sub("-", _SEPARATOR.sub(":", text)).strip("-")


class Vocabulary:
    """The active tags. Immutable; two vocabularies with the same tags have the same fingerprint.

    Each tag stands there once, though the table may hold it as `keyword` and as `keywords`. A mood with a `;`
    is none: the mood column, where moods are joined with it, cannot hold it.
    """

    def __init__(self, tags: Iterable[VocabularyTag]) -> None:
        usable = (tag for tag in tags if tag.type is not TagType.MOOD or ";" not in tag.value)
        in_order = sorted(usable, key=lambda tag: (tag.type, tag.value, tag.description or "", tag.parent or ""))
        once = {(tag.type, tag.value): tag for tag in in_order}  # the last one: with a description, if one has it
        self.tags: tuple[VocabularyTag, ...] = tuple(once.values())
        self._exact: dict[TagType, frozenset[str]] = {
            kind: frozenset(tag.value for tag in self.tags if tag.type is kind) for kind in TagType
        }
        self._normalised: dict[TagType, dict[str, str]] = {kind: {} for kind in TagType}
        ambiguous: set[tuple[TagType, str]] = set()
        for tag in self.tags:
            key = normalise(tag.value)
            if self._normalised[tag.type].setdefault(key, tag.value) != tag.value:
                ambiguous.add((tag.type, key))
        for kind, key in ambiguous:
            del self._normalised[kind][key]
        text = "\n".join(f"{tag.type}\t{tag.value}\t{tag.description or ''}" for tag in self.tags)
        self.fingerprint: str = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()

    def has(self, kind: TagType, value: str | None) -> bool:
        """Whether `value` is, letter for letter, an active tag of that type."""
        return value in self._exact[kind]

    def has_any(self, kind: TagType, values: Iterable[str]) -> bool:
        """Whether one of `values` is."""
        return not self._exact[kind].isdisjoint(values)

    def has_all(self, kind: TagType, values: Iterable[str]) -> bool:
        """Whether all of `values` are."""
        return self._exact[kind].issuperset(values)

    def find(self, kind: TagType, raw: str) -> str | None:
        """The active tag that `raw` spells, exactly or after normalising; None when there is none."""
        if raw in self._exact[kind]:
            return raw
        return self._normalised[kind].get(normalise(raw))

    @property
    def can_tag(self) -> bool:
        """Whether a file could be tagged at all: a genre, a mood, and an occasion or a keyword exist."""
        exact = self._exact
        return bool(
            exact[TagType.GENRE] and exact[TagType.MOOD] and (exact[TagType.OCCASION] or exact[TagType.KEYWORD])
        )
