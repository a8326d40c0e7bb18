"""What the frozen file costs: its size, its start, its memory; each figure beside what is wanted of it.

The floor of the start is a onefile of an empty script, built in the same run by the PyInstaller that froze the
sidecar, with the same options, measured to its end. Memory is the whole process tree's.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import psutil

from tests.bench.figures import Figure, against, at_most
from tests.bench.sidecar import MB, Sidecar, library, stand_in
from tests.harness import ROOT

LAUNCHES = 15
SPEC = """
found = Analysis([{script!r}], optimize=2)
EXE(PYZ(found.pure), found.scripts, found.binaries, found.datas, name="empty", strip={strip})
"""


def frozen(binary: Path, files: int) -> list[Figure]:
    """All figures of one frozen file."""
    with tempfile.TemporaryDirectory() as folder, library(files) as path:
        empty = _empty_onefile(Path(folder))
        starts, floors = [], []
        for _ in range(LAUNCHES):  # in turns, so that a busy machine slows both
            floors.append(_floor_seconds(empty))
            starts.append(_launch_seconds(binary, path))
        idle, peak = _megabytes(binary, path)
    start, floor = median(starts), median(floors)
    name = "frozen: launch to the answer of `status`"
    return [
        at_most("frozen: size of the onefile", binary.stat().st_size / MB, 15, "MB", 1),
        against(
            name, f"{start * 1000:.0f} ms", f"{floor * 1000:.0f} ms (an empty onefile)", start / floor, most=2
        ),
        at_most("frozen: memory of the tree before the first call to Gemini", idle, 45, "MB", 1),
        at_most(f"frozen: peak memory of the tree, run of {files:,} files", peak, 75, "MB", 1),
    ]


def _empty_onefile(folder: Path) -> Path:
    """A onefile of a script without a line."""
    python = ROOT / "build" / "work" / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    script, spec = folder / "empty.py", folder / "empty.spec"
    script.touch()
    spec.write_text(SPEC.format(script=str(script), strip=sys.platform == "linux"))
    command = [str(python), "-m", "PyInstaller", "--noconfirm", "--log-level", "ERROR"]
    command += ["--distpath", str(folder / "dist"), "--workpath", str(folder / "work"), str(spec)]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "dist" / f"empty{'.exe' if os.name == 'nt' else ''}"


def _launch_seconds(binary: Path, database: Path) -> float:
    """From the launch to the answer of `status`."""
    began = time.perf_counter()
    subject = Sidecar(database, program=[str(binary)])
    status = subject.ask("status")
    seconds = time.perf_counter() - began
    assert status["database"]["ok"], status
    subject.end()
    return seconds


def _floor_seconds(empty: Path) -> float:
    """From the launch of the empty script to its end."""
    began = time.perf_counter()
    subprocess.run([empty], check=True, stdin=subprocess.DEVNULL)
    return time.perf_counter() - began


def _megabytes(binary: Path, database: Path) -> tuple[float, float]:
    """Memory before the first call to Gemini, and at most during a run of the whole library."""
    with stand_in(0.05) as base_url:
        subject = Sidecar(database, base_url, program=[str(binary)])
        for method in ("status", "count_untagged_files", "list_runs"):
            subject.ask(method)
        subject.ask("get_untagged_files", limit=50)
        idle, peak = _resident_bytes(subject), 0
        subject.send("auto_tag_files")
        for message in subject.messages():
            peak = max(peak, _resident_bytes(subject))
            if message.get("method") == "tagging-complete":
                assert message["params"]["failed_files"] == 0, message
                break
        subject.end()
    return idle / MB, peak / MB


def _resident_bytes(subject: Sidecar) -> int:
    """Of bootloader and Python together; pages that both share count twice."""
    tree: list[psutil.Process] = [subject.usage, *subject.usage.children(recursive=True)]
    return sum(process.memory_info().rss for process in tree)
