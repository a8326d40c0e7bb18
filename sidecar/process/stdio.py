"""Owns fds 0, 1 and 2: claims them for the protocol. `reading` reads lines from one, `pump` writes to the others.

Only raw descriptors are used: a thread parked in `sys.stdin` can abort the process at exit
(cpython#129536), and `trio.lowlevel.FdStream` is POSIX only and sets O_NONBLOCK for everybody who
shares the pipe. Threads here are daemons: none keeps the process alive.
"""

import os
import select
import sys
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

CHUNK_BYTES: Final = 64 * 1024
"""One read or write: what a pipe holds on Linux."""


class Streams(Struct, frozen=True):
    """The descriptors of the protocol and of the logs. Not inherited by child processes."""

    stdin_fd: int
    stdout_fd: int
    stderr_fd: int


def claim() -> Streams:
    """Takes stdin and stdout away from everybody else; call it once, before anything opens a file.

    Afterwards fd 0 is empty, and what anybody prints to fd 1 or `sys.stdout` goes to stderr. A stream
    that was closed at the start is the null device: no input, output discarded, and no database file
    ever gets its number. Never raises for a missing stream.
    """
    streams = (sys.__stdin__, sys.__stdout__, sys.__stderr__)
    was_open = [_is_open(fd) for fd in range(3)]
    # Python found this stream closed, yet the number is in use: some other file has got it. Hands off.
    foreign = [was_open[fd] and streams[fd] is None for fd in range(3)]
    null_fd = _occupy_standard_fds()
    stdin_fd, stdout_fd, stderr_fd = (os.dup(null_fd if foreign[fd] else fd) for fd in range(3))
    for fd, target_fd in ((0, null_fd), (1, stderr_fd)):
        if not foreign[fd]:
            os.dup2(target_fd, fd)
    os.close(null_fd)
    _set_binary(stdin_fd, stdout_fd, stderr_fd)
    if sys.stderr is None:
        sys.stderr = open(stderr_fd, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 (lives as long as we do)
    sys.stdout = sys.stderr
    return Streams(stdin_fd, stdout_fd, stderr_fd)


def occupy() -> None:
    """For who does not claim them: a stream that was closed at the start is the null device.

    No file ever gets its number, and whatever is printed there is printed to nobody.
    """
    os.close(_occupy_standard_fds())
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            null_fd = os.open(os.devnull, os.O_WRONLY)
            setattr(sys, name, os.fdopen(null_fd, "w", encoding="utf-8"))


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def _occupy_standard_fds() -> int:
    """Puts the null device wherever one of 0, 1, 2 is closed; returns one more null descriptor."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:  # the lowest free number, each time
        pass
    return fd


def _set_binary(*fds: int) -> None:
    """Windows would turn `\\n` into `\\r\\n`, and end the input at Ctrl-Z."""
    if sys.platform == "win32":
        import msvcrt  # noqa: PLC0415 (exists on Windows only)

        for fd in fds:
            msvcrt.setmode(fd, os.O_BINARY)


def wait(readable: Sequence[int] = (), writable: Sequence[int] = ()) -> bool:
    """Waits for a non-blocking descriptor; False where the platform cannot (Windows: pipes)."""
    try:
        select.select(readable, writable, [])
    except (OSError, ValueError):
        return False
    return True
