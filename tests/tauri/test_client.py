"""The page's client: its types hold, it is what the contract says now, and it works against a real sidecar."""

import json
import re
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from sidecar.demo import standin
from tests import harness
from tests.tauri.workshop import TAURI, compile_typescript, examples, run, tool, workshop

NODE_SECONDS = 240.0
GENERATOR = TAURI / "generate.py"

typescript: Callable[[dict[str, Any]], str] = runpy.run_path(str(GENERATOR))[
    "typescript"
]  # `build/` is no package


@pytest.fixture(scope="module")
def compiled() -> Iterator[Path]:
    """The folder with the client and its tests, type-checked and compiled into `out/`."""
    with workshop() as folder:
        compile_typescript(folder, "tests/tsconfig.json")
        yield folder


def test_the_committed_types_are_those_of_the_contract() -> None:
    run([sys.executable, str(GENERATOR), "--check"], harness.ROOT)


def test_the_client_type_checks_by_its_own_settings() -> None:
    with workshop() as folder:
        compile_typescript(folder, "tsconfig.json")


def test_the_examples_of_the_readme_type_check() -> None:
    with workshop() as folder:
        for number, example in enumerate(examples("ts")):
            (folder / f"example-{number}.ts").write_text(example, encoding="utf-8")
        settings = {"extends": "./tsconfig.json", "include": ["example-*.ts"]}
        (folder / "examples.json").write_text(json.dumps(settings), encoding="utf-8")
        compile_typescript(folder, "examples.json")


async def test_the_client_works_against_a_real_sidecar(compiled: Path, tmp_path: Path) -> None:
    library = harness.library(tmp_path, 60)
    async with standin.running() as gemini, standin.running(latency_seconds=60) as slow:
        settings = {
            "LIGEIA_COMMAND": json.dumps(harness.command()),
            "LIGEIA_ENVIRONMENT": json.dumps(harness.environment(gemini)),
            "LIGEIA_LIBRARY": str(library.path),
            "LIGEIA_SLOW_GEMINI": slow.base_url,
            "LIGEIA_CAPABILITY": str(TAURI / "capabilities" / "ligeia-sidecar.json"),
            "LIGEIA_CONFIG": str(TAURI / "tauri.conf.part.json"),
        }
        tests = sorted(str(path) for path in (compiled / "out" / "tests").glob("*.test.js"))
        command = [tool("node"), "--test", "--test-reporter=tap", *tests]
        with trio.fail_after(NODE_SECONDS):
            done = await trio.run_process(
                command,
                env=harness.environment(None, settings),
                capture_stdout=True,
                stderr=subprocess.STDOUT,
                check=False,
            )
    report = done.stdout.decode(errors="replace")
    assert done.returncode == 0, report[-12_000:]
    counts: dict[str, int] = {
        name: int(number) for name, number in re.findall(r"^# (\w+) (\d+)$", report, re.MULTILINE)
    }
    assert counts["pass"] == counts["tests"] > 0, report[-2000:]


def test_an_unknown_form_of_schema_is_refused() -> None:
    with pytest.raises(ValueError, match="no TypeScript type"):
        typescript(_document({"not": {"type": "string"}}))


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"enum": ["a", 1, None]}, '"a" | 1 | null'),
        ({"const": "x"}, '"x"'),
        ({"anyOf": [{"type": "integer"}, {"type": "number"}, {"type": "null"}]}, "number | null"),
        ({"type": ["string", "null"]}, "string | null"),
        ({"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "null"}]}}, "(string | null)[]"),
        ({"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}]}, "[string, number]"),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "Record<string, number>"),
        ({"type": "object", "properties": {"a-b": {}}, "required": []}, '{ "a-b"?: unknown }'),
        ({"allOf": [{"$ref": "#/components/schemas/Other"}], "description": "."}, "Other"),
        ({"type": "array"}, "unknown[]"),
    ],
)
def test_a_schema_becomes_its_type(schema: dict[str, Any], expected: str) -> None:
    assert f"{{ params: Record<string, never>; result: {expected} }};" in typescript(_document(schema))


def test_what_a_type_cannot_say_stands_in_its_comment() -> None:
    document = _document({"type": "null"})
    number = {"type": "integer", "minimum": 1, "maximum": 9}
    document["methods"][0]["params"] = [
        {"name": "count", "required": False, "schema": {"anyOf": [number, {"type": "null"}], "default": 3}},
        {"name": "text", "required": True, "description": "Some */ text.", "schema": {"type": "string"}},
    ]
    text = typescript(document)
    assert "  /** From 1 to 9. Default: `3`. */\n  count?: number | null;" in text
    assert "  /** Some * / text. */\n  text: string;" in text


def _document(result: dict[str, Any]) -> dict[str, Any]:
    """A document with one method."""
    method = {"name": "m", "params": [], "result": {"name": "result", "schema": result}, "errors": []}
    return {"methods": [method], "x-notifications": [], "components": {"schemas": {}, "errors": {}}}
