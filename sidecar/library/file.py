"""The library's file as the file system shows it: which one it is, who may write it, when it was last written.

On a share that has gone away each of these may wait for minutes, so none is called on the trio thread.
"""

import os
from pathlib import Path

from msgspec import Struct

from sidecar.library.faults import LibraryError, unseen

Identity = tuple[int, int]
"""Device and number of a file: another file in its place has others."""
LastWrite = tuple[int, int]
"""When, in nanoseconds, and the size since."""


class Look(Struct, frozen=True):
    """What one look has found. `log` is of SQLite's log, which most writes touch alone; None if there is none."""

    identity: Identity
    file: LastWrite
    log: LastWrite | None


def identity_of(path: Path) -> Identity:
    """Which file lies there. Raises LibraryError."""
    try:
        stat = path.stat()
    except OSError as error:
        raise LibraryError(unseen(error)) from None
    return stat.st_dev, stat.st_ino


def look_at(path: Path, log_path: Path) -> Look:
    """Raises LibraryError where nobody can look."""
    try:
        stat = path.stat()
    except OSError as error:
        raise LibraryError(unseen(error)) from None
    try:
        log = log_path.stat()
    except OSError:
        log = None
    return Look((stat.st_dev, stat.st_ino), _last_write(stat), _last_write(log) if log is not None else None)


def log_of(path: Path) -> Path:
    """SQLite's log lies beside the file itself, whatever link leads there."""
    return Path(f"{path.resolve()}-wal")


def is_writable(path: Path, beside: Path | None = None) -> bool:
    """Whether anybody may write it: also told to root, whom no file mode stops. Raises OSError.

    `beside` is a file that has to be made there first, as SQLite's log and the run lock are.
    """
    if not path.stat().st_mode & 0o222:
        return False
    return beside is None or (os.access(path, os.W_OK) and os.access(beside.parent, os.W_OK))


def _last_write(stat: os.stat_result) -> LastWrite:
    return stat.st_mtime_ns, stat.st_size
