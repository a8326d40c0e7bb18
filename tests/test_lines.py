"""lines: bytes are cut into lines, wherever the chunks were cut."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.process import stdio
from sidecar.process.lines import Line, LineSplitter, TooLong


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
