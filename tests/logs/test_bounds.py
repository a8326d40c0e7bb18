"""logs: how much memory a reader that never reads may cost, whatever is logged."""

import logging
import os
from collections.abc import Iterator

import pytest

from sidecar.process.logs import MAX_LINE_CHARS, Logs, configure

own = logging.getLogger("sidecar.test")


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


@pytest.fixture
def reader(pipe: tuple[int, int]) -> int:
    return pipe[0]


@pytest.fixture(autouse=True)
def logs(pipe: tuple[int, int]) -> Iterator[Logs]:
    logs = configure("INFO", pipe[1], capture=False)
    yield logs
    logs.close()
    assert logs.flush(10)


def line(reader: int) -> bytes:
    """One line; more than it may take is not read."""
    found = b""
    while not found.endswith(b"\n") and len(found) <= MAX_LINE_CHARS:
        found += os.read(reader, MAX_LINE_CHARS + 1 - len(found))
    return found


@pytest.mark.parametrize("letter", ["x", "\n", "é", "夜", "🎲", "\ud800"])
def test_a_line_takes_no_more_bytes_than_the_bound_says_however_its_letters_are_escaped(
    reader: int, letter: str
) -> None:
    own.info("%s", letter * MAX_LINE_CHARS)
    found = line(reader)
    assert len(found) == MAX_LINE_CHARS + 1 and found.endswith(b"\n") and found.isascii()


def test_no_cut_leaves_half_a_key_in_a_line_of_escapes(logs: Logs, reader: int) -> None:
    logs.redactor.add("half-" * 50)
    own.info("%s", "🎲" * 780 + "half-" * 50)
    assert b"half" not in line(reader)
