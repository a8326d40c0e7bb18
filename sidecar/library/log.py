"""SQLite's write-ahead log, moved into the database after transactions, when their tasks have their results."""

import contextlib
import sqlite3
from collections.abc import Iterator

_ROWS_A_CHECKPOINT = 2000
"""About the 1,000 pages after which SQLite would checkpoint by itself, within COMMIT."""
_LONG_LOG_PAGES = 1500
"""6 MB, less than libraries take. SQLite begins the log anew only at an instant when nobody reads from it."""
_READERS_MS = 50
"""How long such an instant is waited for, with the lock held: our own reads take a few milliseconds."""


class Log:
    """The log of one writing connection, which is the writer thread's. `is_filled`: it may hold something."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.is_filled = False
        self._connection = connection
        self._checkpointed_rows = 0
        self._is_long = False

    def checkpoint(self) -> None:
        """After each transaction; moves the log into the database when enough has come together.

        A log that readers have made long is tried again after each transaction, until it begins anew. That
        takes the lock once more, for _READERS_MS at most where others read, and counts as rest all the same.
        """
        self.is_filled = True
        changes = self._connection.total_changes
        if changes - self._checkpointed_rows < _ROWS_A_CHECKPOINT and not self._is_long:
            return
        self._checkpointed_rows = changes
        with self._waiting(_READERS_MS if self._is_long else 0):
            if self._is_long:
                in_use = self._connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()[0]
                self._is_long = bool(in_use)
            else:
                pages = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1]
                self._is_long = pages > _LONG_LOG_PAGES

    def empty(self) -> None:
        """In a quiet moment; moves all of it into the database and cuts it to nothing.

        Who copies the file, or puts a backup in its place, thinks of no log beside it; SQLite would play what
        is left in the old one into the new file (https://sqlite.org/howtocorrupt.html, 1.2 and 1.4).
        """
        with self._waiting(_READERS_MS):
            in_use = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            self.is_filled = bool(in_use)

    @contextlib.contextmanager
    def _waiting(self, milliseconds: int) -> Iterator[None]:
        """For readers, so long. After an error the log only grows; the next COMMIT tells what is wrong."""
        with contextlib.suppress(sqlite3.Error):
            if milliseconds:
                self._connection.execute(f"PRAGMA busy_timeout={milliseconds}")
            yield
        with contextlib.suppress(sqlite3.Error):
            self._connection.execute("PRAGMA busy_timeout=0")
