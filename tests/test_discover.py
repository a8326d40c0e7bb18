"""`rpc.discover`: the document is valid OpenRPC, complete, and says what the decoder and encoder do."""

import copy
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, get_args

import jsonschema_rs
import msgspec
import pytest

from sidecar import contract
from sidecar.contract import Code, Event, Params, RpcError, decode_params, event_name
from sidecar.rpc import discover
from sidecar.rpc.methods import METHODS
from tests import harness, openrpc

Json = dict[str, Any]

META_SCHEMA: Final = ("@open-rpc/meta-schema", "1.14.9")
JSON_SCHEMA: Final = ("@json-schema-tools/meta-schema", "1.8.0")
"""What OpenRPC's meta-schema refers to for the schemas inside of a document."""

DOCUMENT: Final[Json] = json.loads(msgspec.json.encode(discover.document()))
CALLS: Final[dict[str, Json]] = {call["name"]: call for call in DOCUMENT["methods"]}
SCHEMAS: Final[dict[str, Json]] = DOCUMENT["components"]["schemas"]
RESULTS: Final = {name: discover.result_type(method) for name, method in METHODS.items()}


# --- the published meta-schema ------------------------------------------------------------------


@pytest.fixture(scope="module")
def published(request: pytest.FixtureRequest) -> jsonschema_rs.Draft7Validator:
    """The OpenRPC meta-schema from its npm package, kept in pytest's cache."""
    assert request.config.cache is not None
    folder = request.config.cache.mkdir(f"openrpc-{META_SCHEMA[1]}-{JSON_SCHEMA[1]}")
    packages = [META_SCHEMA, JSON_SCHEMA]
    if not all((folder / "node_modules" / name).is_dir() for name, _ in packages):
        options = ["--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retry-mintimeout=1000", "--prefix", "."]
        _run(folder, "npm", "install", *options, *(f"{name}@{version}" for name, version in packages))
    meta_schema, json_schema = (
        json.loads(_run(folder, "node", "-p", f"JSON.stringify(require('{name}').default)"))
        for name, _ in packages
    )
    registry = jsonschema_rs.Registry(
        [("https://meta.json-schema.tools", json_schema)], draft=jsonschema_rs.Draft7
    )
    return jsonschema_rs.Draft7Validator(meta_schema, registry=registry, validate_formats=True)


def _run(folder: Path, program: str, *arguments: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.fail(f"`{program}` is not installed: the OpenRPC meta-schema is taken from its npm package.")
    done = subprocess.run(
        [found, *arguments], cwd=folder, capture_output=True, text=True, encoding="utf-8", timeout=120, check=False
    )
    if done.returncode:
        pytest.fail(
            "The OpenRPC meta-schema could not be taken from the npm registry, which this test needs the network "
            f"for: {done.stderr[:500]}"
        )
    return done.stdout


@pytest.mark.system
async def test_what_rpc_discover_answers_is_valid_openrpc(published: jsonschema_rs.Draft7Validator) -> None:
    async with harness.start(None, None) as sidecar:
        answer = await sidecar.result("rpc.discover")
        again = await sidecar.result("rpc.discover")
    assert [error.verbose_message for error in published.iter_errors(answer)] == []
    assert answer == again == DOCUMENT


@pytest.mark.system
@pytest.mark.parametrize(
    "spoil",
    [
        lambda document: document.pop("info"),
        lambda document: document["methods"][1].pop("params"),
        lambda document: document["methods"][1].update(returns="Status"),
        lambda document: document["methods"][1]["params"][0].pop("schema"),
        lambda document: document["methods"][1]["params"][0]["schema"].update(minimum="1"),
        lambda document: document["components"]["schemas"]["Status"].update(type="struct"),
        lambda document: document["components"]["errors"]["NO_API_KEY"].update(code="-32011"),
    ],
)
def test_the_meta_schema_refuses_a_spoilt_document(published: jsonschema_rs.Draft7Validator, spoil: Any) -> None:
    spoilt = copy.deepcopy(DOCUMENT)
    spoil(spoilt)
    assert not published.is_valid(spoilt)


@pytest.mark.system
def test_the_document_claims_the_newest_version_that_is_published(
    published: jsonschema_rs.Draft7Validator,
) -> None:
    versions = [
        version
        for version in (f"1.{minor}.{patch}" for minor in range(10) for patch in range(30))
        if published.is_valid({**DOCUMENT, "openrpc": version})
    ]
    assert versions[-1] == DOCUMENT["openrpc"]


def test_every_reference_leads_somewhere_and_every_schema_is_referred_to() -> None:
    references = {node["$ref"] for node in _nodes(DOCUMENT) if "$ref" in node}
    schemas = {f"#/components/schemas/{name}" for name in SCHEMAS}
    errors = {f"#/components/errors/{name}" for name in DOCUMENT["components"]["errors"]}
    assert schemas <= references <= schemas | errors


def test_no_schema_needs_more_than_json_schema_draft_7() -> None:
    """OpenRPC counts in draft 7, where a tuple is not `prefixItems` and a `$ref` hides what stands beside it."""
    for node in _nodes(DOCUMENT):
        assert not node.keys() & {"prefixItems", "$defs", "dependentRequired", "unevaluatedProperties"}, node
        assert "$ref" not in node or len(node) == 1, node


def _nodes(value: Any) -> Iterator[Json]:
    if isinstance(value, dict):
        yield value
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
        yield from _nodes(child)


# --- complete -----------------------------------------------------------------------------------


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
    for param in CALLS[name]["params"]:
        assert param.get("description"), f"`{param['name']}` needs a sentence: FIELDS in discover.py, or its Meta."


def test_every_duration_has_a_unit_in_words() -> None:
    for schema in SCHEMAS.values():
        for field, about in schema.get("properties", {}).items():
            assert not field.endswith("_seconds") or "econds" in about["description"], field


def test_every_word_for_a_field_is_used() -> None:
    structs = [
        kind for kind in vars(contract).values() if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    ]
    assert discover.FIELDS.keys() <= {field for kind in structs for field in kind.__struct_fields__}


def test_a_struct_requires_what_a_caller_must_send_and_what_is_always_sent() -> None:
    received = {
        node["$ref"].rpartition("/")[2]
        for call in CALLS.values()
        for node in _nodes(call["params"])
        if "$ref" in node
    }
    for name, schema in SCHEMAS.items():
        kind = getattr(contract, name, None) or getattr(discover, name)
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
        example = next(_examples({"$ref": f"#/components/schemas/{kind.__name__}"}))
        assert event_name(msgspec.convert(example, kind)) == event["name"]


# --- the decoder agrees -------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_the_decoder_takes_exactly_what_the_document_allows(name: str) -> None:
    """Every param is tried with values of every type and on both sides of each bound."""
    kind = METHODS[name].params
    params = CALLS[name]["params"]
    needed = {param["name"]: next(_examples(param["schema"])) for param in params if param["required"]}
    assert _decodes(kind, needed)
    assert not _decodes(kind, {**needed, "nobody_knows": 1})
    for param in params:
        if param["required"]:
            assert not _decodes(kind, {field: value for field, value in needed.items() if field != param["name"]})
        validator = jsonschema_rs.Draft7Validator(
            {"allOf": [param["schema"]], "components": DOCUMENT["components"]}
        )
        tried = [*_VALUES, *_near_bounds(param["schema"]), *_examples(param["schema"])]
        taken = [value for value in tried if _decodes(kind, {**needed, param["name"]: value})]
        assert taken == [value for value in tried if validator.is_valid(value)], param["name"]
        assert 0 < len(taken) < len(tried)


_VALUES: Final[list[Any]] = [
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        1.5,
        -0.5,
        2**63 - 1,
        2**63,
        -(2**63),
        -(2**63) - 1,
        "",
        "a",
        "merge",
        "https://a.b",
    ),
    *([], [1], ["a"], [None], [1.5], [[]], {}, {"a": 1}),
]


def _near_bounds(schema: Json) -> Iterator[Any]:
    for node in _nodes(schema):
        for bound in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
            if bound in node:
                yield from (node[bound] - 1, node[bound], node[bound] + 1)
        if "maxLength" in node:
            yield from ("https://a/" + "a" * (node["maxLength"] - 10 + extra) for extra in (0, 1))


def _decodes(kind: type[Params], params: Json) -> bool:
    try:
        decode_params(kind, json.dumps(params).encode())
    except RpcError as error:
        assert error.code is Code.INVALID_PARAMS
        return False
    return True


# --- the encoder agrees, and tests/openrpc.py notices when it does not --------------------------


def _examples(schema: Json) -> Iterator[Any]:
    """Values of a schema: all its alternatives, and for the rest of it the plainest there is."""
    if "$ref" in schema:
        yield from _examples(SCHEMAS[schema["$ref"].rpartition("/")[2]])
    elif "enum" in schema:
        yield from schema["enum"]
    elif "anyOf" in schema or "allOf" in schema:
        for part in schema.get("anyOf") or schema["allOf"]:
            yield from _examples(part)
    elif schema.get("type") == "object":
        fields: Json = schema.get("properties", {})
        plain = {field: next(_examples(about)) for field, about in fields.items()}
        yield plain
        if "required" in schema:
            yield {field: plain[field] for field in schema["required"]}
        for field, about in fields.items():
            yield from ({**plain, field: value} for value in _examples(about))
    elif schema.get("type") == "array":
        yield from ([item] for item in _examples(schema["items"]))
        yield []
    else:
        number = max(schema.get("minimum", 1), 1)
        yield {"string": "a", "boolean": True, "integer": number, "number": number, "null": None}[schema["type"]]


def _answer(result: Any) -> Json:
    return {"jsonrpc": "2.0", "id": 1, "result": result}


def _notification(name: str, params: Any) -> Json:
    return {"jsonrpc": "2.0", "method": name, "params": params}


@pytest.mark.parametrize("name", METHODS)
def test_every_result_passes_as_it_is_encoded(name: str) -> None:
    for example in _examples(CALLS[name]["result"]["schema"]):
        encoded = msgspec.json.encode(msgspec.convert(example, RESULTS[name]))
        openrpc.check_message(DOCUMENT, name, _answer(json.loads(encoded)))


@pytest.mark.parametrize("name", discover.EVENTS)
def test_every_notification_passes_as_it_is_encoded_and_only_so(name: str) -> None:
    kind = discover.EVENTS[name]
    schema = {"$ref": f"#/components/schemas/{kind.__name__}"}
    for example in _examples(schema):
        encoded = json.loads(msgspec.json.encode(msgspec.convert(example, kind)))
        openrpc.check_message(DOCUMENT, None, _notification(name, encoded))
    for field in SCHEMAS[kind.__name__]["required"]:
        short = {key: value for key, value in encoded.items() if key != field}
        _refused(None, _notification(name, short), field)
        _refused(None, _notification(name, {**encoded, field: [[]]}), field)
    _refused(None, _notification(name, {**encoded, "extra": 1}), "extra")


STATUS: Final = next(_examples({"$ref": "#/components/schemas/Status"}))
RUN_DETAILS: Final = next(_examples({"$ref": "#/components/schemas/RunDetails"}))


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
