"""`tag` and `demo`: the engine from a terminal, with a progress bar and a Ctrl-C that cancels cleanly.

`tag` runs the methods in this process; `demo` starts the sidecar as the shell does. Without a terminal
on stdout both print plain lines. Exit codes: 0 completed, 1 failed, 2 not begun, 130 cancelled.
"""

import argparse
import io
import logging
import os
import signal
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, AsyncExitStack, closing, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import trio
from rich import progress as bars
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sidecar.contract import BATCH, COMPLETE, BatchReport, Completion, Event, Progress, RpcError, RunStatus, Usage
from sidecar.demo import standin
from sidecar.demo.client import Client, ClientError, open_client
from sidecar.demo.library import create_library
from sidecar.library.connections import database_uri
from sidecar.redaction import Redactor
from sidecar.rpc import logs
from sidecar.rpc.methods import call
from sidecar.rpc.server import running_app
from sidecar.settings import BASE_URL_VARIABLE, KEY_VARIABLES, Settings, read_file, resolve

log = logging.getLogger(__name__)

Signals = AsyncIterator[int]

_ROOT: Final = "/home/ann/Music/Ligeia"
_TABLE_ROWS: Final = 12
_LOOK: Final = "SELECT file_path, genre, mood FROM audio_files LIMIT 20"
_REFUSALS: Final = dict.fromkeys((2, 5, 9), standin.rate_limited("1s"))
"""The requests of the demo that the stand-in refuses with a 429."""
_EXIT_CODES: Final = {RunStatus.COMPLETED: 0, RunStatus.CANCELLED: 130}


def run(options: argparse.Namespace) -> int:
    """Does what the command line says; returns the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a code page may lack what stands in file names
    level = "warning" if options.log_level == "info" else options.log_level
    redactor = logs.configure(level, 2, capture=False).redactor
    settings = resolve(options.database, options.env_file, os.environ, read_file)
    command = _demo if options.command == "demo" else _tag
    try:
        return trio.run(_with_signals, partial(command, options, settings, redactor))
    except KeyboardInterrupt:
        return 130
    except Exception:
        log.exception("%s failed", options.command)
        return _sorry("The sidecar met an error of its own; --log-level debug says more.", 1)


async def _with_signals(command: Callable[[Signals], Awaitable[int]]) -> int:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        return await command(signals)


class Display:
    """What a person sees of a run: a live bar on a terminal, plain lines elsewhere."""

    def __init__(self) -> None:
        is_terminal = sys.stdout.isatty()
        size = (None, None) if is_terminal else (False, 160)
        self.console = Console(force_terminal=size[0], width=size[1], markup=False, highlight=False)
        self.completion: Completion | None = None
        self.ended = trio.Event()
        self._failures: Counter[str] = Counter()
        self._sentences: dict[str, str] = {}
        self._bar: bars.Progress | None = None
        if self.console.is_terminal and not self.console.is_dumb_terminal:
            texts = ("{task.fields[processed]}/{task.total:.0f}", "{task.fields[pace]}", "{task.description}")
            columns = [
                bars.SpinnerColumn(),
                bars.BarColumn(16),
                *(bars.TextColumn(t, markup=False) for t in texts),
            ]
            self._bar = bars.Progress(*columns, console=self.console)
        self.live: AbstractContextManager[object] = self._bar or nullcontext()

    def show(self, event: Event) -> None:
        """Takes a notification of the run."""
        match event:
            case Completion():
                self.completion = event
                self.ended.set()
            case BatchReport():
                for failure in event.failures:
                    self._failures[failure.reason] += 1
                    self._sentences.setdefault(failure.reason, failure.message)
            case Progress():
                self._progress(event)

    def say(self, sentence: str) -> None:
        """One line, unbroken."""
        self.console.print(sentence, soft_wrap=True)

    def conclude(self) -> int:
        """Prints failures by reason and the message of the end; returns the exit code."""
        for reason, count in self._failures.most_common():
            self.say(f"  {count:>6}  {reason}: {self._sentences[reason]}")
        if self.completion is None:
            return _sorry("The sidecar ended before its run did. Run the command again to go on.", 1)
        self.say(self.completion.message)
        return _EXIT_CODES.get(self.completion.status, 1)

    def _progress(self, event: Progress) -> None:
        pace = f"{event.files_per_minute:.0f}/min"
        if event.eta_seconds is not None and event.remaining_files:
            pace += f", {event.eta_seconds:.0f} s left"
        if event.failed_files:
            pace += f", {event.failed_files} failed"
        if self._bar is None:
            self.say(f"{event.processed_files}/{event.total_files}  {pace}  {event.status}")
            return
        if not self._bar.tasks:
            self._bar.add_task("", total=event.total_files, processed=0, pace="")
        done, files = event.total_files - event.remaining_files, event.processed_files
        self._bar.update(
            self._bar.task_ids[0], completed=done, description=event.status, processed=files, pace=pace
        )


def _sorry(sentence: str, code: int) -> int:
    print(sentence, file=sys.stderr, flush=True)  # noqa: T201 - a terminal program's way to speak
    return code


async def _watch(display: Display, signals: Signals, cancel: Callable[[], Awaitable[object]]) -> int:
    """Shows the run until its end; the first signal cancels it."""

    async def cancel_at_signal() -> None:
        async for _ in signals:
            with suppress(RpcError, ClientError):  # it has ended meanwhile
                await cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(cancel_at_signal)
        with display.live:
            await display.ended.wait()
        nursery.cancel_scope.cancel()
    return display.conclude()


async def _tag(options: argparse.Namespace, settings: Settings, redactor: Redactor, signals: Signals) -> int:
    display = Display()
    wanted = {"batch_size": options.batch_size, "max_parallel": options.max_parallel, "mode": options.mode}
    params = {name: value for name, value in wanted.items() if value is not None}
    async with running_app(settings, display.show, redactor) as app:
        try:
            answer = await call(app, "auto_tag_files", msgspec.json.encode(params))
        except RpcError as error:
            return _sorry(redactor.redact(error.message), 1)
        if answer.then is None:
            display.say(answer.result.message)
            return 0
        answer.then()
        run_id = msgspec.json.encode({"run_id": answer.result.run_id})
        return await _watch(display, signals, partial(call, app, "cancel", run_id))


async def _demo(options: argparse.Namespace, settings: Settings, redactor: Redactor, signals: Signals) -> int:
    if options.real and settings.api_key is None:
        return _sorry(f"--real needs your Gemini API key: set {KEY_VARIABLES[0]} and run it again.", 2)
    if options.files < 1:
        return _sorry("--files must be at least 1.", 2)
    path = Path.cwd() / (options.database or tempfile.mkdtemp(prefix="ligeia-demo-") + "/library.db")
    try:
        create_library(path, files=options.files, root=_ROOT)
    except FileExistsError:
        return _sorry(f"{path} exists already; the demo makes a new library. Name another file.", 2)
    except (OSError, sqlite3.Error) as error:
        return _sorry(f"The sample library cannot be made at {path}: {error}.", 2)
    display = Display()
    display.say(f"A sample library of {options.files} sounds: {path}")
    env = dict(os.environ)
    journal: list[standin.Received] = []
    async with AsyncExitStack() as stack:
        if not options.real:
            serving = standin.running(
                latency_seconds=0.25, hallucinate=0.05, script=lambda r: _REFUSALS.get(r.number)
            )
            server = await stack.enter_async_context(serving)
            journal = server.journal
            env |= {KEY_VARIABLES[0]: "demo-key", BASE_URL_VARIABLE: server.base_url}
            env |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        program = [sys.executable] if getattr(sys, "frozen", False) else [sys.executable, "-m", "sidecar"]
        program += ["--env-file", options.env_file] if options.env_file else []
        try:
            client = await stack.enter_async_context(open_client([*program, "--database", str(path)], env))
            code = await _demo_run(client, display, signals)
        except ClientError as error:
            return _sorry(redactor.redact(error.message), 1)
    with closing(sqlite3.connect(database_uri(path, "ro"), uri=True)) as connection:
        _print_tagged(connection, display, sum(received.status == 429 for received in journal))
    display.say(f"Database: {path}")
    display.say(f'Look at it: sqlite3 "{path}" "{_LOOK}"')
    return code


async def _demo_run(client: Client, display: Display, signals: Signals) -> int:
    status = await client.request("status")
    display.say(f"{status['name']} {status['version']}, process {status['pid']}, model {status['model']}")
    started = await client.request("auto_tag_files", max_parallel=4, batch_size=20)

    async def listen() -> None:
        kinds: dict[str, Any] = {COMPLETE: Completion, BATCH: BatchReport}
        async for event in client.notifications:
            display.show(msgspec.convert(event.params, kinds.get(event.method, Progress)))
        display.ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        code = await _watch(display, signals, partial(client.request, "cancel", run_id=started["run_id"]))
        nursery.cancel_scope.cancel()
    return code


def _print_tagged(connection: sqlite3.Connection, display: Display, refused: int) -> None:
    tags = "(SELECT group_concat(tag_value, ', ') FROM rpg_tags WHERE audio_file_id = f.id AND tag_type = '{}')"
    rows = connection.execute(
        f"SELECT file_path, genre, mood, {tags.format('occasion')}, {tags.format('keyword')}"  # noqa: S608
        " FROM audio_files f WHERE auto_tagged = 1 ORDER BY file_path"
    ).fetchall()
    table = Table(title="What was tagged (a selection)", title_justify="left")
    for name in ("Sound", "Genre", "Mood", "Occasions", "Keywords"):
        table.add_column(name, overflow="fold")
    step = max(1, len(rows) // _TABLE_ROWS)
    for path, *values in rows[::step][:_TABLE_ROWS]:
        table.add_row(*(Text(value or "") for value in (path.removeprefix(f"{_ROOT}/"), *values)))
    display.console.print(table)
    counts = Counter({"genre": len(rows), "mood": sum(len(row[2].split("; ")) for row in rows)})
    counts.update(dict(connection.execute("SELECT tag_type, count(*) FROM rpg_tags GROUP BY tag_type")))
    display.say("Tags: " + ", ".join(f"{count} {kind}" for kind, count in counts.items()))
    mapped = connection.execute("SELECT count(*) FROM tag_mapping_cache WHERE valid_tag != 'REMOVE'").fetchone()[0]
    usage = display.completion.usage if display.completion else Usage()
    display.say(f"{usage.requests} requests, {refused} refused with a 429, {mapped} invented tags mapped")
