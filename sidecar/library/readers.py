"""The reading connections to the library's file.

Owns: those that are idle, all of them to the file that lay at the path when it was last looked at. Called from
any thread but trio's. A connection that comes back when another file lies there, or when all has been closed, is
closed then, so that no later read meets a file that was replaced.
"""

import sqlite3
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sidecar.library.connections import Shape, open_library_file, still_holds
from sidecar.library.faults import LibraryError
from sidecar.library.file import Identity, identity_of

READ_PATIENCE_SECONDS = 30.0
"""The shell's own busy timeout. Readers of a WAL database wait for exclusive locks and recovery only."""

_Opened = tuple[sqlite3.Connection, Shape]


class Readers:
    """The connections to the file at `path`; opened when none is idle."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: deque[_Opened] = deque()
        self._idle_of: Identity | None = None
        self._closings = 0
        self._lock = threading.Lock()

    @contextmanager
    def reader(self) -> Iterator[_Opened]:
        """A connection for one read, and what the library is like now. Raises LibraryError, sqlite3.Error."""
        closings = self._closings
        # Before it is opened: of a file that takes its place meanwhile the next read opens another connection.
        identity = self._look()
        opened = self._take() or open_library_file(self._path, busy_seconds=READ_PATIENCE_SECONDS, writes=False)
        try:
            yield opened
        finally:
            with self._lock:
                is_kept = (identity, closings) == (self._idle_of, self._closings)
                if is_kept:
                    self._idle.append(opened)
            if not is_kept:
                opened[0].close()

    def close(self) -> None:
        """Closes what is idle now, and the others when they come back: also of a read that has not got so far."""
        with self._lock:
            self._closings += 1
        self._keep(None)

    def _look(self) -> Identity:
        try:
            identity = identity_of(self._path)
        except LibraryError:
            self.close()
            raise
        if identity != self._idle_of:
            self._keep(identity)
        return identity

    def _keep(self, identity: Identity | None) -> None:
        """From now on connections to that file are kept, and no others."""
        with self._lock:
            self._idle_of = identity
            others, self._idle = self._idle, deque()
        for connection, _ in others:
            connection.close()

    def _take(self) -> _Opened | None:
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
