"""What a file's tags are, and what a run may make of them: the rules of `merge` and `replace`.

Tags that a person chose are kept apart from those that an earlier run set by the record which
every tagging leaves (see `records`). Source of the rules: CONTRACT sections 5 and 9.
"""

from collections.abc import Iterator

from msgspec import Struct

from sidecar.contract import Mode, TagType
from sidecar.tagging.vocabulary import Vocabulary, pairs_of

MOOD_JOIN = "; "


class AudioFile(Struct, frozen=True):
    """What Gemini is told about a sound. `duration` is in seconds."""

    id: int
    file_path: str
    title: str | None = None
    artist: str | None = None
    album: str | None = None
    duration: float | None = None


class Tags(Struct, frozen=True):
    """What a file's row and its `rpg_tags` hold. `mood` is the column's text; rows are sorted."""

    genre: str | None = None
    mood: str | None = None
    occasions: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()

    @property
    def moods(self) -> tuple[str, ...]:
        """The values in the mood column."""
        if not self.mood:
            return ()
        return tuple(part for part in (piece.strip() for piece in self.mood.split(";")) if part)

    def pairs(self) -> Iterator[tuple[TagType, str]]:
        """Every tag with its type."""
        return pairs_of(self.genre, self.moods, self.occasions, self.keywords)


class Before(Tags, frozen=True):
    """Tags and auto-tag columns as they were before a run wrote."""

    auto_tagged: int | None = None
    auto_tag_date: str | None = None
    auto_tag_version: str | None = None


class Kept(Struct, frozen=True, omit_defaults=True):
    """Which of a file's tags are a person's."""

    genre: bool = False
    mood: bool = False
    occasions: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()


class Suggestion(Struct, frozen=True):
    """What Gemini proposes for a file, every tag already an active one of its type."""

    genre: str | None = None
    moods: tuple[str, ...] = ()
    occasions: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()


class Change(Struct, frozen=True):
    """A file's tags after the run, and the part of them that is a person's."""

    after: Tags
    person: Kept


def tags_of(before: Before) -> Tags:
    """The tags of a row without its auto-tag columns."""
    return Tags(before.genre, before.mood, before.occasions, before.keywords)


def decide(
    before: Tags, earlier: Change | None, suggestion: Suggestion, mode: Mode, vocabulary: Vocabulary
) -> Change | None:
    """What the file's tags become; None when it would lack a valid genre, mood, or occasion and keyword.

    Pure. `suggestion` holds active tags of this very `vocabulary` only; `earlier` is what our latest tagging left.
    """
    kept = _persons(before, earlier, vocabulary) if mode is Mode.MERGE else Kept()
    mood = _kept_mood(before.mood, vocabulary) if kept.mood else MOOD_JOIN.join(suggestion.moods)
    after = Tags(
        before.genre if kept.genre else suggestion.genre,
        mood or None,
        tuple(sorted({*kept.occasions, *suggestion.occasions})),
        tuple(sorted({*kept.keywords, *suggestion.keywords})),
    )
    return Change(after, kept) if _is_tagged(after, vocabulary) else None


def _persons(before: Tags, earlier: Change | None, vocabulary: Vocabulary) -> Kept:
    """Which of a file's present tags a person chose: all that no earlier run of ours put there."""
    if earlier is None:
        return Kept(
            vocabulary.has(TagType.GENRE, before.genre),
            bool(_kept_mood(before.mood, vocabulary)),
            before.occasions,
            before.keywords,
        )
    ours, persons = earlier.after, earlier.person
    genre_is_ours = not persons.genre and ours.genre == before.genre
    mood_is_ours = not persons.mood and ours.mood == before.mood
    our_occasions = {*ours.occasions} - {*persons.occasions}
    our_keywords = {*ours.keywords} - {*persons.keywords}
    return Kept(
        not genre_is_ours and vocabulary.has(TagType.GENRE, before.genre),
        not mood_is_ours and bool(_kept_mood(before.mood, vocabulary)),
        tuple(value for value in before.occasions if value not in our_occasions),
        tuple(value for value in before.keywords if value not in our_keywords),
    )


def _kept_mood(mood: str | None, vocabulary: Vocabulary) -> str:
    """A person's mood column without values that are no moods; untouched to the byte if all are."""
    if not mood:
        return ""
    values = Tags(mood=mood).moods
    valid = [value for value in values if vocabulary.has(TagType.MOOD, value)]
    return mood if len(valid) == len(values) and valid else MOOD_JOIN.join(valid)


def _is_tagged(tags: Tags, vocabulary: Vocabulary) -> bool:
    return (
        vocabulary.has(TagType.GENRE, tags.genre)
        and bool(tags.mood)
        and (
            vocabulary.has_any(TagType.OCCASION, tags.occasions)
            or vocabulary.has_any(TagType.KEYWORD, tags.keywords)
        )
    )
