"""What `rpc.discover` answers, and ways through it."""

import json
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from sidecar.rpc import discover
from sidecar.rpc.methods import METHODS

Json = dict[str, Any]

DOCUMENT: Final[Json] = json.loads(msgspec.json.encode(discover.document()))
CALLS: Final[dict[str, Json]] = {call["name"]: call for call in DOCUMENT["methods"]}
SCHEMAS: Final[dict[str, Json]] = DOCUMENT["components"]["schemas"]
RESULTS: Final = {name: discover.result_type(method) for name, method in METHODS.items()}


def nodes(value: Any) -> Iterator[Json]:
    if isinstance(value, dict):
        yield value
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
        yield from nodes(child)


def examples(schema: Json) -> Iterator[Any]:
    """Values of a schema: all its alternatives, and for the rest of it the plainest there is."""
    if "$ref" in schema:
        yield from examples(SCHEMAS[schema["$ref"].rpartition("/")[2]])
    elif "enum" in schema:
        yield from schema["enum"]
    elif "anyOf" in schema or "allOf" in schema:
        for part in schema.get("anyOf") or schema["allOf"]:
            yield from examples(part)
    elif schema.get("type") == "object":
        fields: Json = schema.get("properties", {})
        plain = {field: next(examples(about)) for field, about in fields.items()}
        yield plain
        if "required" in schema:
            yield {field: plain[field] for field in schema["required"]}
        for field, about in fields.items():
            yield from ({**plain, field: value} for value in examples(about))
    elif schema.get("type") == "array":
        yield from ([item] for item in examples(schema["items"]))
        yield []
    else:
        number = max(schema.get("minimum", 1), 1)
        yield {"string": "a", "boolean": True, "integer": number, "number": number, "null": None}[schema["type"]]
