"""Files a second and wall time, against the row writes alone, a plain script, and the ideal."""

import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from tests.bench.figures import Figure, against
from tests.bench.sidecar import BATCH, library, sidecar, stand_in


def throughput(files: int) -> list[Figure]:
    """No latency, eight at once: what the sidecar itself can do. Three rounds, the middle ratio."""
    rounds = sorted((_round(files) for _ in range(3)), key=lambda row: row[0] / row[1])
    mine, writes, plain, cpu = rounds[1]
    return [
        against(
            "files/s, no latency, 8 parallel",
            f"{files / mine:,.0f}",
            f"{files / writes:,.0f} (the same row writes alone)",
            writes / mine,
            least=0.55,
        ),
        against(
            "the same against a plain asyncio script",
            f"{files / mine:,.0f}",
            f"{files / plain:,.0f} (script)",
            plain / mine,
            least=1.3,
        ),
        Figure(name="CPU for a file, all threads", measured=f"{cpu / files * 1e6:.0f} µs"),
    ]


def _round(files: int) -> tuple[float, float, float, float]:
    """Seconds of the sidecar, of the writes alone, of the plain script; CPU seconds of the sidecar."""
    with library(files) as tagged, library(files) as fresh, library(files) as other:
        with sidecar(tagged) as subject:
            subject.warm()
            cpu = subject.cpu_seconds()
            mine, _ = subject.run(batch_size=BATCH, max_parallel=8)
            cpu = subject.cpu_seconds() - cpu
        writes = _writes_alone(tagged, fresh, files)
        with stand_in(0) as base_url:
            plain = _printed("tests.bench.plain", str(other), base_url)
        return mine, writes, plain, cpu


def wall_time(files: int) -> list[Figure]:
    """Against the time that Gemini alone would take: by arithmetic, and measured by a client that does nothing."""
    found = []
    for latency_seconds, parallel, number, most in ((0.2, 8, files, 1.03), (1.0, 3, files // 4, 1.01)):
        batches = -(-number // BATCH)
        ideal = -(-batches // parallel) * latency_seconds
        with library(number) as path, sidecar(path, latency_seconds) as subject:
            subject.warm()
            subject.ask("auto_tag_files", file_ids=[])
            seconds, _ = subject.run(batch_size=BATCH, max_parallel=parallel, file_ids=list(range(1, number + 1)))
        with library(number) as path, stand_in(latency_seconds) as base_url:
            bare = _printed("tests.bench.bare", str(path), base_url, str(parallel), str(number))
        name = f"seconds for {number:,} files, {latency_seconds * 1000:.0f} ms, {parallel} parallel"
        found += [
            against(name, f"{seconds:.2f}", f"{ideal:.2f} (ideal)", seconds / ideal, most=most),
            against(
                "the same against a client that only sends and reads",
                f"{seconds:.2f}",
                f"{bare:.2f} (client)",
                seconds / bare,
                most=most,
            ),
        ]
    with library(files) as path, sidecar(path, 0.2) as subject:
        seconds, _ = subject.run(batch_size=BATCH, max_parallel=8)
    ideal = files / BATCH / 8 * 0.2
    name = "the first, first run of the process (it loads the SDK)"
    return [
        *found,
        Figure(
            name=name, measured=f"{seconds:.2f}", floor=f"{ideal:.2f} (ideal)", ratio=round(seconds / ideal, 3)
        ),
    ]


def _printed(module: str, *arguments: str) -> float:
    """The number that a floor's own process prints."""
    program = [sys.executable, "-m", module, *arguments]
    return float(subprocess.run(program, capture_output=True, text=True, check=True).stdout)


def library_size(large: int) -> list[Figure]:
    """The same 1,000 files in a small library and in a large one."""
    seconds = []
    for files in (1000, large):
        with library(files) as path, sidecar(path) as subject:
            subject.warm()
            took = [subject.run(file_ids=list(range(1, 1001)), mode="replace")[0] for _ in range(5)]
            seconds.append(sorted(took)[2])
    name = f"ms a batch in a library of {large:,} files"
    return [
        against(
            name,
            f"{seconds[1] / 20 * 1000:.1f}",
            f"{seconds[0] / 20 * 1000:.1f} (1,000 files)",
            seconds[1] / seconds[0],
            most=1.3,
        )
    ]


def _writes_alone(tagged: Path, fresh: Path, files: int) -> float:
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
