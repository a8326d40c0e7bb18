"""outbox: what waits on disk comes back as it was, or memory keeps it."""

import os
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.process.stdio import CHUNK_BYTES
from sidecar.rpc.spool import (
    Spool,
)


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
