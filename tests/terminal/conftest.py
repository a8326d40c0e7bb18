"""A library to work on."""

from pathlib import Path

import pytest

from sidecar.demo.library import create_library


@pytest.fixture
def library(tmp_path: Path) -> Path:
    path = tmp_path / "library.db"
    create_library(path, files=60)
    return path
