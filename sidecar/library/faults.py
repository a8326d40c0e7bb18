"""What can be wrong with the database, in a word and in a sentence; foreign errors → LibraryError."""

import errno
import sqlite3
import stat
from enum import StrEnum
from pathlib import Path

from sidecar.contract import Code, DatabaseErrorData, DatabaseKind, RpcError


class Fault(StrEnum):
    """The kinds of the contract, and those that it counts among them on the wire."""

    MISSING = "missing"
    NOT_A_LIBRARY = "not_a_library"
    READ_ONLY = "read_only"
    LOCKED = "locked"
    CORRUPT = "corrupt"
    NO_VOCABULARY = "no_vocabulary"
    FULL = "full"
    BROKEN_DISK = "broken_disk"
    REFUSED = "refused"
    REPLACED = "replaced"
    NO_LOCKS = "no_locks"
    NO_LOCK_FILE = "no_lock_file"
    NO_ANSWER = "no_answer"


DISK_FULL = "The disk is full, so no tags can be saved."
SENTENCES: dict[Fault, str] = {
    Fault.MISSING: "There is no library at the configured place. Choose another one in the settings "
    "(LIGEIA_DATABASE).",
    Fault.NOT_A_LIBRARY: "The database is not a Ligeia library: it lacks the tables of one.",
    Fault.READ_ONLY: "The database cannot be written: the file or its folder is read-only, or not yours to open.",
    Fault.LOCKED: "The database is locked by another program. Close what uses it, or try again in a moment.",
    Fault.CORRUPT: "The database is damaged. Restore it from a backup.",
    Fault.NO_VOCABULARY: "The library's tag vocabulary is empty, or has no active genre, no active mood, or "
    "neither occasions nor keywords, so nothing can be tagged. Start Ligeia once so that it fills the vocabulary.",
    Fault.FULL: f"{DISK_FULL} Free some space and try again.",
    Fault.BROKEN_DISK: "The disk reports errors on the database. Check the disk, then start tagging again.",
    Fault.REFUSED: "The database refused the change.",
    Fault.REPLACED: "The library's file was replaced by another one meanwhile. What was under way belongs to the "
    "old one; start again with the new one.",
    Fault.NO_LOCKS: "The disk that the library lies on does not lock files, and without a lock two runs could get "
    "in each other's way. Move the library to a disk of this computer.",
    Fault.NO_LOCK_FILE: "The file that keeps a second run out cannot be made. It lies beside the library and is "
    "called like it, with `.auto-tag-lock` added. Remove what is in its place, or shorten the library's name.",
    Fault.NO_ANSWER: "The disk that the library lies on does not answer. Check the connection to it; what is "
    "under way goes on once it answers again.",
}
OLDER = "The library is older than auto-tagging. Start Ligeia once so that it migrates it, then try again."
_BROKEN_INDEX = (
    "A search index in the library is damaged, so no tags can be saved. The library itself is probably whole: "
    "have that index built anew before you think of a backup."
)

_ON_THE_WIRE = {
    Fault.FULL: DatabaseKind.READ_ONLY,
    Fault.BROKEN_DISK: DatabaseKind.CORRUPT,
    Fault.REFUSED: DatabaseKind.NOT_A_LIBRARY,
    Fault.REPLACED: DatabaseKind.MISSING,
    Fault.NO_LOCKS: DatabaseKind.READ_ONLY,  # for good, which `locked` is not
    Fault.NO_LOCK_FILE: DatabaseKind.READ_ONLY,
    Fault.NO_ANSWER: DatabaseKind.LOCKED,
}

_BY_CODE = {
    sqlite3.SQLITE_BUSY: Fault.LOCKED,
    sqlite3.SQLITE_LOCKED: Fault.LOCKED,
    sqlite3.SQLITE_PROTOCOL: Fault.LOCKED,  # lost to others for seconds: https://sqlite.org/rescode.html#protocol
    sqlite3.SQLITE_READONLY: Fault.READ_ONLY,
    sqlite3.SQLITE_PERM: Fault.READ_ONLY,
    sqlite3.SQLITE_AUTH: Fault.READ_ONLY,
    sqlite3.SQLITE_FULL: Fault.FULL,
    sqlite3.SQLITE_IOERR: Fault.BROKEN_DISK,
    sqlite3.SQLITE_CORRUPT: Fault.CORRUPT,
    sqlite3.SQLITE_NOTADB: Fault.CORRUPT,
}


class LibraryError(Exception):
    """The database cannot be used, or not for this. `sentence` is for the person."""

    def __init__(self, fault: Fault, sentence: str | None = None) -> None:
        self.fault = fault
        self.sentence = sentence or SENTENCES[fault]
        super().__init__(self.sentence)

    @property
    def ends_run(self) -> bool:
        """Whether later batches cannot fare better, so that asking Gemini for them wastes money."""
        return self.fault not in (Fault.LOCKED, Fault.REFUSED)

    def on_the_wire(self) -> RpcError:
        """Error -32010 with `data.kind`."""
        kind = _ON_THE_WIRE.get(self.fault) or DatabaseKind(self.fault.value)
        return RpcError(Code.DATABASE_UNAVAILABLE, self.sentence, DatabaseErrorData(kind))


def translated(error: sqlite3.Error, path: Path) -> LibraryError:
    """The LibraryError that a sqlite3 error stands for; `path` is looked at to tell cases apart. Never raises."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if isinstance(code, int) else None
    if primary == sqlite3.SQLITE_CANTOPEN:
        return LibraryError(_why_not_opened(path))
    if code == sqlite3.SQLITE_CORRUPT_VTAB:  # full-text search that has lost step with its table
        return LibraryError(Fault.CORRUPT, _BROKEN_INDEX)
    if code == sqlite3.SQLITE_IOERR_SHMSIZE:  # no room for the index of the log
        return LibraryError(Fault.FULL)
    if primary == sqlite3.SQLITE_NOTADB and _is_text(path):
        return LibraryError(Fault.NOT_A_LIBRARY)
    return LibraryError(_BY_CODE.get(primary, Fault.REFUSED) if primary is not None else Fault.REFUSED)


def unseen(error: OSError) -> Fault:
    """Why a file cannot be looked at."""
    if isinstance(error, PermissionError):
        return Fault.READ_ONLY
    return Fault.BROKEN_DISK if error.errno == errno.EIO else Fault.MISSING


def _why_not_opened(path: Path) -> Fault:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return unseen(error)
    return Fault.READ_ONLY if stat.S_ISREG(mode) else Fault.NOT_A_LIBRARY


def _is_text(path: Path) -> bool:
    """A text file was never a library; other bytes without SQLite's header are a damaged one."""
    try:
        with path.open("rb") as file:
            head = file.read(4096)
        return b"\0" not in head and bool(head.decode("utf-8", "strict"))
    except (OSError, UnicodeDecodeError):
        return False
