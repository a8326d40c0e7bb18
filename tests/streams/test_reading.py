"""reading: lines are delivered in order, in the trio thread, until the input ends."""

import os
import select
import subprocess
import sys
import threading

import pytest
import trio
import trio.testing

from sidecar.process import reading
from sidecar.process.lines import Line
from sidecar.process.reading import read_lines
from tests.streams.scenes import CLAIM, ROOT, SOON, Pipe, posix_only


async def test_all_lines_are_delivered_in_the_trio_thread_until_the_end(pipe: Pipe) -> None:
    os.write(pipe.writer, b"a\n\nb\r\nlast")
    pipe.close_writer()
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
            pipe.close_writer()


async def test_a_stream_that_cannot_be_read_has_ended(pipe: Pipe) -> None:
    with trio.fail_after(SOON):
        await read_lines(pipe.writer, lambda _: None)


async def test_reading_takes_no_token_from_the_threads_that_work(pipe: Pipe) -> None:
    limiter = trio.to_thread.current_default_thread_limiter()
    borrowed: list[float] = []
    os.write(pipe.writer, b"a\n")
    pipe.close_writer()
    with trio.fail_after(SOON):
        await read_lines(pipe.reader, lambda _: borrowed.append(limiter.borrowed_tokens))
    assert borrowed == [0]


async def test_once_cancelled_nothing_is_delivered_any_more(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    at_end = threading.Event()
    real_read = reading._read

    def read(fd: int) -> bytes:
        chunk = real_read(fd)
        if not chunk:
            at_end.set()  # what came before has been handed over
        return chunk

    monkeypatch.setattr(reading, "_read", read)
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
    pipe.close_writer()
    assert await trio.to_thread.run_sync(at_end.wait, SOON)
    assert lines == [b"first"]


async def test_what_deliver_raises_ends_the_reading(pipe: Pipe) -> None:
    def deliver(_: list[Line]) -> None:
        raise LookupError

    os.write(pipe.writer, b"a\n")
    with pytest.raises(LookupError), trio.fail_after(SOON):
        await read_lines(pipe.reader, deliver)
    pipe.close_writer()


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
            pipe.close_writer()


@pytest.mark.skipif(not hasattr(select, "poll"), reason="Windows cannot tell before all is read")
async def test_who_hangs_up_at_a_closed_gate_has_ended_whatever_was_not_read(pipe: Pipe) -> None:
    os.write(pipe.writer, b"never read\n")
    pipe.close_writer()
    with trio.fail_after(SOON):
        await read_lines(pipe.reader, lambda _: pytest.fail("was read"), [threading.Event()])


def test_a_thread_parked_in_read_does_not_keep_the_process_alive() -> None:
    code = """
import trio
from sidecar.process import reading
async def main():
    with trio.move_on_after(0.05):
        await reading.read_lines(streams.stdin_fd, lambda _: None)
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
            pipe.close_writer()
    assert lines == [b"a"]
