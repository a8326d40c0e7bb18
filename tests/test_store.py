"""store: a library whose file is replaced, or locked by another program, while it is in use."""

import os
import sqlite3
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

import pytest
import trio
import trio.testing

from sidecar.demo.library import create_library
from sidecar.library.connections import Shape
from sidecar.library.faults import SENTENCES, Fault, LibraryError
from sidecar.library.store import STATUS_PATIENCE_SECONDS, Library, open_library
from sidecar.library.writer import Transaction
from tests.harness import eventually, never

PATIENCE_SECONDS = 20.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "library.db"
    create_library(found, files=10)
    return found


def count(connection: sqlite3.Connection, _shape: Shape) -> int:
    found: int = connection.execute("SELECT count(*) FROM audio_files").fetchone()[0]
    return found


class Held:
    """A read that stands still once it has begun, until it is let go."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self.ended = trio.Event()
        self.found = 0

    async def read(self, library: Library) -> None:
        await library.read(self)
        self.ended.set()

    async def ends(self) -> None:
        """Lets it go, and returns when it has given its connection back."""
        self.go.set()
        await self.ended.wait()

    def __call__(self, connection: sqlite3.Connection, shape: Shape) -> int:
        self.begun.set()
        assert self.go.wait(PATIENCE_SECONDS)
        self.found = count(connection, shape)
        return self.found


async def begin(library: Library, held: Held, nursery: trio.Nursery) -> None:
    nursery.start_soon(held.read, library)
    assert await trio.to_thread.run_sync(held.begun.wait, PATIENCE_SECONDS)


@asynccontextmanager
async def replaced_during_a_read(path: Path) -> AsyncIterator[tuple[Library, Held]]:
    """A library of 30 files has taken the place of the one that is open, and from which a read is under way."""
    other = path.with_suffix(".other")
    create_library(other, files=30)
    held = Held()
    async with open_library(path) as library, trio.open_nursery() as nursery:
        await begin(library, held, nursery)
        other.replace(path)
        yield library, held


def is_open(inode: int) -> bool:
    """Whether this process has that file open, also one that no path leads to any more."""
    found = set()
    for fd in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            found.add(fd.stat().st_ino)
    return inode in found


posix = pytest.mark.skipif(sys.platform == "win32", reason="replaces an open file")
proc = pytest.mark.skipif(sys.platform != "linux", reason="open files that are gone show in /proc only")


@posix
async def test_no_read_meets_a_file_that_was_replaced_while_another_read_was_under_way(path: Path) -> None:
    async with replaced_during_a_read(path) as (library, held):
        assert await library.read(count) == 30
        await held.ends()
        assert held.found == 10
        assert [await library.read(count) for _ in range(4)] == [30] * 4


@posix
@proc
async def test_a_replaced_file_is_closed_as_soon_as_the_last_read_from_it_has_ended(path: Path) -> None:
    inode = path.stat().st_ino
    async with replaced_during_a_read(path) as (library, held):
        await library.read(count)
        assert is_open(inode)
        await held.ends()
        assert not is_open(inode)


@posix
@proc
async def test_a_file_that_has_gone_is_told_and_closed_at_the_next_read(path: Path) -> None:
    inode = path.stat().st_ino
    async with open_library(path) as library:
        await library.read(count)
        assert is_open(inode)
        path.unlink()
        with pytest.raises(LibraryError) as caught:
            await library.read(count)
        assert caught.value.fault is Fault.MISSING and not is_open(inode)
        assert (await library.status()).error == SENTENCES[Fault.MISSING]


@posix
async def test_a_path_that_is_a_ring_of_links_leads_to_no_library(tmp_path: Path) -> None:
    path, other = tmp_path / "library.db", tmp_path / "other.db"
    path.symlink_to(other)
    other.symlink_to(path)
    async with open_library(path) as library:
        assert (await library.status()).error == SENTENCES[Fault.MISSING]


@posix
async def test_a_path_within_a_working_directory_that_is_gone_leads_to_no_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    gone = tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    async with open_library(Path("library.db")) as library:
        assert (await library.status()).error == SENTENCES[Fault.MISSING]
        for use in (library.read(count), library.write(edit)):
            with pytest.raises(LibraryError) as caught:
                await use
            assert caught.value.fault is Fault.MISSING


async def test_one_connection_serves_reads_that_come_one_after_the_other_and_writes_nothing(path: Path) -> None:
    met: list[sqlite3.Connection] = []

    def write(connection: sqlite3.Connection, _shape: Shape) -> None:
        met.append(connection)
        connection.execute("UPDATE audio_files SET title = 'new'")

    async with open_library(path) as library:
        for _ in range(3):
            with pytest.raises(LibraryError) as caught:
                await library.read(write)
            assert caught.value.fault is Fault.READ_ONLY
    assert met == [met[0]] * 3


@proc
async def test_a_read_that_was_abandoned_leaves_nothing_open_after_the_library(path: Path) -> None:
    inode = path.stat().st_ino
    held = Held()
    async with open_library(path) as library, trio.open_nursery() as nursery:
        await begin(library, held, nursery)
        nursery.cancel_scope.cancel()
    held.go.set()
    await eventually(lambda: not is_open(inode))


async def test_who_waited_for_an_opening_that_failed_does_not_wait_once_more(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[None] = []

    def refuse(_self: Library, _path: Path, _patience_seconds: float) -> None:
        judged.append(None)
        raise LibraryError(Fault.LOCKED)

    monkeypatch.setattr(Library, "_judge", refuse)
    faults: list[Fault] = []

    async def read(library: Library) -> None:
        with pytest.raises(LibraryError) as caught:
            await library.read(count)
        faults.append(caught.value.fault)

    async with open_library(path) as library:
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(read, library)
        assert (faults, len(judged)) == ([Fault.LOCKED] * 5, 1)
        await read(library)
        assert len(judged) == 2, "a later call looks anew"


async def test_who_has_more_patience_than_an_opening_that_failed_looks_once_more(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge, begun, go = Library._judge, threading.Event(), threading.Event()

    def refuse_status(self: Library, path: Path, patience_seconds: float) -> None:
        if patience_seconds == STATUS_PATIENCE_SECONDS:
            begun.set()
            assert go.wait(PATIENCE_SECONDS)
            raise LibraryError(Fault.LOCKED)
        judge(self, path, patience_seconds)

    monkeypatch.setattr(Library, "_judge", refuse_status)
    found: list[int] = []

    async def read() -> None:
        found.append(await library.read(count))

    async with open_library(path) as library, trio.open_nursery() as nursery:
        nursery.start_soon(library.status)
        assert await trio.to_thread.run_sync(begun.wait, PATIENCE_SECONDS)
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        go.set()
    assert found == [10]


async def test_a_read_knows_the_columns_that_the_shell_has_added_since_the_last_one(path: Path) -> None:
    def is_dated(_connection: sqlite3.Connection, shape: Shape) -> bool:
        return shape.has("audio_files", "updated_at")

    async with open_library(path) as library:
        assert not await library.read(is_dated)
        with closing(sqlite3.connect(path)) as shell, shell:
            shell.execute("ALTER TABLE audio_files ADD COLUMN updated_at DATETIME")
        assert await library.read(is_dated)


async def statuses(library: Library, calls: int = 200) -> set[bool]:
    """What so many calls at the same time are told."""
    found = set[bool]()

    async def ask() -> None:
        found.add((await library.status()).ok)

    async with trio.open_nursery() as nursery:
        for _ in range(calls):
            nursery.start_soon(ask)
    return found


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[sqlite3.Connection, Shape], object]]:
    """Gets each query of a `Library.read`."""
    found, read = list[Callable[[sqlite3.Connection, Shape], object]](), Library.read

    async def counted(self: Library, query: Callable[[sqlite3.Connection, Shape], object]) -> object:
        found.append(query)
        return await read(self, query)

    monkeypatch.setattr(Library, "read", counted)
    return found


async def test_one_look_at_what_others_have_written_serves_every_status_that_waits_for_it(
    path: Path, looks: list[object]
) -> None:
    async with open_library(path) as library:
        assert await statuses(library) == {True}
        assert looks == []
        with closing(sqlite3.connect(path)) as shell, shell:
            shell.execute("UPDATE audio_files SET title = 'new'")
        assert await statuses(library) == {True}
        assert len(looks) == 1
        with closing(sqlite3.connect(path)) as shell, shell:
            shell.execute("DROP TABLE auto_tag_history")
        assert await statuses(library) == {False}


async def test_status_looks_no_further_where_only_we_have_written(path: Path, looks: list[object]) -> None:
    async with open_library(path) as library:
        await library.write(edit)
        assert (await library.status()).ok
        await eventually(lambda: library_is_left(library))
        looks.clear()
        assert (await library.status()).ok and looks == []


def library_is_left(library: Library) -> bool:
    """Whether the writer has looked behind itself."""
    return library._writer is not None and library._writer.left is not None


async def test_status_does_not_wait_for_another_calls_opening_of_a_locked_library(path: Path) -> None:
    found: list[int] = []

    async def read() -> None:
        found.append(await library.read(count))

    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode=DELETE")
        other.execute("BEGIN EXCLUSIVE")
        async with open_library(path) as library, trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            status = await library.status()
            assert not status.ok and status.error == SENTENCES[Fault.LOCKED]
            other.execute("ROLLBACK")
        assert found == [10]


async def test_when_it_is_closed_no_log_is_left_beside_it(path: Path) -> None:
    for _ in range(50):  # two connections that close at the same instant leave it to each other
        async with open_library(path) as library:
            await library.read(count)
            await library.write(edit)
        assert [found.name for found in path.parent.iterdir()] == [path.name]


@posix
@proc
async def test_while_nobody_uses_it_a_backup_can_take_its_place(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a shell restores one: it closes the database, thinks of no log, and renames."""
    monkeypatch.setattr("sidecar.library.store._IDLE_SECONDS", 0.02)
    backup, inode = path.with_suffix(".backup"), path.stat().st_ino
    create_library(backup, files=30)
    async with open_library(path) as library:
        for use in (library.read(count), library.write(edit)):
            await use
            await eventually(lambda: not is_open(inode))
        with closing(sqlite3.connect(path)) as shell, shell:
            shell.execute("UPDATE audio_files SET title = 'a new title'")
        backup.replace(path)
        assert await library.read(count) == 30
        await library.write(edit)
    with closing(sqlite3.connect(path)) as shell:
        assert shell.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert shell.execute("SELECT count(*) FROM audio_files WHERE title = 'a new title'").fetchone() == (0,)


@proc
async def test_who_uses_it_for_long_is_left_alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.library.store._IDLE_SECONDS", 0.02)
    held, inode = Held(), path.stat().st_ino
    async with open_library(path) as library, trio.open_nursery() as nursery:
        await begin(library, held, nursery)
        await never(lambda: not is_open(inode), seconds=0.2)
        await held.ends()
        assert held.found == 10
        await eventually(lambda: not is_open(inode))


def edit(transaction: Transaction) -> None:
    transaction.connection.execute("UPDATE audio_files SET title = title || '.' WHERE id = 1")
