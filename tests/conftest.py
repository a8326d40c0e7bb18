"""What all tests share: readable assertions of the harness, and the mark of tests that need other programs."""

from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.harness")

from tests.harness import forks  # noqa: E402 - after its assertions were made readable

_FOLDERS = ("tauri", "frozen")
"""Whatever is tested there needs npm, Rust, a window or the frozen file."""


_LONGEST = ("test_histories.py", "test_backpressure.py", "test_leaving_nothing.py")
"""First, so that in the end no worker waits for them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks those tests, so that a machine with nothing but Python can run all the others."""
    here = Path(__file__).parent
    items.sort(key=lambda item: item.path.name not in _LONGEST)
    for item in items:
        if item.path.relative_to(here).parts[0] in _FOLDERS:
            item.add_marker(pytest.mark.system)


def pytest_sessionfinish() -> None:
    """Ends the process that the others were forked from."""
    forks.end()
