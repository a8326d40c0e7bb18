"""Owns fds 0, 1 and 2: claims them for the protocol, reads lines from one end, writes at the other.

Only raw descriptors are used: a thread parked in `sys.stdin` can abort the process at exit
(cpython#129536), and `trio.lowlevel.FdStream` is POSIX only and sets O_NONBLOCK for everybody who
shares the pipe. Threads here are daemons: none keeps the process alive.
"""

import os
import select
import stat
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Final, TypeVarTuple

import outcome
import trio
from msgspec import Struct

from sidecar.rpc.lines import Line, LineSplitter

CHUNK_BYTES: Final = 64 * 1024
"""One read or write: what a pipe holds on Linux."""
HANG_UP_SECONDS: Final = 0.25
"""While the gates are closed: how often is looked whether the sender is still there."""

Ts = TypeVarTuple("Ts")


class Streams(Struct, frozen=True):
    """The descriptors of the protocol and of the logs. Not inherited by child processes."""

    stdin_fd: int
    stdout_fd: int
    stderr_fd: int


# --- claiming -----------------------------------------------------------------------------------


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


# --- reading ------------------------------------------------------------------------------------


async def read_lines(
    fd: int, deliver: Callable[[list[Line]], None], gates: Sequence[threading.Event] = ()
) -> None:
    """Reads lines until the end of input (or an error, which is the same); returns then.

    Calls `deliver` in the trio thread with all lines of one read, never with none; what it raises ends the
    reading. The reading thread waits for nothing but the input, the event loop and the `gates`: it reads on when
    all are open, so that a sender of more than can be kept is held up by its own pipe. It is at most one read
    ahead of what was delivered. Cancelled, it is abandoned where it stands: `deliver` is not called any more,
    but what it reads until the process ends is lost.
    """
    with trio.CancelScope() as scope:
        reader = _Reader(deliver, gates, scope)
        try:
            # A limiter of its own: it holds its token for ever, and the others are for work.
            await trio.to_thread.run_sync(reader.run, fd, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1))
        finally:
            reader.abandoned = True
    reader.delivered.unwrap()


class _Reader:
    """What the reading thread does; cancels `scope` where `deliver` has raised.

    `abandoned` and `delivered` belong to the trio thread.
    """

    def __init__(
        self, deliver: Callable[[list[Line]], None], gates: Sequence[threading.Event], scope: trio.CancelScope
    ) -> None:
        self.abandoned = False
        self.delivered: outcome.Outcome[None] = outcome.Value(None)
        self._scope = scope
        self._deliver = deliver
        self._gates = gates
        self._event_loop = trio.lowlevel.current_trio_token()
        self._turn = threading.Semaphore()

    def run(self, fd: int) -> None:
        """To the end of the input, or of the event loop: RunFinishedError, then nobody is left to tell.

        What is delivered last comes before the news that this has ended: both go through `run_sync_soon`.
        """
        splitter = LineSplitter()
        while self._may_read(fd) and (chunk := _read(fd)):
            self._hand_over(splitter.feed(chunk))
        self._hand_over(splitter.end())

    def _may_read(self, fd: int) -> bool:
        """Waits for the gates; False when the sender has gone meanwhile."""
        for gate in self._gates:
            while not (gate.is_set() or gate.wait(HANG_UP_SECONDS)):
                if _has_hung_up(fd):
                    return False
        return True

    def _hand_over(self, lines: list[Line]) -> None:
        """Does not wait until they are delivered, only until those before are: to be woken up costs time."""
        if lines:
            self._turn.acquire()
            self._event_loop.run_sync_soon(self._deliver_unless_abandoned, lines)

    def _deliver_unless_abandoned(self, lines: list[Line]) -> None:
        if not self.abandoned:
            self.delivered = outcome.capture(self._deliver, lines)
            if isinstance(self.delivered, outcome.Error):
                self.abandoned = True
                self._scope.cancel()
        self._turn.release()


def _read(fd: int) -> bytes:
    """The next bytes; none at the end of input, and when it cannot be read."""
    while True:
        try:
            return os.read(fd, CHUNK_BYTES)
        except BlockingIOError:  # whoever made the pipe set O_NONBLOCK on it
            if not _wait(readable=[fd]):
                return b""
        except OSError:
            return b""


def _has_hung_up(fd: int) -> bool:
    """Whether nobody can write to the pipe any more, though it may hold bytes that were not read.

    Windows cannot tell before they are; there the death of the shell ends the process (`parent`).
    """
    if not hasattr(select, "poll"):
        return False
    poll = select.poll()
    poll.register(fd, 0)  # hang-ups and errors are told without being asked for
    return bool(poll.poll(0))


def _wait(readable: Sequence[int] = (), writable: Sequence[int] = ()) -> bool:
    """Waits for a non-blocking descriptor; False where the platform cannot (Windows: pipes)."""
    try:
        select.select(readable, writable, [])
    except (OSError, ValueError):
        return False
    return True


# --- writing ------------------------------------------------------------------------------------


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
    Windows. Of those who could, the log is known to: in `2>&1` it has the same pipe.
    """
    try:
        status, log = os.fstat(fd), os.fstat(2)
    except OSError:  # closed: writing will tell
        return lambda _count: False
    if not hasattr(select, "poll") or not stat.S_ISFIFO(status.st_mode) or os.path.samestat(status, log):
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
            if not _wait(writable=[fd]):
                return False
        except OSError:
            return False
    return True
