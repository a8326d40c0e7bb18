"""What the frozen file costs: its size, its start, its memory; each figure beside what is wanted of it.

`LIGEIA_FROZEN=build/out/ligeia-sidecar-… python -m tests.bench.frozen`. The floor of the start is a onefile of an
empty script, built in the same run by the same PyInstaller with the same options. Exit code 1 when a figure
is not met. Linux only: memory is what /proc says of the whole process tree.
"""

import argparse
import json
import os
import statistics
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

LAUNCHES = 15
SPEC = """
found = Analysis([{script!r}], optimize=2)
EXE(PYZ(found.pure), found.scripts, found.binaries, found.datas, name="empty", strip={strip})
"""


class Frozen:
    """One launch, with the peak of its tree's memory in bytes while `until` reads."""

    def __init__(self, binary: Path, database: Path, base_url: str = "http://127.0.0.1:9") -> None:
        env = {**os.environ, "GEMINI_API_KEY": "bench-key", "GOOGLE_GEMINI_BASE_URL": base_url}
        self.process = subprocess.Popen(
            [binary, "--database", database],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env,
        )
        self.peak_bytes = 0

    def send(self, method: str, **params: Any) -> None:
        assert self.process.stdin is not None
        line = json.dumps({"jsonrpc": "2.0", "id": method, "method": method, "params": params})
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def until(self, wanted: str, *, measuring: bool = False) -> dict[str, Any]:
        """The first message that answers, or is named, `wanted`."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if measuring:
                self.peak_bytes = max(self.peak_bytes, self.memory())
            message: dict[str, Any] = json.loads(line)
            if wanted in (message.get("id"), message.get("method")):
                return message
        raise RuntimeError(f"the sidecar ended before {wanted}")

    def memory(self) -> int:
        """Resident bytes of bootloader and Python; pages that both share count twice."""
        tree = [psutil.Process(self.process.pid)]
        tree += tree[0].children(recursive=True)
        return sum(process.memory_info().rss for process in tree)

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(5)


def empty_onefile(python: Path, folder: Path) -> Path:
    """A onefile of a script without a line, by the PyInstaller that froze the sidecar."""
    script, spec = folder / "empty.py", folder / "empty.spec"
    script.touch()
    spec.write_text(SPEC.format(script=str(script), strip=sys.platform == "linux"))
    command = [str(python), "-m", "PyInstaller", "--noconfirm", "--log-level", "ERROR"]
    command += ["--distpath", str(folder / "dist"), "--workpath", str(folder / "work"), str(spec)]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "dist" / f"empty{'.exe' if os.name == 'nt' else ''}"


def launch_seconds(binary: Path, database: Path) -> float:
    """From the launch to the answer of `status`."""
    began = time.perf_counter()
    sidecar = Frozen(binary, database)
    sidecar.send("status")
    answer = sidecar.until("status")
    seconds = time.perf_counter() - began
    assert answer["result"]["database"]["ok"], answer
    sidecar.end()
    return seconds


def floor_seconds(empty: Path) -> float:
    """From the launch of the empty script to its end."""
    began = time.perf_counter()
    subprocess.run([empty], check=True, stdin=subprocess.DEVNULL)
    return time.perf_counter() - began


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


def megabytes(binary: Path, database: Path) -> tuple[float, float]:
    """Memory before the first call to Gemini, and at most during a run of the whole library."""
    with stand_in(0.05) as base_url:
        sidecar = Frozen(binary, database, base_url)
        for method in ("status", "count_untagged_files", "get_untagged_files", "list_runs"):
            sidecar.send(method, **({"limit": 50} if method == "get_untagged_files" else {}))
            sidecar.until(method)
        idle = sidecar.memory()
        sidecar.send("auto_tag_files")
        done = sidecar.until("tagging-complete", measuring=True)["params"]
        assert done["status"] == "completed" and done["failed_files"] == 0, done["message"]
        sidecar.end()
    return idle / 1e6, sidecar.peak_bytes / 1e6


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--python", type=Path, default=sys.executable, help="a Python that has PyInstaller")
    options = parser.parse_args()
    binary = Path(os.environ["LIGEIA_FROZEN"]).resolve(strict=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        database = folder / "library.db"
        create_library(database, files=options.files)
        empty = empty_onefile(options.python, folder)
        starts, floors = [], []
        for _ in range(LAUNCHES):  # in turns, so that a busy machine slows both
            floors.append(floor_seconds(empty))
            starts.append(launch_seconds(binary, database))
        idle, peak = megabytes(binary, database)
    start, floor, size = statistics.median(starts), statistics.median(floors), binary.stat().st_size / 1e6
    figures = [
        ("size, MB", size, f"{size:.1f}", 15.0),
        (
            "launch to the answer of `status`",
            start / floor,
            f"{start:.3f} s / {floor:.3f} s = {start / floor:.2f}",
            2.0,
        ),
        ("memory before the first call to Gemini, MB", idle, f"{idle:.1f}", 45.0),
        (f"peak memory, run of {options.files} files, MB", peak, f"{peak:.1f}", 75.0),
    ]
    table = Table("figure", "measured", "wanted")
    for name, value, text, limit in figures:
        table.add_row(name, text if value <= limit else f"{text}  MISSED", f"≤ {limit:g}")
    Console(width=120).print(table)
    return int(any(value > limit for _, value, _, limit in figures))


if __name__ == "__main__":
    sys.exit(main())
