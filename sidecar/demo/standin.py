"""A stand-in for the Gemini API: real HTTP on loopback, the real JSON shapes, faults on demand.

The laws of this module. A request for which the script has no reply gets the normal answer: plausible tags,
the same for the same path in every process. A client that goes away is noticed at once, wherever its
request stands. `python -m sidecar.demo.standin` serves benchmarks in another process until its stdin ends.
"""

import argparse
import os
import re
import socket
import struct
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, Final, Literal

import h11
import msgspec
import trio

from sidecar.demo.vocabulary import INVENTED, invented_tag, plausible_tags

__all__ = [
    "MODELS", "Received", "Reply", "Script", "ServerRate", "StandIn", "blocked_prompt", "error", "finish",
    "html_page", "key_invalid", "model_not_found", "ok", "per_day", "rate_limited", "running", "text_reply",
    "unavailable", "unknown_name",
]  # fmt: skip

MODELS: Final = ("gemini-3.5-flash-lite", "gemini-3.1-flash-lite", "gemini-3.8-flash")
_ROUTE: Final = re.compile(r"/(v1|v1beta)/models(?:/([^/:?]+)(:generateContent)?)?(?:\?.*)?")
_RPC: Final = "type.googleapis.com/google.rpc."
_SERVICE: Final = "generativelanguage.googleapis.com"
_LINGER_ZERO: Final = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


class _Part(msgspec.Struct):
    text: str = ""


class _Content(msgspec.Struct):
    parts: list[_Part] = []


class _Envelope(msgspec.Struct, rename="camel"):
    """What of a generateContent body the normal answer looks at; msgspec skips the rest unread."""

    contents: list[_Content] = []
    system_instruction: _Content | None = None


@dataclass
class Received:
    """One request as it arrived: `number` counts from 1, `at` is `trio.current_time()` of its last byte.

    `headers` has lower-case names. `status` is that of the answer from the moment its last bytes go to the
    socket; None while the request is open, and for ever where the connection broke before.
    """

    number: int
    at: float
    method: str
    path: str
    headers: dict[str, str]
    body: bytes = field(repr=False)
    status: int | None = None

    @cached_property
    def json(self) -> Any:
        """The whole body decoded. Raises msgspec.DecodeError where it is not JSON."""
        return msgspec.json.decode(self.body)

    @cached_property
    def _envelope(self) -> _Envelope:
        try:
            return msgspec.json.decode(self.body, type=_Envelope)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return _Envelope()

    @property
    def model(self) -> str:
        """The model id in the path, "" where there is none."""
        match = _ROUTE.fullmatch(self.path)
        return (match and match[2]) or ""

    @property
    def system(self) -> str:
        """The text of the system instruction, "" where there is none."""
        content = self._envelope.system_instruction
        return "".join(part.text for part in content.parts) if content else ""

    @cached_property
    def user(self) -> dict[str, Any]:
        """The JSON object in the text of the first user part, {} where there is none."""
        try:
            value = msgspec.json.decode(self._envelope.contents[0].parts[0].text)
        except (IndexError, msgspec.DecodeError, UnicodeError):
            return {}
        return value if isinstance(value, dict) else {}

    @property
    def files(self) -> list[dict[str, Any]]:
        """The files that a tagging request asks about, [] in any other request."""
        return list(self.user.get("files", ()))

    @property
    def invalid_tags(self) -> list[dict[str, Any]]:
        """The `{type, tag}` objects that a mapping request asks about, [] in any other request."""
        return list(self.user.get("invalid_tags", ()))

    @property
    def kind(self) -> Literal["tagging", "mapping", "other"]:
        """What is asked for, by the fields of the user part."""
        return "tagging" if "files" in self.user else "mapping" if "invalid_tags" in self.user else "other"


@dataclass
class Reply:
    """What to answer, and how badly. `body` None is the normal answer, bytes go out as they are, else JSON.

    The waits, in order: `gate` until it is set, then `delay_seconds` (None: the stand-in's latency).
    `drop` breaks the connection before any byte or in the middle of the body, by a reset or, with
    `reset=False`, by an orderly close. `drip_bytes_per_second` sends the body that slowly.
    """

    status: int = 200
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_seconds: float | None = None
    gate: trio.Event | None = None
    drop: Literal["before", "mid"] | None = None
    reset: bool = True
    drip_bytes_per_second: float | None = None


Script = Callable[[Received], Reply | None]
"""Called once for each request, in order of arrival; None is the normal answer."""


def _usage(prompt: int, output: int, cached: int = 0) -> dict[str, object]:
    usage: dict[str, object] = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": output,
        "totalTokenCount": prompt + output,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": prompt}],
    }
    # As the API does: the cached tokens are counted in the prompt's too, and the field is absent at zero.
    return usage | {"cachedContentTokenCount": cached} if cached else usage


def _json_text(value: object) -> str:
    return msgspec.json.encode(value).decode()


def text_reply(text: str, finish: str = "STOP", usage: Mapping[str, object] | None = None) -> Reply:
    """A 200 whose one candidate says `text`; `usage` defaults to a plausible one."""
    return Reply(
        body={
            "candidates": [
                {"content": {"parts": [{"text": text}], "role": "model"}, "finishReason": finish, "index": 0}
            ],
            "usageMetadata": usage if usage is not None else _usage(1000, 1 + len(text) // 4),
            "modelVersion": MODELS[0],
            "responseId": "c3RhbmQtaW4",
        }
    )


def ok(items: object, finish: str = "STOP", usage: Mapping[str, object] | None = None) -> Reply:
    """A 200 whose text is `items` as JSON."""
    return text_reply(_json_text(items), finish, usage)


def finish(reason: str) -> Reply:
    """A 200 whose candidate has a finish reason and no content, as SAFETY or RECITATION come."""
    usage = {"promptTokenCount": 171, "totalTokenCount": 171}
    return Reply(body={"candidates": [{"finishReason": reason, "index": 0}], "usageMetadata": usage})


def blocked_prompt(reason: str = "PROHIBITED_CONTENT") -> Reply:
    """A 200 without candidates: the prompt itself was blocked."""
    return Reply(body={"promptFeedback": {"blockReason": reason}, "usageMetadata": {"promptTokenCount": 171}})


def html_page() -> Reply:
    """A 200 that is no JSON: what a captive portal answers in the API's place."""
    page = b"<!DOCTYPE html><html><head><title>Wi-Fi</title></head><body>Please sign in.</body></html>"
    return Reply(body=page, headers={"content-type": "text/html; charset=utf-8"})


def error(status: int, message: str, google_status: str, details: Sequence[object] = ()) -> Reply:
    """An error in Google's envelope; `details` are left out when empty, as the API does."""
    body: dict[str, object] = {"code": status, "message": message, "status": google_status}
    return Reply(status, {"error": body | {"details": list(details)} if details else body})


def rate_limited(
    delay: str | None = "1s",
    quota_id: str = "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
    *,
    quota_value: int = 15,
) -> Reply:
    """A 429 with a QuotaFailure and, unless `delay` is None, a RetryInfo ("1s", "4.2s")."""
    violation = {
        "quotaMetric": f"{_SERVICE}/generate_content_free_tier_requests",
        "quotaId": quota_id,
        "quotaDimensions": {"location": "global", "model": MODELS[0]},
        "quotaValue": str(quota_value),
    }
    link = {
        "description": "Learn more about Gemini API quotas",
        "url": "https://ai.google.dev/gemini-api/docs",
    }
    message = (
        "You exceeded your current quota, please check your plan and billing details. \n* Quota exceeded for"
        f" metric: {violation['quotaMetric']}, limit: {quota_value}, model: {MODELS[0]}"
    )
    details: list[object] = [
        {"@type": _RPC + "QuotaFailure", "violations": [violation]},
        {"@type": _RPC + "Help", "links": [link]},
    ]
    if delay is not None:
        message += f"\nPlease retry in {delay}."
        details.append({"@type": _RPC + "RetryInfo", "retryDelay": delay})
    return error(429, message, "RESOURCE_EXHAUSTED", details)


def per_day(delay: str | None = "36s") -> Reply:
    """A 429 of a per-day quota, with the worthless short delay that really stands beside it."""
    return rate_limited(delay, "GenerateRequestsPerDayPerProjectPerModel-FreeTier", quota_value=20)


def key_invalid(message: str = "API key not valid. Please pass a valid API key.") -> Reply:
    """The 400 that a bad key gets."""
    info = {"reason": "API_KEY_INVALID", "domain": "googleapis.com", "metadata": {"service": _SERVICE}}
    localized = {"@type": _RPC + "LocalizedMessage", "locale": "en-US", "message": message}
    return error(400, message, "INVALID_ARGUMENT", [{"@type": _RPC + "ErrorInfo"} | info, localized])


def unavailable(retry_after: str | None = None) -> Reply:
    """A 503 of an overloaded model, with a Retry-After header where one is given."""
    reply = error(503, "The model is overloaded. Please try again later.", "UNAVAILABLE")
    reply.headers = {} if retry_after is None else {"retry-after": retry_after}
    return reply


def model_not_found(model: str = MODELS[0], version: str = "v1beta") -> Reply:
    """The 404 of a model that is retired, unknown or closed to this key."""
    return error(
        404,
        f"models/{model} is not found for API version {version}, or is not supported for generateContent."
        " Call ListModels to see the list of available models and their supported methods.",
        "NOT_FOUND",
    )


def unknown_name(name: str) -> Reply:
    """The 400 of an API version that does not know a field."""
    message = f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.'
    bad_request = {"@type": _RPC + "BadRequest", "fieldViolations": [{"description": message}]}
    return error(400, message, "INVALID_ARGUMENT", [bad_request])


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
        match = _ROUTE.fullmatch(received.path)
        if match and match[3] and received.method == "POST":
            return self._generated(received)
        if match and not match[3] and received.method == "GET":
            return Reply(body=_model(match[2]) if match[2] else {"models": [_model(name) for name in MODELS]})
        return error(404, "Requested entity was not found.", "NOT_FOUND")

    def _generated(self, received: Received) -> Reply:
        match received.kind:
            case "tagging":
                text = _json_text([self._tagged(file) for file in received.files])
            case "mapping":
                text = _json_text([_mapped(item) for item in received.invalid_tags])
            case "other":
                text = "OK"
        system = received.system
        cached = len(system) // 4 if system in self._systems_seen else 0
        self._systems_seen.add(system)
        reply = text_reply(text, usage=_usage(len(received.body) // 4, 1 + len(text) // 4, cached))
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
        if reply.gate is not None:
            await reply.gate.wait()
        await trio.sleep(self._standin.latency_seconds if reply.delay_seconds is None else reply.delay_seconds)
        body = reply.body if isinstance(reply.body, bytes) else msgspec.json.encode(reply.body)
        head, tail = _wire(http, reply, body)
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
