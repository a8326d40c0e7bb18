"""The desktop of these tests. They need the extra `window`; without it nothing here is collected."""

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tauri.window.desktop import Desktop
from tests.tauri.window.installed import built_page, install, screen

if importlib.util.find_spec("pytauri_wheel") is None:
    if "CI" in os.environ:  # it installs the extra: a missing one must not look like tests that passed
        raise pytest.UsageError("Install the extra `window`: tests/tauri/window needs it.")
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The executable of the installed app."""
    with built_page() as page:
        return install(tmp_path_factory.mktemp("app"), page)


@pytest.fixture(scope="session")
def display() -> Iterator[str]:
    """The X display of all windows."""
    with screen() as name:
        yield name


@pytest.fixture
def desktop(app: Path, display: str, tmp_path: Path) -> Desktop:
    """A person's desktop with the app, before its first start: no library, no key."""
    return Desktop(app, display, tmp_path)
