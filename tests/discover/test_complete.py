"""`rpc.discover`: every method, param, error and notification is in the document."""

import re
import subprocess
import sys
from typing import get_args

import msgspec
import pytest
from msgspec.structs import asdict

from sidecar import contract
from sidecar.contract import Code, Event, event_name
from sidecar.rpc import discover
from sidecar.rpc.methods import METHODS
from sidecar.settings import Settings
from tests import harness
from tests.discover.document import CALLS, DOCUMENT, SCHEMAS, Json, examples, nodes


def test_it_is_built_at_the_first_request_not_at_the_start() -> None:
    code = "import sys, sidecar.rpc.server; sys.exit('sidecar.rpc.discover' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=harness.ROOT, check=False).returncode == 0


def test_every_method_and_every_param_is_there_with_its_default() -> None:
    assert list(CALLS) == list(METHODS)
    for name, method in METHODS.items():
        params = {param["name"]: param for param in CALLS[name]["params"]}
        fields = {field.encode_name: field for field in msgspec.structs.fields(method.params)}
        assert params.keys() == fields.keys()
        assert CALLS[name]["paramStructure"] == "by-name"
        for field_name, field in fields.items():
            assert params[field_name]["required"] == field.required
            if field.default is not msgspec.NODEFAULT:
                default = msgspec.to_builtins(field.default)
                assert params[field_name]["schema"]["default"] == default, (name, field_name)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_and_param_says_in_words_what_it_is(name: str) -> None:
    assert CALLS[name]["summary"].endswith(".")
    assert [param["name"] for param in CALLS[name]["params"] if not _is_sentence(param.get("description"))] == []


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_field_that_is_sent_says_in_words_what_it_is(name: str) -> None:
    assert _is_sentence(SCHEMAS[name].get("description"))
    described: Json = SCHEMAS[name].get("properties", {})
    assert [field for field, about in described.items() if not _is_sentence(about.get("description"))] == []


def test_the_document_speaks_of_null_true_and_false_not_of_pythons_words() -> None:
    said = [text for node in nodes(DOCUMENT) for text in (node.get("summary"), node.get("description")) if text]
    assert [text for text in said if re.search(r"\b(None|True|False)\b", str(text))] == []


def test_each_method_says_of_its_own_what_a_null_run_means() -> None:
    [cancelled], [told] = CALLS["cancel"]["params"], CALLS["get_run"]["params"]
    assert "active" in cancelled["description"]
    assert "active" not in CALLS["get_run"]["description"] + told["description"]
    assert "latest" in told["description"]


def test_each_number_that_can_be_configured_is_told_as_it_is_at_first() -> None:
    told = {param["name"]: param["description"] for param in CALLS["configure"]["params"]}
    at_first = {name: value for name, value in asdict(Settings()).items() if isinstance(value, int | float)}
    assert len(at_first) == 7
    assert [name for name, value in at_first.items() if not told[name].endswith(f"; at first {value:g}.")] == []


def test_every_duration_has_a_unit_in_words() -> None:
    for schema in SCHEMAS.values():
        for field, about in schema.get("properties", {}).items():
            assert not field.endswith("_seconds") or "econds" in about["description"], field


def _is_sentence(text: object) -> bool:
    return isinstance(text, str) and re.fullmatch(r"[A-Z`].*[.)]", text, re.DOTALL) is not None


def test_a_struct_requires_what_a_caller_must_send_and_what_is_always_sent() -> None:
    received = {
        node["$ref"].rpartition("/")[2]
        for call in CALLS.values()
        for node in nodes(call["params"])
        if "$ref" in node
    }
    for name, schema in SCHEMAS.items():
        kind = getattr(contract, name)
        if issubclass(kind, msgspec.Struct):
            fields = msgspec.structs.fields(kind)
            needed = [f.required if name in received else f.default is not msgspec.UNSET for f in fields]
            assert schema["required"] == [
                f.encode_name for f, is_needed in zip(fields, needed, strict=True) if is_needed
            ]


def test_every_error_of_the_contract_is_named() -> None:
    errors = DOCUMENT["components"]["errors"]
    assert {name: error["code"] for name, error in errors.items()} == {code.name: code.value for code in Code}
    assert all(error["message"].endswith(".") for error in errors.values())
    for name, method in METHODS.items():
        named = [error["$ref"].rpartition("/")[2] for error in CALLS[name]["errors"]]
        assert named == [code.name for code in (*method.errors, *discover.EVERYWHERE)]


def test_every_notification_is_there_under_its_name() -> None:
    assert set(discover.EVENTS.values()) == set(get_args(Event))
    for event in DOCUMENT["x-notifications"]:
        kind = discover.EVENTS[event["name"]]
        example = next(examples({"$ref": f"#/components/schemas/{kind.__name__}"}))
        assert event_name(msgspec.convert(example, kind)) == event["name"]
