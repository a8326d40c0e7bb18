"""stdio and lines: bytes are cut into lines, and fds 0, 1, 2 belong to the protocol, whatever they were."""

import io
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from sidecar.rpc import stdio
from sidecar.rpc.lines import Line, LineSink, LineSplitter, TooLong
from sidecar.rpc.stdio import Pump, read_lines

ROOT = Path(__file__).parents[1]
SOON = 10.0
posix_only = pytest.mark.skipif(os.name == "nt", reason="closes inherited descriptors the POSIX way")


# --- lines --------------------------------------------------------------------------------------


def split(*chunks: bytes, limit_bytes: int = 8) -> list[Line]:
    splitter = LineSplitter(limit_bytes)
    return [line for chunk in chunks for line in splitter.feed(chunk)] + splitter.end()


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        ([b"a\nb\n"], [b"a", b"b"]),
        ([b"a\r\nb\r\n"], [b"a", b"b"]),
        ([b"a", b"b", b"\n", b"c"], [b"ab", b"c"]),
        ([b"a\r", b"\nb"], [b"a", b"b"]),
        ([b"\n\r\n \t\r\n", b"a\n"], [b"a"]),
        ([b"a\rb\n"], [b"a\rb"]),
        ([b"12345678\n12345678\r\n"], [b"12345678", b"12345678"]),
        ([b"123456789\na\n"], [TooLong(), b"a"]),
        ([b"12345678\r", b"x\na\n"], [TooLong(), b"a"]),
        ([b"1234567890", b"12\n34567890", b"a\nb\n"], [TooLong(), TooLong(), b"b"]),
        ([b"12345678901234"], [TooLong()]),
        ([], []),
    ],
)
def test_a_stream_is_cut_into_lines(chunks: list[bytes], lines: list[Line]) -> None:
    assert split(*chunks) == lines


def test_a_line_too_long_is_reported_before_it_ends() -> None:
    splitter = LineSplitter(8)
    assert splitter.feed(b"x" * 100) == [TooLong()]
    assert splitter.feed(b"x" * 100) == []
    assert splitter.feed(b"\nok\n") == [b"ok"]


@given(st.lists(st.text("ab \r\n", max_size=12).map(str.encode)), st.integers(1, 12))
def test_where_the_chunks_were_cut_makes_no_difference(chunks: list[bytes], limit_bytes: int) -> None:
    whole = b"".join(chunks)
    expected: list[Line] = []
    for text in whole.split(b"\n"):
        line = text.removesuffix(b"\r")
        if len(line) > limit_bytes:
            expected.append(TooLong())
        elif line.strip():
            expected.append(line)
    assert split(*chunks, limit_bytes=limit_bytes) == expected
    assert split(*[bytes([byte]) for byte in whole], limit_bytes=limit_bytes) == expected


def test_byte_by_byte_and_by_16_mib_the_work_is_linear() -> None:
    started = time.process_time()
    splitter = LineSplitter()
    for _ in range(1 << 20):
        splitter.feed(b"x")
    assert len(splitter.feed(b"\n")) == 1
    chunk = b"x" * stdio.CHUNK_BYTES
    for _ in range(256):
        splitter.feed(chunk)
    assert splitter.feed(b"\n") == [b"x" * (16 << 20)]
    assert time.process_time() - started < 3


def test_a_sink_is_a_text_file_whose_lines_go_elsewhere() -> None:
    lines: list[Line] = []
    sink = LineSink(lines.append, 2, 100)
    file = sink.as_text()
    print("é", 1, file=file)
    file.write("no end \ud800")
    file.buffer.write(b"\xff")
    assert lines == ["é 1".encode()]
    sink.end()
    assert lines[1:] == [b"no end \\ud800\xff"]
    assert (file.fileno(), file.isatty(), file.writable()) == (2, False, True)


# --- claiming -----------------------------------------------------------------------------------

CLAIM = "import os, sys\nfrom sidecar.rpc import stdio\nstreams = stdio.claim()\n"
REPLY = "os.write(streams.stdout_fd, os.read(streams.stdin_fd, 99))\n"


def python(code: str, *, redirections: str = "", stdin: bytes = b"request\n") -> tuple[bytes, bytes]:
    """Runs code behind `claim`; returns what came on stdout and stderr. The code must not fail."""
    command = [sys.executable, "-c", CLAIM + code]
    if redirections:
        command = ["sh", "-c", f'exec "$@" {redirections}', "sh", *command]
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=60, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_nothing_but_the_protocol_reaches_stdout() -> None:
    code = """
print("printed")
os.write(1, b"written\\n")
sys.__stdout__.write("buffered\\n"); sys.__stdout__.flush()
os.system("echo from a child")
assert os.read(0, 9) == b"" and sys.stdin.read() == ""
"""
    stdout, stderr = python(code + REPLY)
    assert stdout == b"request\n"
    for noise in (b"printed", b"written", b"buffered", b"from a child"):
        assert noise in stderr


def test_what_was_printed_before_does_not_reach_stdout_either() -> None:
    command = [sys.executable, "-c", "print('early')\n" + CLAIM + REPLY]
    env = os.environ | {"PYTHONUNBUFFERED": ""}
    done = subprocess.run(command, input=b"request\n", capture_output=True, cwd=ROOT, env=env, check=True)
    assert (done.stdout, done.stderr.strip()) == (b"request\n", b"early")


def test_newlines_are_not_translated() -> None:
    assert python(REPLY, stdin=b"a\r\n\x1ab\n")[0] == b"a\r\n\x1ab\n"


def test_child_processes_do_not_inherit_the_protocol() -> None:
    python("assert not any(os.get_inheritable(fd) for fd in (streams.stdin_fd, streams.stdout_fd))")


@posix_only
@pytest.mark.parametrize(
    ("redirections", "stdout"),
    [
        ("<&-", b""),
        (">&-", b""),
        ("2>&-", b"request\n"),
        ("<&- >&-", b""),
        ("<&- >&- 2>&-", b""),
        (">&- 2>&-", b""),
        ("<&- 2>&-", b""),
    ],
)
def test_with_any_stream_closed_the_process_lives_and_no_file_gets_its_number(
    redirections: str, stdout: bytes
) -> None:
    code = """
print("noise"); print("noise", file=sys.stderr); sys.stdout.flush()
assert all(os.fstat(fd) for fd in (0, 1, 2))
assert os.open(os.devnull, os.O_RDWR) > 2
"""
    assert python(code + REPLY, redirections=redirections)[0] == stdout


@posix_only
def test_a_file_that_got_the_number_of_a_closed_stream_before_us_is_left_alone() -> None:
    code = """
import os, sys
number = os.open(os.devnull, os.O_RDWR)
assert number == 1 and sys.stdout is None
os.dup2(os.open("pyproject.toml", os.O_RDONLY), 1)
from sidecar.rpc import stdio
streams = stdio.claim()
os.write(streams.stdout_fd, b"discarded")
assert os.read(1, 14) == b"[build-system]"
"""
    command = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-c", code]
    done = subprocess.run(command, stderr=subprocess.PIPE, timeout=60, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr


# --- reading ------------------------------------------------------------------------------------


class Pipe(NamedTuple):
    """The two ends of a stream."""

    reader: int
    writer: int


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    reader, writer = os.pipe()
    yield Pipe(reader, writer)
    os.close(reader)  # tests close the writer


async def test_all_lines_are_delivered_in_the_trio_thread_until_the_end(pipe: Pipe) -> None:
    os.write(pipe.writer, b"a\n\nb\r\nlast")
    os.close(pipe.writer)
    threads: set[int] = set()
    lines: list[Line] = []

    def deliver(batch: list[Line]) -> None:
        assert batch
        threads.add(threading.get_ident())
        lines.extend(batch)

    with trio.fail_after(SOON):
        await read_lines(pipe.reader, deliver)
    assert lines == [b"a", b"b", b"last"]
    assert threads == {threading.get_ident()}


async def test_a_line_arrives_while_the_stream_stays_open(pipe: Pipe) -> None:
    arrived = trio.Event()
    with trio.fail_after(SOON):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_lines, pipe.reader, lambda _: arrived.set())
            os.write(pipe.writer, b"a\n")
            await arrived.wait()
            os.close(pipe.writer)


async def test_a_stream_that_cannot_be_read_has_ended() -> None:
    reader, writer = os.pipe()
    with trio.fail_after(SOON):
        await read_lines(writer, lambda _: None)
    os.close(reader)
    os.close(writer)


async def test_reading_takes_no_token_from_the_threads_that_work(pipe: Pipe) -> None:
    limiter = trio.to_thread.current_default_thread_limiter()
    borrowed: list[float] = []
    os.write(pipe.writer, b"a\n")
    os.close(pipe.writer)
    with trio.fail_after(SOON):
        await read_lines(pipe.reader, lambda _: borrowed.append(limiter.borrowed_tokens))
    assert borrowed == [0]


async def test_once_cancelled_nothing_is_delivered_any_more(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    at_end = threading.Event()
    real_read = stdio._read

    def read(fd: int) -> bytes:
        chunk = real_read(fd)
        if not chunk:
            at_end.set()  # what came before has been handed over
        return chunk

    monkeypatch.setattr(stdio, "_read", read)
    first = trio.Event()
    lines: list[Line] = []

    def deliver(batch: list[Line]) -> None:
        lines.extend(batch)
        first.set()

    with trio.fail_after(SOON):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_lines, pipe.reader, deliver)
            os.write(pipe.writer, b"first\n")
            await first.wait()
            nursery.cancel_scope.cancel()
    os.write(pipe.writer, b"late\n")
    os.close(pipe.writer)
    assert await trio.to_thread.run_sync(at_end.wait, SOON)
    assert lines == [b"first"]


async def test_what_deliver_raises_ends_the_reading(pipe: Pipe) -> None:
    def deliver(_: list[Line]) -> None:
        raise LookupError

    os.write(pipe.writer, b"a\n")
    with pytest.raises(LookupError), trio.fail_after(SOON):
        await read_lines(pipe.reader, deliver)
    os.close(pipe.writer)


async def test_nothing_is_read_before_all_gates_are_open(pipe: Pipe) -> None:
    gates = threading.Event(), threading.Event()
    arrived = trio.Event()
    os.write(pipe.writer, b"a\n")
    with trio.fail_after(SOON):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_lines, pipe.reader, lambda _: arrived.set(), gates)
            gates[0].set()
            with trio.move_on_after(0.1) as waited:
                await arrived.wait()
            assert waited.cancelled_caught
            gates[1].set()
            await arrived.wait()
            os.close(pipe.writer)


@pytest.mark.skipif(not hasattr(select, "poll"), reason="Windows cannot tell before all is read")
async def test_who_hangs_up_at_a_closed_gate_has_ended_whatever_was_not_read(pipe: Pipe) -> None:
    os.write(pipe.writer, b"never read\n")
    os.close(pipe.writer)
    with trio.fail_after(SOON):
        await read_lines(pipe.reader, lambda _: pytest.fail("was read"), [threading.Event()])


def test_a_thread_parked_in_read_does_not_keep_the_process_alive() -> None:
    code = """
import trio
async def main():
    with trio.move_on_after(0.05):
        await stdio.read_lines(streams.stdin_fd, lambda _: None)
    os.write(streams.stdout_fd, b"done")
trio.run(main)
"""
    child = subprocess.Popen(
        [sys.executable, "-c", CLAIM + code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    with child:
        assert child.stdin
        assert child.stdout
        assert child.wait(60) == 0  # with stdin still open
        assert child.stdout.read() == b"done"


@posix_only
async def test_a_stdin_that_somebody_made_non_blocking_is_read_all_the_same(pipe: Pipe) -> None:
    os.set_blocking(pipe.reader, False)
    lines: list[Line] = []
    with trio.fail_after(SOON):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_lines, pipe.reader, lines.extend)
            await trio.testing.wait_all_tasks_blocked(0.05)
            os.write(pipe.writer, b"a\n")
            os.close(pipe.writer)
    assert lines == [b"a"]


# --- writing ------------------------------------------------------------------------------------


def test_a_pump_writes_what_its_owner_has_waiting(pipe: Pipe) -> None:
    waiting = [b"x" * 100, b"y"]
    pump = Pump(pipe.writer, lambda: waiting.pop(0) if waiting else b"", "test")
    pump.put(waiting.append, b"z")
    assert pump.flush(SOON)
    os.close(pipe.writer)
    with io.FileIO(os.dup(pipe.reader)) as file:
        assert file.readall() == b"x" * 100 + b"yz"
    pump.close()
    assert pump.flush(SOON)


def test_a_pump_whose_descriptor_is_closed_discards(pipe: Pipe) -> None:
    os.close(pipe.writer)
    waiting = [b"x", b"y"]
    pump = Pump(pipe.writer, lambda: waiting.pop(0) if waiting else b"", "test")
    assert pump.flush(SOON)
    assert waiting == []
    pump.put(waiting.append, b"z")
    assert waiting == []
