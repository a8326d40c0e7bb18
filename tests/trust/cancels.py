"""Cancels at random moments, and right between a commit and its progress.

When the answer is there, no request is open, none comes after it, and no other process sees a change of the
database any more.
"""

import tempfile
from contextlib import closing
from pathlib import Path
from random import Random
from sqlite3 import Connection

import trio
import trio.testing

from sidecar.demo import standin
from sidecar.demo.standin import StandIn
from tests import harness
from tests.harness import Client, Library
from tests.trust.row import Counts, Figure, Row, attempt, chance

FILES, BATCH, PARALLEL = 60, 5, 4
CANCELS_A_PROCESS = 60
LONGEST_SECONDS = 0.12
"""A little more than such a run takes."""
AFTER_SECONDS = 0.03
AFTER_A_COMMIT_SHARE = 1 / 3


class Late:
    """What happened after the answers."""

    def __init__(self) -> None:
        self.requests = self.changes = self.cut_off = 0


async def run(size: int, seed: int) -> Counts:
    """`size` cancels."""
    counts, late = Counts(), Late()
    for first in range(0, size, CANCELS_A_PROCESS):
        numbers = range(first, min(first + CANCELS_A_PROCESS, size))

        async def process(numbers: range = numbers) -> None:
            with tempfile.TemporaryDirectory() as folder:
                library = harness.library(Path(folder), FILES)
                async with (
                    standin.running(latency_seconds=0.01, hallucinate=0.02) as gemini,
                    harness.start(library, gemini) as subject,
                ):
                    await subject.tag(batch_size=FILES)
                    with closing(library.connect()) as shell:
                        for number in numbers:
                            case = _Case(subject, gemini, library, shell, late)
                            counts.failures += await attempt(
                                f"cancel {number}",
                                lambda n=number, c=case: c.cancel(chance(seed, "cancels", n)),  # type: ignore[misc]
                            )
                            counts.done += 1

        counts.failures += await attempt(f"the process of cancels {numbers[0]} to {numbers[-1]}", process)
    counts.figures += [
        Figure("requests after the answer", late.requests, at_most=0),
        Figure("row changes after the answer", late.changes, at_most=0),
        Figure("runs really cut off", late.cut_off, at_least=size / 3),
    ]
    return counts


class _Case:
    def __init__(self, subject: Client, gemini: StandIn, library: Library, shell: Connection, late: Late) -> None:
        self.subject, self.gemini, self.library, self.shell, self.late = subject, gemini, library, shell, late

    def _version(self) -> int:
        """Moves whenever another process has committed."""
        return int(self.shell.execute("PRAGMA data_version").fetchone()[0])

    async def cancel(self, random: Random) -> None:
        ids = list(range(1, FILES + 1))
        booked = await self.subject.result(
            "auto_tag_files", batch_size=BATCH, max_parallel=PARALLEL, file_ids=ids, mode="replace"
        )
        if random.random() < AFTER_A_COMMIT_SHARE:
            await self._see_commits(random.randint(1, 6))
        else:
            await trio.sleep(random.uniform(0, LONGEST_SECONDS))
        answer = await self.subject.result("cancel", run_id=booked["run_id"])
        # What the stand-in had in its sockets by now was sent before.
        await trio.testing.wait_all_tasks_blocked()
        requests, version = self.gemini.arrived, self._version()
        assert self.gemini.open_requests == 0, f"{self.gemini.open_requests} requests are open"
        await trio.sleep(AFTER_SECONDS)
        self.late.requests += self.gemini.arrived - requests
        self.late.changes += self._version() != version
        self.late.cut_off += answer["cancelled"]
        done = await self.subject.complete(booked["run_id"])
        assert answer["processed_files"] == done["processed_files"] and answer["status"] == done["status"]
        harness.check_invariants(self.library, [self.subject])

    async def _see_commits(self, count: int) -> None:
        """Until so many more commits are seen in the database, which is before they are announced."""
        with trio.move_on_after(LONGEST_SECONDS):
            for _ in range(count):
                version = self._version()
                while self._version() == version:
                    await trio.lowlevel.checkpoint()


ROW = Row("cancels", "Cancels at random moments, also between commit and progress", (300, 5000), run)
