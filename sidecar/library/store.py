"""The library as the rest of the program sees it: open it when needed, read, write, know its state.

Owns: the writer and the reading connections. One for each process; every method is
called from the trio thread. The file may be missing or foreign at the start and be right later, and it
may be replaced while we run: each use looks whether it is still the file that was opened. While nobody uses
it nothing is open.
"""

import itertools
import math
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

import trio
from msgspec import Struct

from sidecar.contract import DatabaseStatus
from sidecar.library.connections import Shape, check_writable, open_library_file
from sidecar.library.faults import Fault, LibraryError, translated, unseen
from sidecar.library.readers import READ_PATIENCE_SECONDS, Readers
from sidecar.library.writer import Transaction, Writer

STATUS_PATIENCE_SECONDS = 0.25
_MOMENT_SECONDS = 1.0
"""What `status` takes at most, however long another call's opening of the file waits."""
_IDLE_SECONDS = 5.0
"""After so long without a read or write, twice as long at most, all connections are closed."""
_READERS = 4
"""Short reads at a time: of a run's batches, of runs, of single files."""
_SCANNERS = 2
"""Beside them, reads of the whole library; with a million files each takes seconds, or half a minute."""

T = TypeVar("T")
_Identity = tuple[int, int]
_LastWrite = tuple[int, int] | None
"""When, and the size since; None where there is no file."""
_Written = tuple[_LastWrite, _LastWrite]


class _Refused(Struct, frozen=True):
    """The last opening that failed: when, and how long it had waited for another program at most."""

    at: float
    patience_seconds: float
    error: LibraryError


class Library:
    """The database at one path. Made by `open_library`."""

    def __init__(self, path: Path | None, nursery: trio.Nursery) -> None:
        self.path = path
        self._nursery = nursery
        self._opened: _Identity | None = None
        self._log_path: Path | None = None
        self._judged: _Written | None = None
        self._looking = trio.Lock()
        self._looked_at = -math.inf
        self._writer: Writer | None = None
        self._readers: Readers | None = None
        self._limiter = trio.CapacityLimiter(_READERS)
        self._scan_limiter = trio.CapacityLimiter(_SCANNERS)
        self._opening = trio.Lock()
        self._refused: _Refused | None = None
        self._uses = 0
        self._writes = 0
        self._was_used = trio.Event()
        self._generations = itertools.count(1)

    async def read(self, query: Callable[[sqlite3.Connection, Shape], T]) -> T:
        """Runs `query` on a reading connection in a thread. Raises LibraryError.

        For what takes milliseconds, however large the library. A cancel abandons the thread, which gives its
        connection back by itself.
        """
        return await self._read_in_thread(query, self._limiter)

    async def scan(self, query: Callable[[sqlite3.Connection, Shape], T]) -> T:
        """As `read`, for what takes longer the larger the library is: no read ever waits for it."""
        return await self._read_in_thread(query, self._scan_limiter)

    async def _read_in_thread(
        self, query: Callable[[sqlite3.Connection, Shape], T], limiter: trio.CapacityLimiter
    ) -> T:
        with self._use():
            path = await self._open(READ_PATIENCE_SECONDS)
            if self._readers is None:
                self._readers = Readers(path)
            return await trio.to_thread.run_sync(
                self._read, self._readers, path, query, limiter=limiter, abandon_on_cancel=True
            )

    @property
    def generation(self) -> int:
        """Rises whenever a transaction finds that another process has changed the database, or `dates_reads`.

        What was read after the one value was seen is still so in a transaction that has the same.
        """
        return self._writer.generation if self._writer is not None else 0

    async def write(self, run: Callable[[Transaction], T], *, dates_reads: bool = False) -> T:
        """Runs `run` as one transaction on the writer thread; see `writer`. Raises LibraryError."""
        with self._use():
            path = await self._open(READ_PATIENCE_SECONDS)
            if self._writer is None:
                self._writer = Writer(path, self._generations)
                self._nursery.start_soon(self._writer.run)
            self._writes += 1
            try:
                result = await self._writer.write(run, dates_reads=dates_reads)
            finally:
                self._writes -= 1
            self._judged = self._written(path)  # by that transaction, which is what has been written since
            return result

    @contextmanager
    def _use(self) -> Iterator[None]:
        self._uses += 1
        try:
            yield
        except LibraryError:
            self._judged = None  # `status` is to see for itself
            raise
        finally:
            self._uses -= 1
            self._was_used.set()

    async def let_go_when_idle(self) -> None:
        """Closes what nobody has used for a while, as often as that happens.

        SQLite keeps its log as long as anyone has the database open. A shell that closes it to put a backup in its
        place thinks of no log beside it, and SQLite would play the old one into the new file
        (https://sqlite.org/howtocorrupt.html, 1.4). On Windows no open file can be replaced at all.
        """
        while True:
            await self._was_used.wait()
            self._was_used = trio.Event()
            await trio.sleep(_IDLE_SECONDS)
            if not self._uses and not self._was_used.is_set():
                self.close()

    async def status(self) -> DatabaseStatus:
        """Whether there is a library that can be written, and what to do if not. Answers within a moment."""
        error = None
        try:
            with trio.move_on_after(_MOMENT_SECONDS) as moment:
                library = await self._open(STATUS_PATIENCE_SECONDS)
                check_writable(library, beside=self._log_path)
                await self._look_again(library)
            if moment.cancelled_caught:
                error = LibraryError(Fault.LOCKED)
        except LibraryError as found:
            error = found
        except OSError as unknown:
            error = LibraryError(unseen(unknown))
        path = str(self.path) if self.path else None
        return DatabaseStatus(path, ok=error is None, error=error.sentence if error else None)

    async def _look_again(self, path: Path) -> None:
        """Judges the library once more where somebody has written since: tables may be gone, or damaged.

        While a transaction of ours is on its way that finds out, and what is written is our own. One look serves
        all who asked before it began; a flood of them would fill the readers' places.
        """
        if self._writes or self._written(path) == self._judged:
            return
        asked_at = trio.current_time()
        async with self._looking:
            if self._looked_at < asked_at:
                began_at, written = trio.current_time(), self._written(path)
                await self.read(lambda *_: None)
                self._looked_at, self._judged = began_at, written

    def _written(self, path: Path) -> _Written:
        """Of the file and of its log: most writes touch the log only."""
        return _last_write(path), _last_write(self._log_path) if self._log_path else None

    def close(self) -> None:
        """Closes what is open; the writer ends when it has finished its transaction."""
        # Readers first: of two connections that close at the same instant neither is the last one, which empties
        # the log.
        if self._readers is not None:
            self._readers.close()
            self._readers = None
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._opened = None

    async def aclose(self) -> None:
        """Closes, and waits until the writer has: with the last connection SQLite's log is gone."""
        writer = self._writer
        self.close()
        if writer is not None:
            await writer.ended.wait()

    @property
    def known_path(self) -> Path:
        """Where the library is to be. Raises LibraryError MISSING when nobody has said so."""
        if self.path is None:
            raise LibraryError(
                Fault.MISSING, "No database is configured. Start with --database PATH or set LIGEIA_DATABASE."
            )
        return self.path

    async def _open(self, patience_seconds: float) -> Path:
        """The path, once the file there is known to be a library."""
        path = self.known_path
        try:
            stat = path.stat()
        except OSError as error:
            self.close()
            raise LibraryError(unseen(error)) from None
        identity = (stat.st_dev, stat.st_ino)
        if self._opened != identity:
            asked_at = trio.current_time()
            async with self._opening:
                if self._opened != identity:
                    self._refuse_like_those_before(asked_at, patience_seconds)
                    await self._open_anew(path, patience_seconds)
                    self._opened = identity
        return path

    async def _open_anew(self, path: Path, patience_seconds: float) -> None:
        # The old file's writer ends by itself. Closing, it leaves the new file's log alone: SQLite empties no log
        # of a file that has been moved (databaseIsUnmoved; tried with 3.40).
        self.close()
        self._log_path = _log_of(path)
        self._judged = self._written(path)
        try:
            await trio.to_thread.run_sync(
                self._judge, path, patience_seconds, limiter=self._limiter, abandon_on_cancel=True
            )
        except LibraryError as error:
            self._refused = _Refused(trio.current_time(), patience_seconds, error)
            raise

    def _refuse_like_those_before(self, asked_at: float, patience_seconds: float) -> None:
        """Raises the error of an opening that failed while this call waited for it.

        Trying once more would only take as long again. A call with more patience than that one tries all the same.
        """
        refused = self._refused
        if refused is not None and refused.at >= asked_at and refused.patience_seconds >= patience_seconds:
            raise LibraryError(refused.error.fault, refused.error.sentence)

    def _judge(self, path: Path, patience_seconds: float) -> None:
        try:
            connection, _ = open_library_file(path, busy_seconds=patience_seconds, writes=False)
            connection.close()
        except sqlite3.Error as error:
            raise translated(error, path) from None

    def _read(self, readers: Readers, path: Path, query: Callable[[sqlite3.Connection, Shape], T]) -> T:
        try:
            with readers.reader() as (connection, shape):
                return query(connection, shape)
        except sqlite3.Error as error:
            raise translated(error, path) from None


def _log_of(path: Path) -> Path:
    """SQLite's log lies beside the file itself, whatever link leads there."""
    return Path(f"{path.resolve()}-wal")


def _last_write(path: Path) -> _LastWrite:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size


@asynccontextmanager
async def open_library(path: Path | None) -> AsyncIterator[Library]:
    """The library at `path`; when the block ends, the writer has finished and all is closed."""
    async with trio.open_nursery() as nursery:
        library = Library(path, nursery)
        nursery.start_soon(library.let_go_when_idle)
        try:
            yield library
        finally:
            library.close()
            nursery.cancel_scope.cancel()  # the writer, which is not cancellable, is waited for
