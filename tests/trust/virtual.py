"""Batches that ask Gemini in virtual time: the program's client, SDK, retries and pace over a made-up transport.

No socket and no thread is awaited while the clock stands still, so ten minutes pass in a moment.
"""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Final

import httpx
import msgspec
import trio
import trio.testing
from msgspec import Struct

from sidecar.contract import TagType
from sidecar.demo import standin
from sidecar.demo.standin import Received, Reply, Script
from sidecar.demo.vocabulary import VOCABULARY
from sidecar.gemini.backoff import Limits
from sidecar.gemini.calls import Calls
from sidecar.gemini.client import open_client
from sidecar.gemini.meter import Meter
from sidecar.gemini.pace import Pace
from sidecar.gemini.requests import ApiVersion
from sidecar.gemini.verdicts import End
from sidecar.runs.batch import Asked, Batch, Found
from sidecar.runs.knowledge import Knowledge
from sidecar.runs.prompt import prompt_for
from sidecar.settings import Settings
from sidecar.tagging.records import Snapshot
from sidecar.tagging.tags import AudioFile, Before
from sidecar.tagging.vocabulary import Vocabulary, VocabularyTag
from tests import harness

ROOT: Final = f"{harness.HOME}/"
LATENCY_SECONDS: Final = 0.4
_CHUNK_BYTES: Final = 65_536
_KNOWN: Final = Vocabulary(VocabularyTag(TagType(row[0].removesuffix("s")), row[1]) for row in VOCABULARY)


class Exchange(Struct):
    """One request: when it was sent and over, and until when its answer forbids to send another."""

    sent_at: float
    over_at: float = math.inf
    closed_until: float = -math.inf


class _Served(Exchange, kw_only=True):
    received: Received


class Server(httpx.AsyncBaseTransport):
    """In the place of the network: answers by a script of the stand-in's, after a latency of virtual time."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.journal: list[_Served] = []
        self.open = self.peak_open = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises NotSent where the request may not be sent any more, httpx's errors where the script says so."""
        await request.extensions["trace"]("http11.send_request_headers.started", {})
        now = trio.current_time()
        headers = {name.lower(): value for name, value in request.headers.items()}
        path = request.url.raw_path.decode()
        number = len(self.journal) + 1
        received = Received(number, now, request.method, path, headers, await request.aread())
        exchange = _Served(now, received=received)
        self.journal.append(exchange)
        self.open += 1
        self.peak_open = max(self.peak_open, self.open)
        try:
            reply = self.script(received) or standin.ok(harness.answers(received))
            await trio.sleep(LATENCY_SECONDS if reply.delay_seconds is None else reply.delay_seconds)
            _unless_dropped(reply)
            exchange.closed_until = trio.current_time() + announced_seconds(reply)
        except BaseException:
            self.over(exchange)
            raise
        content = standin.ok(harness.answers(received)).body if reply.body is None else reply.body
        body = content if isinstance(content, bytes) else msgspec.json.encode(content)
        response_headers = {"content-type": "application/json", **reply.headers}
        return httpx.Response(reply.status, headers=response_headers, stream=_Body(self, exchange, reply, body))

    def over(self, exchange: Exchange) -> None:
        """The answer is complete, or its connection gone. Idempotent."""
        if exchange.over_at == math.inf:
            exchange.over_at = trio.current_time()
            self.open -= 1


class _Body(httpx.AsyncByteStream):
    def __init__(self, server: Server, exchange: Exchange, reply: Reply, body: bytes) -> None:
        self._server, self._exchange, self._reply, self._body = server, exchange, reply, body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        speed = self._reply.drip_bytes_per_second
        size = _CHUNK_BYTES if speed is None else 1
        for start in range(0, len(self._body), size):
            if speed is not None:
                await trio.sleep(1 / speed)
            yield self._body[start : start + size]
            if self._reply.drop == "mid":
                raise _broken(self._reply)
        self._server.over(self._exchange)

    async def aclose(self) -> None:
        self._server.over(self._exchange)


def _unless_dropped(reply: Reply) -> None:
    if reply.drop == "before":
        raise _broken(reply)


def _broken(reply: Reply) -> httpx.TransportError:
    return httpx.ReadError("reset") if reply.reset else httpx.RemoteProtocolError("the server disconnected")


def announced_seconds(reply: Reply) -> float:
    """The delay that a 429 or 503 asks for in `RetryInfo` or in whole seconds of `Retry-After`."""
    error = reply.body.get("error") if isinstance(reply.body, dict) else None
    details = error.get("details", ()) if isinstance(error, dict) else ()
    asked = [float(str(detail.get("retryDelay", "0s")).removesuffix("s")) for detail in details]
    after = reply.headers.get("retry-after", "")
    return max([*asked, float(after) if after.isdecimal() else 0.0])


class Tagged(Struct):
    """What a run came to. `tagged` and the keys of `failed` are file ids, the values reasons with sentences."""

    status: str
    message: str
    tagged: set[int]
    failed: dict[int, tuple[str, str]]
    requests: int
    retries: int
    seconds: float


async def tag(
    transport: httpx.AsyncBaseTransport, *, batches: int, size: int, parallel: int, **changes: object
) -> Tagged:
    """Asks for the tags of `batches` × `size` files as a run does; with a Server in virtual time."""
    settings = Settings(api_key=harness.KEY, base_url="http://gemini.invalid", max_parallel=parallel)
    settings = msgspec.structs.replace(settings, **changes)
    limits = Limits(
        settings.max_attempts,
        settings.backoff_base_seconds,
        settings.backoff_max_seconds,
        settings.outage_max_seconds,
    )
    knowledge, meter, began = Knowledge(), Meter(), trio.current_time()
    knowledge.vocabulary = _KNOWN
    prompt = prompt_for(settings, _KNOWN, ROOT)
    done, ends = list[Asked](), list[End]()
    async with open_client(settings, transport) as client:
        calls = Calls(client, ApiVersion(), Pace(parallel, limits), limits, lambda: None)
        places = trio.Semaphore(parallel + 1)
        async with trio.open_nursery() as nursery:

            async def ask(number: int) -> None:
                batch = Batch(
                    number, Found(_files(number, size)), generation=0, exclusions_version=0, run_meter=meter
                )
                asked = await batch.ask(calls, prompt, knowledge, _all_allowed)
                if isinstance(asked, End):
                    ends.append(asked)
                    nursery.cancel_scope.cancel()
                else:
                    done.append(asked)
                places.release()

            for number in range(1, batches + 1):
                await places.acquire()
                nursery.start_soon(ask, number)
    return Tagged(
        status=ends[0].status.value if ends else "completed",
        message=ends[0].message if ends else "",
        tagged={file_id for asked in done for file_id in asked.tags},
        failed={i: (f.reason.value, f.message) for asked in done for i, f in asked.not_tagged.items()},
        requests=meter.usage.requests,
        retries=meter.usage.retries,
        seconds=trio.current_time() - began,
    )


def _files(batch: int, size: int) -> Sequence[Snapshot]:
    first = (batch - 1) * size + 1
    return [
        Snapshot(AudioFile(number, f"{ROOT}Dungeon/Drips {number}.mp3", f"Drips {number}"), Before())
        for number in range(first, first + size)
    ]


async def in_virtual_time(case: Callable[[], Awaitable[None]]) -> None:
    """Runs the case under a clock that jumps wherever everybody waits."""
    clock = partial(trio.testing.MockClock, autojump_threshold=0)
    await trio.to_thread.run_sync(lambda: trio.run(case, clock=clock()))


def check(server: Server, tagged: Tagged, *, files: int, parallel: int) -> None:
    """What holds whatever the server answered: places, delays, counts, one outcome for each file, no key."""
    assert server.peak_open <= parallel, f"{server.peak_open} requests at once"
    assert not early(server.journal), f"sent before a delay had passed: {early(server.journal)[0]}"
    assert tagged.requests == len(server.journal) and tagged.retries < max(1, tagged.requests), tagged
    assert not tagged.tagged & tagged.failed.keys()
    assert tagged.status != "completed" or tagged.tagged | tagged.failed.keys() == set(range(1, files + 1))
    said = f"{tagged.message} {tagged.failed}"
    assert harness.KEY not in said and harness.USER not in said, "a key or a name got out"
    for exchange in server.journal:
        assert harness.USER.encode() not in exchange.received.body, "a user's name was sent"


def refusals(journal: Sequence[Exchange]) -> list[Exchange]:
    """The requests whose answer asked for a delay."""
    return [exchange for exchange in journal if exchange.closed_until > exchange.over_at]


def early(journal: Sequence[Exchange]) -> list[Exchange]:
    """The requests that were sent after a delay had been announced and before it had passed."""
    found, closed_until, waiting = [], -math.inf, sorted(journal, key=lambda exchange: exchange.over_at)
    for exchange in journal:
        while waiting and waiting[0].over_at < exchange.sent_at:
            closed_until = max(closed_until, waiting.pop(0).closed_until)
        if exchange.sent_at < closed_until - 1e-9:
            found.append(exchange)
    return found


async def _all_allowed(ids: Sequence[int]) -> Sequence[int]:
    return ids
