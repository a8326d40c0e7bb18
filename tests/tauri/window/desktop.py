"""A person's desktop with the app on it, and what a person does there: looks, clicks, types, closes."""

import json
import os
import subprocess
import sysconfig
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil
import trio

from sidecar.demo.standin import StandIn
from tests import harness
from tests.tauri.window.installed import HERE, SIDECAR

SCREENSHOTS: Final = harness.ROOT / "build" / "work" / "screenshots"
DATA: Final = Path(".local/share/test.ligeia.window")
"""In the person's home: where Tauri has the app's data, by the identifier in tauri.conf.json."""
WIDTH: Final = 480
HEIGHT: Final = 860
STILL_SECONDS: Final = 2.0
"""How long a picture waits, at most, for a window that moves."""

State = dict[str, Any]
"""What a person can see at one moment: see probe.js."""


class Window:
    """One run of the app. `states` holds what its page has shown, in order."""

    def __init__(self, process: trio.Process, display: str, width: int) -> None:
        self.process = process
        self.handle = psutil.Process(process.pid)
        self.states: list[State] = []
        self._audits: list[State] = []
        self._display, self._width = display, width
        self._changed = trio.lowlevel.ParkingLot()

    @property
    def now(self) -> State:
        """What is on the screen."""
        return self.states[-1]

    async def see(self, wanted: Callable[[State], object], since: int = 0) -> State:
        """The first state (from index `since`) of which `wanted` is true."""
        with trio.move_on_after(harness.DEADLINE_SECONDS):
            position = since
            while True:
                for state in self.states[position:]:
                    if wanted(state):
                        return state
                position = max(position, len(self.states))
                await self._changed.park()
        told = len(self.states)
        with suppress(trio.BrokenResourceError):  # the app has ended
            await self.command(look=True)
        with trio.move_on_after(STILL_SECONDS):
            while len(self.states) == told:
                await self._changed.park()
        answers = "still answers" if len(self.states) > told else "does not answer any more"
        last = json.dumps(self.states[-1:], indent=1, ensure_ascii=False)
        raise AssertionError(f"never seen; the page {answers}; at last: {last}")

    async def see_heading(self, beginning: str, since: int = 0) -> State:
        """The first state with that heading."""
        return await self.see(lambda state: state["heading"].startswith(beginning), since)

    async def press(self, label: str) -> int:
        """Clicks, with the mouse, what has that label. Returns the index of the states that follow."""
        await self.see(lambda _: self.now["places"].get(label) and self.now["buttons"].get(label, True))
        place = self.now["places"][label]
        since = len(self.states)
        await self._xdotool("mousemove", str(round(place["x"])), str(round(place["y"])), "click", "1")
        return since

    async def type(self, text: str) -> None:
        """Types into what has the focus."""
        await self._xdotool("type", "--delay", "5", text)

    async def key(self, *names: str) -> None:
        """Presses keys: `Tab`, `Return`."""
        await self._xdotool("key", "--delay", "30", *names)

    async def take_focus(self) -> None:
        """What a window manager does with a new window: without one nobody gets the keyboard."""
        await self._xdotool("search", "--sync", "--onlyvisible", "--name", "^Ligeia$", "windowfocus", "--sync")

    async def look_at(self, name: str) -> None:
        """axe-core finds nothing wrong with this screen; its picture goes to the artefacts.

        The picture is taken once nothing moves any more.
        """
        audits = len(self._audits)
        await self.command(audit=True)
        with trio.fail_after(harness.DEADLINE_SECONDS):
            while len(self._audits) == audits:
                await self._changed.park()
        picture, earlier = await self._picture(), b""
        with trio.move_on_after(STILL_SECONDS):
            while picture != earlier:
                await trio.sleep(STILL_SECONDS / 10)
                picture, earlier = await self._picture(), picture
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        await self._tool("convert", "ppm:-", str(SCREENSHOTS / f"{name}.png"), stdin=picture)
        found = self._audits[-1]["audit"]
        assert not found, f"{name}: {json.dumps(found, indent=1)}"

    async def _picture(self) -> bytes:
        crop = f"{self._width}x{HEIGHT}+0+0"
        return await self._tool("import", "-silent", "-window", "root", "-crop", crop, "ppm:-")

    async def command(self, **what: Any) -> None:
        """A command for shell.py."""
        assert self.process.stdin is not None
        await self.process.stdin.send_all(json.dumps(what).encode() + b"\n")

    async def close(self) -> None:
        """What the window's close button does; returns when the app has ended, and its sidecar with it."""
        sidecars = self.sidecars()
        await self.command(close=True)
        await self.ended()
        await harness.none_left(sidecars)

    async def ended(self) -> None:
        """Returns when the app has ended."""
        with trio.fail_after(harness.DEADLINE_SECONDS):
            await self.process.wait()

    def sidecars(self) -> list[psutil.Process]:
        """The processes of the sidecar: one, or a onefile's two."""
        started = filter(_is_sidecar, self.handle.children())
        return [member for child in started for member in harness.family(child.pid)]

    async def _xdotool(self, *arguments: str) -> None:
        await self._tool("xdotool", *arguments)

    async def _tool(self, *command: str, stdin: bytes = b"") -> bytes:
        env = os.environ | {"DISPLAY": self._display}
        with trio.fail_after(harness.DEADLINE_SECONDS):
            done = await trio.run_process(command, env=env, stdin=stdin, capture_stdout=True)
        return done.stdout

    async def _read(self) -> None:
        assert self.process.stdout is not None
        rest = b""
        async for chunk in self.process.stdout:
            *lines, rest = (rest + chunk).split(b"\n")
            for message in map(json.loads, lines):
                if "audit" in message:
                    self._audits.append(message)
                elif not self._is_late(message):
                    self.states.append(message)
            self._changed.unpark_all()

    def _is_late(self, state: State) -> bool:
        """Whether it was told once more and is there already. Numbers begin anew with a reloaded page."""
        return bool(self.states) and state["page"] == self.now["page"] and state["number"] <= self.now["number"]


def _is_sidecar(process: psutil.Process) -> bool:
    # The plugin starts it by its full path; a script is named in its interpreter's arguments.
    try:
        return any(SIDECAR in part or part == "sidecar" for part in process.cmdline()[:3])
    except psutil.NoSuchProcess:
        return False


@dataclass(frozen=True)
class Desktop:
    """A person's desktop: the app, the screen, and a home with the app's data."""

    app: Path
    display: str
    home: Path

    @property
    def temporary(self) -> Path:
        """The folder for temporary files of all that runs here."""
        return self.home / "tmp"

    def make_library(self, files: int) -> harness.Library:
        """The app's library, with that many files."""
        folder = self.home / DATA
        folder.mkdir(parents=True, exist_ok=True)
        return harness.library(folder, files)

    @asynccontextmanager
    async def open(
        self, gemini: StandIn, *, key: str | None = harness.KEY, width: int = WIDTH, dark: bool = False
    ) -> AsyncIterator[Window]:
        """The app, started, with its first screen in sight; killed, if need be, when the block ends."""
        for name in ("tmp", "run"):
            (self.home / name).mkdir(parents=True, exist_ok=True)
        scheme = "dark" if dark else "light"
        source = self.app.parent.parent / "source"
        process: trio.Process = await trio.lowlevel.open_process(
            [self.app, HERE / "shell.py", source, str(width), str(HEIGHT), scheme],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self._environment(gemini, key),
        )
        window = Window(process, self.display, width)
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(window._read)
            try:
                await window.see(lambda state: state["heading"])
                await window.take_focus()
                yield window
            except Exception as raised:  # noqa: BLE001 - raised again below, outside the nursery that would wrap it
                failure = raised
            finally:
                with trio.CancelScope(shield=True):
                    if process.returncode is None:
                        process.kill()
                    await process.wait()
            nursery.cancel_scope.cancel()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            await pipe.aclose()
        if failure is not None:
            raise failure

    def _environment(self, gemini: StandIn, key: str | None) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TZ") if name in os.environ}
        return (
            inherited
            | ({} if key is None else {"GEMINI_API_KEY": key})
            | {
                "DISPLAY": self.display,
                "GDK_BACKEND": "x11",
                "HOME": str(self.home),
                "TMPDIR": str(self.temporary),
                "XDG_RUNTIME_DIR": str(self.home / "run"),
                "NO_AT_BRIDGE": "1",
                "GOOGLE_GEMINI_BASE_URL": gemini.base_url,
                # The app's Python finds pytauri where the test's does.
                "PYTHONPATH": sysconfig.get_path("purelib"),
            }
        )
