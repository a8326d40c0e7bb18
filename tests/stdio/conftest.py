"""A pipe for each test."""

import os
from collections.abc import Iterator

import pytest

from tests.stdio.scenes import Pipe


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    reader, writer = os.pipe()
    yield Pipe(reader, writer)
    os.close(reader)  # tests close the writer
