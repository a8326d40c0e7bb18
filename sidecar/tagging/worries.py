"""Which files of a run are worth a look, and why. Pure.

What a file is compared with is its own library: the files of its folder, and those whose names begin
with the same UCS category code (https://universalcategorysystem.com; a code is `CatID_` at the start of
the name). The published lists of codes are not needed for that, and not shipped.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from statistics import median

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


def worrying_files(files: Sequence[JudgedFile]) -> list[WorryingFile]:
    """The files with something to worry about, those with most of it first."""
    usual = median([file.held for file in files]) if files else 0
    few = max(usual / 2, _FEWEST_TAGS if usual > _FEWEST_TAGS + 1 else 0)
    folders = _Groups((split(file.file_path)[0], file) for file in files)
    categories = _Groups((code, file) for file in files if (code := ucs_category(file.file_path)))
    found = []
    for file in files:
        worries = dict(_worries(file, few, folders, categories))
        if worries:
            found.append(WorryingFile(file.file_id, file.file_path, [*worries], [*worries.values()]))
    return sorted(found, key=lambda file: (-len(file.worries), file.file_id))


class _Groups:
    """Files by folder or code, and the tags of each type that most of a group share."""

    def __init__(self, pairs: Iterable[tuple[str, JudgedFile]]) -> None:
        self._of_file: dict[int, str] = {}
        counts: defaultdict[tuple[str, TagType], Counter[str]] = defaultdict(Counter)
        files: Counter[tuple[str, TagType]] = Counter()
        for name, file in pairs:
            self._of_file[file.file_id] = name
            for kind in TagType:
                values = _compared(file, kind)
                counts[name, kind].update(values)
                files[name, kind] += bool(values)
        self._usual = {
            group: {value for value, count in found.items() if count >= _MAJORITY * files[group]}
            for group, found in counts.items()
            if files[group] >= _SMALLEST_GROUP
        }

    def unlike(self, file: JudgedFile, group: str, in_group: str) -> str:
        """How the file's tags are other than those of its group, in words; empty where they are not.

        `group` and `in_group` are words with a place for the group's name.
        """
        name = self._of_file.get(file.file_id)
        if name is None:
            return ""
        sentences = []
        for kind in TagType:
            own, usual = _compared(file, kind), self._usual.get((name, kind), set())
            if own and usual and not own & usual:
                words = ", ".join(sorted(usual))
                if kind is TagType.GENRE:
                    sentences.append(f"Its genre is {_genre(file)}; most of {group.format(name)} is {words}.")
                else:
                    sentences.append(f"It has no {kind} that is usual {in_group.format(name)} ({words}).")
        return " ".join(sentences)


def _compared(file: JudgedFile, kind: TagType) -> set[str]:
    """Its tags of a type; of a genre the family."""
    values = (value for its_kind, value in file.tags if its_kind is kind)
    return {value.split(":")[0] for value in values} if kind is TagType.GENRE else {*values}


def _worries(file: JudgedFile, few: float, folders: _Groups, categories: _Groups) -> Iterator[tuple[Worry, str]]:
    if file.held and file.mapped >= file.held:
        yield Worry.ONLY_MAPPED, "Every tag of it was one that Gemini had spelled in its own way."
    if file.held <= few:
        yield Worry.FEW_TAGS, f"It has only {file.held} tag{'' if file.held == 1 else 's'}."
    if unlike := folders.unlike(file, "its folder", "in its folder"):
        yield Worry.UNLIKE_FOLDER, unlike
    if unlike := categories.unlike(file, "the UCS category {}", "in the UCS category {}"):
        yield Worry.UNLIKE_UCS_CATEGORY, unlike


def _genre(file: JudgedFile) -> str | None:
    return next((value for kind, value in file.tags if kind is TagType.GENRE), None)
