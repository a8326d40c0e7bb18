"""outbox: every line arrives, in order, and nobody waits for the reader."""

import os
import tempfile
import time
import tracemalloc
from pathlib import Path

import pytest

from sidecar.rpc.outbox import (
    LINE_COST_BYTES,
    MAX_WAITING_BATCHES,
    MAX_WAITING_BYTES,
    MAX_WAITING_PROGRESS,
    Outbox,
)
from tests.streams.scenes import MIB, SOON, Pipe, Shell, stall


def test_a_shell_that_reads_gets_everything(pipe: Pipe) -> None:
    outbox, shell = Outbox(pipe.writer), Shell(pipe.reader)
    sent = [b"%d %s\n" % (number, b"x" * (number * 7 % 3000)) for number in range(3000)]
    for line in sent:
        outbox.answer(line)
    assert shell.lines(outbox, pipe) == sent


def test_a_shell_that_reads_late_gets_what_is_kept(pipe: Pipe) -> None:
    outbox = Outbox(pipe.writer)
    stalled = stall(outbox)
    for number in range(5000):
        outbox.batch(b"b%d\n" % number)
        outbox.progress("r", b"p%d\n" % number)
        outbox.answer(b"a%d\n" % number)
    outbox.complete(b"complete\n")
    lines = Shell(pipe.reader).lines(outbox, pipe)
    assert lines[0] == stalled
    assert lines[-1] == b"complete\n"
    assert [line for line in lines if line[:1] == b"a"] == [b"a%d\n" % number for number in range(5000)]
    progress = [line for line in lines if line[:1] == b"p"]
    assert len(progress) <= MAX_WAITING_PROGRESS
    assert progress[-1] == b"p4999\n"
    batches = [line for line in lines if line[:1] == b"b"]
    assert batches == [b"b%d\n" % number for number in range(5000 - MAX_WAITING_BATCHES, 5000)]


def test_a_shell_that_never_reads_stops_nobody(pipe: Pipe) -> None:
    outbox = Outbox(pipe.writer)
    stall(outbox)
    started = time.monotonic()
    for _ in range(1000):
        outbox.progress("r", b"p" * 1000)
        outbox.batch(b"b" * 1000)
    assert not outbox.flush(0.01)
    assert time.monotonic() - started < SOON / 2
    pipe.close_reader()
    assert outbox.flush(SOON)  # nobody writes any more: the descriptor's number may be used again


def test_after_the_shell_hung_up_everything_is_discarded(pipe: Pipe) -> None:
    outbox = Outbox(pipe.writer)
    stall(outbox)
    outbox.complete(b"complete\n")
    pipe.close_reader()
    assert outbox.flush(SOON)
    outbox.answer(b"late\n")
    outbox.progress("r", b"late\n")
    assert outbox.flush(SOON)


def test_an_empty_line_is_not_sent(pipe: Pipe) -> None:
    outbox, shell = Outbox(pipe.writer), Shell(pipe.reader)
    outbox.answer(b"")
    outbox.answer(b"a\n")
    assert shell.lines(outbox, pipe) == [b"a\n"]


def test_close_writes_what_waits_and_takes_no_more(pipe: Pipe) -> None:
    outbox = Outbox(pipe.writer)
    stalled = stall(outbox)
    outbox.answer(b"before\n")
    outbox.close()
    outbox.answer(b"after\n")
    assert Shell(pipe.reader).lines(outbox, pipe) == [stalled, b"before\n"]


@pytest.mark.skipif(os.name == "nt", reason="no O_NONBLOCK on Windows pipes before Python 3.12")
def test_a_pipe_that_somebody_made_non_blocking_loses_nothing(pipe: Pipe) -> None:
    os.set_blocking(pipe.writer, False)
    outbox = Outbox(pipe.writer)
    stalled = stall(outbox)
    assert Shell(pipe.reader).lines(outbox, pipe) == [stalled]


def fill(outbox: Outbox, until: int, first: int = 0) -> list[bytes]:
    """Numbered answers, each weighed as 1 MiB."""
    lines = [b"%09d" % number + b"x" * (MIB - LINE_COST_BYTES - 10) + b"\n" for number in range(first, until)]
    for line in lines:
        outbox.answer(line)
    return lines


def test_what_an_unread_pipe_piles_up_is_not_kept_in_memory_and_comes_in_order(pipe: Pipe) -> None:
    outbox = Outbox(pipe.writer)
    stalled = stall(outbox)
    tracemalloc.start()
    try:
        for number in range(100_000):
            outbox.answer(b"%d %s\n" % (number, b"x" * 1000))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1.5 * MAX_WAITING_BYTES
    assert outbox.room.is_set()
    sent = [b"%d %s\n" % (number, b"x" * 1000) for number in range(100_000)]
    assert Shell(pipe.reader).lines(outbox, pipe) == [stalled, *sent]


def test_each_notification_keeps_its_place_among_answers_on_disk(pipe: Pipe) -> None:
    outbox = Outbox(pipe.writer)
    expected = [stall(outbox)]
    for number in range(3):
        expected += fill(outbox, MAX_WAITING_BYTES // MIB)
        outbox.batch(b"b%d\n" % number)
        outbox.progress("r", b"p%d\n" % number)
        expected += [b"b%d\n" % number, b"p%d\n" % number]
    outbox.complete(b"complete\n")
    assert Shell(pipe.reader).lines(outbox, pipe) == [*expected, b"complete\n"]


def test_one_answer_larger_than_may_wait_arrives(pipe: Pipe) -> None:
    outbox, shell = Outbox(pipe.writer), Shell(pipe.reader)
    line = b"x" * (2 * MAX_WAITING_BYTES) + b"\n"
    outbox.answer(line)
    outbox.answer(b"next\n")
    assert shell.lines(outbox, pipe) == [line, b"next\n"]


def test_there_is_room_until_the_disk_holds_too_much_and_again_when_half_of_it_has_left(pipe: Pipe) -> None:
    outbox = Outbox(pipe.writer, max_spooled_bytes=100 * MIB)
    stalled = stall(outbox)
    sent = fill(outbox, 100)
    assert outbox.room.is_set()
    sent += fill(outbox, 130, first=100)
    assert not outbox.room.is_set()
    got = len(os.read(pipe.reader, len(stalled)))
    assert not outbox.room.is_set()
    while got < len(stalled) + 129 * len(sent[0]):
        got += len(os.read(pipe.reader, MIB))
    assert outbox.room.wait(SOON)
    shell = Shell(pipe.reader)
    assert got + sum(map(len, shell.lines(outbox, pipe))) == len(stalled) + sum(map(len, sent))


def test_where_the_disk_takes_nothing_there_is_room_until_too_much_waits_in_memory(
    pipe: Pipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    outbox = Outbox(pipe.writer)
    stalled = stall(outbox)
    sent = fill(outbox, MAX_WAITING_BYTES // MIB)
    assert outbox.room.is_set()
    sent += fill(outbox, 100, first=len(sent))
    assert not outbox.room.is_set()
    shell = Shell(pipe.reader)
    assert outbox.room.wait(SOON)
    assert shell.lines(outbox, pipe) == [stalled, *sent]


def test_a_shell_that_hangs_up_leaves_room(pipe: Pipe) -> None:
    outbox = Outbox(pipe.writer, max_spooled_bytes=100 * MIB)
    stall(outbox)
    while outbox.room.is_set():
        outbox.answer(b"x" * MIB + b"\n")
    pipe.close_reader()
    assert outbox.room.wait(SOON)
    assert outbox.flush(SOON)
