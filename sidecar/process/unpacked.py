"""The folder `_MEI…` into which a onefile unpacks itself: emptied by us, since its bootloader may be killed.

A onefile is two processes: the bootloader unpacks, starts Python, waits for it and removes the folder. A
shell kills what it has started, the bootloader, at any instant: also between Python's end and its own. So Python
empties the folder as its last act, removes it too when it is left alone, and removes at each start what earlier
kills have left. The folder's name holds the bootloader's pid, in hex (pyi_utils_posix.c and pyi_utils_win32.c of
PyInstaller 6.22). `MARKER`, unpacked before all else and removed after all else, tells our folders from those of
other programs; Python holds a lock on it for as long as it lives.

Outside of a onefile everything in here does nothing.
"""

import atexit
import os
import re
import shutil
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn

MARKER: Final = ".ligeia-sidecar"
"""The dot sorts it before every other file of the archive; the spec puts it there under this name."""

_NAME: Final = re.compile(r"_MEI([0-9a-f]{8})")
_held: Final[list[int]] = []
"""The descriptors of our locks, once `claim` has taken them."""


def folder() -> Path | None:
    """The folder that this process was unpacked into; None when it is no onefile."""
    path = Path(getattr(sys, "_MEIPASS", ""))
    return path if _NAME.match(path.name) else None


def bootloader_pid() -> int | None:
    """The process that has unpacked us, alive or not; None outside of a onefile."""
    path = folder()
    return None if path is None else _pid_in(path.name)


def claim() -> None:
    """Takes the folder's lock until this process ends, and lets a normal exit `release` it; call it once.

    A process that a onefile starts from itself shares its folder (PyInstaller's sub-processes): the first has it.
    """
    path = folder()
    fd = None if path is None else _locked(path / MARKER)
    if path is not None and fd is not None:
        _held.append(fd)
        _keep_from_cleaners(path)
        atexit.register(release)


def release() -> None:
    """Empties the folder; removes it when the bootloader is gone, which warns of one that is not there any more.

    The last act of the process. POSIX only: Windows removes no file that is mapped into a process, and leaves that
    to the bootloader or the next `sweep`.
    """
    path = folder()
    if path is not None and _held and sys.platform != "win32":
        _empty(path)
        if os.getppid() != _pid_in(path.name):
            _remove(path)


def leave(code: int) -> NoReturn:
    """Ends the process here and now, from any thread, with nothing of it left lying about."""
    release()
    os._exit(code)


def sweep() -> None:
    """Removes our folders beside this one whose processes are all dead; never raises, whatever lies there."""
    own = folder()
    if own is None:
        return
    for path in own.parent.glob("_MEI*"):
        if path != own and _is_abandoned(path):
            _remove(path)


def is_alive(pid: int) -> bool:
    """Whether there is such a process; one that waits to be reaped is there."""
    if sys.platform == "win32":  # os.kill would end it
        from sidecar.process import windows  # noqa: PLC0415 - ctypes is for those who need it

        return windows.is_alive(pid)
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):  # a folder's name may hold a number that no process can have
        return False
    except OSError:
        pass  # another user's
    return True


def _remove(path: Path) -> None:
    _empty(path)
    with suppress(OSError):
        path.rmdir()


def _empty(path: Path) -> None:
    """Removes what is in the folder, as far as that goes; the marker last, by which `sweep` knows a rest."""
    with suppress(OSError):
        for entry in sorted(path.iterdir(), key=lambda entry: entry.name == MARKER):
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                with suppress(OSError):
                    entry.unlink()


def _keep_from_cleaners(path: Path) -> None:
    """systemd-tmpfiles takes away what nobody has touched in the temp folder for days, but for what lies in a
    folder that is locked itself: https://systemd.io/TEMPORARY_DIRECTORIES.
    """
    if sys.platform != "win32":
        import fcntl  # noqa: PLC0415 - exists on POSIX only

        with suppress(OSError):
            _held.append(os.open(path, os.O_RDONLY))
            fcntl.flock(_held[-1], fcntl.LOCK_SH | fcntl.LOCK_NB)


def _pid_in(name: str) -> int | None:
    match = _NAME.match(name)
    return int(match[1], 16) if match else None


def _is_abandoned(path: Path) -> bool:
    """Whether it is ours (or holds nothing yet), its bootloader is dead, and nobody holds its lock."""
    try:
        found = path.lstat()
        is_empty = stat.S_ISDIR(found.st_mode) and not any(path.iterdir())
    except OSError:
        return False
    # The temp folder is everybody's: follow no link, and touch nothing of another user's.
    is_own_folder = stat.S_ISDIR(found.st_mode) and (sys.platform == "win32" or found.st_uid == os.getuid())
    pid = _pid_in(path.name)
    return is_own_folder and pid is not None and not is_alive(pid) and (is_empty or _is_free(path / MARKER))


def _is_free(marker: Path) -> bool:
    fd = _locked(marker)
    if fd is None:
        return False
    os.close(fd)
    return True


def _locked(marker: Path) -> int | None:
    """A descriptor that holds the marker's lock; None when there is no marker or another process holds it."""
    try:
        fd = os.open(marker, os.O_RDWR)
    except OSError:
        return None
    try:
        if sys.platform == "win32":
            import msvcrt  # noqa: PLC0415 - exists on Windows only

            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl  # noqa: PLC0415 - exists on POSIX only

            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return None
    return fd
