"""What an SQLite older than the newest must understand: Python brings the system's (Ubuntu 22.04: 3.37)."""

from pathlib import Path

import pytest

from sidecar import library

MODULES = sorted(Path(library.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_no_statement_has_an_operator_that_came_with_sqlite_3_38(module: Path) -> None:
    assert "->>" not in module.read_text("utf-8")
