"""A long run under everyday trouble: 2 % answers 429, 1 % 503, 5 % of the files with a tag nobody knows.

Peak memory, open descriptors and the size of SQLite's log are looked at all the while.
"""

import os
import sys
import tempfile
from pathlib import Path
from random import Random
from typing import Final

import psutil
import trio

from sidecar.demo import standin
from sidecar.demo.standin import Received, Reply
from tests import harness
from tests.harness import Client, Library
from tests.trust.row import Counts, Figure, Row, attempt, chance

BATCH, PARALLEL = 50, 8
MEMORY_MB: Final = 75
LOG_MB: Final = 16
LOOK_SECONDS: Final = 0.05
FASTER: Final = {"backoff_base_seconds": 0.05, "backoff_max_seconds": 0.5}


class Watch:
    """The most that was seen of each, in all processes of the sidecar.

    A onefile is two: of the bootloader, which only waits, counts what it shares with nobody.
    """

    def __init__(self, subject: Client, library: Library) -> None:
        parent = psutil.Process(subject.process.pid)
        self._processes = [parent, *parent.children(recursive=True)]
        self._beside_bytes = sum(process.memory_full_info().uss for process in self._processes[:-1])
        self._log = Path(f"{library}-wal")
        self.memory_bytes = self.log_bytes = self.descriptors = 0

    def open_now(self) -> int:
        """Descriptors; handles where there are none."""
        name = "num_handles" if sys.platform == "win32" else "num_fds"
        return sum(getattr(process, name)() for process in self._processes)

    async def look(self) -> None:
        """For ever."""
        while True:
            memory_bytes = self._processes[-1].memory_info().rss + self._beside_bytes
            self.memory_bytes = max(self.memory_bytes, memory_bytes)
            self.log_bytes = max(self.log_bytes, self._log.stat().st_size if self._log.exists() else 0)
            self.descriptors = max(self.descriptors, self.open_now())
            await trio.sleep(LOOK_SECONDS)


async def run(size: int, seed: int) -> Counts:
    """`size` files."""
    counts = Counts()

    async def case() -> None:
        with tempfile.TemporaryDirectory() as folder:
            await _case(Path(folder), size, chance(seed, "soak"), counts)

    counts.failures += await attempt("the run", case)
    return counts


async def _case(folder: Path, size: int, random: Random, counts: Counts) -> None:
    library = harness.library(folder, size)

    def trouble(_: Received) -> Reply | None:
        drawn = random.random()
        if drawn < 0.02:
            return standin.rate_limited("0.2s")
        return standin.unavailable() if drawn < 0.03 else None

    async with (
        standin.running(latency_seconds=0.02, hallucinate=0.05, script=trouble) as gemini,
        harness.start(library, gemini, anew=True) as subject,
    ):
        await subject.result("configure", **FASTER)
        await subject.tag(file_ids=list(range(1, 401)), batch_size=BATCH, max_parallel=PARALLEL)
        gemini.keep_journal = False
        watch = Watch(subject, library)
        before = watch.open_now()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch.look)
            started = await subject.result("auto_tag_files", batch_size=BATCH, max_parallel=PARALLEL)
            await subject.wait_until(lambda: len(subject.events(harness.COMPLETE)) == 2, 3600)
            nursery.cancel_scope.cancel()
        done = await subject.complete(started["run_id"])
        assert (done["status"], done["processed_files"]) == ("completed", size - 400), done
        counts.done = size
        counts.figures += [
            _memory(round(watch.memory_bytes / 1e6, 1)),
            Figure("descriptors more than after the first 400 files", watch.open_now() - before, at_most=0),
            Figure("descriptors more, most during the run", watch.descriptors - before),
            Figure("WAL, most, MB", round(watch.log_bytes / 1e6, 1), at_most=LOG_MB),
            Figure("requests", done["usage"]["requests"]),
            Figure("of them sent again", done["usage"]["retries"], at_least=1),
            Figure("files a second", round(size / done["elapsed_seconds"])),
        ]


def _memory(peak_mb: float) -> Figure:
    """Judged for what users get. Python's own modules take 6 MB more: docstrings, rich beside httpx."""
    if "LIGEIA_SIDECAR_COMMAND" in os.environ:
        return Figure("peak memory of the frozen program, MB", peak_mb, at_most=MEMORY_MB)
    return Figure("peak memory, MB (not frozen, so not judged)", peak_mb)


ROW = Row(
    "soak",
    "Soak: files in a run with 2 % 429, 1 % 503, 5 % unknown tags",
    (20_000, 100_000),
    run,
    alone=True,
    frozen=True,
)
