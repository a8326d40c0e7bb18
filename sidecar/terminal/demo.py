"""`demo`: the sidecar started as the shell starts it, on a sample library, against a stand-in for Gemini."""

import argparse
import os
import sqlite3
import sys
import tempfile
from collections import Counter
from contextlib import AsyncExitStack, closing, suppress
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from sidecar.contract import BATCH, COMPLETE, BatchReport, Completion, Progress, Usage
from sidecar.demo import standin
from sidecar.demo.client import Client, ClientError, open_client
from sidecar.demo.library import create_library
from sidecar.library.connections import database_uri
from sidecar.redaction import Redactor
from sidecar.settings import BASE_URL_VARIABLE, KEY_VARIABLES, Settings
from sidecar.terminal.display import Display, selection, sorry
from sidecar.terminal.session import Signals, command_line, copyable, watch
from sidecar.terminal.words import counted

_ROOT: Final = "/home/ann/Music/Ligeia"
_LOOK: Final = "SELECT file_path, genre, mood FROM audio_files LIMIT 20"
_REFUSALS: Final = dict.fromkeys((2, 5, 9), standin.rate_limited("1s"))
"""The requests of the demo that the stand-in refuses with a 429."""


async def demo(options: argparse.Namespace, settings: Settings, redactor: Redactor, signals: Signals) -> int:
    """Makes a sample library, tags it through a child process and shows what was tagged."""
    if options.real and settings.api_key is None:
        return sorry(f"--real needs your Gemini API key: set {KEY_VARIABLES[0]} and run it again.", 2)
    if options.files < 1:
        return sorry("--files must be at least 1.", 2)
    named = settings.database if options.database else None
    path = named or Path()
    try:
        path = Path.cwd() / (named or tempfile.mkdtemp(prefix="ligeia-demo-") + "/library.db")
        create_library(path, files=options.files, root=_ROOT)
    except FileExistsError:
        return sorry(f"{path} exists already; the demo makes a new library. Name another file.", 2)
    except (OSError, sqlite3.Error) as error:
        return sorry(f"The sample library cannot be made at {path}: {error}.", 2)
    with _opened(path) as connection:
        by_hand = _tag_rows(connection)
    display = Display()
    options.database = str(path)
    display.say(f"A sample library of {counted(options.files, 'sound')}: {path}")
    env = os.environ | {"PYINSTALLER_RESET_ENVIRONMENT": "1"}  # a onefile of its own, as for a shell
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
            code = await _run(client, display, signals)
        except ClientError as error:
            return sorry(redactor.redact(error.message), 1)
    with _opened(path) as connection:
        was_tagged = _show_tagged(connection, display, by_hand)
        _show_requests(connection, display, sum(received.status == 429 for received in journal))
    if was_tagged and not options.real:
        display.say("These tags are the stand-in's: valid, but arbitrary. With a key, `demo --real` asks Gemini.")
    if code != 0:
        display.say("Another demo makes another library. To go on with this one, with a Gemini API key:")
        display.say(f"  {command_line(options, 'tag')}")
    display.say(f"Database: {path}")
    if was_tagged:
        display.say(f"Look at it: {copyable('sqlite3', str(path), _LOOK)}")
    return code


async def _run(client: Client, display: Display, signals: Signals) -> int:
    status = await client.request("status")
    display.say(f"{status['name']} {status['version']}, process {status['pid']}, model {status['model']}")
    started = await client.request("auto_tag_files", max_parallel=4, batch_size=20)
    display.begin(started["total_files"], started["total_batches"])

    async def listen() -> None:
        kinds: dict[str, Any] = {COMPLETE: Completion, BATCH: BatchReport}
        async for event in client.notifications:
            display.show(msgspec.convert(event.params, kinds.get(event.method, Progress)))
        display.ended.set()

    async def cancel() -> None:
        with suppress(ClientError):  # it has ended meanwhile
            await client.request("cancel", run_id=started["run_id"])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        code = await watch(display, signals, cancel)
        nursery.cancel_scope.cancel()
    return code


def _opened(path: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(database_uri(path, "ro"), uri=True))


def _tag_rows(connection: sqlite3.Connection) -> Counter[str]:
    return Counter(dict(connection.execute("SELECT tag_type, count(*) FROM rpg_tags GROUP BY tag_type")))


def _show_tagged(connection: sqlite3.Connection, display: Display, by_hand: Counter[str]) -> bool:
    """What the run tagged, the tags that the sample had before not counted; False when it tagged nothing."""
    tags = "(SELECT group_concat(tag_value, ', ') FROM rpg_tags WHERE audio_file_id = f.id AND tag_type = '{}')"
    rows = connection.execute(
        f"SELECT file_path, genre, mood, {tags.format('occasion')}, {tags.format('keyword')}"  # noqa: S608
        " FROM audio_files f WHERE auto_tagged = 1 ORDER BY file_path"
    ).fetchall()
    if not rows:
        return False
    display.table(
        "What was tagged (a selection)",
        ("Sound", "Genre", "Mood", "Occasions", "Keywords"),
        (
            (path.removeprefix(f"{_ROOT}/"), *(value or "" for value in values))
            for path, *values in selection(rows)
        ),
    )
    counts = Counter({"genre": len(rows), "mood": sum(len(row[2].split("; ")) for row in rows)})
    counts += _tag_rows(connection) - by_hand
    display.say("Tags: " + ", ".join(counted(count, kind) for kind, count in counts.items()))
    return True


def _show_requests(connection: sqlite3.Connection, display: Display, refused: int) -> None:
    mapped = connection.execute("SELECT count(*) FROM tag_mapping_cache WHERE valid_tag != 'REMOVE'").fetchone()[0]
    usage = display.completion.usage if display.completion else Usage()
    requests, tags = counted(usage.requests, "request"), counted(mapped, "invented tag")
    display.say(f"{requests}, {refused} refused with a 429, {tags} mapped")
