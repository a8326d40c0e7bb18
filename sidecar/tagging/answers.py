"""All that is received from Gemini: which files an answer serves and what to do with the others.

Models break JSON mode in known ways: code fences, a stray tail, a body cut off in the middle, control
characters in strings, ids as text, wrappers, a line for each item. What can be used is used; nothing here raises,
and no text takes longer than a few looks at it.
"""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from sidecar.contract import Reason, TagType
from sidecar.tagging.vocabulary import pairs_of

MAX_TAG_LENGTH = 1_000
"""Characters. What is longer is not even looked up."""


class RawTags(Struct, frozen=True):
    """One file's tags as Gemini wrote them, not yet looked up in the vocabulary."""

    genre: str | None = None
    moods: tuple[str, ...] = ()
    occasions: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()

    @property
    def could_do(self) -> bool:
        """Whether a file could be tagged with them, were all of them valid."""
        return bool(self.genre and self.moods and (self.occasions or self.keywords))

    def pairs(self) -> Iterator[tuple[TagType, str]]:
        """Every tag with its type."""
        return pairs_of(self.genre, self.moods, self.occasions, self.keywords)


class Reply(Struct, frozen=True):
    """A 200 from Gemini: its text without thoughts, and the reason why something is wrong with it.

    `fault` is None after a clean stop, BLOCKED or BAD_RESPONSE when the model stopped early.
    """

    text: str
    fault: Reason | None = None


class Reading(Struct, frozen=True):
    """What an answer says about the `count` files that were asked: by index from 0.

    `missing` are to be asked once more; `broken` are to be halved, `reason` is what they fail with alone.
    """

    usable: dict[int, RawTags]
    missing: tuple[int, ...]
    broken: tuple[int, ...]
    reason: Reason = Reason.BAD_RESPONSE


class MappedTag(Struct, frozen=True):
    """Gemini's word on one unknown tag; `valid` is None when nothing fits."""

    type: str
    invalid: str
    valid: str | None


class _StrictItem(Struct):
    id: int
    genre: str
    moods: tuple[str, ...]
    occasions: tuple[str, ...]
    keywords: tuple[str, ...]


_strict_items = msgspec.json.Decoder(list[_StrictItem])
_TAG_FIELDS = frozenset({"genre", "moods", "occasions", "keywords"})
_UNSEEN = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u2060\ufeff"))
"""Characters without width, which texts from web pages bring along."""
_lenient = json.JSONDecoder(strict=False)
_START = re.compile(r"\[(?=\s*[\[{\]])|\{(?=\s*[\"}])")
"""Where a list of lists or objects may begin, or an object; brackets of prose seldom go on like this."""
MOST_VALUES = 2_000
"""JSON values one after the other; a request has at most 500 files."""
MOST_FALSE_STARTS = 8
"""Each may cost a look at the whole rest of the text."""
DEEPEST_WRAPPER = 5
"""Lists and objects inside each other, the list of items among them."""
MOST_ENTRIES = 5_000
"""Ten for each file that one request may have: what has more is no answer, and would take seconds to sort."""


def read_tagging(reply: Reply, count: int) -> Reading:
    """Sorts the files 1…count of a request into usable, missing and broken."""
    items, whole = _items(reply.text)
    usable: dict[int, RawTags] = {}
    malformed = not whole
    for number, tags in items:
        if tags is None:
            malformed = True
        elif 1 <= number <= count:
            usable.setdefault(number - 1, tags)
    rest = tuple(index for index in range(count) if index not in usable)
    if malformed or reply.fault is not None:
        return Reading(usable, (), rest, reply.fault or Reason.BAD_RESPONSE)
    return Reading(usable, rest, ())


def read_mapping(reply: Reply) -> list[MappedTag]:
    """The well-formed entries of a mapping answer; whatever is not is left out."""
    mapped = []
    for item in _values(reply.text)[0]:
        try:
            mapped.append(msgspec.convert(item, MappedTag))
        except msgspec.ValidationError:
            continue
    return mapped


def _items(text: str) -> tuple[list[tuple[int, RawTags | None]], bool]:
    """(id, tags) of every item, tags None where its shape is wrong; False when the list is not whole."""
    try:
        return [(i.id, _tags(i.genre, i.moods, i.occasions, i.keywords)) for i in _strict_items.decode(text)], True
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        values, whole = _values(text)
        return [_item(value) for value in values], whole


def _item(value: Any) -> tuple[int, RawTags | None]:
    if not isinstance(value, dict) or not _TAG_FIELDS & value.keys():
        return 0, None
    number = _whole_number(value.get("id"))
    genre = value.get("genre")
    # One text is one genre: it may hold a comma.
    told = [[genre] if isinstance(genre, str) else genre, *map(value.get, ("moods", "occasions", "keywords"))]
    lists = [strings for entry in told if (strings := _strings(entry)) is not None]
    if number is None or len(lists) < len(told):
        return 0, None
    genres, moods, occasions, keywords = lists
    tags = _tags(genres[0] if genres else None, moods, occasions, keywords)
    # What is no text among a file's tags is left out, as long as the others could do.
    if not (tags.could_do or all(map(_is_all_text, told))):
        return 0, None
    return number, tags


def _whole_number(value: Any) -> int | None:
    """An id, also as `" 1 "` or `1.0`; None for what is no whole number, 0 for what can be no id."""
    if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,6}\s*", value, re.ASCII):
        return int(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1:
        return int(value) if 0 < value < 1e6 else 0
    return None


def _strings(value: Any) -> tuple[str, ...] | None:
    """The strings of a list (absent: none; one text: its parts between commas or semicolons); None for else."""
    if value is None:
        return ()
    if isinstance(value, str):
        return tuple(re.split("[;,]", value))
    return tuple(entry for entry in value if isinstance(entry, str)) if isinstance(value, list) else None


def _is_all_text(value: Any) -> bool:
    return not isinstance(value, list) or all(isinstance(entry, str) for entry in value)


def _tags(genre: str | None, moods: Sequence[str], occasions: Sequence[str], keywords: Sequence[str]) -> RawTags:
    clean_genre = _clean((genre,) if genre else ())
    return RawTags(clean_genre[0] if clean_genre else None, _clean(moods), _clean(occasions), _clean(keywords))


def _clean(values: Sequence[str]) -> tuple[str, ...]:
    """Without blanks, prose, repetitions and characters that no text can hold; spaces of any kind become one."""
    kept: dict[str, None] = {}
    for value in values:
        # Nothing in ASCII is without width, and nearly all tags are ASCII.
        seen = value if value.isascii() else value.translate(_UNSEEN)
        tag = " ".join(seen.split())
        if tag and len(tag) <= MAX_TAG_LENGTH and tag.isprintable():
            kept.setdefault(tag)
    return tuple(kept)


def _values(text: str) -> tuple[list[Any], bool]:
    """The entries of all JSON lists in `text` and the items that stand alone in it, and whether these are whole.

    What cannot be read is stepped into: behind a bracket of prose the list may begin, and of a list that
    breaks off the whole entries are found one by one.
    """
    values: list[Any] = []
    false_starts = position = 0
    is_found = is_listed = False
    for _ in range(MOST_VALUES):
        start = _START.search(text, position)
        if start is None or false_starts > MOST_FALSE_STARTS:
            break
        try:
            value, position = _lenient.raw_decode(text, start.start())
        except (ValueError, RecursionError):
            false_starts, position = false_starts + 1, start.end()
            continue
        entries = _entries(value, DEEPEST_WRAPPER)
        if entries is not None:
            values += entries
            is_found = True
            is_listed |= not false_starts and not _is_item(value)
    return values, is_found and (is_listed or not false_starts)


def _entries(value: Any, depth: int) -> list[Any] | None:
    """The entries of the one list in `value`, whatever is wrapped around it; None for no list or several."""
    if _is_item(value):
        return [value]
    if depth == 0 or (isinstance(value, list | dict) and len(value) > MOST_ENTRIES):
        return None
    if isinstance(value, list):
        if len(value) == 1:
            return _entries(value[0], depth - 1)
        return value if not value or any(isinstance(entry, dict) for entry in value) else None
    return _unwrapped(value, depth) if isinstance(value, dict) else None


def _unwrapped(value: dict[str, Any], depth: int) -> list[Any] | None:
    by_id = [{"id": k, **entry} for k, entry in value.items() if isinstance(entry, dict) and _whole_number(k)]
    if by_id:
        return by_id
    inner = [found for entry in value.values() if (found := _entries(entry, depth - 1)) is not None]
    filled = [entries for entries in inner if entries]
    if len(filled) == 1:
        return filled[0]
    return [] if inner and not filled else None


def _is_item(value: Any) -> bool:
    """One file's tags, or one mapping."""
    return isinstance(value, dict) and ("invalid" in value or not _TAG_FIELDS.isdisjoint(value))
