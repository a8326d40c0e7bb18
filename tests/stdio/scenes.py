"""A process that has claimed its streams, and a pipe."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
SOON = 10.0
posix_only = pytest.mark.skipif(os.name == "nt", reason="inherits descriptors and polls pipes the POSIX way")
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


class Pipe(NamedTuple):
    """The two ends of a stream."""

    reader: int
    writer: int
