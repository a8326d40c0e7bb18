"""`rpc.discover`: the decoder takes what the document allows, and nothing else."""

import json
from collections.abc import Iterator
from typing import Any, Final

import jsonschema_rs
import pytest

from sidecar.contract import Code, Params, RpcError, decode_params
from sidecar.rpc.methods import METHODS
from tests.discover.document import CALLS, DOCUMENT, Json, examples, nodes


@pytest.mark.parametrize("name", METHODS)
def test_the_decoder_takes_exactly_what_the_document_allows(name: str) -> None:
    """Every param is tried with values of every type and on both sides of each bound."""
    kind = METHODS[name].params
    params = CALLS[name]["params"]
    needed = {param["name"]: next(examples(param["schema"])) for param in params if param["required"]}
    assert _decodes(kind, needed)
    assert not _decodes(kind, {**needed, "nobody_knows": 1})
    for param in params:
        if param["required"]:
            assert not _decodes(kind, {field: value for field, value in needed.items() if field != param["name"]})
        validator = jsonschema_rs.Draft7Validator(
            {"allOf": [param["schema"]], "components": DOCUMENT["components"]}
        )
        tried = [*_VALUES, *_near_bounds(param["schema"]), *examples(param["schema"])]
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
    for node in nodes(schema):
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
