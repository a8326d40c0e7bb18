"""Whether requests can be sent to an address at all. Pure: nothing is looked up."""

import re
from ipaddress import IPv4Address, IPv6Address
from typing import Final
from urllib.parse import urlsplit

import idna

from sidecar.contract.values import MODEL_PATTERN

_AUTHORITY: Final = re.compile(r"(?:\[(?P<literal>[^\[\]]*)\]|(?P<name>[^\[\]:]*))(?::(?P<port>.*))?")
_IPV4_LIKE: Final = re.compile(r"[0-9]+(?:\.[0-9]+){3}")
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,253}")
"""`_` is in no name of the public DNS, but in those of containers."""
_NO_HOST: Final = "it names no host that can exist"


def base_url_fault(url: str) -> str:
    """Why no request can be sent to `url`, as the end of a sentence about it; empty when one can be tried.

    Stricter than urllib, httpx and the socket module one by one: each of them refuses something else, some only
    at the first request and with an error that could be anything.
    """
    if any(char.isspace() or not char.isprintable() for char in url):
        return "it holds blanks or invisible characters"
    try:
        parts = urlsplit(url)
    except ValueError:
        return _NO_HOST
    if parts.scheme not in ("http", "https"):
        return "it does not begin with http:// or https://"
    found = _AUTHORITY.fullmatch(parts.netloc.rpartition("@")[2])
    if found is None or not (_is_ipv6(found["literal"]) if found["name"] is None else _is_host(found["name"])):
        return _NO_HOST
    return "" if _is_port(found["port"]) else "its port is not a number from 1 to 65535"


def is_model_id(name: str) -> bool:
    """Whether a request can be sent for a model of that name, which is a part of the address."""
    return re.search(MODEL_PATTERN, name) is not None


def _is_ipv6(text: str) -> bool:
    try:
        return IPv6Address(text).scope_id is None
    except ValueError:
        return False


def _is_host(text: str) -> bool:
    try:
        if _IPV4_LIKE.fullmatch(text):
            return bool(IPv4Address(text))
        name = text if text.isascii() else idna.encode(text).decode()  # as httpx does
        name.encode("idna")  # as the socket module does, for ASCII too: it finds empty and overlong labels
        if name.lower().startswith("xn--"):
            idna.decode(name)  # as httpx does
    except ValueError:  # UnicodeError and idna.IDNAError are
        return False
    return _NAME.fullmatch(name) is not None


def _is_port(text: str | None) -> bool:
    """None and empty stand for the scheme's own."""
    return not text or (re.fullmatch("[0-9]{1,5}", text) is not None and 1 <= int(text) <= 65535)
