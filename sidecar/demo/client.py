"""A small JSON-RPC client over a child process's pipes: what the desktop shell does, for demo and tests.

Its law: however the block of `open_client` is left, the child has ended when it is.
"""

import math
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import msgspec
import trio

__all__ = ["Client", "ClientError", "Notification", "open_client"]

END_SECONDS: Final = 5.0
"""For the child to end by itself (the contract grants it 2); then it is killed."""

_GONE: Final = "The sidecar has ended without an answer."


class ClientError(Exception):
    """The error that a request was answered with; code 0 when the child ended without an answer."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


class Notification(msgspec.Struct, frozen=True):
    """One notification of the child."""

    method: str
    params: dict[str, Any] = {}


class _Error(msgspec.Struct, frozen=True):
    code: int
    message: str
    data: Any = None


class _Message(msgspec.Struct, frozen=True):
    method: str | None = None
    params: dict[str, Any] = {}
    id: int | None = None
    result: Any = None
    error: _Error | None = None


class _Pending:
    def __init__(self) -> None:
        self.done = trio.Event()
        self.answer = _Message(error=_Error(0, _GONE))


class Client:
    """One child, as `open_client` yields it. `notifications` iterates until the child's output ends."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self._notify, self.notifications = trio.open_memory_channel[Notification](math.inf)
        self._lines, self._to_write = trio.open_memory_channel[bytes](math.inf)
        self._pending: dict[int, _Pending] = {}
        self._last_id = 0
        self._ended = False

    async def request(self, method: str, /, **params: Any) -> Any:
        """The result of one call, as decoded JSON. Raises ClientError."""
        self._last_id += 1
        number, pending = self._last_id, _Pending()
        if not self._ended:
            self._pending[number] = pending
            request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            self._lines.send_nowait(msgspec.json.encode(request) + b"\n")
            try:
                await pending.done.wait()
            finally:
                self._pending.pop(number, None)
        error = pending.answer.error
        if error is not None:
            raise ClientError(error.code, error.message, error.data)
        return pending.answer.result

    async def write(self) -> None:
        """Sends what is requested; a task of its own, so that a cancelled request never cuts a line."""
        assert self.process.stdin is not None
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for line in self._to_write:
                await self.process.stdin.send_all(line)

    async def read(self) -> None:
        """Hands out what arrives, until the child's output ends."""
        assert self.process.stdout is not None
        decoder = msgspec.json.Decoder(_Message)
        rest = b""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while data := await self.process.stdout.receive_some():
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self._take(decoder.decode(line))
        self._ended = True
        self._notify.close()
        for pending in self._pending.values():
            pending.done.set()

    def _take(self, message: _Message) -> None:
        if message.method is not None:
            self._notify.send_nowait(Notification(message.method, message.params))
        elif message.id is not None and message.id in self._pending:
            pending = self._pending[message.id]
            pending.answer = message
            pending.done.set()

    async def end(self) -> None:
        """Shuts the child down and waits for it; kills it when it takes too long."""
        assert self.process.stdin is not None
        with trio.move_on_after(END_SECONDS):
            with suppress(ClientError):
                await self.request("shutdown")
            await self.process.stdin.aclose()
            await self.process.wait()
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


@asynccontextmanager
async def open_client(
    command: Sequence[str], env: Mapping[str, str] | None = None, *, stderr: int = subprocess.DEVNULL
) -> AsyncIterator[Client]:
    """Starts `command` and yields a client of it; on leaving, the child is shut down and waited for.

    An exception of the block comes out as it is. The child is in a process group of its own: the
    terminal's Ctrl-C reaches only us. Raises OSError where the command cannot be started.
    """
    client = Client(await _start(command, env, stderr))
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.read)
        nursery.start_soon(client.write)
        try:
            yield client
        except Exception as raised:  # noqa: BLE001 - raised again below, outside the nursery that would wrap it
            failure = raised
        finally:
            with trio.CancelScope(shield=True):
                await client.end()
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _start(command: Sequence[str], env: Mapping[str, str] | None, stderr: int) -> trio.Process:
    pipe = subprocess.PIPE
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP
        return await trio.lowlevel.open_process(
            list(command), stdin=pipe, stdout=pipe, stderr=stderr, env=env, creationflags=flags
        )
    return await trio.lowlevel.open_process(
        list(command), stdin=pipe, stdout=pipe, stderr=stderr, env=env, start_new_session=True
    )
