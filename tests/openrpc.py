"""Holds what the sidecar says against its own OpenRPC document.

Stricter than the document asks of others: a field that it does not name is refused here, so that the
types and the wire cannot drift apart unseen. `jsonschema-rs` because every line of every test passes through here:
a progress message takes it 1 µs, fastjsonschema 4 µs, jsonschema 120 µs.
"""

from collections.abc import Mapping
from typing import Any, Final

import jsonschema_rs

Json = dict[str, Any]

UNREAD: Final = frozenset({-32700, -32600})
"""Errors of requests that could not be read; they may answer anything."""
NO_SUCH_METHOD: Final = -32601


def check_message(described: Json, request_method: str | None, message: Json) -> None:
    """Raises AssertionError unless the document allows this notification, or this answer to that method.

    `request_method` is None when no readable request is answered, and ignored for a notification. The
    document is compiled once: pass the same object each time and do not change it.
    """
    known = _compiled.get(id(described))
    if known is None:
        known = _compiled[id(described)] = _Compiled(described)
    assert message.get("jsonrpc") == "2.0", message
    if "method" in message:
        known.check_notification(message)
    else:
        known.check_answer(request_method, message)


class _Compiled:
    """A document's validators, each made when it is first needed."""

    def __init__(self, described: Json) -> None:
        self._described = described  # kept, so that its id stays its own
        self._schemas = {name: _closed(schema) for name, schema in described["components"]["schemas"].items()}
        self._methods: dict[str, Json] = {method["name"]: method for method in described["methods"]}
        self._events: dict[str, Json] = {event["name"]: event for event in described["x-notifications"]}
        self._validators: dict[str, jsonschema_rs.Draft7Validator] = {}

    def check_notification(self, message: Json) -> None:
        assert message.keys() == {"jsonrpc", "method", "params"}, message
        name = message["method"]
        assert name in self._events, f"The document has no notification `{name}`."
        self._validate(f"notification {name}", self._events[name]["schema"], message["params"])

    def check_answer(self, name: str | None, message: Json) -> None:
        if "error" in message:
            assert message.keys() == {"jsonrpc", "id", "error"}, message
            self._check_error(name, message["error"])
        else:
            assert message.keys() == {"jsonrpc", "id", "result"}, message
            assert name in self._methods, f"A result for `{name}`, which the document does not have: {message}"
            self._validate(f"result of {name}", self._methods[name]["result"]["schema"], message["result"])

    def _check_error(self, name: str | None, error: Json) -> None:
        assert {"code", "message"} <= error.keys() <= {"code", "message", "data"}, error
        assert isinstance(error["message"], str), error
        assert error["message"], error
        code = error["code"]
        if code not in UNREAD and not (code == NO_SUCH_METHOD and name not in self._methods):
            declared = self._errors_of(name)
            assert code in declared, f"`{name}` does not declare the error {code}: {error}"
            allowed = declared[code].get("data")
            assert (allowed is None) == ("data" not in error), f"`data` of {code}: {error}"
            if allowed is not None:
                self._validate(f"data of {code}", allowed, error["data"])

    def _errors_of(self, name: str | None) -> Mapping[int, Json]:
        if name not in self._methods:
            return {}
        named = self._described["components"]["errors"]
        references = [error["$ref"].rpartition("/")[2] for error in self._methods[name]["errors"]]
        return {named[reference]["code"]: named[reference] for reference in references}

    def _validate(self, what: str, schema: Json, value: Any) -> None:
        validator = self._validators.get(what)
        if validator is None:
            root = {"allOf": [schema], "components": {"schemas": self._schemas}}
            validator = self._validators[what] = jsonschema_rs.Draft7Validator(root)
        if not validator.is_valid(value):
            reasons = [f"{'/'.join(map(str, e.instance_path))}: {e.message}" for e in validator.iter_errors(value)]
            raise AssertionError(f"{what}: " + "; ".join(reasons)[:2000])


_compiled: Final[dict[int, _Compiled]] = {}


def _closed(schema: Json) -> Json:
    return {**schema, "additionalProperties": False} if "properties" in schema else schema
