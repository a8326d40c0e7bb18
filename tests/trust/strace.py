"""Faults and signals at the N-th write of the program: strace's injection (Linux; Debian's package `strace`).

strace counts each kind of call for itself and each thread for itself; the sidecar has one thread that writes.
"""

import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Final

WRITES: Final = ("pwrite64", "fdatasync", "ftruncate")
_CALL: Final = re.compile(r"^(\d+) +(\w+)\(", re.MULTILINE)


def wrapper(inject: str | None = None, log: Path | None = None) -> list[str]:
    """What to put before the command. `inject` is strace's expression; `log` gets a line for each write."""
    found = shutil.which("strace")
    if found is None:
        raise FileNotFoundError("strace is needed for this row (Debian: apt-get install strace)")
    # Not --seccomp-bpf, which would be quicker: with it strace 6.1 loses the signals that it injects.
    command = [found, "-f", "--quiet=all", "-o", str(log) if log else "/dev/null"]
    return [*command, "-e", f"trace={','.join(WRITES)}", *(["-e", f"inject={inject}"] if inject else [])]


def counted(log: Path) -> Counter[str]:
    """How many calls of each kind the thread with the most made."""
    by_thread: dict[str, Counter[str]] = {}
    for thread, call in _CALL.findall(log.read_text(errors="replace")):
        by_thread.setdefault(thread, Counter())[call] += 1
    most: Counter[str] = Counter()
    for calls in by_thread.values():
        most |= calls
    return most
