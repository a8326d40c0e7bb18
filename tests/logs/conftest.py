"""The pipe of the tests of logs."""

import os
from collections.abc import Iterator

import pytest

from tests.logs.scenes import Stderr


@pytest.fixture
def stderr() -> Iterator[Stderr]:
    pipe = Stderr()
    yield pipe
    pipe.close()
    os.close(pipe.reader)
