"""A process with all imports done, from which the program under test is forked: `python -P forkserver.py FD`.

Most of a short test was the imports of its processes (Python, trio, the SDK). What is forked here is a process of
its own as any other, with its own pipes, signals and end; it only finds its imports done (and has its hash seed in
common with the others). `forks` is the other side. Linux only. A script, so that nothing of the tests is imported.

FD is a socket: a request on it is a number (how long what follows is) and as much JSON, `[arguments, environment,
folder]`, with four descriptors: stdin, stdout, stderr, and a pipe for two numbers, the process's id when it is
ready for signals and its exit code (of `Popen.returncode`'s kind) at its end. The server ends with the socket.
"""

import contextlib
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import struct
import sys
from typing import Any, Final

import trio

NUMBER: Final = struct.Struct("=q")
_PRELOADED: Final = (
    "sidecar.command_line",
    "sidecar.rpc.server",
    "sidecar.process.logs",
    "sidecar.process.unpacked",
)
"""What `sidecar.__main__` imports to serve; that module itself runs anew in each fork."""


def main() -> None:
    """Serves; in each fork it returns from there and goes on as `python -m sidecar`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal: the tests' own to answer
    for name in _PRELOADED:
        importlib.import_module(name)
    importlib.import_module("sidecar.gemini.client")._load()
    if (request := _serve(socket.socket(fileno=int(sys.argv[1])))) is not None:
        _become(*request)
        # Out of here every end, an error's too, takes the interpreter's own way.
        runpy.run_module("sidecar", run_name="__main__", alter_sys=True)


def _serve(requests: socket.socket) -> tuple[list[Any], list[int], int] | None:
    """Returns None at the server's end, and in a fork what it is to become."""
    with selectors.DefaultSelector() as selector:
        selector.register(requests, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.data is not None:
                    selector.unregister(key.fd)
                    key.data.end(key.fd)
                elif (received := _received(requests)) is None:
                    return None
                else:
                    request, descriptors = received
                    ours, theirs = os.pipe()
                    pid = os.fork()
                    if pid == 0:
                        return request, descriptors, theirs
                    for descriptor in (theirs, *descriptors[:3]):
                        os.close(descriptor)
                    selector.register(ours, selectors.EVENT_READ, _Forked(pid, descriptors[3]))


class _Forked:
    """A process, and the pipe to which its numbers go."""

    def __init__(self, pid: int, status: int) -> None:
        self.pid, self.status = pid, status

    def end(self, life: int) -> None:
        """Its end of `life` is closed, which nothing but its own end does."""
        _, status = os.waitpid(self.pid, 0)
        with contextlib.suppress(BrokenPipeError):  # nobody waits for it any more
            os.write(self.status, NUMBER.pack(os.waitstatus_to_exitcode(status)))
        os.close(self.status)
        os.close(life)


def _received(requests: socket.socket) -> tuple[list[Any], list[int]] | None:
    """The next request and its descriptors; None at the end."""
    head, descriptors, _, _ = socket.recv_fds(requests, NUMBER.size, 4)
    if not head:
        return None
    [length] = NUMBER.unpack(head)
    return json.loads(requests.recv(length, socket.MSG_WAITALL)), descriptors


def _become(request: list[Any], descriptors: list[int], life: int) -> None:
    """In the fork: takes over its streams, environment, folder and arguments, and says that it is there."""
    arguments, environment, folder = request
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.write(descriptors[3], NUMBER.pack(os.getpid()))
    for number, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, number)
    os.dup2(life, 3, inheritable=False)
    os.closerange(4, os.sysconf("SC_OPEN_MAX"))
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv[1:] = arguments
    trio._core._run._r.seed()  # decides in what order tasks run; each fork would go the same way


if __name__ == "__main__":
    main()
