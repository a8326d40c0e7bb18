"""SIGKILL at the N-th write: of a run of a few batches, from the first byte that its process writes to the last.

Each case has a fresh library, which lacks our own tables too. Besides the invariants: the process was killed
where that was asked for, and the next run, of a process without strace, is offered exactly what is left.
"""

import signal
import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from sidecar.demo import standin
from tests import harness
from tests.harness import Client, Library
from tests.trust import strace
from tests.trust.row import Case, Counts, Figure, Row, each

BATCH, PARALLEL = 2, 2
WANTED = (85, 500)
SURELY = 0.8
"""Of the kills that are asked for so many come: a run may make fewer writes than the one in which they were
counted, by those of the closing library where that takes longer than an exit waits.
"""


async def run(size: int, seed: int) -> Counts:
    """About `size` kills, at every third write of a run of 4 batches or at all of a run of 12."""
    batches, wanted_step = (4, 3) if size <= WANTED[0] else (12, 1)
    with tempfile.TemporaryDirectory() as folder:
        calls = await calls_of_a_run(Path(folder) / "counted", batches)
        step = max(wanted_step, round(calls.total() / size))
        killed: list[str] = []
        counts = await each(_cases(Path(folder), calls, batches, 1 + seed % step, step, killed))
    counts.wanted = sum(-(-number // wanted_step) for number in calls.values())
    counts.figures += [Figure(f"{name} in such a run", calls[name], at_least=1) for name in strace.WRITES]
    counts.figures.append(Figure("killed there", len(killed), at_least=round(SURELY * counts.done)))
    return counts


async def calls_of_a_run(folder: Path, batches: int) -> Counter[str]:
    """The writes of a run that meets no fault."""
    library = _library(folder, batches)
    log = folder / "strace.log"
    async with standin.running() as gemini, strace.start(library, gemini, log=log) as subject:
        assert (await subject.tag(batch_size=BATCH, max_parallel=PARALLEL))["processed_files"] == BATCH * batches
    return strace.counted(log)


def _library(folder: Path, batches: int) -> Library:
    folder.mkdir()
    return harness.library(folder, BATCH * batches)


def _cases(
    folder: Path, calls: Counter[str], batches: int, first: int, step: int, killed: list[str]
) -> Iterator[Case]:
    for call in strace.WRITES:
        for number in range(min(first, calls[call]), calls[call] + 1, step):
            kill = partial(_kill, folder / f"{call}-{number}", call, number, batches, killed)
            yield f"{call} {number}", kill


async def _kill(folder: Path, call: str, number: int, batches: int, killed: list[str]) -> None:
    library = _library(folder, batches)
    async with standin.running() as gemini:
        async with strace.start(library, gemini, f"{call}:signal=SIGKILL:when={number}") as victim:
            code = await _run(victim)
            assert code in (-signal.SIGKILL, 0), f"exit code {code}"
            if code:
                killed.append(f"{call} {number}")
        left = BATCH * batches - library.tagged
        async with harness.start(library, gemini) as subject:
            started = await subject.result("auto_tag_files")
            assert started["total_files"] == left, (started, left)
            if left:
                done = await subject.complete(started["run_id"])
                assert (done["status"], done["processed_files"]) == ("completed", left), done
    assert library.tagged == BATCH * batches


async def _run(victim: Client) -> int:
    """A run and the end of the input, as far as the process lives; its exit code."""
    await victim.send("auto_tag_files", batch_size=BATCH, max_parallel=PARALLEL)
    await harness.eventually(lambda: victim.ended.is_set() or bool(victim.events(harness.COMPLETE)))
    await victim.close_stdin()
    return await victim.exit_code()


ROW = Row("writes", "SIGKILL at the N-th write of a run", WANTED, run)
