"""gemini: in an outage the next probe leaves only when the one before has been judged, whatever answered it."""

import itertools

import pytest

from sidecar.demo import standin
from sidecar.demo.standin import Reply
from tests.trust.virtual import LATENCY_SECONDS, Server, check, in_virtual_time, tag

DOWN, FOREIGN, BATCHES, PARALLEL = 8, 6, 12, 3


@pytest.mark.parametrize("status", [200, 302])
async def test_a_probe_that_a_captive_portal_answers_is_followed_by_a_wait(status: int) -> None:
    page = Reply(status=status, body=b"<html>Log in</html>", headers={"content-type": "text/html"})

    def answer(number: int) -> Reply | None:
        if number <= DOWN:
            return standin.unavailable()
        return page if number <= DOWN + FOREIGN else None

    async def case() -> None:
        server = Server(lambda received: answer(received.number))
        done = await tag(server, batches=BATCHES, size=1, parallel=PARALLEL)
        check(server, done, files=BATCHES, parallel=PARALLEL)
        assert (len(done.tagged), done.failed) == (BATCHES, {})
        probes = [exchange.sent_at for exchange in server.journal[DOWN : DOWN + FOREIGN + 1]]
        waits = [later - sent - LATENCY_SECONDS for sent, later in itertools.pairwise(probes)]
        assert min(waits) >= 0.5, waits

    await in_virtual_time(case)
