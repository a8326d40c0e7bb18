"""Which files no request may name: by id, or by a glob on their path. Pure.

A glob is tried on the path as sent and on the whole path (CONTRACT section 9), without regard to case,
with `/` for every separator and one form of every accented letter (macOS writes names decomposed); what it
covers, it covers with all that lies below. `*` crosses folders, and `**/` also stands for no folder at all. A path
that is just what the glob says is covered too, whatever its brackets mean elsewhere.

The path as sent changes when files come or go that move the library's common root. What a glob has kept out it
keeps out: below a root that it has been tried at, it is tried on the path below that root as well.
"""

import fnmatch
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache

from sidecar.tagging.paths import relative_path


class Exclusions:
    """All exclusions of a library. Immutable."""

    def __init__(
        self,
        globs: Iterable[str] = (),
        file_ids: Iterable[int] = (),
        roots: Iterable[tuple[str, str]] = (),
    ) -> None:
        """`roots`: globs with common roots that the library had while they were exclusions."""
        self._ids = frozenset(file_ids)
        self._globs = _any_of(tuple(globs))
        below: dict[str, list[str]] = {}
        for glob, root in roots:
            below.setdefault(root, []).append(glob)
        self._below = [(root, _any_of(tuple(found))) for root, found in below.items()]

    def __bool__(self) -> bool:
        return bool(self._ids) or bool(self._globs)

    def cover(self, file_id: int, path: str, root: str) -> bool:
        """Whether that file is excluded; `root` is the library's common root."""
        if file_id in self._ids:
            return True
        if not self._globs:
            return False
        whole = _plain(path)
        if _match(self._globs, whole) or _match_below(self._globs, whole, path, root):
            return True
        return any(
            _match_below(globs, whole, path, earlier)
            for earlier, globs in self._below
            if earlier != root and path.startswith(earlier)
        )


_Globs = tuple[tuple[str, re.Pattern[str]], ...]
"""Patterns, each with a text that a path holds which it fits: to look for that takes a fraction of the time."""


@lru_cache(maxsize=16)
def _any_of(globs: tuple[str, ...]) -> _Globs:
    """Kept, because exclusions are read for every batch, and compiling hundreds takes longer than the batch."""
    patterns: defaultdict[str, list[str]] = defaultdict(list)
    for given in globs:
        glob = _plain(given).removeprefix("./").rstrip("/")
        itself = f"(?s:{re.escape(glob)}(?:/.*)?)\\Z"
        patterns[_fixed(glob)] += [_pattern(glob), _pattern(f"{glob}/*"), itself]
    return tuple((fixed, re.compile("|".join(found))) for fixed, found in patterns.items())


def _match(globs: _Globs, text: str) -> bool:
    return any(fixed in text and pattern.match(text) for fixed, pattern in globs)


def _match_below(globs: _Globs, whole: str, path: str, root: str) -> bool:
    """Whether one fits the path as sent, which is `path` below `root`; `whole` is the whole of it, made plain.

    As sent it is the end of the whole, but where a URL's escapes or a `..` are undone. So most need not be cut,
    which takes ten times as long as to look through the whole.
    """
    if "://" not in path and ".." not in path and not any(fixed in whole for fixed, _ in globs):
        return False
    return _match(globs, _plain(relative_path(path, root)))


def _fixed(glob: str) -> str:
    """The longest text between its stars: without slashes, which `**/` takes along, and nothing of brackets."""
    return max((text.strip("/") for text in re.split(r"[*?]", glob.partition("[")[0])), key=len)


_FOLDERS_BETWEEN = re.compile(r"\0((?:[^\0*()\[\]\\]|\\.)*/)(?=\0)")
"""Folders of fixed length between two `**/`, in a translated glob. The first place where they stand is as good as
any other, since what follows may begin at every later folder: none is tried again.
"""


def _pattern(glob: str) -> str:
    # `translate` leaves a NUL as it is, and no path holds one.
    # In a row they mean what one does, and would be tried in every combination.
    pattern = fnmatch.translate(re.sub(r"(?:\*\*/)+", "\0", glob))
    return _FOLDERS_BETWEEN.sub(r"(?>(?:.*?/)??\1)", pattern).replace("\0", "(?:.*/)?")


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text.replace("\\", "/").replace("\0", "").casefold())
