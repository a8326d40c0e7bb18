"""A process with all imports done, from which the program under test is forked: `python -P forkserver.py FD`.

Most of a short test was the imports of its processes (Python, trio, the SDK). What is forked here is a process of
its own as any other, with its own pipes, signals and end; it only finds its imports done. `forks` is the other
side. Linux only. A script, so that nothing of the tests is imported. Ends with the socket of descriptor FD.

A request is a line of JSON `[arguments, environment, folder]`, with four descriptors: stdin, stdout, stderr, and a
pipe for two numbers, the process's id at once and its exit code (of `Popen.returncode`'s kind) at its end.
"""

import contextlib
import importlib
import json
import os
import random
import selectors
import signal
import socket
import struct
import sys
import traceback
from typing import Any, Final, NoReturn

NUMBER: Final = struct.Struct("=q")
_HIGHEST_DESCRIPTOR: Final = 256
_PRELOADED: Final = ("sidecar.command_line", "sidecar.rpc.server", "sidecar.rpc.logs", "sidecar.rpc.unpacked")


def main() -> None:
    """Serves until the socket ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal: the tests' own to answer
    for name in _PRELOADED:
        importlib.import_module(name)
    importlib.import_module("sidecar.gemini.client")._load(secure=False)
    requests = socket.socket(fileno=int(sys.argv[1]))
    with selectors.DefaultSelector() as selector:
        selector.register(requests, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.data is not None:
                    selector.unregister(key.fd)
                    key.data.end(key.fd)
                elif (request := _received(requests)) is None:
                    return
                else:
                    life, forked = _fork(*request)
                    selector.register(life, selectors.EVENT_READ, forked)


class _Forked:
    """A process, and the pipe to which its numbers go."""

    def __init__(self, pid: int, status: int) -> None:
        self.pid, self.status = pid, status
        self._tell(pid)

    def end(self, life: int) -> None:
        """It has closed its end of `life`: it is ending."""
        _, status = os.waitpid(self.pid, 0)
        self._tell(os.waitstatus_to_exitcode(status))
        os.close(self.status)
        os.close(life)

    def _tell(self, number: int) -> None:
        with contextlib.suppress(BrokenPipeError):  # nobody waits for it any more
            os.write(self.status, NUMBER.pack(number))


def _received(requests: socket.socket) -> tuple[list[Any], list[int]] | None:
    """The next request and its descriptors; None at the end."""
    head, descriptors, _, _ = socket.recv_fds(requests, NUMBER.size, 4)
    if not head:
        return None
    [length] = NUMBER.unpack(head)
    return json.loads(requests.recv(length, socket.MSG_WAITALL)), descriptors


def _fork(request: list[Any], descriptors: list[int]) -> tuple[int, _Forked]:
    """Starts it. Returns the pipe that ends with it."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        _become(request, descriptors, theirs)
    os.close(theirs)
    for descriptor in descriptors[:3]:
        os.close(descriptor)
    return ours, _Forked(pid, descriptors[3])


def _become(request: list[Any], descriptors: list[int], life: int) -> NoReturn:
    """In the new process: the program, as `python -m sidecar` would run it."""
    code = 1
    try:
        arguments, environment, folder = request
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number, descriptor in enumerate(descriptors[:3]):
            os.dup2(descriptor, number)
        os.dup2(life, 3, inheritable=False)
        os.closerange(4, _HIGHEST_DESCRIPTOR)
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        random.seed()  # all would have the same waits otherwise
        sys.argv = ["sidecar", *arguments]
        code = importlib.import_module("sidecar.__main__").main()
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 1
    except BaseException:  # noqa: BLE001 - told as the interpreter would
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):  # nobody reads it any more, or it is closed
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
