"""A library for each test."""

from pathlib import Path

import pytest

from sidecar.demo.library import create_library


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "library.db"
    create_library(found, files=3)
    return found
