"""One run per database, across processes: an operating system's lock, gone with its holder.

The lock is taken on a file of its own beside the database: locking the database file itself would
interfere with SQLite's locks (https://sqlite.org/howtocorrupt.html, 2.2). Beside the file itself, as SQLite's
log is, whatever link led there.
"""

import contextlib
from pathlib import Path

from sidecar.library.faults import Fault, LibraryError


class RunLock:
    """Held from `take` to `release`, or to the death of the process."""

    def __init__(self, database: Path) -> None:
        import filelock  # noqa: PLC0415 - imports asyncio, which only a run pays for

        self._busy: type[Exception] = filelock.Timeout
        self._lock = filelock.FileLock(f"{database.resolve()}.auto-tag-lock", thread_local=False)

    def take(self) -> bool:
        """False when another process holds it. Raises LibraryError READ_ONLY when it cannot be made."""
        try:
            self._lock.acquire(timeout=0)
        except self._busy:
            return False
        except OSError:
            raise LibraryError(Fault.READ_ONLY) from None
        return True

    def release(self) -> None:
        """Gives it back and removes the file.

        Removed while still held: who opened it before sees that its file is gone (filelock looks at the
        link count) and tries again. Windows removes no open file; there filelock does, once it is closed.
        """
        with contextlib.suppress(OSError):
            Path(self._lock.lock_file).unlink()
        self._lock.release()
