"""SIGKILL at a random instant, then finished by the next run.

Besides the invariants: the next run is offered exactly what is left and tags it, no file is tagged twice,
and kills cost at most `max_parallel` requests each, on the whole. A single one may cost more: batches that are
answered and wait for the writer are lost too, and a run holds at most twice `max_parallel` and one open.
"""

import tempfile
from pathlib import Path
from random import Random

import trio

from sidecar.demo import standin
from sidecar.demo.standin import StandIn
from tests import harness
from tests.harness import Client
from tests.trust.parts import Parts
from tests.trust.row import Case, Counts, Figure, Row, chance, each

PART, BATCH, PARALLEL = 40, 5, 3
KILLS_A_LIBRARY = 20
LATENCY_SECONDS = 0.02
COLD_SHARE = 0.1
"""Of the kills: from the process's first instant on, its imports included."""
WARM_SECONDS, COLD_SECONDS = 0.12, 1.2
"""The instants lie within so many seconds: a little more than such a run takes."""


class Chain:
    """Kills one after the other on one library: each process first finishes what the last one left."""

    def __init__(self, folder: Path, gemini: StandIn) -> None:
        self.parts = Parts(folder, KILLS_A_LIBRARY, PART)
        self.gemini = gemini
        self.lost: list[int] = []

    async def kill(self, instants: Random) -> None:
        """A process that finishes the last part, begins the next one, and is killed."""
        cold = instants.random() < COLD_SHARE
        async with harness.start(self.parts.library, self.gemini, anew=cold) as subject:
            if not cold:
                await self.parts.finish(subject, batch_size=BATCH)
            seen, left = len(self.gemini.journal), self.parts.left
            self.parts.show()
            await self._killed(subject, instants.uniform(0, COLD_SECONDS if cold else WARM_SECONDS))
        asked = sum(received.kind == "tagging" for received in self.gemini.journal[seen:])
        closed = left + PART - self.parts.left
        self.lost.append(asked - -(-closed // BATCH))
        self.parts.check_once()

    async def _killed(self, subject: Client, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await subject.send("auto_tag_files", batch_size=BATCH, max_parallel=PARALLEL)
            await subject.wait_for(lambda m: m.get("method") == harness.COMPLETE and m["params"]["success"])
            await trio.sleep_forever()
        await subject.kill()

    async def finish(self) -> None:
        """The run after the last kill."""
        async with harness.start(self.parts.library, self.gemini) as subject:
            await self.parts.finish(subject)
        self.parts.check_once()


async def run(size: int, seed: int) -> Counts:
    """`size` kills."""
    counts, lost = Counts(), list[int]()
    for first in range(0, size, KILLS_A_LIBRARY):
        numbers = range(first, min(first + KILLS_A_LIBRARY, size))
        with tempfile.TemporaryDirectory() as folder:
            async with standin.running(latency_seconds=LATENCY_SECONDS, hallucinate=0.05) as gemini:
                chain = Chain(Path(folder), gemini)
                counts.add(await each(_case(chain, seed, number) for number in numbers))
                counts.failures += (await each([(f"the run after kill {numbers[-1]}", chain.finish)])).failures
                lost += chain.lost
    counts.figures += [
        Figure("requests beyond those needed", sum(lost), at_most=PARALLEL * len(lost)),
        Figure("of them for one kill, most", max(lost, default=0), at_most=2 * PARALLEL + 1),
    ]
    return counts


def _case(chain: Chain, seed: int, number: int) -> Case:
    return f"kill {number}", lambda: chain.kill(chance(seed, "kills", number))


ROW = Row("kills", "SIGKILL at a random instant, finished by the next run", (100, 2000), run)
