"""gemini: a refusal that is being read holds everybody; one that never comes whole is judged by its number."""

from dataclasses import replace

import pytest
import trio

from sidecar.demo import standin
from sidecar.demo.standin import Received, Reply, ServerRate
from sidecar.gemini.places import LONGEST_REFUSAL_SECONDS
from tests.trust.stamped import Stamped
from tests.trust.virtual import Server, Tagged, check, early, in_virtual_time, tag

BATCHES, PARALLEL = 12, 3
UNHURRIED = 200.0
"""Bytes a second: these pages of Gemini's take 0.5 to 4 seconds so."""


async def refused_once(refusal: Reply, second: int = 1) -> tuple[Server, Tagged]:
    """A run whose `second`-th request is answered so."""
    found: list[tuple[Server, Tagged]] = []

    async def case() -> None:
        server = Server(lambda received: refusal if received.number == second else None)
        done = await tag(server, batches=BATCHES, size=1, parallel=PARALLEL)
        check(server, done, files=BATCHES, parallel=PARALLEL)
        found.append((server, done))

    await in_virtual_time(case)
    return found[0]


@pytest.mark.parametrize("refusal", [standin.rate_limited("30s"), standin.unavailable("30")])
@pytest.mark.parametrize("number", [1, 5])
async def test_nothing_is_sent_while_a_refusal_is_read(refusal: Reply, number: int) -> None:
    server, done = await refused_once(replace(refusal, drip_bytes_per_second=UNHURRIED), number)
    refused = server.journal[number - 1]
    assert refused.over_at > refused.sent_at + 0.8
    assert not [e for e in server.journal if refused.sent_at + 0.5 < e.sent_at < refused.over_at + 30]
    assert len(done.tagged) == BATCHES


@pytest.mark.parametrize("status", [429, 503, 504])
async def test_a_refusal_that_never_comes_whole_is_one_all_the_same(status: int) -> None:
    refusal = replace(standin.error(status, "Later." * 1000, "UNAVAILABLE"), drip_bytes_per_second=1)
    server, done = await refused_once(refusal)
    refused = server.journal[0]
    assert refused.over_at - refused.sent_at < 1 + LONGEST_REFUSAL_SECONDS
    assert (len(done.tagged), done.retries) == (BATCHES, 1)


async def test_a_429_that_never_comes_whole_uses_up_no_attempts_and_begins_no_outage() -> None:
    refusal = replace(standin.rate_limited("1s"), drip_bytes_per_second=1)
    found: list[Tagged] = []

    async def case() -> None:
        server = Server(lambda received: refusal if received.number <= 7 else None)
        found.append(await tag(server, batches=BATCHES, size=1, parallel=1))
        check(server, found[0], files=BATCHES, parallel=1)

    await in_virtual_time(case)
    assert (len(found[0].tagged), found[0].retries) == (BATCHES, 7)


async def test_over_sockets_nothing_is_sent_once_the_head_of_a_refusal_has_been_read() -> None:
    http = Stamped()

    def slow_to_refuse(received: Received) -> Reply | None:
        reply = rate(received)
        return reply and replace(reply, delay_seconds=0.1)

    rate = ServerRate(limit=4, per_seconds=0.8)
    async with standin.running(script=http.script(slow_to_refuse)) as gemini:
        with trio.fail_after(60):
            await tag(http, batches=40, size=1, parallel=32, base_url=gemini.base_url)
    assert http.refused() >= 20
    assert not early(http.journal)
