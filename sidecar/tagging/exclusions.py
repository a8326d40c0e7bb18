"""Which files no request may name: by id, or by a glob on their path. Pure.

A glob is tried on the path as sent and on the whole path (CONTRACT section 9), without regard to case,
with `/` for every separator; what it covers, it covers with all that lies below. `*` crosses folders.
"""

import fnmatch
import re
from collections.abc import Iterable

from sidecar.tagging.paths import relative_path


class Exclusions:
    """All exclusions of a library. Immutable."""

    def __init__(self, globs: Iterable[str] = (), file_ids: Iterable[int] = ()) -> None:
        self._ids = frozenset(file_ids)
        plain = [_plain(glob).rstrip("/") for glob in globs]
        patterns = [fnmatch.translate(text) for glob in plain for text in (glob, f"{glob}/*")]
        self._pattern = re.compile("|".join(patterns)) if patterns else None

    def __bool__(self) -> bool:
        return bool(self._ids) or self._pattern is not None

    def cover(self, file_id: int, path: str, root: str) -> bool:
        """Whether that file is excluded; `root` is the library's common root."""
        if file_id in self._ids:
            return True
        if self._pattern is None:
            return False
        return any(self._pattern.match(_plain(text)) for text in (relative_path(path, root), path))


def _plain(text: str) -> str:
    return text.replace("\\", "/").casefold()
