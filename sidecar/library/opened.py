"""The connection that writes, with what belongs to it: the file it was opened to, its shape, its log."""

import contextlib
from pathlib import Path

from sidecar.library.connections import open_library_file
from sidecar.library.faults import Fault, LibraryError
from sidecar.library.file import Look, identity_of, is_writable, log_of, look_at
from sidecar.library.log import Log
from sidecar.library.procedures import create_procedures
from sidecar.library.undo_procedures import create_undo_procedures


class Opened:
    """To the file that lies at `path`. Raises LibraryError, sqlite3.Error. For one thread."""

    def __init__(self, path: Path) -> None:
        if not is_writable(path):
            raise LibraryError(Fault.READ_ONLY)
        self._path = path
        self._log_path = log_of(path)
        # Before it is opened: of a file that takes its place meanwhile another connection is opened.
        self._identity = identity_of(path)
        self.connection, self.shape = open_library_file(path, busy_seconds=1, writes=True)
        try:
            create_procedures(self.connection, self.shape)
            create_undo_procedures(self.connection, self.shape)
        except BaseException:
            self.close()
            raise
        self.log = Log(self.connection)
        self.data_version: int | None = None

    def is_still_there(self) -> bool:
        """Whether the path still leads to that file."""
        try:
            return identity_of(self._path) == self._identity
        except LibraryError:
            return False

    def look(self) -> Look | None:
        """How the file lies there now; None where that cannot be told."""
        with contextlib.suppress(LibraryError):
            return look_at(self._path, self._log_path)
        return None

    def close(self) -> None:
        """Where another file lies there now its log is left alone.

        SQLite empties no log of a file that has been moved (databaseIsUnmoved; tried with 3.40).
        """
        self.connection.close()
