"""Which files of a run are worth a look, and why. Pure.

What a file is compared with is its own library: the files of its folder, and those whose names begin
with the same UCS category code (https://universalcategorysystem.com; a code is `CatID_` at the start of
the name). The published lists of codes are not needed for that, and not shipped.
"""

import heapq
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from sidecar.contract import TagType, Worry, WorryingFile
from sidecar.tagging.paths import split

_UCS = re.compile(r"^([A-Z]{2,5}[A-Z][a-z]{2,7})[_-]")
_SMALLEST_GROUP = 4
_MAJORITY = 0.7
_FEWEST_TAGS = 3
"""A genre, a mood and one more: a file with less is not tagged (CONTRACT section 6)."""


class JudgedFile(Struct, frozen=True):
    """What is looked at of one file: the tags that the run set, how many of them were mapped, and how many tags
    the file had then in all.
    """

    file_id: int
    file_path: str
    tags: Sequence[tuple[TagType, str]]
    mapped: int
    held: int


def ucs_category(path: str) -> str | None:
    """The UCS code at the start of a file's name, None where there is none."""
    found = _UCS.match(split(path)[1])
    return found[1] if found else None


class RunTags:
    """The tags of a run's files, counted file by file."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[TagType, str]] = Counter()
        self._held: Counter[int] = Counter()
        self._folders = _Groups()
        self._categories = _Groups()

    def count(self, file: JudgedFile) -> None:
        """Adds a file's."""
        self.counts.update(file.tags)
        self._held[file.held] += 1
        self._folders.count(_folder(file), file)
        if code := ucs_category(file.file_path):
            self._categories.count(code, file)

    def worrying(self, files: Iterable[JudgedFile], most: int) -> tuple[list[WorryingFile], int]:
        """Those of the files with something to worry about, once all are counted: the first, and how many in all.

        Those with most of it come first, `most` files at most.
        """
        usual = _median(self._held)
        few = max(usual / 2, _FEWEST_TAGS if usual > _FEWEST_TAGS + 1 else 0)
        folders, categories = self._folders.usual(), self._categories.usual()
        total = 0

        def found() -> Iterator[WorryingFile]:
            nonlocal total
            for file in files:
                worries = dict(_worries(file, few, folders, categories))
                if worries:
                    total += 1
                    yield WorryingFile(file.file_id, file.file_path, [*worries], [*worries.values()])

        first = heapq.nsmallest(most, found(), key=lambda file: (-len(file.worries), file.file_id))
        return first, total


_Usual = dict[tuple[str, TagType], set[str]]
"""The tags of each type that most of a group share, by the group's name."""


class _Groups:
    """Files by folder or code, and how many of each group have which tag."""

    def __init__(self) -> None:
        self._counts: defaultdict[tuple[str, TagType], Counter[str]] = defaultdict(Counter)
        self._files: Counter[tuple[str, TagType]] = Counter()

    def count(self, name: str, file: JudgedFile) -> None:
        for kind in TagType:
            values = _compared(file, kind)
            self._counts[name, kind].update(values)
            self._files[name, kind] += bool(values)

    def usual(self) -> _Usual:
        files = self._files
        return {
            group: {value for value, count in found.items() if count >= _MAJORITY * files[group]}
            for group, found in self._counts.items()
            if files[group] >= _SMALLEST_GROUP
        }


def _median(counts: Counter[int]) -> float:
    """Of numbers that occur so often; 0 where none does."""
    total, passed, below = counts.total(), 0, 0
    for value in sorted(counts):
        passed += counts[value]
        if 2 * passed > total:  # of an even count the two in the middle
            return (below + value) / 2 if 2 * (passed - counts[value]) == total else value
        below = value
    return 0


def _unlike(file: JudgedFile, name: str, groups: _Usual, group: str, in_group: str) -> str:
    """How the file's tags are other than those of its group, in words; empty where they are not.

    `name` is the group's, `group` and `in_group` are words for it.
    """
    sentences = []
    for kind in TagType:
        own, usual = _compared(file, kind), groups.get((name, kind), set())
        if own and usual and not own & usual:
            words = ", ".join(sorted(usual))
            if kind is TagType.GENRE:
                sentences.append(f"Its genre is {_genre(file)}; most of {group} is {words}.")
            else:
                sentences.append(f"It has no {kind} that is usual {in_group} ({words}).")
    return " ".join(sentences)


def _folder(file: JudgedFile) -> str:
    return split(file.file_path)[0]


def _compared(file: JudgedFile, kind: TagType) -> set[str]:
    """Its tags of a type; of a genre the family."""
    values = (value for its_kind, value in file.tags if its_kind is kind)
    return {value.split(":")[0] for value in values} if kind is TagType.GENRE else {*values}


def _worries(file: JudgedFile, few: float, folders: _Usual, categories: _Usual) -> Iterator[tuple[Worry, str]]:
    if file.held and file.mapped >= file.held:
        yield (
            Worry.ONLY_MAPPED,
            "Gemini's tags for it were outside the vocabulary: each tag that it has was put in place of one.",
        )
    if file.held <= few:
        yield Worry.FEW_TAGS, f"It has only {file.held} tag{'' if file.held == 1 else 's'}."
    if unlike := _unlike(file, _folder(file), folders, "its folder", "in its folder"):
        yield Worry.UNLIKE_FOLDER, unlike
    code = ucs_category(file.file_path)
    if code and (
        unlike := _unlike(file, code, categories, f"the UCS category {code}", f"in the UCS category {code}")
    ):
        yield Worry.UNLIKE_UCS_CATEGORY, unlike


def _genre(file: JudgedFile) -> str | None:
    return next((value for kind, value in file.tags if kind is TagType.GENRE), None)
