"""Keys and passwords out of texts. Error bodies may echo the API key (timesketch#3703), logs may hold URLs."""

import base64
import json
import re
import urllib.parse
from collections.abc import Iterator
from typing import Final

MIN_SECRET_CHARS: Final = 4
"""Shorter ones stand in every second word."""
_MIN_SPACED_CHARS: Final = 16
"""Shorter ones may stand in a sentence by chance, when the spaces between its words do not count."""
_UNSEEN: Final = "[\\s\u200b-\u200d\u2060\ufeff]*"

_SHIPPED_KEYS: Final = re.compile(r"AIza[0-9A-Za-z_\-]{20,}|AQ\.[0-9A-Za-z_\-]{20,}")
_NAMED_KEYS: Final = re.compile(r"""(?i)([?&]key=|x-goog-api-key\W{1,6}+(?:b['"])?+)(?!key\])[^\s&"'\[]+""")


class Redactor:
    """Replaces secrets by `[key]`: those it was told and what looks like an API key. Any thread may call."""

    def __init__(self) -> None:
        self._patterns: frozenset[str] = frozenset()
        self._known: re.Pattern[str] | None = None

    def add(self, *secrets: str) -> None:
        """From now on these are replaced too; ignored when shorter than 4 characters."""
        found = {pattern for secret in secrets if len(secret) >= MIN_SECRET_CHARS for pattern in _patterns(secret)}
        if not found:
            return
        self._patterns |= found
        longest_first = sorted(self._patterns, key=len, reverse=True)
        # Whatever the case: percent escapes come in both.
        self._known = re.compile("|".join(longest_first), re.IGNORECASE)

    def redact(self, text: str) -> str:
        """The text without keys."""
        if self._known:
            text = self._known.sub("[key]", text)
        return _NAMED_KEYS.sub(r"\1[key]", _SHIPPED_KEYS.sub("[key]", text))


def _patterns(secret: str) -> Iterator[str]:
    """Regular expressions of how a text may hold it: as it is, escaped, broken up or in base64."""
    between = _UNSEEN if len(secret) >= _MIN_SPACED_CHARS else ""
    yield between.join(f"(?:{re.escape(char)}|{_percent(char)})" for char in secret)
    spelt = (repr(secret), json.dumps(secret), f"'{urllib.parse.quote_plus(secret, errors='replace')}'")
    yield from (re.escape(text[1:-1]) for text in spelt)
    data = secret.encode(errors="replace")
    for before in range(3):  # it may stand anywhere in what was encoded, as a password does in `Authorization`
        code = base64.b64encode(bytes(before) + data)
        is_cut = (before + len(data)) % 3 > 0  # the last four characters hold bits of what follows
        inner = code[-(-before * 8 // 6) : len(code) - 4 * is_cut].decode()
        if len(inner) >= MIN_SECRET_CHARS:
            rest = r"[\w+/-]{0,3}=*" if is_cut else ""
            yield re.escape(inner).replace(r"\+", "[+-]").replace("/", "[/_]") + rest


def _percent(char: str) -> str:
    return "".join(f"%{byte:02x}" for byte in char.encode(errors="replace"))
