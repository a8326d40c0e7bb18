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
    return _identity(_stat(path))


def look_at(path: Path, log_path: Path) -> Look:
    """Raises LibraryError where nobody can look."""
    stat = _stat(path)
    try:
        log = _last_write(log_path.stat())
    except OSError:
        log = None
    return Look(_identity(stat), _last_write(stat), log)


def log_of(path: Path) -> Path:
    """SQLite's log lies beside the file itself, whatever link leads there."""
    return Path(f"{os.path.realpath(path)}-wal")  # which goes through a ring of links, too


def is_writable(path: Path, beside: Path | None = None) -> bool:
    """Whether anybody may write it: also told to root, whom no file mode stops. Raises LibraryError.

    `beside` is a file that has to be made there first, as SQLite's log and the run lock are.
    """
    if not _stat(path).st_mode & 0o222:
        return False
    return beside is None or (os.access(path, os.W_OK) and os.access(beside.parent, os.W_OK))


def _stat(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise LibraryError(unseen(error)) from None


def _identity(stat: os.stat_result) -> Identity:
    return stat.st_dev, stat.st_ino


def _last_write(stat: os.stat_result) -> LastWrite:
    return stat.st_mtime_ns, stat.st_size
