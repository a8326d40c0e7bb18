"""A stand-in for the Gemini API: real HTTP on loopback, the real JSON shapes, faults on demand.

The laws of this module. A request for which the script has no reply gets the normal answer: plausible tags,
the same for the same path in every process. A client that goes away is noticed at once, wherever its
request stands. `python -m sidecar.demo.standin` serves benchmarks in another process until its stdin ends.
"""

import argparse
import os
import socket
import struct
import sys
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import h11
import msgspec
import trio

from sidecar.demo.replies import (
    MODELS,
    ROUTE,
    Received,
    Reply,
    Script,
    blocked_prompt,
    error,
    finish,
    html_page,
    json_text,
    key_invalid,
    model_not_found,
    ok,
    per_day,
    rate_limited,
    text_reply,
    unavailable,
    unknown_name,
    usage_metadata,
)
from sidecar.demo.vocabulary import INVENTED, invented_tag, plausible_tags

__all__ = [
    "MODELS", "Received", "Reply", "Script", "ServerRate", "StandIn", "blocked_prompt", "error", "finish",
    "html_page", "key_invalid", "model_not_found", "ok", "per_day", "rate_limited", "running", "text_reply",
    "unavailable", "unknown_name",
]  # fmt: skip


_LINGER_ZERO: Final = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


@dataclass
class ServerRate:
    """A script: at most `limit` generateContent requests in any `per_seconds`, a 429 with a delay beyond.

    `refused` counts the 429s. `early` holds the requests that came while an announced delay was running;
    those within `grace_seconds` of the announcement were on their way and are not held against anyone.
    """

    limit: int
    per_seconds: float
    grace_seconds: float = 0.05
    refused: int = 0
    early: list[Received] = field(default_factory=list)
    _accepted: deque[float] = field(default_factory=deque)
    _announced_at: float = float("-inf")
    _closed_until: float = float("-inf")

    def __call__(self, received: Received) -> Reply | None:
        if received.method != "POST":
            return None
        now = received.at
        if self._announced_at + self.grace_seconds < now < self._closed_until:
            self.early.append(received)
        while self._accepted and self._accepted[0] <= now - self.per_seconds:
            self._accepted.popleft()
        if len(self._accepted) < self.limit:
            self._accepted.append(now)
            return None
        return self._refusal(now, self._accepted[0] + self.per_seconds - now if self._accepted else 1.0)

    def _refusal(self, now: float, delay_seconds: float) -> Reply:
        self.refused += 1
        if now >= self._closed_until:
            self._announced_at = now
        self._closed_until = max(self._closed_until, now + delay_seconds)
        # A millisecond more than is needed, so that no rounding makes an obedient client early.
        reply = rate_limited(f"{delay_seconds + 0.001:.9f}s", quota_value=self.limit)
        reply.delay_seconds = 0
        return reply


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
        self._systems_seen: set[str] = set()

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
        http = h11.Connection(h11.SERVER)
        # A client that breaks off or talks nonsense ends its own connection and nothing else.
        # A connection that a reply dropped is closed already.
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
            while await self._exchange(stream, http):
                http.start_next_cycle()
        await trio.aclose_forcefully(stream)

    async def _exchange(self, stream: trio.SocketStream, http: h11.Connection) -> bool:
        """One request and its answer. True while the connection can carry another."""
        request = await _next_event(stream, http)
        if not isinstance(request, h11.Request):
            return False
        exchange = _Exchange(self)
        try:
            received = await self._receive(stream, http, request)
            reply = self._reply(received)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_watch, stream, http, nursery.cancel_scope)
                await exchange.answer(stream, http, received, reply)
                nursery.cancel_scope.cancel()
        finally:
            exchange.close()
        return http.our_state is h11.DONE and http.their_state is h11.DONE

    async def _receive(self, stream: trio.SocketStream, http: h11.Connection, request: h11.Request) -> Received:
        chunks = []
        while isinstance(event := await _next_event(stream, http), h11.Data):
            chunks.append(bytes(event.data))
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers}
        self.arrived += 1
        received = Received(
            number=self.arrived,
            at=trio.current_time(),
            method=request.method.decode("latin-1"),
            path=request.target.decode("latin-1"),
            headers=headers,
            body=b"".join(chunks),
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
            return self._normal(received)
        # A script may give the same reply again and again, so it is not ours to fill in.
        return replace(reply, body=self._normal(received).body) if reply.body is None else reply

    def _normal(self, received: Received) -> Reply:
        match = ROUTE.fullmatch(received.path)
        if match and match[3] and received.method == "POST":
            return self._generated(received)
        if match and not match[3] and received.method == "GET":
            return Reply(body=_model(match[2]) if match[2] else {"models": [_model(name) for name in MODELS]})
        return error(404, "Requested entity was not found.", "NOT_FOUND")

    def _generated(self, received: Received) -> Reply:
        match received.kind:
            case "tagging":
                text = json_text([self._tagged(file) for file in received.files])
            case "mapping":
                text = json_text([_mapped(item) for item in received.invalid_tags])
            case "other":
                text = "OK"
        system = received.system
        cached = len(system) // 4 if system in self._systems_seen else 0
        self._systems_seen.add(system)
        reply = text_reply(text, usage=usage_metadata(len(received.body) // 4, 1 + len(text) // 4, cached))
        assert isinstance(reply.body, dict)
        reply.body["modelVersion"] = received.model
        return reply

    def _tagged(self, file: Mapping[str, Any]) -> dict[str, object]:
        path = str(file.get("path") or file.get("title") or file.get("id"))
        tags = plausible_tags(path)
        item: dict[str, object] = {
            "id": file.get("id"),
            "genre": tags.genre,
            "moods": tags.moods,
            "occasions": tags.occasions,
            "keywords": tags.keywords,
        }
        match invented_tag(path, self.hallucinate):
            case ("genre", tag):
                item["genre"] = tag
            case ("mood" | "occasion" | "keyword" as kind, tag):
                item[f"{kind}s"] = (tag, *getattr(tags, f"{kind}s"))
            case _:
                pass
        return item


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

    async def answer(
        self, stream: trio.SocketStream, http: h11.Connection, received: Received, reply: Reply
    ) -> None:
        """Waits and sends as the reply says; ends without a word where the client has gone."""
        opened_at = received.at
        if reply.gate is not None:
            await reply.gate.wait()
            opened_at = trio.current_time()
        body = reply.body if isinstance(reply.body, bytes) else msgspec.json.encode(reply.body)
        head, tail = _wire(http, reply, body)
        # Counted from the request's arrival: a latency is what the client waits, our own work included.
        delay = self._standin.latency_seconds if reply.delay_seconds is None else reply.delay_seconds
        await trio.sleep_until(opened_at + delay)
        with suppress(trio.BrokenResourceError):
            if reply.drop is not None:
                await _break(stream, reply, head + body[: len(body) // 2] if reply.drop == "mid" else b"")
                return
            if reply.drip_bytes_per_second is not None:
                await _drip(stream, head + tail[:-1], reply.drip_bytes_per_second)
                head, tail = b"", tail[-1:]
            # Counted before the send: who has read the answer must not find its request still open.
            received.status = reply.status
            self._standin.answered += 1
            self.close()
            await stream.send_all(head + tail)


def _wire(http: h11.Connection, reply: Reply, body: bytes) -> tuple[bytes, bytes]:
    """The bytes of the head and of the body."""
    headers = {
        "content-type": "application/json; charset=UTF-8",
        "content-length": str(len(body)),
        **reply.headers,
    }
    head = http.send(h11.Response(status_code=reply.status, headers=list(headers.items()), reason=b"-"))
    tail = (http.send(h11.Data(data=body)) or b"") + (http.send(h11.EndOfMessage()) or b"")
    return head or b"", tail


async def _break(stream: trio.SocketStream, reply: Reply, sent_before: bytes) -> None:
    if sent_before:
        await stream.send_all(sent_before)
    if reply.reset:
        # Closing with a linger of zero seconds sends a reset in the place of an orderly end.
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
    await trio.aclose_forcefully(stream)


async def _drip(stream: trio.SocketStream, data: bytes, bytes_per_second: float) -> None:
    size = max(1, int(bytes_per_second / 20))
    for start in range(0, len(data), size):
        await stream.send_all(data[start : start + size])
        await trio.sleep(size / bytes_per_second)


async def _next_event(stream: trio.SocketStream, http: h11.Connection) -> object:
    while (event := http.next_event()) is h11.NEED_DATA:
        http.receive_data(await stream.receive_some())
    return event


async def _watch(stream: trio.SocketStream, http: h11.Connection, scope: trio.CancelScope) -> None:
    """Cancels the answer when the client has gone; keeps what it sends ahead of time."""
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        while data := await stream.receive_some():
            http.receive_data(data)
    scope.cancel()


def _mapped(item: Mapping[str, Any]) -> dict[str, object]:
    kind, tag = item.get("type"), item.get("tag")
    return {"type": kind, "invalid": tag, "valid": INVENTED.get((str(kind), str(tag)))}


def _model(name: str) -> dict[str, object]:
    return {
        "name": f"models/{name}",
        "version": "001",
        "displayName": name.replace("-", " ").title(),
        "inputTokenLimit": 1_048_576,
        "outputTokenLimit": 65_536,
        "supportedGenerationMethods": ["generateContent", "countTokens"],
    }


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
    parser = argparse.ArgumentParser(prog="python -m sidecar.demo.standin", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--hallucinate", type=float, default=0.0, metavar="SHARE")
    chosen = parser.parse_args()
    with suppress(KeyboardInterrupt):
        trio.run(_serve_until_stdin_ends, chosen.port, chosen.latency, chosen.hallucinate)


if __name__ == "__main__":
    main()
