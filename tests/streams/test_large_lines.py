"""outbox: a line that is as large as a library keeps no other waiting while it is put on disk."""

import io
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.rpc.outbox import Outbox
from tests.streams.scenes import MIB, SOON, Pipe, Shell, stall

LARGE = b"x" * (20 * MIB) + b"\n"


class SlowDisk:
    """A folder for temporary files in which a write waits until the disk `works`."""

    def __init__(self, folder: Path) -> None:
        self.is_asked, self.works = threading.Event(), threading.Event()
        disk, path = self, folder / "slow"

        class SlowFile(io.FileIO):
            def write(self, data: object, /) -> int:
                disk.is_asked.set()
                assert disk.works.wait(SOON)
                return super().write(data)  # type: ignore[arg-type]

        self.open: Callable[..., io.FileIO] = lambda **_: SlowFile(path, "w+")


def in_thread(outbox: Outbox, line: bytes) -> threading.Thread:
    thread = threading.Thread(target=outbox.large_answer, args=(line,))
    thread.start()
    return thread


def test_others_are_sent_while_the_disk_takes_it(
    pipe: Pipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SlowDisk(tmp_path)
    monkeypatch.setattr(tempfile, "TemporaryFile", disk.open)
    outbox, shell = Outbox(pipe.writer), Shell(pipe.reader)
    large = in_thread(outbox, LARGE)
    assert disk.is_asked.wait(SOON)
    small = threading.Thread(target=outbox.answer, args=(b"small\n",), daemon=True)
    small.start()
    small.join(SOON / 2)
    is_held_up = small.is_alive()
    disk.works.set()
    large.join(SOON)
    assert not is_held_up
    assert shell.lines(outbox, pipe) == [b"small\n", LARGE]


@pytest.mark.parametrize("disk_is_there", [True, False])
def test_it_comes_between_those_that_waited_before_and_those_after_it(
    pipe: Pipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk_is_there: bool
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path if disk_is_there else tmp_path / "missing"))
    outbox = Outbox(pipe.writer)
    expected = [stall(outbox)]
    for number in range(3):
        outbox.answer(b"%d\n" % number)
        outbox.large_answer(b"%d" % number + LARGE)
        outbox.batch(b"b%d\n" % number)
        expected += [b"%d\n" % number, b"%d" % number + LARGE, b"b%d\n" % number]
    assert outbox.room.is_set() is disk_is_there
    assert Shell(pipe.reader).lines(outbox, pipe) == expected


def test_there_is_room_until_the_disk_holds_too_much_of_them(pipe: Pipe) -> None:
    outbox = Outbox(pipe.writer, max_spooled_bytes=30 * MIB)
    expected = [stall(outbox), LARGE]
    outbox.large_answer(LARGE)
    assert outbox.room.is_set()
    outbox.large_answer(LARGE)
    assert not outbox.room.is_set()
    assert Shell(pipe.reader).lines(outbox, pipe) == [*expected, LARGE]
    assert outbox.room.is_set()


def test_where_the_disk_is_full_behind_others_it_waits_in_memory(
    pipe: Pipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = Outbox(pipe.writer)
    expected = [stall(outbox)]
    disk = SlowDisk(tmp_path)
    disk.works.set()
    answered = threading.Event()

    def full(**_: object) -> io.FileIO:
        """Takes one file, and no other."""
        if answered.is_set():
            raise OSError(28, "No space left on device")
        answered.set()
        return disk.open()

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    outbox.answer(b"small\n")
    outbox.large_answer(LARGE)
    outbox.answer(b"after\n")
    assert Shell(pipe.reader).lines(outbox, pipe) == [*expected, b"small\n", LARGE, b"after\n"]
