"""A pipe for each test."""

from collections.abc import Iterator

import pytest

from tests.streams.scenes import Pipe


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()
