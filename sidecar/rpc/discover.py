"""`rpc.discover`: the METHODS table and the contract's types as an OpenRPC document.

Nothing is listed here that stands elsewhere: params, results and their bounds come from the types that
decode the calls and encode the answers, sentences from their docstrings and from `means` on their fields.
Added are only the words for errors. OpenRPC counts in JSON Schema draft 7 (https://spec.open-rpc.org).
"""

from functools import cache
from typing import Any, Final, get_args, get_type_hints

import msgspec
from msgspec import Struct

from sidecar import __version__
from sidecar.contract import (
    BATCH,
    COMPLETE,
    NAME,
    OWN_ERROR,
    PROGRESS,
    ActiveRunData,
    BatchReport,
    Code,
    Completion,
    DatabaseErrorData,
    ErrorData,
    Event,
    Progress,
    RefusalData,
)
from sidecar.rpc.methods import METHODS, Method

OPENRPC_VERSION: Final = "1.3.2"
"""The newest that the published meta-schema knows; from 1.3.0 on a method may have no result."""

Json = dict[str, Any]

ERRORS: Final[dict[Code, tuple[str, type[ErrorData] | None]]] = {
    Code.PARSE_ERROR: ("The line is not JSON, or too long.", None),
    Code.INVALID_REQUEST: ("The JSON is not a JSON-RPC 2.0 request.", None),
    Code.METHOD_NOT_FOUND: ("There is no such method.", None),
    Code.INVALID_PARAMS: ("A parameter is unknown, missing, of the wrong type or out of range.", None),
    Code.INTERNAL_ERROR: (OWN_ERROR, None),
    Code.RUN_ACTIVE: ("A run is active.", ActiveRunData),
    Code.NO_SUCH_RUN: ("There is no such run.", None),
    Code.DATABASE_UNAVAILABLE: ("The database cannot be used.", DatabaseErrorData),
    Code.NO_API_KEY: ("No API key is set.", None),
    Code.KEY_REFUSED: ("The API refused the key.", None),
    Code.REQUEST_REFUSED: ("Gemini refused the request.", RefusalData),
}
"""What each code means, and the type of its `data`. An answer's own message says more."""

EVERYWHERE: Final = (Code.INVALID_PARAMS, Code.INTERNAL_ERROR)
"""Errors of every method."""

EVENTS: Final[dict[str, type[Event]]] = {PROGRESS: Progress, BATCH: BatchReport, COMPLETE: Completion}


@cache
def document() -> Json:
    """The OpenRPC document, for msgspec to encode. Built at the first call; nobody changes it."""
    params = [method.params for method in METHODS.values()]
    results = [result_type(method) for method in METHODS.values()]
    data = [kind for _, kind in ERRORS.values() if kind is not None]
    result_schemas, components = _schemas([*results, *params, *EVENTS.values(), *data])
    spelled_out = {kind.__name__ for kind in params}
    _, received = _schemas(params)
    return {
        "openrpc": OPENRPC_VERSION,
        "info": {"title": NAME, "version": __version__, "description": _ABOUT},
        "methods": [
            _call(name, method, components[method.params.__name__], result)
            for (name, method), result in zip(METHODS.items(), result_schemas, strict=False)
        ],
        "x-notifications": [
            {"name": name, "summary": _sentence(kind), "schema": _reference(kind)} for name, kind in EVENTS.items()
        ],
        "components": {
            "schemas": {
                name: _with_lone_references(schema if name in received else _as_written(schema))
                for name, schema in components.items()
                if name not in spelled_out
            },
            "errors": {code.name: _error(code) for code in Code},
        },
    }


_ABOUT: Final = (
    "JSON-RPC 2.0 over stdin and stdout: one line a message, params by name. `x-notifications` lists what the "
    "sidecar sends unasked, for which OpenRPC has no place."
)
_REF: Final = "#/components/schemas/{name}"


def _schemas(types: list[Any]) -> tuple[tuple[Json, ...], Json]:
    return msgspec.json.schema_components(types, ref_template=_REF)


def _reference(kind: type[Struct]) -> Json:
    return {"$ref": _REF.format(name=kind.__name__)}


def result_type(method: Method) -> Any:
    """What stands in the brackets of the method's `-> Answer[…]`."""
    (kind,) = get_args(get_type_hints(method.run, include_extras=True)["return"])
    return kind


def _call(name: str, method: Method, params: Json, result: Json) -> Json:
    fields: Json = params["properties"]
    return {
        "name": name,
        "summary": _sentence(method.run),
        **({"description": _sentence(method.params)} if fields else {}),
        "paramStructure": "by-name",
        "params": [_param(field, schema, field in params["required"]) for field, schema in fields.items()],
        "result": {"name": "result", "required": True, "schema": result},
        "errors": [{"$ref": f"#/components/errors/{code.name}"} for code in (*method.errors, *EVERYWHERE)],
    }


def _param(name: str, field: Json, required: bool) -> Json:
    """A content descriptor. What is optional may be null, which means the default (contract 9)."""
    schema: Json = {key: value for key, value in field.items() if key not in ("default", "description")}
    if not required and not _takes_null(schema):
        schema = {"anyOf": [schema, {"type": "null"}]}
    if "default" in field:
        schema["default"] = field["default"]
    return {
        "name": name,
        "description": field.get("description", ""),
        "required": required,
        "schema": schema,
    }


def _takes_null(schema: Json) -> bool:
    return {"type": "null"} in schema.get("anyOf", []) or None in schema.get("enum", [])


def _error(code: Code) -> Json:
    message, data = ERRORS[code]
    return {"code": code.value, "message": message, **({"data": _reference(data)} if data else {})}


def _as_written(schema: Json) -> Json:
    """A struct that is only ever sent: a field with a default is always there, so the default tells nothing."""
    if "properties" not in schema:
        return schema
    fields: Json = schema["properties"]
    return {
        **schema,
        "properties": {
            name: {key: value for key, value in field.items() if key != "default"}
            for name, field in fields.items()
        },
        "required": [name for name, field in fields.items() if name in schema["required"] or "default" in field],
    }


def _with_lone_references(schema: Json) -> Json:
    """A copy in whose fields a `$ref` stands alone: draft 7 ignores its neighbours, such as a description."""
    if "properties" not in schema:
        return schema
    fields = {}
    for name, field in schema["properties"].items():
        apart = dict(field)
        if "$ref" in apart:
            apart["allOf"] = [{"$ref": apart.pop("$ref")}]
        fields[name] = apart
    return {**schema, "properties": fields}


def _sentence(documented: Any) -> str:
    """A docstring as one line."""
    return " ".join((documented.__doc__ or "").split())
