"""Writes to a descriptor without making anybody wait for who reads it."""

import os
import select
import stat
import sys
import threading
from collections.abc import Callable
from typing import TypeVarTuple

from sidecar.process.stdio import wait

Ts = TypeVarTuple("Ts")


class Pump:
    """Writes to one descriptor, in a thread of its own, what its owner has waiting.

    A thread, because a blocking write to a full pipe can be interrupted in no portable way, while
    O_NONBLOCK would be set for everyone who shares the pipe. It owns the lock of the owner's queue.
    Any thread may call; nothing but `flush` ever waits for the reader of the descriptor. What a pipe is
    certain to take at once is written by the caller: to wake up the thread costs more.

    `take` returns the next bytes to write and forgets them, `b""` when nothing waits. It is called
    with the queue locked.
    """

    def __init__(self, fd: int, take: Callable[[], bytes], name: str) -> None:
        self._fd = fd
        self._take = take
        self._has_room = _room_in_pipe(fd)
        self._next_bytes = b""  # taken already, not written
        self._changed = threading.Condition()
        self._is_idle = False
        self._is_closed = False
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def put(self, enqueue: Callable[[*Ts], None], *args: *Ts) -> None:
        """Runs `enqueue(*args)` with the queue locked; does nothing once closed."""
        with self._changed:
            if self._is_closed:
                return
            enqueue(*args)
            if not (self._is_idle and self._write_at_once()):
                self._is_idle = False
                self._changed.notify_all()

    def flush(self, deadline_seconds: float) -> bool:
        """Blocks until everything is written or discarded; False when the time was up before."""
        with self._changed:
            return self._changed.wait_for(lambda: self._is_idle, deadline_seconds)

    def close(self) -> None:
        """Takes nothing more; what waits is still written, then the thread ends.

        The fd stays open, and must until `flush` says True: its number could get to be another file's.
        """
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _write_at_once(self) -> bool:
        """Writes what waits, unless that could block; True when all of it is written."""
        self._is_idle = False  # for a `put` from within `take`: a finaliser may log
        while data := self._take():
            written_bytes = _write_some(self._fd, data) if self._has_room(len(data)) else 0
            self._next_bytes = data[written_bytes:]
            if self._next_bytes:
                return False
        self._is_idle = True
        return True

    def _run(self) -> None:
        while data := self._next():
            if not _write_all(self._fd, data):
                self._discard()

    def _next(self) -> bytes:
        """Waits for bytes to write; none when closed and all is written."""
        with self._changed:
            while not (data := self._next_bytes or self._take()):
                self._is_idle = True
                self._changed.notify_all()
                if self._is_closed:
                    return b""
                self._changed.wait()
                self._is_idle = False
            self._next_bytes = b""
            return data

    def _discard(self) -> None:
        """The reader is gone for good: what waits and all that comes is dropped."""
        self.close()
        is_left = True
        while is_left:
            with self._changed:  # let go between: much may wait, and nobody is to wait for that
                is_left = bool(self._take())


def _room_in_pipe(fd: int) -> Callable[[int], bool]:
    """A function that tells whether so many bytes can be written to the descriptor without blocking.

    Certain only for a pipe that nobody else writes to, and for `select.PIPE_BUF` bytes (see there); never on
    Windows. With `2>&1` the log writes to the same pipe, so nothing is certain there.
    """
    try:
        status, log = os.fstat(fd), os.fstat(2)
    except OSError:  # closed: writing will tell
        return lambda _count: False
    if sys.platform == "win32" or not stat.S_ISFIFO(status.st_mode) or os.path.samestat(status, log):
        return lambda _count: False
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    room = [(fd, select.POLLOUT)]  # without POLLERR: then the reader has gone
    return lambda count: count <= select.PIPE_BUF and poll.poll(0) == room


def _write_some(fd: int, data: bytes) -> int:
    """How much of it was written; none where that fails: who tries again meets the error."""
    try:
        return os.write(fd, data)
    except OSError:
        return 0


def _write_all(fd: int, data: bytes) -> bool:
    """Blocks until all is written; False when nobody can read it any more."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(fd, rest) :]
        except BlockingIOError:  # whoever made the pipe set O_NONBLOCK on it
            if not wait(writable=[fd]):
                return False
        except OSError:
            return False
    return True
