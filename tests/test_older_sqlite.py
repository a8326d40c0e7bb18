"""What an SQLite older than the newest must understand: Python brings the system's (Ubuntu 22.04: 3.37)."""

import ast
import re
from pathlib import Path

import pytest

from sidecar import library

MODULES = sorted(Path(library.__file__).parent.glob("*.py"))


NEWER = re.compile(r"->|\bRETURNING\b|\bIS (NOT )?DISTINCT\b|\b(RIGHT|FULL) (OUTER )?JOIN\b|\bunixepoch\(")
"""What came after 3.33, the oldest that README names (https://sqlite.org/changes.html)."""


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_no_statement_needs_a_newer_one(module: Path) -> None:
    tree = ast.parse(module.read_text("utf-8"))
    texts = [
        node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert [text for text in texts if NEWER.search(text)] == []
