"""outbox: what a shell sees that reads at once, late, never, or no more."""

import contextlib
import os
import sys
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.rpc.outbox import (
    LINE_COST_BYTES,
    MAX_WAITING_BATCH_BYTES,
    MAX_WAITING_BATCHES,
    MAX_WAITING_BYTES,
    MAX_WAITING_PROGRESS,
    Outbox,
    Spool,
    Waiting,
)
from sidecar.rpc.stdio import CHUNK_BYTES

SOON = 10.0
MIB = 1024 * 1024


class Pipe(NamedTuple):
    """Our end of stdout and the shell's."""

    reader: int
    writer: int


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    reader, writer = os.pipe()
    yield Pipe(reader, writer)
    for fd in (reader, writer):
        with contextlib.suppress(OSError):  # the test closed it
            os.close(fd)


class Shell(threading.Thread):
    """Reads until the end."""

    def __init__(self, fd: int) -> None:
        super().__init__(daemon=True)
        self._fd = fd
        self._got = bytearray()
        self.start()

    def run(self) -> None:
        while chunk := os.read(self._fd, 1 << 20):
            self._got += chunk

    def lines(self, outbox: Outbox, pipe: Pipe) -> list[bytes]:
        """Everything, once all is written; hangs up our end."""
        assert outbox.flush(SOON)
        outbox.close()
        os.close(pipe.writer)
        self.join(SOON)
        assert not self.is_alive()
        return bytes(self._got).splitlines(keepends=True)


def stall(outbox: Outbox) -> bytes:
    """Makes the writing thread wait for a reader: a line that no pipe holds."""
    line = b"s" * (4 << 20) + b"\n"
    outbox.answer(line)
    assert not outbox.flush(0.05)
    return line


def drain(waiting: Waiting) -> list[bytes]:
    taken = []
    while data := waiting.take():
        taken += data.splitlines()
    return taken


# --- what waits ---------------------------------------------------------------------------------


def test_lines_leave_in_the_order_they_came() -> None:
    waiting = Waiting()
    waiting.put(b"a\n")
    waiting.put_progress("r", b"p\n")
    waiting.put_batch(b"b\n")
    waiting.put(b"c\n")
    assert waiting.take() == b"a\np\nb\nc\n"
    assert waiting.take() == b""


def test_what_waits_is_weighed_and_what_leaves_or_is_dropped_weighs_nothing() -> None:
    waiting = Waiting()
    waiting.put(b"ab\n")
    assert waiting.waiting_bytes == 3 + LINE_COST_BYTES
    for number in range(MAX_WAITING_PROGRESS + 5):
        waiting.put_progress("r", b"p%d\n" % number)
    for _ in range(MAX_WAITING_BATCHES + 5):
        waiting.put_batch(b"b\n")
    left = len(drain(waiting))
    assert left < MAX_WAITING_PROGRESS + MAX_WAITING_BATCHES
    assert waiting.waiting_bytes == 0


def test_up_to_64_waiting_progress_none_is_coalesced() -> None:
    waiting = Waiting()
    for number in range(MAX_WAITING_PROGRESS):
        waiting.put_progress("r", b"%d\n" % number)
    assert drain(waiting) == [b"%d" % number for number in range(MAX_WAITING_PROGRESS)]


def test_the_latest_progress_stands_for_its_run_and_where_it_came() -> None:
    waiting = Waiting()
    waiting.put_progress("other", b"o\n")
    for number in range(MAX_WAITING_PROGRESS):
        waiting.put_batch(b"b%d\n" % number)
        waiting.put_progress("r", b"p%d\n" % number)
    waiting.put(b"complete\n")
    last = MAX_WAITING_PROGRESS - 1
    batches = [b"b%d" % number for number in range(MAX_WAITING_PROGRESS)]
    assert drain(waiting) == [b"o", *batches, b"p%d" % last, b"complete"]
    assert waiting.coalesced_progress == last


def test_a_thousand_runs_keep_their_last_progress_each() -> None:
    waiting = Waiting()
    for run in range(1000):
        waiting.put_progress(f"{run}", b"first\n")
        waiting.put_progress(f"{run}", b"last %d\n" % run)
        waiting.put(b"complete %d\n" % run)
    lines = drain(waiting)
    for run in range(1000):
        assert lines.index(b"last %d" % run) < lines.index(b"complete %d" % run)
    assert lines.count(b"first") <= MAX_WAITING_PROGRESS


def test_the_oldest_batches_beyond_the_count_are_dropped() -> None:
    waiting = Waiting()
    for number in range(MAX_WAITING_BATCHES + 3):
        waiting.put_batch(b"%d\n" % number)
    assert drain(waiting) == [b"%d" % number for number in range(3, MAX_WAITING_BATCHES + 3)]
    assert waiting.dropped_batches == 3


def test_the_oldest_batches_beyond_the_bytes_are_dropped() -> None:
    waiting = Waiting()
    half = b"x" * (MAX_WAITING_BATCH_BYTES // 2)
    for number in range(3):
        waiting.put_batch(b"%d" % number + half[1:])
    assert waiting.take()[:1] == b"1"
    assert waiting.take()[:1] == b"2"
    assert waiting.take() == b""


def test_the_newest_batch_is_kept_however_large() -> None:
    waiting = Waiting()
    huge = b"x" * (2 * MAX_WAITING_BATCH_BYTES)
    waiting.put_batch(b"small\n")
    waiting.put_batch(huge)
    assert waiting.take() == huge


def test_what_was_taken_no_longer_counts() -> None:
    waiting = Waiting()
    for number in range(10 * MAX_WAITING_BATCHES):
        waiting.put_batch(b"b" * 1000)
        waiting.put_progress("r", b"p")
        assert waiting.take() == b"b" * 1000 + b"p", number
    assert (waiting.dropped_batches, waiting.coalesced_progress) == (0, 0)


@given(
    st.lists(
        st.tuples(st.sampled_from("pbat"), st.sampled_from(["r", "", "q"]), st.integers(1, 5000)),
        max_size=400,
    )
)
def test_whatever_comes_answers_stay_and_each_run_ends_with_its_last_progress(
    steps: list[tuple[str, str, int]],
) -> None:
    waiting, sent, taken = Waiting(), [], []
    for number, (kind, run, size) in enumerate(steps):
        line = f"{kind},{run},{number},{'x' * size}".encode()
        if kind == "t":
            taken += waiting.take().split(b"\n")
        elif kind == "p":
            waiting.put_progress(run, line + b"\n")
        elif kind == "b":
            waiting.put_batch(line + b"\n")
        else:
            waiting.put(line + b"\n")
        sent += [line] * (kind != "t")
    taken = [line for line in [*taken, *drain(waiting)] if line]
    places = {line: place for place, line in enumerate(sent)}
    assert taken == sorted(set(taken), key=places.__getitem__)
    assert {line for line in sent if line.startswith(b"a")} <= set(taken)
    for start in (b"p,r,", b"p,,", b"p,q,"):
        assert [line for line in sent if line.startswith(start)][-1:] == [
            line for line in taken if line.startswith(start)
        ][-1:]


def test_a_hundred_thousand_coalesced_messages_take_no_time() -> None:
    waiting = Waiting()
    started = time.process_time()
    for _ in range(100_000):
        waiting.put_progress("r", b"p\n")
        waiting.put_batch(b"b\n")
    drain(waiting)
    assert time.process_time() - started < 3


# --- what waits on disk -------------------------------------------------------------------------


def read_back(spool: Spool) -> bytes:
    return b"".join(iter(spool.take, b""))


def test_nothing_is_there_before_something_was_put() -> None:
    spool = Spool()
    assert (spool.take(), spool.size_bytes, spool.is_refused) == (b"", 0, False)


@given(st.lists(st.one_of(st.integers(1, 3 * CHUNK_BYTES), st.none()), max_size=30))
def test_whatever_the_order_of_puts_and_takes_the_bytes_are_the_same(sizes: list[int | None]) -> None:
    spool, put, taken = Spool(segment_bytes=CHUNK_BYTES), b"", b""
    for number, size in enumerate(sizes):
        if size is None:
            taken += spool.take()
        else:
            data = bytes([number]) * size
            spool.put(data)
            put += data
    assert taken + read_back(spool) == put
    assert spool.size_bytes == 0


def test_a_take_is_one_write_of_the_pipe_at_most() -> None:
    spool = Spool()
    spool.put(b"x" * (CHUNK_BYTES + 1))
    assert (len(spool.take()), len(spool.take()), spool.take()) == (CHUNK_BYTES, 1, b"")


def test_a_file_that_was_read_gives_its_space_back_while_others_wait() -> None:
    spool = Spool(segment_bytes=CHUNK_BYTES)
    for _ in range(3):
        spool.put(b"x" * CHUNK_BYTES)
    assert spool.size_bytes == 3 * CHUNK_BYTES
    spool.take()
    spool.take()
    assert spool.size_bytes == 2 * CHUNK_BYTES
    assert read_back(spool) == b"x" * CHUNK_BYTES


def test_it_leaves_no_name_in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    spool = Spool()
    spool.put(b"secret")
    if sys.platform != "win32":  # there the file has a name as long as it is open
        assert os.listdir(tmp_path) == []
    assert read_back(spool) == b"secret"
    assert os.listdir(tmp_path) == []


def test_without_a_folder_for_files_it_keeps_what_was_put_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    spool = Spool()
    spool.put(b"a")
    assert spool.is_refused
    assert read_back(spool) == b"a"
    assert not spool.is_refused


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files")
def test_a_full_disk_loses_nothing() -> None:
    import resource  # noqa: PLC0415 (POSIX only)

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    spool = Spool()
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        spool.put(b"a" * 700)
        assert not spool.is_refused
        spool.put(b"b" * 700)
        assert (spool.is_refused, spool.size_bytes) == (True, 1000)
        assert read_back(spool) == b"a" * 700 + b"b" * 700
        assert (spool.is_refused, spool.size_bytes) == (False, 0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    spool.put(b"c")
    assert (read_back(spool), spool.is_refused) == (b"c", False)


def test_what_cannot_be_read_back_becomes_the_end_of_a_line(caplog: pytest.LogCaptureFixture) -> None:
    spool = Spool(segment_bytes=1)
    spool.put(b"first ")
    spool.put(b"second\n")
    spool._segments[0].file.truncate(0)
    assert read_back(spool) == b"\n"
    assert "lost" in caplog.text
    spool.put(b"next\n")
    assert (read_back(spool), spool.size_bytes) == (b"next\n", 0)


# --- what is written ----------------------------------------------------------------------------


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
        outbox.batch("r", b"b%d\n" % number)
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
    assert len([line for line in lines if line[:1] == b"b"]) == MAX_WAITING_BATCHES
    assert outbox.dropped_batches == 5000 - MAX_WAITING_BATCHES


def test_a_shell_that_never_reads_stops_nobody(pipe: Pipe) -> None:
    outbox = Outbox(pipe.writer)
    stall(outbox)
    started = time.monotonic()
    for _ in range(1000):
        outbox.progress("r", b"p" * 1000)
        outbox.batch("r", b"b" * 1000)
    assert not outbox.flush(0.01)
    assert time.monotonic() - started < SOON / 2
    os.close(pipe.reader)
    assert outbox.flush(SOON)  # nobody writes any more: the descriptor's number may be used again


def test_after_the_shell_hung_up_everything_is_discarded(pipe: Pipe) -> None:
    outbox = Outbox(pipe.writer)
    stall(outbox)
    outbox.complete(b"complete\n")
    os.close(pipe.reader)
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
        outbox.batch("r", b"b%d\n" % number)
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
    os.close(pipe.reader)
    assert outbox.room.wait(SOON)
    assert outbox.flush(SOON)
