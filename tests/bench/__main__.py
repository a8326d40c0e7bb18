"""The benchmark: every figure as a ratio against a floor that is measured in the same run.

`python3 build/dev.py bench [--files 10000] [--large 100000]` prints one table. The stand-in for Gemini
runs in a process of its own, the sidecar as the shell starts it, over pipes.
"""

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from sidecar.demo.library import create_library

BATCH = 50


class Sidecar:
    """The process, with its peak memory in bytes."""

    def __init__(self, database: Path, base_url: str) -> None:
        env = {**os.environ, "GEMINI_API_KEY": "bench-key", "GOOGLE_GEMINI_BASE_URL": base_url}
        command = [sys.executable, "-m", "sidecar", "--database", str(database)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env
        )
        self._usage = psutil.Process(self.process.pid)
        self.peak_bytes = 0

    def send(self, method: str, **params: Any) -> None:
        assert self.process.stdin is not None
        line = json.dumps({"jsonrpc": "2.0", "id": method, "method": method, "params": params})
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def until(self, wanted: str) -> dict[str, Any]:
        """The first message that is the answer to, or the notification named, `wanted`."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            message: dict[str, Any] = json.loads(line)
            self.peak_bytes = max(self.peak_bytes, self._usage.memory_info().rss)
            if wanted in (message.get("id"), message.get("method")):
                return message
        raise RuntimeError(f"the sidecar ended before {wanted}")

    def end(self) -> None:
        self.send("shutdown")
        self.until("shutdown")
        self.process.wait(5)


@contextmanager
def stand_in(latency_seconds: float) -> Iterator[str]:
    """A stand-in for Gemini in a process of its own; its base URL."""
    command = [sys.executable, "-m", "sidecar.demo.standin", "--port", "0", "--latency", str(latency_seconds)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def tag(database: Path, latency_seconds: float, parallel: int, *, warm: bool) -> tuple[float, float]:
    """(seconds from call to completion, peak MB). `warm`: a run of one file has loaded the SDK before."""
    with stand_in(latency_seconds) as base_url:
        sidecar = Sidecar(database, base_url)
        if warm:
            sidecar.send("auto_tag_files", file_ids=[1])
            sidecar.until("tagging-complete")
        began = time.perf_counter()
        sidecar.send("auto_tag_files", batch_size=BATCH, max_parallel=parallel)
        done = sidecar.until("tagging-complete")["params"]
        seconds = time.perf_counter() - began
        assert done["status"] == "completed" and done["failed_files"] == 0, done["message"]
        sidecar.end()
    return seconds, sidecar.peak_bytes / 1e6


def writes_alone(tagged: Path, fresh: Path, files: int) -> float:
    """Seconds to write into `fresh` the very rows that a run has written into `tagged`, without Gemini.

    One durable transaction for each batch, as the contract asks; nothing is read or decided.
    """
    source = sqlite3.connect(tagged)
    batches = []
    for start in range(1, files + 1, BATCH):
        span = (start, start + BATCH - 1)
        batches.append(
            (
                source.execute(
                    "SELECT genre, mood, auto_tag_date, auto_tag_version, id FROM audio_files "
                    "WHERE id BETWEEN ? AND ?",
                    span,
                ).fetchall(),
                source.execute(
                    "SELECT audio_file_id, tag_type, tag_value, created_at FROM rpg_tags WHERE audio_file_id "
                    "BETWEEN ? AND ? ORDER BY id",
                    span,
                ).fetchall(),
                source.execute(
                    "SELECT file_id, tagged_at, tags_applied, api_version FROM auto_tag_history WHERE file_id "
                    "BETWEEN ? AND ? AND tags_applied LIKE '{\"run_id\":%'",
                    span,
                ).fetchall(),
            )
        )
    source.close()
    connection = sqlite3.connect(fresh, isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
    began = time.perf_counter()
    for rows, tags, history in batches:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "UPDATE audio_files SET genre = ?, mood = ?, auto_tagged = 1, auto_tag_date = ?, "
            "auto_tag_version = ? WHERE id = ?",
            rows,
        )
        connection.executemany(
            "INSERT OR IGNORE INTO rpg_tags (audio_file_id, tag_type, tag_value, created_at) VALUES (?, ?, ?, ?)",
            tags,
        )
        connection.executemany(
            "INSERT INTO auto_tag_history (file_id, tagged_at, tags_applied, api_version) VALUES (?, ?, ?, ?)",
            history,
        )
        connection.execute("COMMIT")
    seconds = time.perf_counter() - began
    connection.close()
    return seconds


def cancel_seconds(database: Path) -> float:
    """From `cancel` to its answer, with 8 calls in flight to a server that takes 5 s."""
    with stand_in(5) as base_url:
        sidecar = Sidecar(database, base_url)
        ids = list(range(1, 8 * BATCH + 1))
        sidecar.send("auto_tag_files", batch_size=BATCH, max_parallel=8, file_ids=ids)
        sidecar.until("auto_tag_files")
        connections = psutil.Process(sidecar.process.pid)
        deadline = time.monotonic() + 10
        while len(connections.net_connections("tcp")) < 8 and time.monotonic() < deadline:
            time.sleep(0.01)
        began = time.perf_counter()
        sidecar.send("cancel")
        sidecar.until("cancel")
        seconds = time.perf_counter() - began
        sidecar.end()
    return seconds


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument(
        "--large", type=int, default=100_000, help="library for the memory figure; 0 leaves it out"
    )
    options = parser.parse_args()
    table = Table(
        "figure", "measured", "floor", "ratio", "wanted", title=f"{options.files} files, {BATCH} a batch"
    )
    with tempfile.TemporaryDirectory() as folder:
        number = 0

        def library(files: int) -> Path:
            nonlocal number
            number += 1
            path = Path(folder) / f"library-{number}.db"
            create_library(path, files=files)
            return path

        tagged = library(options.files)
        seconds, _ = tag(tagged, 0, 8, warm=True)
        floor = writes_alone(tagged, library(options.files), options.files)
        rate, floor_rate = options.files / seconds, options.files / floor
        table.add_row(
            "files/s, no latency, 8 parallel",
            f"{rate:.0f}",
            f"{floor_rate:.0f} (writes alone)",
            f"{rate / floor_rate:.2f}",
            "≥ 0.45",
        )
        ideal = -(-options.files // BATCH) / 8 * 0.2
        for warm in (True, False):
            seconds, memory = tag(library(options.files), 0.2, 8, warm=warm)
            name = "seconds, 200 ms, 8 parallel" + ("" if warm else ", first run of the process")
            table.add_row(name, f"{seconds:.2f}", f"{ideal:.2f} (ideal)", f"{seconds / ideal:.3f}", "≤ 1.06")
        if options.large:
            _, large = tag(library(options.large), 0, 8, warm=False)
            table.add_row(
                f"peak MB, {options.large} files",
                f"{large:.1f}",
                f"{memory:.1f} ({options.files} files)",
                f"{large - memory:+.1f}",
                "< 100, ≤ +5",
            )
        table.add_row(
            "ms to cancel 8 calls in flight", f"{cancel_seconds(library(1000)) * 1000:.0f}", "", "", "≤ 100"
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
