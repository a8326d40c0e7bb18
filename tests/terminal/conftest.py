"""A library to work on, and a shell to work in."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sidecar.demo.library import create_library
from sidecar.demo.standin import running
from tests.terminal.scenes import Shell


@pytest.fixture
def library(tmp_path: Path) -> Path:
    path = tmp_path / "library.db"
    create_library(path, files=60)
    return path


@pytest.fixture
async def shell(library: Path) -> AsyncIterator[Shell]:
    async with running() as gemini:
        yield Shell(library, gemini)
