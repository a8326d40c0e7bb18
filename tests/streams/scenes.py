"""A process that has claimed its streams, a pipe, and a shell that reads it or does not."""

import os
import select
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sidecar.rpc.outbox import Outbox, Waiting

SOON = 10.0
MIB = 1024 * 1024
PIPE_BUF: int = getattr(select, "PIPE_BUF", 512)  # Windows has none, and none of the tests that need it
ROOT = Path(__file__).parents[2]
posix_only = pytest.mark.skipif(os.name == "nt", reason="inherits descriptors and polls pipes the POSIX way")
CLAIM = "import os, sys\nfrom sidecar.process import stdio\nstreams = stdio.claim()\n"
REPLY = "os.write(streams.stdout_fd, os.read(streams.stdin_fd, 99))\n"


def python(code: str, *, redirections: str = "", stdin: bytes = b"request\n") -> tuple[bytes, bytes]:
    """Runs code behind `claim`; returns what came on stdout and stderr. The code must not fail."""
    command = [sys.executable, "-c", CLAIM + code]
    if redirections:
        command = ["sh", "-c", f'exec "$@" {redirections}', "sh", *command]
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=60, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


class Pipe:
    """A stream: we write, or the shell does. Each end is closed once."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        self._open = {self.reader, self.writer}

    def close_reader(self) -> None:
        self._close(self.reader)

    def close_writer(self) -> None:
        self._close(self.writer)

    def close(self) -> None:
        self.close_reader()
        self.close_writer()

    def _close(self, fd: int) -> None:
        if fd in self._open:
            self._open.remove(fd)
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
        pipe.close_writer()
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
