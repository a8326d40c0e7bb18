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

_UCS = re.compile(r"^([A-Z]{2,5}[A-Z][a-z]{2,7})[_-]")
_SMALLEST_GROUP = 4
_MAJORITY = 0.7


class Look(Struct, frozen=True):
    """What is looked at of one file: the tags that the run set, and how many of them were mapped."""

    file_id: int
    file_path: str
    tags: Sequence[tuple[TagType, str]]
    mapped: int


def ucs_category(path: str) -> str | None:
    """The UCS code at the start of a file's name, None where there is none."""
    found = _UCS.match(_name(path))
    return found[1] if found else None


def worrying_files(looks: Iterable[Look]) -> list[WorryingFile]:
    """The files with something to worry about, those with most of it first."""
    files = list(looks)
    few = median([len(look.tags) for look in files]) / 2 if files else 0
    folders = _Groups((_folder(look.file_path), look) for look in files)
    categories = _Groups((code, look) for look in files if (code := ucs_category(look.file_path)))
    found = []
    for look in files:
        worries = dict(_worries(look, few, folders, categories))
        if worries:
            found.append(WorryingFile(look.file_id, look.file_path, [*worries], [*worries.values()]))
    return sorted(found, key=lambda file: (-len(file.worries), file.file_id))


class _Groups:
    """Files by folder or code, and the genre family that most of a group share."""

    def __init__(self, pairs: Iterable[tuple[str, Look]]) -> None:
        families: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._of_file: dict[int, str] = {}
        for name, look in pairs:
            self._of_file[look.file_id] = name
            if (family := _family(look)) is not None:
                families[name][family] += 1
        self._usual = {
            name: most
            for name, counts in families.items()
            for most, count in counts.most_common(1)
            if counts.total() >= _SMALLEST_GROUP and count >= _MAJORITY * counts.total()
        }

    def unlike(self, look: Look) -> tuple[str, str] | None:
        """The file's group and its usual genre family, if the file's is another one."""
        name = self._of_file.get(look.file_id, "")
        usual, family = self._usual.get(name), _family(look)
        return None if usual is None or family in (usual, None) else (name, usual)


def _worries(look: Look, few: float, folders: _Groups, categories: _Groups) -> Iterator[tuple[Worry, str]]:
    if look.tags and look.mapped >= len(look.tags):
        yield Worry.ONLY_MAPPED, "Every tag of it was one that Gemini had spelled in its own way."
    if len(look.tags) <= few:
        count = len(look.tags)
        yield Worry.FEW_TAGS, f"It has only {count} tag{'' if count == 1 else 's'}."
    if (unlike := folders.unlike(look)) is not None:
        yield Worry.UNLIKE_FOLDER, f"Its genre is {_genre(look)}; most of its folder is {unlike[1]}."
    if (unlike := categories.unlike(look)) is not None:
        yield (
            Worry.UNLIKE_UCS_CATEGORY,
            f"Its genre is {_genre(look)}; most files of the UCS category {unlike[0]} are {unlike[1]}.",
        )


def _genre(look: Look) -> str | None:
    return next((value for kind, value in look.tags if kind is TagType.GENRE), None)


def _family(look: Look) -> str | None:
    genre = _genre(look)
    return genre.split(":")[0] if genre else None


def _folder(path: str) -> str:
    return path[: max(path.rfind("/"), path.rfind("\\")) + 1]


def _name(path: str) -> str:
    return path[max(path.rfind("/"), path.rfind("\\")) + 1 :]
