"""The real program for a caller that is not async: its methods in process, its database, its requests.

trio runs as a guest of the caller (https://trio.readthedocs.io, "guest mode"): nothing happens but within
`call` and `run`, all of it in the caller's thread and the program's own writer.
"""

import queue
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import msgspec
import outcome
import trio

from sidecar.contract import BatchReport, Completion, Event
from sidecar.demo import standin
from sidecar.demo.library import schema
from sidecar.demo.standin import StandIn
from sidecar.redaction import Redactor
from sidecar.rpc.methods import App, call, running_app
from sidecar.settings import Settings
from tests.model import words
from tests.model.gemini import Script

PATIENCE_SECONDS: Final = 60
"""For one call or run, however busy the machine: only a defect takes so long."""

Rows = list[dict[str, Any]]
_Job = tuple[Callable[[], Awaitable[Any]], "list[outcome.Outcome[Any]]"]


class World:
    """A library at `path`, a stand-in and a sidecar. `close` ends all."""

    def __init__(self, path: Path, **settings: Any) -> None:
        self.path = path
        self.shell = sqlite3.connect(path, isolation_level=None, timeout=30)
        self.shell.row_factory = sqlite3.Row
        self.shell.execute("PRAGMA foreign_keys = ON")
        self._settings = settings
        self._steps: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._ended: list[outcome.Outcome[None]] = []
        self._stays = True
        self._events: list[Event] = []
        self._complete = self._told = trio.Event()
        self._tokens: list[trio.lowlevel.TrioToken] = []
        self._send, self._jobs = trio.open_memory_channel[_Job](1)
        self.gemini: StandIn
        self._app: App
        trio.lowlevel.start_guest_run(
            self._live, run_sync_soon_threadsafe=self._steps.put, done_callback=self._ended.append
        )
        self._pump(self._tokens)
        self._do(trio.lowlevel.checkpoint)

    def call(self, method: str, **params: Any) -> Any:
        """A method's result as JSON values. Raises RpcError."""

        async def run() -> Any:
            answer = await call(self._app, method, msgspec.json.encode(params))
            return msgspec.to_builtins(answer.result)

        return self._do(run)

    def ask(self, *questions: "dict[Any, dict[str, Any]]") -> list[dict[Any, Any]]:
        """Many calls at once, of methods that change nothing; a key is a method, or begins with one."""
        told: list[dict[Any, Any]] = [{} for _ in questions]

        async def one(at: int, key: Any, params: dict[str, Any]) -> None:
            method = key if isinstance(key, str) else key[0]
            answer = await call(self._app, method, msgspec.json.encode(params))
            told[at][key] = msgspec.to_builtins(answer.result)

        async def run() -> None:
            async with trio.open_nursery() as nursery:
                for at, keyed in enumerate(questions):
                    for key, params in keyed.items():
                        nursery.start_soon(one, at, key, params)

        self._do(run)
        return told

    def run(self, method: str, script: Script, **params: Any) -> tuple[Any, list[BatchReport]]:
        """A run to its end: the answer to the call, and its batches in the order of their commits."""

        async def run() -> Any:
            self.gemini.script, self._events = script, []
            self._complete, self._told = trio.Event(), trio.Event()
            answer = await call(self._app, method, msgspec.json.encode(params))
            if answer.then is not None:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._cancel_when_told)
                    answer.then()
                    await self._complete.wait()
                    if not self._told.is_set():
                        nursery.cancel_scope.cancel()
            return msgspec.to_builtins(answer.result)

        started = self._do(run)
        return started, [event for event in self._events if isinstance(event, BatchReport)]

    def cancel_soon(self) -> None:
        """Cancels the active run: for a script."""
        self._told.set()

    def restart(self) -> None:
        """Ends the sidecar as a closed stdin does, and starts another."""
        self._do(self._stop)
        self._do(trio.lowlevel.checkpoint)

    def close(self) -> None:
        """Ends all. Raises what the program or the stand-in has raised outside of any call."""
        self._stays = False
        if not self._ended:
            self._do(self._stop)
        self._pump(self._ended)
        self.shell.close()
        self._ended[0].unwrap()

    def rows(self, statement: str, *values: Any) -> Rows:
        """Rows as the shell sees them."""
        return [dict(row) for row in self.shell.execute(statement, values)]

    async def _stop(self) -> None:
        self._app.stop.set()
        await self._app.runs.stop()
        await self._app.library.aclose()

    async def _cancel_when_told(self) -> None:
        await self._told.wait()
        await call(self._app, "cancel", None)

    async def _live(self) -> None:
        self._tokens.append(trio.lowlevel.current_trio_token())
        async with standin.running() as self.gemini:
            while self._stays:
                settings = Settings(
                    database=self.path, api_key="key", base_url=self.gemini.base_url, **self._settings
                )
                async with running_app(settings, self._emit, Redactor()) as self._app:
                    while not self._app.stop.is_set():
                        run, done = await self._jobs.receive()
                        done.append(await outcome.acapture(_patiently, run))

    def _emit(self, event: Event) -> None:
        self._events.append(event)
        if isinstance(event, Completion):
            self._complete.set()

    def _do(self, run: Callable[[], Awaitable[Any]]) -> Any:
        done: list[outcome.Outcome[Any]] = []
        self._tokens[0].run_sync_soon(self._send.send_nowait, (run, done))
        self._pump(done)
        return done[0].unwrap()

    def _pump(self, until: "list[Any]") -> None:
        """Lets trio run until there is something in the list."""
        while not until:
            if self._ended:
                self._ended[0].unwrap()
                raise RuntimeError("the world has ended")
            self._steps.get(timeout=2 * PATIENCE_SECONDS)()


async def _patiently(run: Callable[[], Awaitable[Any]]) -> Any:
    with trio.fail_after(PATIENCE_SECONDS):
        return await run()


def make_library(path: Path, files: list[Any], *, with_dates: bool) -> None:
    """A library of the shell's with `words.POOL` for a vocabulary and such files as `add_file` takes.

    `rpg_tags` has a further column, of which no two rows hold the same.
    """
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        for statement in schema(with_dates=with_dates).split(";"):
            connection.execute(statement)
        connection.execute("ALTER TABLE rpg_tags ADD COLUMN luck DEFAULT (random())")
        connection.executemany(
            "INSERT INTO tag_vocabulary (tag_type, tag_value) VALUES (?, ?)",
            [(words.TABLE_KIND.get(kind, kind), tag) for kind in words.KINDS for tag in words.POOL[kind]],
        )
        for file in files:
            add_file(connection, file)
        connection.execute("INSERT INTO app_settings VALUES ('theme', 'dark')")
        connection.execute("INSERT INTO soundboards (name) VALUES ('Session 12')")
        connection.execute(
            "INSERT INTO soundboard_pads (soundboard_id, audio_file_id, pad_index) VALUES (1, 1, 0)"
        )
        connection.execute("COMMIT")


def add_file(connection: sqlite3.Connection, file: tuple[Any, Any, list[words.Pair]]) -> int:
    """Adds a file with that genre, mood and rows, as the shell does; its id."""
    genre, mood, rows = file
    [last] = connection.execute(
        "SELECT ifnull(max(seq), 0) FROM sqlite_sequence WHERE name = 'audio_files'"
    ).fetchone()
    number = int(last) + 1
    connection.execute(
        """INSERT INTO audio_files (id, file_path, title, album, duration, genre, mood, cover_art, comment, rating)
            VALUES (?, ?, ?, 'Échos', 1.5, ?, ?, x'00ff', 'one' || char(10) || 'two', 3)""",
        (number, words.path(number), f"Sound {number}", genre, mood),
    )
    connection.executemany(
        """INSERT INTO rpg_tags (audio_file_id, tag_type, tag_value, created_at)
            VALUES (?, ?, ?, '1999-12-31 23:59:59')""",
        [(number, kind, value) for kind, value in (*rows, ("genre", "left over"))],
    )
    return number
