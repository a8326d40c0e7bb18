"""Keys and passwords out of texts. Error bodies may echo the API key (timesketch#3703), logs may hold URLs."""

import json
import re
import urllib.parse
from collections.abc import Iterator
from typing import Final

MIN_SECRET_CHARS: Final = 4
"""Shorter ones stand in every second word."""

_SHIPPED_KEYS: Final = re.compile(r"AIza[0-9A-Za-z_\-]{20,}|AQ\.[0-9A-Za-z_\-]{20,}")
_NAMED_KEYS: Final = re.compile(r"""(?i)([?&]key=|x-goog-api-key\W{1,6}(?:b['"])?)[^\s&"'\[]+""")


class Redactor:
    """Replaces secrets by `[key]`: those it was told and what looks like an API key. Any thread may call."""

    def __init__(self) -> None:
        self._spellings: frozenset[str] = frozenset()
        self._known: re.Pattern[str] | None = None

    def add(self, *secrets: str) -> None:
        """From now on these are replaced too; ignored when shorter than 4 characters."""
        found = {
            spelling for secret in secrets if len(secret) >= MIN_SECRET_CHARS for spelling in _spellings(secret)
        }
        if not found:
            return
        self._spellings |= found
        longest_first = sorted(self._spellings, key=len, reverse=True)
        # Whatever the case: percent escapes come in both.
        self._known = re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE)

    def redact(self, text: str) -> str:
        """The text without keys."""
        if self._known:
            text = self._known.sub("[key]", text)
        return _NAMED_KEYS.sub(r"\1[key]", _SHIPPED_KEYS.sub("[key]", text))


def _spellings(secret: str) -> Iterator[str]:
    yield secret
    yield repr(secret)[1:-1]
    yield json.dumps(secret)[1:-1]
    yield urllib.parse.quote(secret, errors="replace")
    yield urllib.parse.quote(secret, safe="", errors="replace")
    yield urllib.parse.quote_plus(secret, errors="replace")
