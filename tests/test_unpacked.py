"""unpacked: which folders are swept, whatever their names say, and which are not."""

import atexit
import os
import sys
from pathlib import Path

import pytest

from sidecar.process import unpacked

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX processes")


def test_a_number_that_no_process_can_have_is_not_alive() -> None:
    assert unpacked.is_alive(os.getpid())
    assert not unpacked.is_alive(0xFFFFFFFF)


def test_folders_of_impossible_processes_are_swept_like_those_of_dead_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, foreign = tmp_path / f"_MEI{os.getpid():08x}AAAAAA", tmp_path / "_MEIffffffffCCCCCC"
    left = [tmp_path / "_MEIffffffff", tmp_path / "_MEIfffffffeBBBBBB"]
    for folder in (own, foreign, *left):
        folder.mkdir()
    (foreign / "file").touch()
    (left[1] / unpacked.MARKER).touch()
    monkeypatch.setattr(sys, "_MEIPASS", str(own), raising=False)
    unpacked.sweep()
    assert sorted(tmp_path.iterdir()) == sorted([own, foreign])


def test_the_folder_is_locked_itself_so_that_who_cleans_the_temp_folder_leaves_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl")
    own, held = tmp_path / f"_MEI{os.getpid():08x}AAAAAA", list[int]()
    own.mkdir()
    (own / unpacked.MARKER).touch()
    monkeypatch.setattr(sys, "_MEIPASS", str(own), raising=False)
    monkeypatch.setattr(unpacked, "_held", held)
    monkeypatch.setattr(atexit, "register", lambda _: None)
    cleaner = os.open(own, os.O_RDONLY)
    try:
        unpacked.claim()
        with pytest.raises(BlockingIOError):
            fcntl.flock(cleaner, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        for fd in (cleaner, *held):
            os.close(fd)
