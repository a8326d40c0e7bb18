"""Hostile lines on one process: one right answer to each that is due one, and then `status` in a moment.

A chunk of lines goes out without waiting; then all of its answers must come. At the end: `status` within
50 ms, the memory of the process, and what the harness always checks.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Final

import psutil
import trio

from tests import harness
from tests.harness import Client
from tests.trust import lines
from tests.trust.row import Counts, Figure, Row, Stopwatch, attempt, chance

STATUS_MS: Final = 50
MEMORY_MB: Final = 160
"""Two lines of 16 MiB in hand, as bytes and taken apart, on top of what the process needs."""
SMALL_CHUNK: Final = 60


async def run(size: int, seed: int) -> Counts:
    """`size` lines on one process, of all kinds in turn."""
    counts = Counts()

    async def send() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with harness.start(harness.library(Path(folder), 20), anew=True) as subject:
                await _send(subject, size, chance(seed, "hostile"), counts)

    counts.failures += await attempt("the process", send)
    return counts


async def _send(subject: Client, size: int, random: Random, counts: Counts) -> None:
    memory = psutil.Process(subject.process.pid)
    await subject.result("status")
    peak = before = memory.memory_info().rss
    for line in lines.huge():
        await _chunk(subject, [line])
        peak = max(peak, memory.memory_info().rss)
        counts.done += 1
    await subject.send_line(b'{"jsonrpc": "2.0", "id": "byte by byte", "method": "status"}', bytewise=True)
    await _chunk(subject, [])
    counts.done += 1
    for chunk in _chunks(random):
        if counts.done >= size:
            break
        await _chunk(subject, chunk)
        counts.done += len(chunk)
    took = []
    for _ in range(20):
        watch = Stopwatch()
        await subject.result("status")
        took.append(watch.seconds * 1000)
    counts.figures += [
        Figure("ms to `status` right after", round(took[0], 1), at_most=STATUS_MS),
        Figure("peak memory, MB", round(peak / 1e6, 1), at_most=MEMORY_MB),
        Figure("MB more at the end than at the start", round((memory.memory_info().rss - before) / 1e6, 1)),
    ]


def _chunks(random: Random) -> Iterator[list[bytes]]:
    while True:
        for times, kind in lines.KINDS:
            for _ in range(times):
                made = list(kind(random))
                for start in range(0, len(made), SMALL_CHUNK):
                    yield made[start : start + SMALL_CHUNK]


async def _chunk(subject: Client, chunk: list[bytes]) -> None:
    """Sends the lines and waits for the answers; where one lacks, says after which lines."""
    for line in chunk:
        await subject.send_line(line)
    try:
        await subject.wait_until(lambda: subject.answers_due <= 0, 20)
        assert not subject.objections, subject.objections[0]
        assert subject.answers_due == 0, f"{-subject.answers_due} answers too many"
    except (AssertionError, trio.TooSlowError) as error:
        shown = [line if len(line) < 200 else line[:60] + b"..." for line in chunk]
        raise AssertionError(f"{error} after {shown}") from error


ROW = Row("hostile", "Hostile lines on one process, then `status`", (12_000, 250_000), run, alone=True)
