"""Starting the program under test on a library, against a stand-in for Gemini; and its end."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio

from sidecar.demo.standin import StandIn
from tests.harness import forks
from tests.harness.client import KEY, Client
from tests.harness.forks import ROOT
from tests.harness.invariants import check_invariants
from tests.harness.library import Library
from tests.harness.waiting import family, kill

COMMAND: Final = "LIGEIA_SIDECAR_COMMAND"
NO_KEY: Final[Mapping[str, str | None]] = {"GEMINI_API_KEY": None}
"""As `env`: for processes that must do their work without a key, or say that they cannot."""


def command() -> list[str]:
    """The program under test."""
    named = os.environ.get(COMMAND)
    return [str(part) for part in json.loads(named)] if named else [sys.executable, "-m", "sidecar"]


def environment(gemini: StandIn | None, changes: Mapping[str, str | None] | None = None) -> dict[str, str]:
    """This process's environment without settings of its own, a key, and the changes; None removes one."""
    prefixes = ("GEMINI_", "GOOGLE_", "LIGEIA_")
    plain: dict[str, str | None] = {k: v for k, v in os.environ.items() if not k.startswith(prefixes)}
    # The program is found from whatever folder the tests were started in; our warnings filter is not its.
    plain |= {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": None}
    # Without a stand-in, a port that nobody listens on: no test ever reaches the real API.
    plain |= {"GEMINI_API_KEY": KEY, "GOOGLE_GEMINI_BASE_URL": gemini.base_url if gemini else "http://127.0.0.1:9"}
    return {name: value for name, value in (plain | dict(changes or {})).items() if value is not None}


@asynccontextmanager
async def start(
    database: Library | Path | None,
    gemini: StandIn | None = None,
    *,
    env: Mapping[str, str | None] | None = None,
    arguments: Sequence[str] = (),
    wrapper: Sequence[str] = (),
    reading: trio.Event | None = None,
    anew: bool = False,
) -> AsyncIterator[Client]:
    """A running sidecar. When the block ends, so must it; then `check_invariants` is called for its database.

    It is a fork with its imports done (see `forkserver`), unless it is wanted `anew`, by who looks at its start
    or its memory, or has a command, a wrapper or an interpreter's variable of its own. `env` adds variables, None
    removes one. `wrapper` is put before the command. Nothing is read from stdout and stderr before `reading` is
    set. A database that is no library, or not yet, is given as a path.
    """
    library = database if isinstance(database, Library) else None
    path = library.path if library else database
    options = [] if path is None else ["--database", str(path)]
    given = environment(gemini, env)
    process: forks.Process
    if anew or wrapper or COMMAND in os.environ or not forks.suits(given):
        process = await _open([*wrapper, *command(), *options, *arguments], given)
    else:
        process = await forks.open_process([*options, *arguments], given)
    subject = Client(process, gemini, quiet="debug" not in arguments)
    if library:
        library.clients.append(subject)
    failure: Exception | None = None

    async def read(reader: Callable[[], Awaitable[None]]) -> None:
        if reading is not None:
            await reading.wait()
        await reader()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read, subject.read_stdout)
        nursery.start_soon(read, subject.read_stderr)
        try:
            yield subject
            if reading is not None:
                reading.set()
            await subject.end()
        except Exception as raised:  # noqa: BLE001 - raised again below, outside the nursery that would wrap it
            failure = raised
        finally:
            with trio.CancelScope(shield=True):
                if process.returncode is None:
                    kill(family(process.pid))
                await process.wait()
        nursery.cancel_scope.cancel()
    for pipe in (process.stdin, process.stdout, process.stderr):
        assert pipe is not None
        await pipe.aclose()
    if failure is not None:
        raise failure
    check_invariants(library, library.clients if library else [subject])


@asynccontextmanager
async def unread(library: Library, gemini: StandIn | None = None, *arguments: str) -> AsyncIterator[trio.Process]:
    """The program, whose pipes nobody reads yet; killed at the end if it lives."""
    process = await _open([*command(), "--database", str(library), *arguments], environment(gemini))
    try:
        yield process
    finally:
        with trio.CancelScope(shield=True):
            if process.returncode is None:
                kill(family(process.pid))
            await process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            assert pipe is not None
            await pipe.aclose()


async def _open(command: Sequence[str], env: Mapping[str, str]) -> trio.Process:
    process: trio.Process = await trio.lowlevel.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env
    )
    return process
