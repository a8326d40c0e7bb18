"""`rpc.discover`: the document is valid OpenRPC."""

import copy
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import jsonschema_rs
import pytest

from tests import harness
from tests.discover.document import DOCUMENT, SCHEMAS, nodes

META_SCHEMA: Final = ("@open-rpc/meta-schema", "1.14.9")
JSON_SCHEMA: Final = ("@json-schema-tools/meta-schema", "1.8.0")
"""What OpenRPC's meta-schema refers to for the schemas inside of a document."""


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
    references = {node["$ref"] for node in nodes(DOCUMENT) if "$ref" in node}
    schemas = {f"#/components/schemas/{name}" for name in SCHEMAS}
    errors = {f"#/components/errors/{name}" for name in DOCUMENT["components"]["errors"]}
    assert schemas <= references <= schemas | errors


def test_no_schema_needs_more_than_json_schema_draft_7() -> None:
    """OpenRPC counts in draft 7, where a tuple is not `prefixItems` and a `$ref` hides what stands beside it."""
    for node in nodes(DOCUMENT):
        assert not node.keys() & {"prefixItems", "$defs", "dependentRequired", "unevaluatedProperties"}, node
        assert "$ref" not in node or len(node) == 1, node
