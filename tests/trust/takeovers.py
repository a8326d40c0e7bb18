"""Two sidecars on one library: the holder of the run is killed, a third one takes over.

Each case: one runs, another is refused with the holder's run id, the holder is killed, a third, new process
sees the run as interrupted and tags exactly what is left.
"""

import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

import trio

from sidecar.demo import standin
from sidecar.demo.standin import StandIn
from tests import harness
from tests.harness import Client
from tests.trust.parts import Parts
from tests.trust.row import Counts, Row, attempt, chance

PART, BATCH, PARALLEL = 30, 5, 2
CASES_A_LIBRARY = 25
RUN_ACTIVE = -32001
LONGEST_SECONDS = 0.15


class Line:
    """Processes on one library, each in turn holder, refused and third: case by case one more is started."""

    def __init__(self, parts: Parts, gemini: StandIn, stack: AsyncExitStack) -> None:
        self.parts, self.gemini, self.stack = parts, gemini, stack
        self.processes: list[Client] = []

    async def join(self) -> Client:
        """One more process."""
        started = harness.start(self.parts.library, self.gemini)
        self.processes.append(await self.stack.enter_async_context(started))
        return self.processes[-1]

    async def case(self, random: Random) -> None:
        """The last two processes and a new one."""
        while len(self.processes) < 2:
            await self.join()
        holder, other = self.processes[-2:]
        left = self.parts.left
        self.parts.show()
        started = await holder.result("auto_tag_files", batch_size=BATCH, max_parallel=PARALLEL)
        assert started["total_files"] == left + PART
        answer = await other.request("auto_tag_files")
        if "error" in answer:
            error = answer["error"]
            assert error["code"] == RUN_ACTIVE and error["data"] == {"run_id": started["run_id"]}, error
        else:  # the run was over before
            assert answer["result"]["run_id"] is None, answer
        await trio.sleep(random.uniform(0, LONGEST_SECONDS))
        await holder.kill()
        third = await self.join()
        [latest] = await third.result("list_runs", limit=1)
        assert latest["run_id"] == started["run_id"] and latest["status"] in ("interrupted", "completed"), latest
        await self.parts.finish(third, batch_size=BATCH)
        self.parts.check_once()
        harness.check_invariants(self.parts.library, self.parts.library.clients)


async def run(size: int, seed: int) -> Counts:
    """`size` takeovers."""
    counts = Counts()
    for first in range(0, size, CASES_A_LIBRARY):
        numbers = range(first, min(first + CASES_A_LIBRARY, size))

        async def library(numbers: range = numbers) -> None:
            with tempfile.TemporaryDirectory() as folder:
                parts = Parts(Path(folder), len(numbers), PART)
                async with standin.running(latency_seconds=0.03) as gemini, AsyncExitStack() as stack:
                    line = Line(parts, gemini, stack)
                    for number in numbers:
                        counts.done += 1
                        failures = await attempt(
                            f"takeover {number}",
                            lambda n=number: line.case(chance(seed, "takeovers", n)),  # type: ignore[misc]
                        )
                        counts.failures += failures
                        if failures:
                            line.processes.clear()

        counts.failures += await attempt(f"the library of takeovers {numbers[0]} to {numbers[-1]}", library)
    return counts


ROW = Row("takeovers", "Two sidecars, the holder killed, a third takes over", (50, 500), run)
