"""CONTRACT sections 5, 8 and 9 as functions of plain values. `vocabulary` is the set of active pairs."""

import os.path
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from tests.model.words import HOME, MEANT, ROW_KINDS, Pair

Vocabulary = Collection[Pair]
Tags = dict[str, Any]
"""A file's tags: `genre` and `mood` as in their columns, `occasion` and `keyword` as sets."""


def look_up(vocabulary: Vocabulary, kind: str, said: str) -> str | None:
    """The active tag that Gemini's word is, or is another spelling of."""
    for value in (said, MEANT.get(said, said)):
        if (kind, value) in vocabulary:
            return value
    return None


def is_untagged(row: Mapping[str, Any], tags: Tags) -> bool:
    """Section 5, Untagged."""
    lacks = row["genre"] in (None, "", "Unknown") or not row["mood"] or not any(tags[kind] for kind in ROW_KINDS)
    return row["auto_tagged"] != 1 and lacks


def moods(text: str | None) -> list[str]:
    """The values in a mood column."""
    return [part.strip() for part in (text or "").split(";") if part.strip()]


def persons_mood(text: str | None, vocabulary: Vocabulary) -> str:
    """What of a person's mood column stays: all of it to the byte, or what of it is a mood."""
    values = moods(text)
    valid = [value for value in values if ("mood", value) in vocabulary]
    return (text or "") if values and valid == values else "; ".join(valid)


def persons_tags(present: Tags, earlier: Mapping[str, Any] | None, vocabulary: Vocabulary) -> Tags:
    """Which tags `merge` leaves alone; `earlier` is the file's latest tagging that was not undone."""
    kept: Tags = {
        "genre": ("genre", present["genre"]) in vocabulary,
        "mood": bool(persons_mood(present["mood"], vocabulary)),
    }
    if earlier is None:
        return kept | {kind: set(present[kind]) for kind in ROW_KINDS}
    for column in ("genre", "mood"):
        if not earlier["person"][column] and earlier["after"][column] == present[column]:
            kept[column] = False
    for kind in ROW_KINDS:
        kept[kind] = present[kind] - (earlier["after"][kind] - earlier["person"][kind])
    return kept


def decide(
    present: Tags, earlier: Mapping[str, Any] | None, wanted: Mapping[str, Any], mode: str, vocabulary: Vocabulary
) -> tuple[Tags, Tags] | None:
    """A file's tags after a tagging and a person's part in them; None where it would not be tagged."""
    person: Tags = {"genre": False, "mood": False, "occasion": set(), "keyword": set()}
    if mode == "merge":
        person = persons_tags(present, earlier, vocabulary)
    after: Tags = {kind: person[kind] | {*wanted[kind]} for kind in ROW_KINDS}
    after["genre"] = present["genre"] if person["genre"] else next(iter(wanted["genre"]), None)
    after["mood"] = persons_mood(present["mood"], vocabulary) if person["mood"] else "; ".join(wanted["mood"])
    rows = any((kind, value) in vocabulary for kind in ROW_KINDS for value in after[kind])
    return (after, person) if after["genre"] is not None and after["mood"] and rows else None


def of_run(tagging: Mapping[str, Any]) -> set[Pair]:
    """The tags that a tagging set, a person's left out."""
    after, person = tagging["after"], tagging["person"]
    pairs = {(kind, value) for kind in ROW_KINDS for value in after[kind] - person[kind]}
    pairs |= set() if person["genre"] else {("genre", after["genre"])}
    return pairs | (set() if person["mood"] else {("mood", value) for value in moods(after["mood"])})


def pairs(tags: Tags) -> set[Pair]:
    """All tags of a file."""
    found = {("mood", value) for value in moods(tags["mood"])}
    found |= {(kind, value) for kind in ROW_KINDS for value in tags[kind]}
    return found | ({("genre", tags["genre"])} if tags["genre"] else set())


def can_tag(vocabulary: Vocabulary) -> bool:
    """Whether any file could be tagged at all."""
    kinds = {kind for kind, _ in vocabulary}
    return {"genre", "mood"} <= kinds and bool(kinds & {*ROW_KINDS})


def sent_path(path: str, paths: Iterable[str]) -> str:
    """A path as Gemini sees it: below the library's common root or the home, whichever is longer."""
    root = os.path.commonpath([text.rpartition("/")[0] for text in paths]) + "/"
    return path[max(len(root), len(HOME)) :]


def is_covered(glob: str, path: str, paths: Iterable[str]) -> bool:
    """Whether a glob excludes a file: tried on the path as sent and the whole path, with all below."""
    pattern = ".*".join(map(re.escape, glob.split("*"))) + "(/.*)?"
    return any(re.fullmatch(pattern, text, re.IGNORECASE) for text in (sent_path(path, paths), path))
