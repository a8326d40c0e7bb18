"""The reading connections to one file, for as long as the library's path leads to it.

Owns: those that are idle. Called from any thread. Once closed it keeps nothing: a connection that comes
back from a read that was under way is closed then, so that no later read meets a file that was replaced.
"""

import sqlite3
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sidecar.library.connections import Shape, open_library_file, still_holds

READ_PATIENCE_SECONDS = 30.0
"""The shell's own busy timeout. Readers of a WAL database wait for exclusive locks and recovery only."""


class Readers:
    """The connections to the file at `path`; opened when none is idle."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: deque[tuple[sqlite3.Connection, Shape]] = deque()
        self._lock = threading.Lock()
        self._is_closed = False

    @contextmanager
    def reader(self) -> Iterator[tuple[sqlite3.Connection, Shape]]:
        """A connection for one read, and what the library is like now. Raises LibraryError, sqlite3.Error."""
        connection, shape = self._take() or open_library_file(
            self._path, busy_seconds=READ_PATIENCE_SECONDS, writes=False
        )
        try:
            yield connection, shape
        finally:
            with self._lock:
                is_kept = not self._is_closed
                if is_kept:
                    self._idle.append((connection, shape))
            if not is_kept:
                connection.close()

    def close(self) -> None:
        """Closes what is idle now, and the others when they come back."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, deque()
        for connection, _ in idle:
            connection.close()

    def _take(self) -> tuple[sqlite3.Connection, Shape] | None:
        """The connection that has been idle the longest, unless the schema has changed since."""
        with self._lock:
            if not self._idle:
                return None
            connection, shape = self._idle.popleft()
        try:
            is_fresh = still_holds(connection, shape)
        except sqlite3.Error:
            connection.close()
            raise
        if is_fresh:
            return connection, shape
        connection.close()
        return None
