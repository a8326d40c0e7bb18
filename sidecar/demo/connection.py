"""One connection of the stand-in: HTTP/1.1 read from a stream and written to it, whole, slowly or broken off."""

import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import h11
import trio

from sidecar.demo.replies import Reply

_LINGER_ZERO: Final = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


class Connection:
    """The server's side of it. `head` and `body` read in turn; only `watch` may read while something is sent.

    Reading and sending raise trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.SERVER)

    async def head(self) -> h11.Request | None:
        """The next request's head, None where the client has ended."""
        event = await self._next_event()
        return event if isinstance(event, h11.Request) else None

    async def body(self) -> bytes:
        """The whole body of the request whose head was read."""
        chunks = []
        while isinstance(event := await self._next_event(), h11.Data):
            chunks.append(bytes(event.data))
        return b"".join(chunks)

    async def watch(self, leave: Callable[[], None]) -> None:
        """Calls `leave` when the client has gone; keeps what it sends ahead of time."""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while data := await self._stream.receive_some():
                self._http.receive_data(data)
        leave()

    def encoded(self, reply: Reply, body: bytes) -> tuple[bytes, bytes]:
        """The bytes of the head and of the body. From here on the answer counts as given."""
        headers = {
            "content-type": "application/json; charset=UTF-8",
            "content-length": str(len(body)),
            **reply.headers,
        }
        http = self._http
        head = http.send(h11.Response(status_code=reply.status, headers=list(headers.items()), reason=b"-"))
        tail = (http.send(h11.Data(data=body)) or b"") + (http.send(h11.EndOfMessage()) or b"")
        return head or b"", tail

    async def send(self, data: bytes) -> None:
        """As fast as it goes."""
        await self._stream.send_all(data)

    async def drip(self, data: bytes, bytes_per_second: float) -> None:
        """That slowly."""
        size = max(1, int(bytes_per_second / 20))
        for start in range(0, len(data), size):
            await self._stream.send_all(data[start : start + size])
            await trio.sleep(size / bytes_per_second)

    async def break_off(self, sent_before: bytes, *, reset: bool) -> None:
        """Closes after these bytes, by a reset or in good order."""
        if sent_before:
            await self._stream.send_all(sent_before)
        if reset:
            # Closing with a linger of zero seconds sends a reset in the place of an orderly end.
            self._stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        await self.close()

    def next_cycle(self) -> bool:
        """Makes ready for another request; False where the connection can carry none."""
        if not (self._http.our_state is h11.DONE and self._http.their_state is h11.DONE):
            return False
        self._http.start_next_cycle()
        return True

    async def close(self) -> None:
        """At once. Idempotent."""
        await trio.aclose_forcefully(self._stream)

    async def _next_event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._stream.receive_some())
        return event
