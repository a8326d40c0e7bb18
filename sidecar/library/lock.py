"""One run per database, across processes: an operating system's lock, gone with its holder.

The lock is taken on a file of its own beside the database: locking the database file itself would
interfere with SQLite's locks (https://sqlite.org/howtocorrupt.html, 2.2). Beside the file itself, as SQLite's
log is, whatever link led there.
"""

import contextlib
import errno
from pathlib import Path
from typing import TYPE_CHECKING

import outcome
import trio

from sidecar.library.faults import Fault, LibraryError
from sidecar.library.handover import Handover

if TYPE_CHECKING:
    from filelock import BaseFileLock

_FAULTS = {
    errno.EACCES: Fault.READ_ONLY,
    errno.EPERM: Fault.READ_ONLY,
    errno.EROFS: Fault.READ_ONLY,
    errno.ENOENT: Fault.MISSING,
    errno.ENOTDIR: Fault.MISSING,
    errno.ENOSPC: Fault.FULL,
    errno.EDQUOT: Fault.FULL,
    errno.EISDIR: Fault.NO_LOCK_FILE,
    errno.ELOOP: Fault.NO_LOCK_FILE,  # a symbolic link, which is not followed
    errno.ENAMETOOLONG: Fault.NO_LOCK_FILE,
}
"""Of making the lock's file. Others come from locking it: EOPNOTSUPP, ENOLCK, EIO of shares and their like."""


class RunLock:
    """Held from `take` to `release`, or to the death of the process.

    Both touch the disk, so that the trio thread goes by `taken` and `given_back`. `run_id`: the run that it is
    held for, known before that is booked.
    """

    def __init__(self, database: Path) -> None:
        self.run_id: str | None = None
        self._database = database
        self._lock: BaseFileLock | None = None

    def take(self) -> bool:
        """False when another process holds it. Raises LibraryError when it cannot be made or taken at all."""
        import filelock  # noqa: PLC0415 - imports asyncio, which only a run pays for

        if self._lock is None:
            path = f"{self._database.resolve()}.auto-tag-lock"
            self._lock = filelock.FileLock(path, mode=_permissions(self._database), thread_local=False)
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            return False
        except OSError as error:
            raise LibraryError(_FAULTS.get(error.errno or 0, Fault.NO_LOCKS)) from None
        return True

    def release(self) -> None:
        """Gives it back, where it is held, and removes the file. Never raises.

        Removed while still held: who opened it before sees that its file is gone (filelock looks at the
        link count) and tries again. Windows removes no open file; there filelock does, once it is closed.
        """
        if self._lock is None or not self._lock.is_locked:
            return
        with contextlib.suppress(OSError):
            Path(self._lock.lock_file).unlink()
        with contextlib.suppress(OSError):  # of a share that has gone: nobody meets the lock of a removed file
            self._lock.release()


async def taken(lock: RunLock) -> bool:
    """`lock.take()` in a thread. A cancel does not wait for the disk: the thread gives back what it gets then."""
    handover = Handover()

    def deliver(result: "outcome.Outcome[bool]") -> None:
        if handover.claim():
            handover.post(result)
        else:
            lock.release()

    await trio.lowlevel.checkpoint_if_cancelled()
    trio.lowlevel.start_thread_soon(lock.take, deliver, "run lock")
    is_taken: bool = await trio.lowlevel.wait_task_rescheduled(handover.abort)
    return is_taken


async def given_back(lock: RunLock) -> None:
    """`lock.release()` in a thread. No cancel keeps it from that."""
    with trio.CancelScope(shield=True):
        await trio.to_thread.run_sync(lock.release)


def _permissions(database: Path) -> int:
    """Those of the database, whatever the umask, as SQLite gives them to its own files (findCreateFileMode).

    The owner may read and write, also beside a read-only database: `filelock` wants it so.
    """
    try:
        return (database.stat().st_mode & 0o666) | 0o600
    except OSError:
        return 0o644
