"""Memory by size of the library, bytes on the wire, and how long the shell's own writes wait."""

import sqlite3
import threading
import time
from pathlib import Path

from tests.bench.figures import Figure, at_most, percentile
from tests.bench.sidecar import BATCH, MB, library, sidecar

ROUNDS = 4


def memory(sizes: tuple[int, ...]) -> list[Figure]:
    """Peak memory of the process over a whole run, for libraries of these sizes."""
    peaks = []
    for files in sizes:
        with library(files) as path, sidecar(path) as subject:
            subject.run(batch_size=BATCH, max_parallel=8)
            peaks.append(subject.peak_bytes / MB)
    spread = max(peaks) - min(peaks)
    measured = ", ".join(f"{peak:.1f}" for peak in peaks)
    return [
        Figure(
            name=f"peak MB at {', '.join(f'{size:,}' for size in sizes)} files",
            measured=f"{measured} ({spread:.1f} apart)",
            wanted="< 100, ≤ 3 apart",
            met=max(peaks) < 100 and spread <= 3,
        )
    ]


def ids(files: int) -> list[Figure]:
    """What the ids of a large library add: a run that is cancelled once it has begun."""
    peaks = []
    for size in (1000, files):
        with library(size) as path, sidecar(path, 5) as subject:
            subject.send("auto_tag_files")
            subject.until("auto_tag_files")
            subject.send("cancel")
            subject.until("cancel")
            peaks.append(subject.peak_bytes)
    slope = (peaks[1] - peaks[0]) / (files - 1000)
    return [
        Figure(
            name=f"memory for each of {files:,} untagged ids",
            measured=f"{slope:.1f} bytes",
            wanted="≤ 24 bytes",
            met=slope <= 24,
        )
    ]


def second_writer(files: int) -> list[Figure]:
    """Another program that writes every 5 ms while a run goes at full speed: how long each write waits."""
    with library(files) as path, sidecar(path) as subject:
        subject.warm()
        waits: list[float] = []
        over = threading.Event()
        writing = threading.Thread(target=_edit, args=(path, over, waits))
        writing.start()
        everything = list(range(1, files + 1))
        # Several rounds: a p99 of a hundred waits would be its longest.
        rounds = [subject.run(file_ids=everything, max_parallel=8, mode="replace")[0] for _ in range(ROUNDS)]
        over.set()
        writing.join()
        with sqlite3.connect(path) as connection:
            kept = connection.execute("SELECT sum(play_count) FROM audio_files WHERE id <= 100").fetchone()[0]
    return [
        at_most(f"a second writer's wait, p99 of {len(waits):,}", percentile(waits, 0.99) * 1000, 500, "ms", 1),
        Figure(name="the same, p50", measured=f"{percentile(waits, 0.5) * 1000:.1f} ms"),
        Figure(
            name="its edits lost", measured=f"{len(waits) - kept:.0f}", wanted="0", met=len(waits) == int(kept)
        ),
        Figure(name="files/s meanwhile", measured=f"{files * ROUNDS / sum(rounds):,.0f}"),
    ]


def _edit(path: Path, over: threading.Event, waits: list[float]) -> None:
    connection = sqlite3.connect(path, timeout=30, isolation_level=None)
    connection.execute("UPDATE audio_files SET play_count = 0 WHERE id <= 100")
    number = 0
    while not over.wait(0.005):
        began = time.perf_counter()
        number += 1
        connection.execute("UPDATE audio_files SET play_count = play_count + 1 WHERE id = ?", (number % 100 + 1,))
        waits.append(time.perf_counter() - began)
    connection.close()
