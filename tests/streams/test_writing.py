"""pump: what waits is written in order, and nobody waits for the reader."""

import contextlib
import io
import os

import pytest

from sidecar.process.pump import Pump
from tests.streams.scenes import PIPE_BUF, SOON, Pipe, posix_only, python


def test_a_pump_writes_what_its_owner_has_waiting(pipe: Pipe) -> None:
    waiting = [b"x" * 100, b"y"]
    pump = Pump(pipe.writer, lambda: waiting.pop(0) if waiting else b"", "test")
    pump.put(waiting.append, b"z")
    assert pump.flush(SOON)
    pipe.close_writer()
    with io.FileIO(os.dup(pipe.reader)) as file:
        assert file.readall() == b"x" * 100 + b"yz"
    pump.close()
    assert pump.flush(SOON)


def test_a_pump_whose_descriptor_is_closed_discards(pipe: Pipe) -> None:
    pipe.close_writer()
    waiting = [b"x", b"y"]
    pump = Pump(pipe.writer, lambda: waiting.pop(0) if waiting else b"", "test")
    assert pump.flush(SOON)
    assert waiting == []
    pump.put(waiting.append, b"z")
    assert waiting == []


def idle_pump(pipe: Pipe) -> tuple[Pump, list[bytes]]:
    """A pump that has nothing to write, and what it has waiting."""
    waiting: list[bytes] = []
    pump = Pump(pipe.writer, lambda: waiting.pop(0) if waiting else b"", "test")
    assert pump.flush(SOON)
    return pump, waiting


@posix_only
def test_what_a_pipe_has_room_for_is_written_without_waking_the_thread(pipe: Pipe) -> None:
    pump, waiting = idle_pump(pipe)
    os.set_blocking(pipe.reader, False)
    for line in (b"one\n", b"x" * PIPE_BUF, b"two\n"):
        pump.put(waiting.append, line)
        assert os.read(pipe.reader, 99_999) == line
    pipe.close_writer()


@posix_only
@pytest.mark.parametrize("room_bytes", [0, 1, PIPE_BUF - 1])
@pytest.mark.parametrize("line_bytes", [4, PIPE_BUF, PIPE_BUF + 1, 200_000])
def test_who_puts_something_never_waits_for_the_reader(pipe: Pipe, room_bytes: int, line_bytes: int) -> None:
    pump, waiting = idle_pump(pipe)
    filled = fill(pipe.writer)
    if room_bytes:
        filled -= len(os.read(pipe.reader, room_bytes))
    lines = [bytes([65 + number]) * line_bytes for number in range(8)]
    for line in lines:
        pump.put(waiting.append, line)  # would hang
    got = bytearray()
    while len(got) < filled + 8 * line_bytes:
        got += os.read(pipe.reader, 99_999)
    assert got[filled:] == b"".join(lines)
    assert pump.flush(SOON)
    pipe.close_writer()


def fill(fd: int) -> int:
    """Writes to a pipe until it takes no byte more; how many it took."""
    os.set_blocking(fd, False)
    filled = 0
    for piece in (b"." * PIPE_BUF, b"."):
        with contextlib.suppress(BlockingIOError):
            while True:
                filled += os.write(fd, piece)
    os.set_blocking(fd, True)
    return filled


@posix_only
@pytest.mark.parametrize(("redirections", "answer"), [("", b"yes"), ("2>&1", b"no"), ("2>&-", b"yes")])
def test_where_the_log_has_the_same_pipe_no_room_is_certain(redirections: str, answer: bytes) -> None:
    code = """
from sidecar.process import pump
os.write(streams.stdout_fd, b'yes' if pump._room_in_pipe(streams.stdout_fd)(3) else b'no')
"""
    assert python(code, redirections=redirections)[0] == answer


@posix_only
def test_a_reader_that_has_gone_is_no_room_and_no_error(pipe: Pipe) -> None:
    pump, waiting = idle_pump(pipe)
    pipe.close_reader()
    for _ in range(3):
        pump.put(waiting.append, b"x")
    assert pump.flush(SOON)
    assert waiting == []
