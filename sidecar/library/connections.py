"""Opening the shell's database, and judging whether it is a library that can be tagged."""

import contextlib
import os
import sqlite3
from pathlib import Path, PurePath, PureWindowsPath
from typing import Final
from urllib.parse import quote

from msgspec import Struct

from sidecar.library.faults import OLDER, Fault, LibraryError

_REQUIRED: dict[str, frozenset[str]] = {
    "audio_files": frozenset({"id", "file_path", "title", "artist", "album", "genre", "mood"}),
    "rpg_tags": frozenset({"audio_file_id", "tag_type", "tag_value"}),
    "tag_vocabulary": frozenset({"tag_type", "tag_value", "is_active"}),
}
_MIGRATED: dict[str, frozenset[str]] = {
    "audio_files": frozenset({"auto_tagged", "auto_tag_date", "auto_tag_version"}),
    "tag_mapping_cache": frozenset({"invalid_tag", "valid_tag", "tag_type", "usage_count"}),
    "auto_tag_history": frozenset({"id", "file_id", "tagged_at", "tags_applied", "api_version"}),
}
_WRITTEN = frozenset({"audio_files", "rpg_tags", "tag_mapping_cache", "auto_tag_history"})
"""A view may have the columns of one of these, but takes no tags: to be seen before Gemini is paid for them."""

_KNOWN_OF_TAGS: Final = frozenset({"id", "audio_file_id", "tag_type", "tag_value", "created_at"})

_VERBATIM: Final = "//?/"
"""https://learn.microsoft.com/windows/win32/fileio/naming-a-file#win32-file-namespaces, with slashes."""


class Shape(Struct, frozen=True):
    """The columns of the shell's tables, some of which other libraries lack, as of a version of the schema."""

    columns: dict[str, frozenset[str]]
    version: int

    def has(self, table: str, column: str) -> bool:
        """Whether that column may be named in a statement."""
        return column in self.columns.get(table, frozenset())

    @property
    def further(self) -> tuple[str, ...]:
        """The columns of `rpg_tags` that are the shell's alone: kept by a row's id when a run takes the row away.

        Empty where rows have no id. Names that are no text cannot be named.
        """
        if not self.has("rpg_tags", "id"):
            return ()
        return tuple(sorted(name for name in self.columns["rpg_tags"] - _KNOWN_OF_TAGS if "\ufffd" not in name))


def database_uri(path: PurePath, mode: str = "rw") -> str:
    """An SQLite URI for an absolute path that never creates the file.

    Drive letters and UNC paths get the slashes that https://sqlite.org/uri.html asks for. The prefix `\\\\?\\`,
    which Rust's `canonicalize` puts before both, would have to keep its backslashes; so it goes.
    """
    text = path.as_posix()
    if isinstance(path, PureWindowsPath) and text.startswith(_VERBATIM):
        text = text.removeprefix(_VERBATIM)
        text = "//" + text.removeprefix("UNC/") if text.startswith("UNC/") else text
    if text.startswith("//"):
        text = "//" + text
    elif not text.startswith("/"):
        text = "/" + text
    # As the file system spells it: a name on Linux may be no text.
    return f"file:{quote(os.fsencode(text), safe='/:')}?mode={mode}"


def connect(path: Path, *, busy_seconds: float, writes: bool) -> sqlite3.Connection:
    """A connection in autocommit mode, usable from any thread (one at a time). Raises sqlite3.Error.

    One that writes does not wait for locks, its caller does; but briefly for readers while it switches to WAL.
    """
    connection = sqlite3.connect(
        database_uri(path.absolute()),
        uri=True,
        timeout=busy_seconds,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=64,
    )
    try:
        # Paths that are not UTF-8 stay readable; sqlite3 would refuse the whole row.
        connection.text_factory = lambda raw: str(raw, "utf-8", "replace")
        if writes:
            connection.execute("PRAGMA busy_timeout=0")
            connection.execute("PRAGMA synchronous=FULL")  # reads the schema: an exclusive lock is met here
            # What macOS calls fsync leaves data in the disk's own cache. No other system has F_FULLFSYNC, and
            # this does nothing there (https://sqlite.org/pragma.html#pragma_fullfsync). Checkpoints obey it too.
            connection.execute("PRAGMA fullfsync=ON")
            with contextlib.suppress(sqlite3.OperationalError):  # in use, or read-only: BEGIN will tell
                connection.execute(f"PRAGMA busy_timeout={round(busy_seconds * 1000)}")
                connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA busy_timeout=0")
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute("PRAGMA wal_autocheckpoint=0")  # the writer does it outside of COMMIT
            connection.execute("PRAGMA cache_size=-1280")  # a batch of 50 without spilling
            connection.execute("PRAGMA temp_store=MEMORY")  # statement journals: a copy of each touched page
        else:
            connection.execute("PRAGMA query_only=ON")
            connection.execute("PRAGMA cache_size=-256")  # of six readers, each would keep 2 MB
    except BaseException:
        connection.close()
        raise
    return connection


def open_library_file(path: Path, *, busy_seconds: float, writes: bool) -> tuple[sqlite3.Connection, Shape]:
    """A connection to a library, and its shape; no connection stays open to what is none.

    Raises LibraryError NOT_A_LIBRARY, sqlite3.Error.
    """
    connection = connect(path, busy_seconds=busy_seconds, writes=writes)
    try:
        return connection, judge(connection)
    except BaseException:
        connection.close()
        raise


def judge(connection: sqlite3.Connection) -> Shape:
    """The library's shape. Raises LibraryError NOT_A_LIBRARY, sqlite3.Error."""
    version = _schema_version(connection)
    columns = {table: _columns(connection, table) for table in {**_REQUIRED, **_MIGRATED}}
    if any(not names <= columns[table] for table, names in _REQUIRED.items()) or _WRITTEN & _views(connection):
        raise LibraryError(Fault.NOT_A_LIBRARY)
    if any(not names <= columns[table] for table, names in _MIGRATED.items()):
        raise LibraryError(Fault.NOT_A_LIBRARY, OLDER)
    return Shape(columns, version)


def still_holds(connection: sqlite3.Connection, shape: Shape) -> bool:
    """Whether nobody has changed the schema since: a shell that migrates may add and remove columns.

    Raises sqlite3.Error.
    """
    return _schema_version(connection) == shape.version


def _schema_version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA schema_version").fetchone()[0]
    return version


def _views(connection: sqlite3.Connection) -> set[str]:
    rows = connection.execute("SELECT lower(name) FROM sqlite_master WHERE type = 'view'")
    return {name for (name,) in rows}


def _columns(connection: sqlite3.Connection, table: str) -> frozenset[str]:
    """Their names in small letters: SQLite's names have no case. Not those of generated columns."""
    rows = connection.execute("SELECT lower(name) FROM pragma_table_info(?)", (table,))
    return frozenset(name for (name,) in rows)
