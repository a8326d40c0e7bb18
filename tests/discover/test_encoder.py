"""`rpc.discover`: what is sent is what the document says, and tests/openrpc.py notices when it is not."""

import json
from typing import Any, Final

import msgspec
import pytest

from sidecar.rpc import discover
from sidecar.rpc.methods import METHODS
from tests import openrpc
from tests.discover.document import CALLS, DOCUMENT, RESULTS, SCHEMAS, Json, examples


def _answer(result: Any) -> Json:
    return {"jsonrpc": "2.0", "id": 1, "result": result}


def _notification(name: str, params: Any) -> Json:
    return {"jsonrpc": "2.0", "method": name, "params": params}


@pytest.mark.parametrize("name", METHODS)
def test_every_result_passes_as_it_is_encoded(name: str) -> None:
    for example in examples(CALLS[name]["result"]["schema"]):
        encoded = msgspec.json.encode(msgspec.convert(example, RESULTS[name]))
        openrpc.check_message(DOCUMENT, name, _answer(json.loads(encoded)))


@pytest.mark.parametrize("name", discover.EVENTS)
def test_every_notification_passes_as_it_is_encoded_and_only_so(name: str) -> None:
    kind = discover.EVENTS[name]
    schema = {"$ref": f"#/components/schemas/{kind.__name__}"}
    for example in examples(schema):
        encoded = json.loads(msgspec.json.encode(msgspec.convert(example, kind)))
        openrpc.check_message(DOCUMENT, None, _notification(name, encoded))
    for field in SCHEMAS[kind.__name__]["required"]:
        short = {key: value for key, value in encoded.items() if key != field}
        _refused(None, _notification(name, short), field)
        _refused(None, _notification(name, {**encoded, field: [[]]}), field)
    _refused(None, _notification(name, {**encoded, "extra": 1}), "extra")


STATUS: Final = next(examples({"$ref": "#/components/schemas/Status"}))
RUN_DETAILS: Final = next(examples({"$ref": "#/components/schemas/RunDetails"}))


@pytest.mark.parametrize(
    ("method", "message", "why"),
    [
        ("status", _answer({**STATUS, "extra": 1}), "extra"),
        ("status", _answer({**STATUS, "pid": "1"}), "pid"),
        ("status", _answer({**STATUS, "database": {"path": None, "ok": True}}), "error"),
        ("status", _answer(None), "result of status"),
        ("get_run", _answer({**RUN_DETAILS, "usage": {"requests": 1}}), "retries"),
        ("list_runs", _answer([1]), "result of list_runs"),
        ("shutdown", _answer(True), "result of shutdown"),
        ("nobody_knows", _answer(True), "nobody_knows"),
        (None, _answer(True), "None"),
        ("status", {"jsonrpc": "1.0", "id": 1, "result": STATUS}, "1.0"),
        ("status", {"jsonrpc": "2.0", "result": STATUS}, "jsonrpc"),
        ("status", {**_answer(STATUS), "error": None}, "error"),
        (None, _notification("tagging-started", {}), "tagging-started"),
        (None, {**_notification("tagging-progress", {}), "id": 1}, "id"),
    ],
)
def test_what_the_document_does_not_allow_is_refused(method: str | None, message: Json, why: str) -> None:
    _refused(method, message, why)


def _refused(method: str | None, message: Json, why: str) -> None:
    with pytest.raises(AssertionError) as refusal:
        openrpc.check_message(DOCUMENT, method, message)
    assert why in str(refusal.value)


def _error(code: int, **more: Any) -> Json:
    return {"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": "A sentence.", **more}}


@pytest.mark.parametrize(
    ("method", "error", "passes"),
    [
        ("auto_tag_files", _error(-32001, data={"run_id": "r"}), True),
        ("auto_tag_files", _error(-32001, data={"run_id": 1}), False),
        ("auto_tag_files", _error(-32001), False),
        ("auto_tag_files", _error(-32002), True),
        ("list_runs", _error(-32002), False),
        ("get_run", _error(-32002), True),
        ("get_run", _error(-32002, data={}), False),
        ("get_run", _error(-32010, data={"kind": "locked"}), True),
        ("get_run", _error(-32010, data={"kind": "full"}), False),
        ("get_run", _error(-32010, data={"kind": "locked", "path": "a"}), False),
        ("status", _error(-32602), True),
        ("status", _error(-32601), False),
        ("status", _error(-32001, data={"run_id": "r"}), False),
        ("nobody_knows", _error(-32601), True),
        ("nobody_knows", _error(-32602), False),
        (None, _error(-32700), True),
        (None, _error(-32600), True),
        (None, _error(-32603), False),
        ("status", _error(-1), False),
        ("status", _error(-32602, message=""), False),
        ("status", _error(-32602, trace="a"), False),
    ],
)
def test_an_error_is_one_that_the_method_declares(method: str | None, error: Json, passes: bool) -> None:
    if passes:
        openrpc.check_message(DOCUMENT, method, error)
    else:
        _refused(method, error, "")
