"""The stand-in for Gemini: a rate that it keeps."""

import httpx
import pytest

from sidecar.demo.standin import Received, Reply, ServerRate, StandIn
from tests.standin.scenes import PATHS, URL, tagging


async def test_a_server_rate_refuses_what_is_beyond_it(standin: StandIn, client: httpx.AsyncClient) -> None:
    standin.script = rate = ServerRate(limit=2, per_seconds=60)
    standin.latency_seconds = 0.01
    statuses = [(await client.post(URL, json=tagging(*PATHS))).status_code for _ in range(3)]
    assert (statuses, rate.refused, rate.early) == ([200, 200, 429], 1, [])


def received_at(at: float, method: str = "POST") -> Received:
    return Received(1, at, method, URL, {}, b"")


def announced_seconds(reply: Reply) -> float:
    assert isinstance(reply.body, dict)
    return float(reply.body["error"]["details"][-1]["retryDelay"].removesuffix("s"))


def test_a_client_that_waits_as_long_as_announced_is_served() -> None:
    rate = ServerRate(limit=1, per_seconds=0.3)
    for begin in (0.1, 7.7, 1234.56789):
        assert rate(received_at(begin)) is None
        refusal = rate(received_at(begin + 0.1))
        assert refusal is not None
        assert rate(received_at(begin + 0.1 + announced_seconds(refusal))) is None
    assert rate.early == []


def test_a_server_rate_records_who_comes_before_the_announced_delay_has_passed() -> None:
    rate = ServerRate(limit=1, per_seconds=10)
    assert rate(received_at(0)) is None
    refusal = rate(received_at(1))
    assert refusal is not None and refusal.status == 429 and refusal.delay_seconds == 0
    assert announced_seconds(refusal) == pytest.approx(9.001)
    on_its_way, early = received_at(1.01), received_at(5)
    assert rate(on_its_way) is not None and rate(early) is not None
    assert rate(received_at(6, "GET")) is None
    assert rate(received_at(10)) is None
    assert rate.early == [early] and rate.refused == 3
