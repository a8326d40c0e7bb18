"""A stand-in, and a real httpx client over real sockets."""

from collections.abc import AsyncIterator

import httpx
import pytest

from sidecar.demo.standin import StandIn, running


@pytest.fixture
async def standin() -> AsyncIterator[StandIn]:
    async with running() as standin:
        yield standin


@pytest.fixture
async def client(standin: StandIn) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=standin.base_url, timeout=10, trust_env=False) as client:
        yield client
