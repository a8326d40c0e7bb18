"""Waiting as Gemini asks: no request before an announced delay has passed, few in a long outage.

What comes to a server while a delay runs may have been on its way, so of the program's requests the first instant
is not counted. Stamped by the client, over real HTTP too, every instant is; so it is in virtual time.
"""

import itertools
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import trio

from sidecar.demo import standin
from sidecar.demo.standin import Received, Reply, Script, ServerRate
from tests import harness
from tests.trust.row import Counts, Figure, Row, attempt, each
from tests.trust.stamped import Stamped
from tests.trust.virtual import Server, check, early, in_virtual_time, refusals, tag

PARALLEL, FILES = 32, 64
LIMIT, PER_SECONDS, GRACE_SECONDS = 4, 0.8, 0.3
REFUSAL_SECONDS: Final = 0.1
"""How long a refusal takes, so that many requests are under way when the first one comes."""
REFUSALS_A_RUN: Final = 28
LONGEST_RUN_SECONDS: Final = 4
OUTAGE_SECONDS: Final = 600
MOST_IN_OUTAGE: Final = 60
FAILING: Final = {
    "503": (standin.unavailable(),),
    "503 with Retry-After": (standin.unavailable("5"),),
    "500": (standin.error(500, "An internal error has occurred.", "INTERNAL"),),
    "reset": (Reply(drop="before"),),
    "reset in mid-body": (Reply(drop="mid"),),
    "503, 503, 429": (standin.unavailable(), standin.unavailable(), standin.rate_limited("1s")),
    "503, 503, 429 without a delay": (standin.unavailable(), standin.unavailable(), standin.rate_limited(None)),
}
"""What an outage answers, in turn."""


# --- delays ---------------------------------------------------------------------------------------


async def run_delays(size: int, _seed: int) -> Counts:
    """`size` refusals over real HTTP, half of them the real program's, and as many in virtual time."""
    rate, counts = ServerRate(LIMIT, PER_SECONDS, GRACE_SECONDS), Counts()
    stamped, virtual = list[tuple[int, int]](), list[tuple[int, int]]()
    half = size // 2
    counts.failures += await attempt("the program over real HTTP", partial(_program_refused, half, rate))
    counts.failures += await attempt("stamped, over real HTTP", partial(_stamped_refused, size - half, stamped))
    counts.failures += await attempt("in virtual time", partial(in_virtual_time, partial(_refused, size, virtual)))
    stamped_refused, stamped_early = _sums(stamped)
    virtual_refused, virtual_early = _sums(virtual)
    counts.done = rate.refused + stamped_refused
    counts.figures += [
        Figure("come to the server too early", len(rate.early), at_most=0),
        Figure("refusals stamped by the client", stamped_refused, at_least=size - half),
        Figure("sent by the client too early", stamped_early, at_most=0),
        Figure("refusals in virtual time", virtual_refused, at_least=size),
        Figure("sent too early, in virtual time", virtual_early, at_most=0),
    ]
    return counts


def _sums(journal: list[tuple[int, int]]) -> tuple[int, int]:
    return sum(refused for refused, _ in journal), sum(premature for _, premature in journal)


def _slow_to_refuse(rate: ServerRate) -> Script:
    def script(received: Received) -> Reply | None:
        reply = rate(received)
        if reply is not None:
            reply.delay_seconds = REFUSAL_SECONDS
        return reply

    return script


async def _program_refused(size: int, rate: ServerRate) -> None:
    """Run after run, each beginning with all that it may send at once; cancelled when it has slowed down."""
    with tempfile.TemporaryDirectory() as folder:
        library = harness.library(Path(folder), FILES)
        async with (
            standin.running(script=_slow_to_refuse(rate)) as gemini,
            harness.start(library, gemini) as subject,
        ):
            while rate.refused < size:
                enough, ids = rate.refused + REFUSALS_A_RUN, list(range(1, FILES + 1))
                started = await subject.result("auto_tag_files", batch_size=1, max_parallel=PARALLEL, file_ids=ids)
                await _until(lambda: rate.refused, enough)
                await subject.result("cancel")
                await subject.complete(started["run_id"])
                # Each run is to begin with a burst: the next would wait for what is left of this one's delay.
                await trio.sleep(rate.per_seconds)


async def _stamped_refused(size: int, journal: list[tuple[int, int]]) -> None:
    """The same with the program's client in this process; `journal`: how many were refused, how many early."""
    while _sums(journal)[0] < size:
        rate, http = ServerRate(LIMIT, PER_SECONDS), Stamped()
        async with (
            standin.running(script=http.script(_slow_to_refuse(rate))) as gemini,
            trio.open_nursery() as nursery,
        ):
            asked = partial(tag, http, batches=FILES, size=1, parallel=PARALLEL, base_url=gemini.base_url)
            nursery.start_soon(asked)
            await _until(http.refused, REFUSALS_A_RUN)
            nursery.cancel_scope.cancel()
        journal.append((http.refused(), len(early(http.journal))))


async def _until(count: Callable[[], int], enough: int) -> None:
    deadline = trio.current_time() + LONGEST_RUN_SECONDS
    while count() < enough and trio.current_time() < deadline:  # noqa: ASYNC110 - nothing tells
        await trio.sleep(0.02)


async def _refused(size: int, journal: list[tuple[int, int]]) -> None:
    while _sums(journal)[0] < size:
        server = Server(ServerRate(limit=4, per_seconds=30))
        await tag(server, batches=FILES, size=1, parallel=PARALLEL)
        journal.append((len(refusals(server.journal)), len(early(server.journal))))


# --- outages --------------------------------------------------------------------------------------


async def run_outages(size: int, _seed: int) -> Counts:
    """`size` outages of ten minutes, of every kind, from the first request on or from the twentieth."""
    sent: list[int] = []
    kinds = itertools.islice(itertools.cycle(itertools.product(FAILING, (0, 20))), size)
    counts = await each(
        (f"outage {number}, {kind} after {after}", partial(in_virtual_time, partial(_outage, kind, after, sent)))
        for number, (kind, after) in enumerate(kinds)
    )
    counts.figures.append(Figure("requests in one outage, most", max(sent, default=0), at_most=MOST_IN_OUTAGE))
    return counts


async def _outage(kind: str, after: int, sent: list[int]) -> None:
    began = 0.0 if not after else float("inf")

    def script(received: Received) -> Reply | None:
        nonlocal began
        if received.number == after:
            began = received.at
        replies = FAILING[kind]
        is_out = began <= received.at < began + OUTAGE_SECONDS
        return replies[received.number % len(replies)] if is_out else None

    server = Server(script)
    began = trio.current_time() if not after else began
    done = await tag(server, batches=60, size=2, parallel=8)
    check(server, done, files=120, parallel=8)
    within = [e for e in server.journal if began <= e.sent_at < began + OUTAGE_SECONDS]
    assert done.status in ("completed", "failed") and len(within) > 5, done
    assert {reason for reason, _ in done.failed.values()} <= {"service_unavailable"}
    sent.append(len(within))


DELAYS = Row("delays", "Answers 429; no request before a delay had passed", (1000, 10_000), run_delays)
OUTAGES = Row("outages", "Ten-minute outages at 8 in parallel", (30, 1000), run_outages)
