"""gemini: a computer that sleeps in an outage. On Windows the clock goes on meanwhile; here it jumps."""

import pytest
import trio
import trio.testing

from sidecar.demo.standin import Received, Reply
from tests.trust.virtual import Server, Tagged, check, in_virtual_time, tag

FILES, SIZE, PARALLEL = 60, 10, 3
NIGHT_SECONDS = 8 * 3600.0


class Night:
    """The network is gone until the computer has slept, and for `minutes_more` after that."""

    def __init__(self, minutes_more: float) -> None:
        self.over_at: float | None = None
        self._more_seconds = 60 * minutes_more

    def falls(self) -> None:
        """The lid is closed, and opened the next morning."""
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, trio.testing.MockClock)
        clock.jump(NIGHT_SECONDS)
        self.over_at = trio.current_time() + self._more_seconds

    async def falls_in_an_outage(self, begun: trio.Event) -> None:
        """Between two probes. `begun`: the first request has left."""
        await begun.wait()  # the clock jumps while the SDK is imported, in a thread
        await trio.sleep(300)
        self.falls()

    def script(self, _request: Received) -> Reply | None:
        gone = self.over_at is None or trio.current_time() < self.over_at
        return Reply(drop="before") if gone else None


async def tagged(night: Night, *, in_a_probe: bool) -> Tagged:
    found: list[Tagged] = []
    begun = trio.Event()

    def script(request: Received) -> Reply | None:
        begun.set()
        if in_a_probe and night.over_at is None and trio.current_time() > 300:
            night.falls()
        return night.script(request)

    async def case() -> None:
        server = Server(script)
        async with trio.open_nursery() as nursery:
            if not in_a_probe:
                nursery.start_soon(night.falls_in_an_outage, begun)
            found.append(await tag(server, batches=FILES // SIZE, size=SIZE, parallel=PARALLEL))
        check(server, found[0], files=FILES, parallel=PARALLEL)

    await in_virtual_time(case)
    return found[0]


@pytest.mark.parametrize("in_a_probe", [True, False])
async def test_a_run_goes_on_in_the_morning_when_the_network_comes_back(in_a_probe: bool) -> None:
    done = await tagged(Night(minutes_more=5), in_a_probe=in_a_probe)
    assert (done.status, len(done.tagged)) == ("completed", FILES)
    assert done.seconds < NIGHT_SECONDS + 15 * 60


@pytest.mark.parametrize("in_a_probe", [True, False])
async def test_a_network_that_stays_away_in_the_morning_ends_the_run_after_ten_minutes_more(
    in_a_probe: bool,
) -> None:
    done = await tagged(Night(minutes_more=60), in_a_probe=in_a_probe)
    assert done.status == "failed" and "could not be reached for 10 min" in done.message
    assert NIGHT_SECONDS + 900 <= done.seconds < NIGHT_SECONDS + 960


async def test_a_request_that_the_night_cut_off_is_sent_again_as_a_retry() -> None:
    night, found, begun = Night(minutes_more=0), list[Tagged](), trio.Event()

    def script(request: Received) -> Reply | None:
        begun.set()
        return Reply(delay_seconds=2 * NIGHT_SECONDS) if request.number == 3 else night.script(request)

    async def case() -> None:
        server = Server(script)
        limits = {"max_attempts": 2, "request_timeout_seconds": 1e6}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(night.falls_in_an_outage, begun)
            found.append(await tag(server, batches=3, size=SIZE, parallel=3, **limits))
        check(server, found[0], files=3 * SIZE, parallel=3)

    await in_virtual_time(case)
    assert (found[0].status, len(found[0].tagged)) == ("completed", 3 * SIZE)
    assert found[0].requests - found[0].retries == 3
