"""The methods in this process, as a subcommand uses them, and the signals that end it."""

import argparse
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from shlex import quote
from typing import Any

import msgspec
import trio

from sidecar.command_line import STOPPED
from sidecar.contract import NAME, RpcError
from sidecar.process import parent, unpacked
from sidecar.process.signals import ending
from sidecar.redaction import Redactor
from sidecar.rpc.methods import App, call, running_app
from sidecar.settings import Settings
from sidecar.terminal.display import Display, sorry

Signals = AsyncIterator[int]
Command = Callable[[argparse.Namespace, Settings, Redactor, Signals], Awaitable[int]]


async def with_signals(command: Callable[[Signals], Awaitable[int]]) -> int:
    """Runs the command with the signals that ask it to end; in a onefile the bootloader's death is one, too."""
    bootloader = unpacked.bootloader_pid()
    with trio.open_signal_receiver(*ending()) as caught:
        async with trio.open_nursery() as nursery:
            if bootloader is not None:
                nursery.start_soon(_end_with, bootloader)
            code = await command(caught)
            nursery.cancel_scope.cancel()
        return code


async def _end_with(pid: int) -> None:
    await parent.death_of(pid)
    signal.raise_signal(signal.SIGTERM)


async def ask(app: App, method: str, **params: object) -> Any:
    """A method's result. Raises RpcError."""
    return (await call(app, method, encoded(params))).result


def encoded(params: dict[str, object]) -> bytes:
    """Params as the methods take them, without those that nobody gave."""
    given = ((name, value) for name, value in params.items() if value is not None)
    return msgspec.json.encode({name: _text(value) if isinstance(value, str) else value for name, value in given})


def _text(argument: str) -> str:
    """What stands on a command line may be no text (https://peps.python.org/pep-0383/)."""
    return argument.encode(errors="replace").decode()


async def over_library(
    work: Callable[[App, Display], Awaitable[int]],
    settings: Settings,
    redactor: Redactor,
    signals: Signals,
    *,
    if_stopped: Callable[[App], Awaitable[str]] | None = None,
) -> int:
    """Does the work; a refusal becomes its sentence. A signal stops it between two transactions.

    `if_stopped` says what there is to say then.
    """
    display = Display()
    code = STOPPED
    async with running_app(settings, display.show, redactor) as app:
        async with trio.open_nursery() as nursery:

            async def stop_at_signal() -> None:
                async for _ in signals:
                    nursery.cancel_scope.cancel()

            nursery.start_soon(stop_at_signal)
            try:
                code = await work(app, display)
            except RpcError as error:
                code = sorry(redactor.redact(error.message), 1)
            nursery.cancel_scope.cancel()
        if code == STOPPED and if_stopped is not None:
            display.say(await if_stopped(app))
    return code


async def watch(
    display: Display, signals: Signals, cancel: Callable[[], Awaitable[object]], *, stopped: bool = False
) -> int:
    """Shows the run until its end; a signal cancels it. `stopped`: one has come before."""

    async def cancel_at_signal() -> None:
        if stopped:
            await cancel()
        async for _ in signals:
            await cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(cancel_at_signal)
        await display.until_ended()
        nursery.cancel_scope.cancel()
    return display.conclude()


def command_line(options: argparse.Namespace, *words: str) -> str:
    """A command on the same library, to be copied into a shell."""
    given = [("--database", options.database), ("--env-file", options.env_file)]
    options_given = (word for name, value in given if value for word in (name, value))
    return copyable(*_program(), words[0], *options_given, *words[1:])


def copyable(*words: str) -> str:
    """A command as the system's shell takes it."""
    # cmd.exe and PowerShell: quotes of a POSIX shell mean nothing to the first.
    return subprocess.list2cmdline(words) if sys.platform == "win32" else " ".join(map(quote, words))


def _program() -> list[str]:
    """What starts this program: how it was started, where its name alone does not."""
    if shutil.which(NAME):
        return [NAME]
    started = Path(sys.argv[0])
    if getattr(sys, "frozen", False) or started.stem == NAME:
        return [str(started)]
    return [sys.executable, "-m", "sidecar"]


def cancelling(app: App, run_id: str) -> Callable[[], Awaitable[object]]:
    """What cancels that run."""

    async def cancel() -> None:
        with suppress(RpcError):  # it has ended meanwhile
            await ask(app, "cancel", run_id=run_id)

    return cancel
