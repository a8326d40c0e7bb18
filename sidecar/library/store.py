"""The library as the rest of the program sees it: open it when needed, read, write, know its state.

Owns: the writer and the reading connections. One for each process; every method is
called from the trio thread, which never touches the file itself: on a share that has gone away a look takes as
long as a read. The file may be missing or foreign at the start and be right later, and it may be replaced while we
run: each use looks whether it is still the file that was opened. While nobody uses it nothing is open.
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
from sidecar.library.connections import Shape, open_library_file
from sidecar.library.faults import Fault, LibraryError, translated
from sidecar.library.file import Look, identity_of, is_writable, log_of, look_at
from sidecar.library.lock import RunLock
from sidecar.library.readers import READ_PATIENCE_SECONDS, Readers
from sidecar.library.writer import Transaction, Writer

STATUS_PATIENCE_SECONDS = 0.25
_MOMENT_SECONDS = 1.0
"""What `status` takes at most, however long another call's opening of the file waits, or the disk."""
_IDLE_SECONDS = 5.0
"""After so long without a read or write, twice as long at most, all connections are closed."""
_READERS = 4
"""Short reads at a time: of a run's batches, of runs, of single files."""
_SCANNERS = 2
"""Beside them, reads of the whole library; with a million files each takes seconds, or half a minute."""

T = TypeVar("T")


class _Refused(Struct, frozen=True):
    """The last opening that failed: when, and how long it had waited for another program at most."""

    at: float
    patience_seconds: float
    error: LibraryError


class Library:
    """The database at one path. Made by `open_library`."""

    def __init__(self, path: Path | None, nursery: trio.Nursery) -> None:
        self.path = path
        self.run_lock: RunLock | None = None  # while this process holds it for a run
        self._nursery = nursery
        self._readers: Readers | None = None
        self._writer: Writer | None = None
        self._limiter = trio.CapacityLimiter(_READERS)
        self._scan_limiter = trio.CapacityLimiter(_SCANNERS)
        self._look_limiter = trio.CapacityLimiter(1)
        self._is_open = False
        self._opening = trio.Lock()
        self._refused: _Refused | None = None
        self._judged: Look | None = None
        self._is_in_sight = False
        self._looking = trio.Lock()
        self._looked_at = -math.inf
        self._found: LibraryError | None = None
        self._uses = 0
        self._writes = 0
        self._committed_at = -math.inf
        self._was_used = trio.Event()
        self._generations = itertools.count(1)

    async def read(self, query: Callable[[sqlite3.Connection, Shape], T]) -> T:
        """Runs `query` on a reading connection in a thread. Raises LibraryError.

        For what takes milliseconds, however large the library, and for what a run or an undo begins with. A cancel
        abandons the thread, which gives its connection back by itself.
        """
        return await self._read_in_thread(query, self._limiter)

    async def scan(self, query: Callable[[sqlite3.Connection, Shape], T]) -> T:
        """As `read`, for what takes longer the larger the library is: no read ever waits for it."""
        return await self._read_in_thread(query, self._scan_limiter)

    async def _read_in_thread(
        self, query: Callable[[sqlite3.Connection, Shape], T], limiter: trio.CapacityLimiter
    ) -> T:
        with self._use():
            await self._open(READ_PATIENCE_SECONDS)
            if self._readers is None:
                self._readers = Readers(self.known_path)
            return await trio.to_thread.run_sync(
                self._read, self._readers, query, limiter=limiter, abandon_on_cancel=True
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
            await self._open(READ_PATIENCE_SECONDS)
            if self._writer is None:
                self._writer = Writer(self.known_path, self._generations)
                self._nursery.start_soon(self._writer.run)
            self._writes += 1
            try:
                result = await self._writer.write(run, dates_reads=dates_reads)
            finally:
                self._writes -= 1
            self._committed_at = trio.current_time()
            return result

    @contextmanager
    def _use(self) -> Iterator[None]:
        self._uses += 1
        try:
            yield
        except LibraryError:  # whoever comes next is to see for himself
            self._is_open, self._judged, self._committed_at = False, None, -math.inf
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
                await self.aclose()

    async def status(self) -> DatabaseStatus:
        """Whether there is a library that can be written, and what to do if not. Answers within a moment.

        While commits follow each other within one, they say as much as a look.
        """
        asked_at, error = trio.current_time(), None
        if self._writes and asked_at < self._committed_at + _MOMENT_SECONDS:
            return DatabaseStatus(str(self.path), ok=True, error=None)
        with trio.move_on_after(_MOMENT_SECONDS) as moment:
            async with self._looking:
                if self._looked_at < asked_at:  # else one look serves all who asked before it began
                    self._looked_at, self._found = trio.current_time(), await self._fault()
                error = self._found
        if moment.cancelled_caught:
            error = LibraryError(Fault.LOCKED if self._is_in_sight else Fault.NO_ANSWER)
        path = str(self.path) if self.path else None
        return DatabaseStatus(path, ok=error is None, error=error.sentence if error else None)

    async def _fault(self) -> LibraryError | None:
        """What is wrong with the library now.

        It is judged once more where somebody has written since: tables may be gone, or damaged. While a
        transaction of ours is on its way that finds out, and what is written is our own.
        """
        try:
            self._is_in_sight = False
            look, can_be_written = await trio.to_thread.run_sync(
                _look, self.known_path, limiter=self._look_limiter, abandon_on_cancel=True
            )
            self._is_in_sight = True
            if await self._open(STATUS_PATIENCE_SECONDS):
                self._judged = look
            if not can_be_written:
                return LibraryError(Fault.READ_ONLY)
            left = self._writer.left if self._writer is not None else None
            if not self._writes and look not in (self._judged, left):
                await self.read(lambda *_: None)
                self._judged = look
        except LibraryError as found:
            return found
        return None

    async def aclose(self) -> None:
        """Closes what is open, and waits until the writer has: with the last connection SQLite's log is gone."""
        readers, writer = self._readers, self._writer
        self._readers = self._writer = None
        self._is_open = False
        # Readers first: of two connections that close at the same instant neither is the last one, which empties
        # the log.
        try:
            if readers is not None:
                await trio.to_thread.run_sync(readers.close, abandon_on_cancel=True)
        finally:
            if writer is not None:
                writer.close()
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

    async def _open(self, patience_seconds: float) -> bool:
        """Returns once the file there is known to be a library; True where this call has seen to it."""
        path = self.known_path
        if self._is_open:
            return False
        asked_at = trio.current_time()
        async with self._opening:
            if self._is_open:
                return False
            self._refuse_like_those_before(asked_at, patience_seconds)
            try:
                await trio.to_thread.run_sync(
                    self._judge, path, patience_seconds, limiter=self._limiter, abandon_on_cancel=True
                )
            except LibraryError as error:
                self._refused = _Refused(trio.current_time(), patience_seconds, error)
                raise
            self._is_open = True
            return True

    def _refuse_like_those_before(self, asked_at: float, patience_seconds: float) -> None:
        """Raises the error of an opening that failed while this call waited for it.

        Trying once more would only take as long again. A call with more patience than that one tries all the same.
        """
        refused = self._refused
        if refused is not None and refused.at >= asked_at and refused.patience_seconds >= patience_seconds:
            raise LibraryError(refused.error.fault, refused.error.sentence)

    def _judge(self, path: Path, patience_seconds: float) -> None:
        identity_of(path)
        try:
            connection, _ = open_library_file(path, busy_seconds=patience_seconds, writes=False)
            connection.close()
        except sqlite3.Error as error:
            raise translated(error, path) from None

    def _read(self, readers: Readers, query: Callable[[sqlite3.Connection, Shape], T]) -> T:
        try:
            with readers.reader() as (connection, shape):
                return query(connection, shape)
        except sqlite3.Error as error:
            raise translated(error, self.known_path) from None


def _look(path: Path) -> tuple[Look, bool]:
    """How the file lies there, and whether it can be written. Raises LibraryError."""
    identity_of(path)  # before anything that needs a place to be
    log_path = log_of(path)
    return look_at(path, log_path), is_writable(path, beside=log_path)


@asynccontextmanager
async def open_library(path: Path | None) -> AsyncIterator[Library]:
    """The library at `path`; when the block ends, the writer has finished and all is closed."""
    async with trio.open_nursery() as nursery:
        library = Library(path, nursery)
        nursery.start_soon(library.let_go_when_idle)
        try:
            yield library
        finally:
            with trio.CancelScope(shield=True):
                await library.aclose()
            nursery.cancel_scope.cancel()
