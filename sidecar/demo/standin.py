"""A stand-in for the Gemini API: real HTTP on loopback, the real JSON shapes, faults on demand.

The laws of this module. A request for which the script has no reply gets the normal answer: plausible tags,
the same for the same path in every process. A client that goes away is noticed at once, wherever its
request stands. `python -m sidecar.demo.standin` serves other processes until its stdin ends.
"""

import argparse
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial

import h11
import msgspec
import trio

from sidecar.demo.connection import Connection
from sidecar.demo.normal_replies import NormalReplies
from sidecar.demo.replies import (
    MODELS,
    Received,
    Reply,
    Script,
    blocked_prompt,
    error,
    finish,
    html_page,
    key_invalid,
    model_not_found,
    ok,
    per_day,
    rate_limited,
    text_reply,
    unavailable,
    unknown_name,
)
from sidecar.demo.server_rate import ServerRate

__all__ = [
    "MODELS", "Received", "Reply", "Script", "ServerRate", "StandIn", "blocked_prompt", "error", "finish",
    "html_page", "key_invalid", "model_not_found", "ok", "per_day", "rate_limited", "running", "text_reply",
    "unavailable", "unknown_name",
]  # fmt: skip


class StandIn:
    """The server. Every attribute may be read and set at any time; a request sees what is set as it arrives.

    journal: the requests in order of arrival, with their bodies (empty where `keep_journal` is false).
    arrived, answered: how many requests have arrived whole, and how many got their whole answer.
    open_requests: how many have begun and are neither answered, nor dropped, nor left by their client;
    peak_open_requests: the most there were at once. hallucinate: the share (0–1) of files that get a tag of
    `INVENTED`. api_key: when set, any other key is refused. Owned by the task that entered `running`.
    """

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.latency_seconds = 0.0
        self.script: Script | None = None
        self.api_key: str | None = None
        self.hallucinate = 0.0
        self.keep_journal = True
        self.journal: list[Received] = []
        self.arrived = self.answered = self.open_requests = self.peak_open_requests = 0
        self._changed = trio.lowlevel.ParkingLot()
        self._normal = NormalReplies()

    async def wait_for(self, count: int) -> None:
        """Returns once `count` requests have arrived since the start; bound it with `trio.fail_after`."""
        while self.arrived < count:
            await self._changed.park()

    async def wait_until_idle(self) -> None:
        """Returns once no request is open; bound it with `trio.fail_after`."""
        while self.open_requests:
            await self._changed.park()

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serves one connection to its end; the handler for `trio.serve_listeners`."""
        connection = Connection(stream)
        # A client that breaks off or talks nonsense ends its own connection and nothing else.
        # A connection that a reply dropped is closed already.
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
            while request := await connection.head():
                await self._exchange(connection, request)
                if not connection.next_cycle():
                    break
        await connection.close()

    async def _exchange(self, connection: Connection, request: h11.Request) -> None:
        """One request, whose head has come, and its answer."""
        # Who left before this request came is noticed first: both are told in one pass, in any order.
        await trio.lowlevel.checkpoint()
        exchange = _Exchange(self)
        try:
            received = self._received(request, await connection.body())
            reply = self._reply(received)
            async with trio.open_nursery() as nursery:

                def leave() -> None:
                    exchange.close()
                    nursery.cancel_scope.cancel()

                nursery.start_soon(connection.watch, leave)
                await exchange.answer(connection, received, reply)
                nursery.cancel_scope.cancel()
        finally:
            exchange.close()

    def _received(self, request: h11.Request, body: bytes) -> Received:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers}
        self.arrived += 1
        received = Received(
            number=self.arrived,
            at=trio.current_time(),
            method=request.method.decode("latin-1"),
            path=request.target.decode("latin-1"),
            headers=headers,
            body=body,
        )
        if self.keep_journal:
            self.journal.append(received)
        self._changed.unpark_all()
        return received

    def _reply(self, received: Received) -> Reply:
        if self.api_key is not None and received.headers.get("x-goog-api-key") != self.api_key:
            return key_invalid()
        reply = self.script(received) if self.script else None
        if reply is None:
            return self._normal.reply(received, self.hallucinate)
        # A script may give the same reply again and again, so it is not ours to fill in.
        if reply.body is None:
            return replace(reply, body=self._normal.reply(received, self.hallucinate).body)
        return reply


class _Exchange:
    """One request between its first byte and the last of its answer: counted as open for just that long."""

    def __init__(self, standin: StandIn) -> None:
        self._standin = standin
        self._open = True
        standin.open_requests += 1
        standin.peak_open_requests = max(standin.peak_open_requests, standin.open_requests)

    def close(self) -> None:
        """No longer open. Idempotent."""
        if self._open:
            self._open = False
            self._standin.open_requests -= 1
            self._standin._changed.unpark_all()

    async def answer(self, connection: Connection, received: Received, reply: Reply) -> None:
        """Waits and sends as the reply says; ends without a word where the client has gone."""
        opened_at = received.at
        if reply.gate is not None:
            await reply.gate.wait()
            opened_at = trio.current_time()
        body = reply.body if isinstance(reply.body, bytes) else msgspec.json.encode(reply.body)
        head, tail = connection.encoded(reply, body)
        # Counted from the request's arrival: a latency is what the client waits, our own work included.
        delay = self._standin.latency_seconds if reply.delay_seconds is None else reply.delay_seconds
        await trio.sleep_until(opened_at + delay)
        with suppress(trio.BrokenResourceError):
            if reply.drop is not None:
                sent_before = head + body[: len(body) // 2] if reply.drop == "mid" else b""
                self.close()  # before the break, as before an answer: who has noticed may ask again at once
                await connection.break_off(sent_before, reset=reply.reset)
                return
            if reply.drip_bytes_per_second is not None:
                await connection.drip(head + tail[:-1], reply.drip_bytes_per_second)
                head, tail = b"", tail[-1:]
            # Counted before the send: who has read the answer must not find its request still open.
            received.status = reply.status
            self._standin.answered += 1
            self.close()
            await connection.send(head + tail)


@asynccontextmanager
async def running(
    *,
    latency_seconds: float = 0.0,
    script: Script | None = None,
    api_key: str | None = None,
    port: int = 0,
    hallucinate: float = 0.0,
) -> AsyncIterator[StandIn]:
    """A stand-in that serves on 127.0.0.1 while the block runs; on leaving, open connections are cut.

    An exception of the block comes out as it is; one of the script comes out in an ExceptionGroup.
    Raises OSError where the port is taken.
    """
    [listener] = await trio.open_tcp_listeners(port, host="127.0.0.1")
    standin = StandIn(f"http://127.0.0.1:{listener.socket.getsockname()[1]}")
    standin.latency_seconds, standin.script, standin.api_key = latency_seconds, script, api_key
    standin.hallucinate = hallucinate
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio.serve_listeners, standin.serve, [listener], handler_nursery=nursery))
        try:
            yield standin
        except Exception as raised:  # noqa: BLE001 - raised again below, outside the nursery that would wrap it
            failure = raised
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


def _wait_for_end_of_stdin() -> None:
    # Not `sys.stdin.buffer`: a thread left inside it makes the interpreter abort at exit.
    while os.read(0, 65_536):
        pass


async def _serve_until_stdin_ends(port: int, latency_seconds: float, hallucinate: float) -> None:
    async with running(port=port, latency_seconds=latency_seconds, hallucinate=hallucinate) as standin:
        standin.keep_journal = False
        print(standin.base_url, flush=True)
        await trio.to_thread.run_sync(_wait_for_end_of_stdin, abandon_on_cancel=True)


def main() -> None:
    """The command: prints the base URL as one line and serves until killed or until stdin ends."""
    about = (
        "A stand-in for the Gemini API on this computer, which takes any key. Prints its address, to be given to "
        "a sidecar as base_url or GOOGLE_GEMINI_BASE_URL, and serves until Ctrl-C or the end of its stdin."
    )
    parser = argparse.ArgumentParser(prog="python -m sidecar.demo.standin", description=about)
    parser.add_argument("--port", type=int, default=0, help="where it listens (any free one)")
    parser.add_argument("--latency", type=float, default=0.0, metavar="SECONDS", help="what each answer takes (0)")
    parser.add_argument(
        "--hallucinate",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="of files that get an invented tag, 0 to 1 (0)",
    )
    chosen = parser.parse_args()
    with suppress(KeyboardInterrupt):
        trio.run(_serve_until_stdin_ends, chosen.port, chosen.latency, chosen.hallucinate)


if __name__ == "__main__":
    main()
