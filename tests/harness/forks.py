"""Starts the program as a fork of a process that has its imports done: see `forkserver`."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import trio

import sidecar
from tests.harness import forkserver
from tests.harness.forkserver import NUMBER
from tests.harness.waiting import DEADLINE_SECONDS

ROOT: Final = Path(sidecar.__file__).resolve().parent.parent
AVAILABLE = sys.platform == "linux"
"""Windows has no fork, and macOS's libraries may crash after one (Python's documentation of multiprocessing)."""
_INTERPRETER = ("PYTHON", "LC_", "LD_", "LANG", "TZ")
"""Variables that an interpreter looks at when it starts: a fork would not notice them."""


class Process(Protocol):
    """What the harness uses of a trio.Process."""

    @property
    def pid(self) -> int: ...
    @property
    def stdin(self) -> trio.abc.SendStream | None: ...
    @property
    def stdout(self) -> trio.abc.ReceiveStream | None: ...
    @property
    def stderr(self) -> trio.abc.ReceiveStream | None: ...
    @property
    def returncode(self) -> int | None: ...
    async def wait(self) -> int: ...
    def send_signal(self, sig: signal.Signals) -> None: ...
    def kill(self) -> None: ...


def suits(environment: Mapping[str, str]) -> bool:
    """Whether a process with that environment may be a fork."""
    return AVAILABLE and _interpreters(environment) == _interpreters(_server().environment)


def _interpreters(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_INTERPRETER)}


async def open_process(arguments: Sequence[str], environment: Mapping[str, str]) -> Process:
    """The program with these arguments; all three streams are pipes."""
    server = _server()
    assert server.process.poll() is None, f"the server of the forks has ended: {server.process.returncode}"
    (stdin, to_stdin), *outputs = (os.pipe() for _ in range(4))
    theirs = [stdin, *(write for _, write in outputs)]
    request = json.dumps([list(arguments), dict(environment), str(Path.cwd())]).encode()
    try:
        socket.send_fds(server.requests, [NUMBER.pack(len(request))], theirs)
        server.requests.sendall(request)
    finally:
        for descriptor in theirs:
            os.close(descriptor)
    process = _Fork(to_stdin, *(read for read, _ in outputs))
    with trio.fail_after(DEADLINE_SECONDS):
        await process.begun()
    return process


class _Fork:
    """One of them, with what a trio.Process has."""

    def __init__(self, stdin: int, stdout: int, stderr: int, status: int) -> None:
        self.pid = 0
        self.stdin = trio.lowlevel.FdStream(stdin)
        self.stdout = trio.lowlevel.FdStream(stdout)
        self.stderr = trio.lowlevel.FdStream(stderr)
        self._status = status
        self._code: int | None = None
        self._waiting = trio.Lock()
        os.set_blocking(status, False)

    @property
    def returncode(self) -> int | None:
        """Its exit code, if it has ended."""
        if self._code is None and (number := self._number()) is not None:
            self._code = number
            trio.lowlevel.notify_closing(self._status)
            os.close(self._status)
        return self._code

    async def begun(self) -> None:
        """Returns once it runs."""
        while (pid := self._number()) is None:
            await trio.lowlevel.wait_readable(self._status)
        self.pid = pid

    async def wait(self) -> int:
        """Its exit code, once it has ended."""
        async with self._waiting:
            while (code := self.returncode) is None:
                with suppress(trio.ClosedResourceError):  # somebody looked at `returncode` meanwhile
                    await trio.lowlevel.wait_readable(self._status)
        return code

    def send_signal(self, sig: signal.Signals) -> None:
        """To it, unless it has ended."""
        if self.returncode is None:
            with suppress(ProcessLookupError):  # its server has told nobody yet
                os.kill(self.pid, sig)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _number(self) -> int | None:
        try:
            data = os.read(self._status, NUMBER.size)
        except BlockingIOError:
            return None
        assert len(data) == NUMBER.size, "the server of the forks has ended"
        number: int = NUMBER.unpack(data)[0]
        return number


def end() -> None:
    """Ends the server, if there is one; its CPU time and that of its forks counts as a child's from now on."""
    if _server.cache_info().currsize:
        server = _server()
        server.requests.close()
        try:
            server.process.wait(DEADLINE_SECONDS)
        finally:
            server.process.kill()
            _server.cache_clear()


class _Server(NamedTuple):
    process: subprocess.Popen[bytes]
    requests: socket.socket
    environment: Mapping[str, str]


@cache
def _server() -> _Server:
    """The one of this process; it ends with its socket."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("GEMINI_", "GOOGLE_"))
    }
    environment |= {"PYTHONPATH": str(ROOT)}
    environment.pop("PYTHONWARNINGS", None)
    ours, theirs = socket.socketpair()
    with theirs:
        command = [sys.executable, "-P", forkserver.__file__, str(theirs.fileno())]
        started = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], env=environment)
    return _Server(started, ours, environment)
