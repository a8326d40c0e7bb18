"""A library on a disk that does not answer, as a share of the network: the trio thread never waits for it."""

import os
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest
import trio

from sidecar.contract import Completion, Event
from sidecar.demo import standin
from sidecar.demo.library import create_library
from sidecar.library.faults import SENTENCES, Fault, LibraryError
from sidecar.library.lock import RunLock, given_back, taken
from sidecar.library.store import open_library
from sidecar.library.writer import Transaction
from sidecar.redaction import Redactor
from sidecar.rpc.methods import App, call, running_app
from sidecar.settings import Settings
from tests.harness import DEADLINE_SECONDS, eventually

if sys.platform == "win32":
    import msvcrt

    LOCK: tuple[ModuleType, str] = msvcrt, "locking"
else:
    import fcntl

    LOCK = fcntl, "flock"
CALLS = (*((os, name) for name in ("stat", "lstat", "access", "readlink", "open", "close", "unlink")), LOCK)


class Disk:
    """Every call to the disk that the program makes in Python, its own connections' calls to SQLite among them.

    `touched` are those of the thread that this was made in, trio's. The others wait while `answers` is not set.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.touched: list[str] = []
        self.answers = threading.Event()
        self.answers.set()
        self.waiting = 0
        self._own = threading.get_ident()
        for module, name in CALLS:
            patch.setattr(module, name, self._watched(name, getattr(module, name)))
        connect = sqlite3.connect
        names = ("execute", "executemany", "close")
        methods = {name: self._watched(name, getattr(sqlite3.Connection, name)) for name in names}
        kind = type("Connection", (sqlite3.Connection,), methods)
        patch.setattr(sqlite3, "connect", self._watched("connect", lambda *a, **k: connect(*a, **k, factory=kind)))

    def _watched(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **named: Any) -> Any:
            if threading.get_ident() == self._own:
                self.touched.append(name)
            elif not self.answers.is_set():
                self.waiting += 1
                assert self.answers.wait(DEADLINE_SECONDS)
            return function(*args, **named)

        return watched


class Still:
    """A job that stands still in its transaction, until it is let go."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self, _transaction: Transaction) -> None:
        self.begun.set()
        assert self.go.wait(DEADLINE_SECONDS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "library.db"
    create_library(found, files=30)
    return found


@pytest.fixture
def disk(path: Path) -> Iterator[Disk]:
    with pytest.MonkeyPatch.context() as patch:
        found = Disk(patch)
        yield found
        found.answers.set()


async def result(app: App, method: str, **params: Any) -> Any:
    answer = await call(app, method, msgspec.json.encode(params))
    if answer.then is not None:
        answer.then()
    return msgspec.to_builtins(answer.result)


async def test_whatever_is_called_the_trio_thread_touches_no_file_of_the_library(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[Event] = []
    told = trio.Event()

    def emit(event: Event) -> None:
        events.append(event)
        if isinstance(event, Completion):
            told.set()

    async def run(method: str, **params: Any) -> str:
        nonlocal told
        told = trio.Event()
        run_id = str((await result(app, method, **params))["run_id"])
        await told.wait()
        return run_id

    monkeypatch.setattr("sidecar.library.store._IDLE_SECONDS", 0.02)
    with trio.fail_after(DEADLINE_SECONDS):
        async with standin.running() as gemini:
            settings = Settings(database=path, api_key="AIza-any", base_url=gemini.base_url)
            async with running_app(settings, emit, Redactor()) as app:
                await result(app, "check_gemini_api_key", verify=True)  # imports the SDK
                with pytest.MonkeyPatch.context() as patch:
                    disk = Disk(patch)
                    for method in ("status", "count_untagged_files", "get_untagged_files", "estimate"):
                        await result(app, method)
                    dry = await run("auto_tag_files", batch_size=10, dry_run=True)
                    await result(app, "apply_proposals", run_id=dry, reject=[1, 2, 3])
                    tagged = await run("auto_tag_files")
                    for method in ("get_run", "list_runs", "report", "find_stale", "list_tag_mappings", "status"):
                        await result(app, method)
                    await result(app, "explain", file_id=1)
                    await result(app, "undo_run", run_id=tagged)
                    await result(app, "add_exclusion", glob="*.none")
                    await trio.sleep(0.1)  # meanwhile all is closed
                    await result(app, "status")
                    assert disk.touched == []
    assert [event.status for event in events if isinstance(event, Completion)] == ["completed"] * 2
    with closing(sqlite3.connect(path)) as shell:
        assert shell.execute("SELECT count(*) FROM audio_files WHERE auto_tagged").fetchone() == (27,)


async def test_status_says_within_a_moment_that_the_disk_does_not_answer_and_later_that_it_does(
    path: Path, disk: Disk
) -> None:
    async with open_library(path) as library:
        assert (await library.status()).ok
        disk.answers.clear()
        for _ in range(3):
            with trio.fail_after(2):
                status = await library.status()
            assert (status.ok, status.error) == (False, SENTENCES[Fault.NO_ANSWER])
        assert disk.waiting == 1, "one thread waits, however often somebody asks"
        disk.answers.set()
        with trio.fail_after(DEADLINE_SECONDS):
            assert (await library.status()).ok


async def test_in_a_run_a_commit_stands_for_a_look_but_for_a_moment_only(path: Path, disk: Disk) -> None:
    still = Still()
    async with open_library(path) as library, trio.open_nursery() as nursery:
        assert (await library.status()).ok
        await library.write(lambda _: None)
        nursery.start_soon(library.write, still)
        assert await trio.to_thread.run_sync(still.begun.wait, DEADLINE_SECONDS)
        disk.answers.clear()
        committed_at, answers = trio.current_time(), set[bool]()
        while trio.current_time() < committed_at + 1.5:
            answers.add((await library.status()).ok)
            await trio.sleep(0.05)
        assert answers == {True, False} and disk.waiting == 1
        disk.answers.set()
        still.go.set()


async def test_a_commit_before_an_error_stands_for_no_look(path: Path, disk: Disk) -> None:
    def fails(transaction: Transaction) -> None:
        transaction.connection.execute("SELECT nothing")

    still = Still()
    async with open_library(path) as library, trio.open_nursery() as nursery:
        await library.write(lambda _: None)
        with pytest.raises(LibraryError):
            await library.write(fails)
        nursery.start_soon(library.write, still)
        assert await trio.to_thread.run_sync(still.begun.wait, DEADLINE_SECONDS)
        disk.answers.clear()
        assert not (await library.status()).ok
        disk.answers.set()
        still.go.set()


async def test_a_read_that_waits_for_the_disk_can_be_cancelled_and_leaves_nothing_open(
    path: Path, disk: Disk
) -> None:
    opened: list[sqlite3.Connection] = []
    async with open_library(path) as library:
        await library.read(lambda *_: None)
        disk.answers.clear()
        with trio.move_on_after(0.1) as scope:
            await library.read(lambda connection, _: opened.append(connection))
        assert scope.cancelled_caught
        with trio.move_on_after(0.1) as scope:
            await library.aclose()
        assert scope.cancelled_caught
        disk.answers.set()
        await eventually(lambda: bool(opened) and is_closed(opened[0]))


def is_closed(connection: sqlite3.Connection) -> bool:
    try:
        sqlite3.Connection.execute(connection, "SELECT 1")
    except sqlite3.ProgrammingError:
        return True
    return False


async def test_a_start_that_waits_for_the_locks_disk_can_be_cancelled_and_keeps_nobody_out(
    path: Path, disk: Disk
) -> None:
    lock, other = RunLock(path), RunLock(path)
    disk.answers.clear()
    with trio.move_on_after(0.1) as scope:
        await taken(lock)
    assert scope.cancelled_caught
    disk.answers.set()
    with trio.fail_after(DEADLINE_SECONDS):
        await eventually(lambda: disk.waiting == 1)
        while not await taken(other):  # noqa: ASYNC110 - the other thread tells nobody
            await trio.sleep(0.01)
        await given_back(other)


async def test_a_start_that_is_cancelled_while_another_process_has_the_lock_leaves_it_to_that_one(
    path: Path, disk: Disk
) -> None:
    holder, lock, other = RunLock(path), RunLock(path), RunLock(path)
    assert await taken(holder)
    disk.answers.clear()
    with trio.move_on_after(0.1) as scope:
        await taken(lock)
    assert scope.cancelled_caught
    disk.answers.set()
    await eventually(lambda: not any(thread.name == "run lock" for thread in threading.enumerate()))
    assert not await taken(other)
    await given_back(holder)
    assert await taken(other)
    await given_back(other)


async def test_a_lock_is_given_back_whoever_is_cancelled(path: Path) -> None:
    lock, other = RunLock(path), RunLock(path)
    assert await taken(lock) and not await taken(other)
    with trio.CancelScope() as scope:
        scope.cancel()
        await given_back(lock)
    assert await taken(other)
    await given_back(other)
