"""Waiting as Gemini asks: no request before an announced delay has passed, few in a long outage.

Over real HTTP a request may be on its way while the server announces a delay, so there the first instant is
not counted. In virtual time every instant is. Of what came too early it is told how much of it was sent while the
sidecar took long to answer `status`: on a loaded machine it may not have read the refusal yet. That excuses none.
"""

import itertools
import tempfile
from functools import partial
from pathlib import Path
from typing import Final

import trio

from sidecar.demo import standin
from sidecar.demo.standin import Received, Reply, ServerRate
from tests import harness
from tests.trust.row import Counts, Figure, Row, attempt, each
from tests.trust.virtual import Server, check, early, in_virtual_time, tag

PARALLEL, FILES = 32, 64
LIMIT, PER_SECONDS, GRACE_SECONDS = 4, 0.8, 0.3
REFUSAL_SECONDS: Final = 0.1
"""How long a refusal takes, so that many requests are under way when the first one comes."""
REFUSALS_A_RUN: Final = 36
LONGEST_RUN_SECONDS: Final = 4
ASKED_SECONDS, SLOW_SECONDS = 0.02, 0.03
"""How often the sidecar is asked for its `status`, and from when on its answer is late."""
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
    """`size` refusals over real HTTP, and as many in virtual time."""
    rate, counts, slow = ServerRate(LIMIT, PER_SECONDS, GRACE_SECONDS), Counts(), list[tuple[float, float]]()
    counts.failures += await attempt("over real HTTP", partial(_refused_for_real, rate, size, slow))
    journal: list[tuple[int, int]] = []
    counts.failures += await attempt("in virtual time", partial(in_virtual_time, partial(_refused, size, journal)))
    early_at = [received.at for received in rate.early]
    refused, premature = (sum(numbers) for numbers in zip(*journal, strict=True)) if journal else (0, 0)
    counts.done = rate.refused
    while_slow = sum(any(since < at and at - PER_SECONDS < until for since, until in slow) for at in early_at)
    counts.figures += [
        Figure("sent too early", len(early_at), at_most=0),
        Figure("sent while the sidecar was slow to read", while_slow),
        Figure("refusals in virtual time", refused, at_least=size),
        Figure("sent too early, in virtual time", premature, at_most=0),
    ]
    return counts


async def _refused_for_real(rate: ServerRate, size: int, slow: list[tuple[float, float]]) -> None:
    """Run after run, each beginning with all that it may send at once; cancelled when it has slowed down."""

    def script(received: Received) -> Reply | None:
        reply = rate(received)
        if reply is not None:
            reply.delay_seconds = REFUSAL_SECONDS
        return reply

    with tempfile.TemporaryDirectory() as folder:
        library = harness.library(Path(folder), FILES)
        async with (
            standin.running(script=script) as gemini,
            harness.start(library, gemini) as subject,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(_watch, subject, slow)
            while rate.refused < size:
                enough, ids = rate.refused + REFUSALS_A_RUN, list(range(1, FILES + 1))
                started = await subject.result("auto_tag_files", batch_size=1, max_parallel=PARALLEL, file_ids=ids)
                deadline = trio.current_time() + LONGEST_RUN_SECONDS
                while rate.refused < enough and trio.current_time() < deadline:  # noqa: ASYNC110 - nothing tells
                    await trio.sleep(0.02)
                await subject.result("cancel")
                await subject.complete(started["run_id"])
                # Each run is to begin with a burst: the next would wait for what is left of this one's delay.
                await trio.sleep(rate.per_seconds)
            nursery.cancel_scope.cancel()


async def _watch(subject: harness.Client, slow: list[tuple[float, float]]) -> None:
    """Notes from when to when the sidecar was slow to answer."""
    while True:
        asked_at = trio.current_time()
        await subject.result("status")
        if trio.current_time() > asked_at + SLOW_SECONDS:
            slow.append((asked_at, trio.current_time()))
        await trio.sleep(ASKED_SECONDS)


async def _refused(size: int, journal: list[tuple[int, int]]) -> None:
    while sum(refused for refused, _ in journal) < size:
        server = Server(ServerRate(limit=4, per_seconds=30))
        await tag(server, batches=FILES, size=1, parallel=PARALLEL)
        refused = [exchange for exchange in server.journal if exchange.closed_until > exchange.over_at]
        journal.append((len(refused), len(early(server.journal))))


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
