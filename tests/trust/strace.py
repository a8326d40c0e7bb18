"""Faults and signals at the N-th write of the program: strace's injection (Linux; Debian's package `strace`).

strace counts each kind of call for itself and each thread for itself; the sidecar has one thread that writes.
It attaches to a sidecar that waits for its first line and has written nothing yet: looking at each call of its
imports took longer than the rest of a case. Where nobody may attach (Linux's Yama, a container) it starts it.
"""

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio

from sidecar.demo.standin import StandIn
from tests import harness
from tests.harness import Client, Library

WRITES: Final = ("pwrite64", "fdatasync", "ftruncate")
_CALL: Final = re.compile(r"^(\d+) +(\w+)\(", re.MULTILINE)


@asynccontextmanager
async def start(
    library: Library, gemini: StandIn, inject: str | None = None, log: Path | None = None
) -> AsyncIterator[Client]:
    """As `harness.start`. `inject` is strace's expression; `log` gets a line for each write."""
    command = [_strace(), "-f", "-o", str(log) if log else os.devnull, "-e", f"trace={','.join(WRITES)}"]
    command += ["-e", f"inject={inject}"] if inject else []
    async with _traced(command, library, gemini) as subject:
        yield subject


@asynccontextmanager
async def start_on_a_slow_disk(library: Library, gemini: StandIn, seconds: int) -> AsyncIterator[Client]:
    """As `harness.start`; every call that has to do with the library's files takes so long."""
    names = ("", "-wal", "-shm", ".auto-tag-lock")
    command = [_strace(), "-f", "-o", os.devnull, "-P", str(library.path.parent)]
    for name in names:
        command += ["-P", f"{library.path}{name}"]
    command += ["-e", f"inject=all:delay_enter={seconds * 1_000_000}"]
    async with _traced(command, library, gemini) as subject:
        yield subject


@asynccontextmanager
async def _traced(command: Sequence[str], library: Library, gemini: StandIn) -> AsyncIterator[Client]:
    async with _ending() as tracers, harness.start(library, gemini) as subject:
        await subject.result("status")
        tracers.append(await _attached(command, subject.process.pid))
        if tracers[0].returncode is None:
            yield subject
            return
    # Not --seccomp-bpf, which would be quicker: with it strace 6.1 loses the signals that it injects.
    async with harness.start(library, gemini, wrapper=[*command, "--quiet=all"]) as subject:
        yield subject


async def _attached(command: Sequence[str], pid: int) -> trio.Process:
    """strace, once it looks at that process; or ended, since it may not."""
    tracer: trio.Process = await trio.lowlevel.open_process([*command, "-p", str(pid)], stderr=subprocess.PIPE)
    assert tracer.stderr is not None
    said = b""
    with trio.fail_after(harness.DEADLINE_SECONDS):
        while b"attached" not in said:
            more = await tracer.stderr.receive_some()
            if not more:
                await tracer.wait()
                break
            said += more
    return tracer


@asynccontextmanager
async def _ending() -> AsyncIterator[list[trio.Process]]:
    """For processes that end with the one that they look at."""
    tracers: list[trio.Process] = []
    try:
        yield tracers
        with trio.fail_after(harness.DEADLINE_SECONDS):
            for tracer in tracers:
                await tracer.wait()
    finally:
        with trio.CancelScope(shield=True):
            for tracer in tracers:
                tracer.kill()
                await tracer.wait()
                assert tracer.stderr is not None
                await tracer.stderr.aclose()


def _strace() -> str:
    found = shutil.which("strace")
    if found is None:
        raise FileNotFoundError("strace is needed for this row (Debian: apt-get install strace)")
    return found


def counted(log: Path) -> Counter[str]:
    """How many calls of each kind the thread with the most made."""
    by_thread: dict[str, Counter[str]] = {}
    for thread, call in _CALL.findall(log.read_text(errors="replace")):
        by_thread.setdefault(thread, Counter())[call] += 1
    most: Counter[str] = Counter()
    for calls in by_thread.values():
        most |= calls
    return most
