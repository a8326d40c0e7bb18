"""Why params are refused, as sentences for a person: msgspec's own name types. Pure."""

import re
from collections.abc import Iterator, Sequence
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from msgspec import Struct

_PLACE = re.compile(r"(?P<fault>.*) - at `\$\.(?P<place>[\w.\[\]]+)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<name>\w+)`")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`", re.DOTALL)
_OUT_OF_BOUNDS = re.compile(
    r"Expected `(?:(?P<text>str)|[a-z]+)` (?:of length )?(?P<sign>>=|<=|>) (?P<bound>[0-9.e+-]+)"
)
_OF_ANOTHER_FORM = re.compile("Expected `str` matching regex ")
_OF_ANOTHER_KIND = re.compile("Expected `[^`]+`, got `|Invalid enum value ")
_FORMS = {"model": "no model has such a name", "base_url": "begins with http:// or https://, without blanks"}
_SIGNS = {">=": "at least", "<=": "at most", ">": "more than"}
"""No parameter has a bound of another kind, nor a list one."""
_KINDS: dict[Any, str] = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def in_words(refusal: str, params: type[Struct]) -> str:
    """A sentence that names the field, and what it takes. `refusal` is msgspec's, of these params."""
    at = _PLACE.fullmatch(refusal)
    fault, place = (at["fault"], at["place"]) if at else (refusal, "")
    inside = f"{place}." if place else ""
    if found := _MISSING.fullmatch(fault):
        return f"`{inside}{found['name']}` is missing."
    if found := _UNKNOWN.fullmatch(fault):
        return f"Unknown parameter `{inside}{found['name'][:80]}`."
    if found := _OUT_OF_BOUNDS.fullmatch(fault):
        return f"`{place}`: {_bound(found)}."
    if _OF_ANOTHER_FORM.match(fault):
        return f"`{place}`: {_FORMS[place]}."
    if _OF_ANOTHER_KIND.match(fault):
        return f"`{place}`: takes {_any_of([*_taken(params, place)])}."
    return f"{refusal}."  # a sentence of our own


def _bound(found: re.Match[str]) -> str:
    bound, unit = found["bound"], ""
    if found["text"]:
        unit = " character" if bound == "1" else " characters"
    number = f"{int(bound):,}" if bound.removeprefix("-").isdecimal() else f"{float(bound):,.10g}"
    return f"{_SIGNS[found['sign']]} {number}{unit}"


def _taken(params: type[Struct], place: str) -> Iterator[str]:
    """What may stand there, such as at `prices.input` or `file_ids[1]`, each in words; null means nothing."""
    types: list[Any] = [params]
    for step in re.findall(r"\[|[a-z_]+", place):
        outer = next(kind for kind in types if _is_list(kind) == (step == "["))
        types = [*_types(get_args(outer)[0] if step == "[" else get_type_hints(outer)[step])]
    for kind in types:
        if get_origin(kind) is Literal:
            yield from (f"`{word}`" for word in get_args(kind))
        elif isinstance(kind, type) and issubclass(kind, StrEnum):
            yield from (f"`{word}`" for word in kind)
        else:
            yield "a list" if _is_list(kind) else _KINDS.get(kind, "an object")


def _types(hint: Any) -> Iterator[Any]:
    """Those of a union, without null."""
    if get_origin(hint) in {Union, UnionType}:
        yield from (kind for kind in get_args(hint) if kind is not NoneType)
    else:
        yield hint


def _is_list(kind: Any) -> bool:
    return get_origin(kind) is list


def _any_of(words: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))
