"""stdio: fds 0, 1 and 2 belong to the protocol, whatever they were."""

import os
import subprocess
import sys

import pytest

from tests.streams.scenes import CLAIM, REPLY, ROOT, posix_only, python


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
from sidecar.process import stdio
streams = stdio.claim()
os.write(streams.stdout_fd, b"discarded")
assert os.read(1, 14) == b"[build-system]"
"""
    command = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-c", code]
    done = subprocess.run(command, stderr=subprocess.PIPE, timeout=60, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
