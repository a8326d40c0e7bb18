"""A headless Chromium, driven over its own protocol through two pipes: no driver, no port, no library.

https://chromedevtools.github.io/devtools-protocol; with --remote-debugging-pipe it reads its commands from
fd 3 and writes answers and events to fd 4, JSON ended by a zero byte. POSIX only.
"""

import base64
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

LIMIT_SECONDS: Final = 60
_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
_FLAGS: Final = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-pipe",
)  # fmt: skip
# Runs in the child: puts the pipes where Chromium looks for them and becomes Chromium.
_LAUNCH: Final = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 10) for fd in sys.argv[1:3]]
for end, fd in zip(ends, (3, 4)):
    os.dup2(end, fd)
os.execv(sys.argv[3], sys.argv[3:])
"""


def installed() -> str | None:
    """The browser's program, None where there is none."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


class Page:
    """The one page of a browser. `requests` and `complaints` grow while it loads."""

    def __init__(self, commands: trio.abc.SendStream, answers: trio.abc.ReceiveStream) -> None:
        self._commands = commands
        self._answers = answers
        self._number = 0
        self._pending: dict[int, tuple[trio.Event, list[Any]]] = {}
        self._session: str | None = None
        self._loaded = trio.Event()
        self.requests: list[str] = []
        self.complaints: list[str] = []

    async def read(self) -> None:
        """Takes what the browser says until it ends."""
        rest = b""
        with suppress(trio.ClosedResourceError, trio.BrokenResourceError):
            async for chunk in self._answers:
                *lines, rest = (rest + chunk).split(b"\0")
                for line in lines:
                    self._take(msgspec.json.decode(line))

    def _take(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        match message.get("method"):
            case None:
                done, answer = self._pending.pop(message["id"])
                answer.append(message)
                done.set()
            case "Page.loadEventFired":
                self._loaded.set()
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
            case "Log.entryAdded":
                self.complaints.append(params["entry"]["text"])
            case "Runtime.exceptionThrown":
                self.complaints.append(str(params["exceptionDetails"]))

    async def do(self, method: str, **params: Any) -> Any:
        """One command and its result."""
        self._number += 1
        done = trio.Event()
        answer: list[Any] = []
        self._pending[self._number] = done, answer
        message = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        await self._commands.send_all(msgspec.json.encode(message) + b"\0")
        await done.wait()
        assert "error" not in answer[0], answer[0]
        return answer[0]["result"]

    async def attach(self) -> None:
        """Makes the page and listens to it."""
        target = await self.do("Target.createTarget", url="about:blank")
        attached = await self.do("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            await self.do(f"{domain}.enable")

    async def show(self, width: int, *, dark: bool = False, paper: bool = False) -> None:
        """A window of that width, in a light or a dark theme; or laid out as for paper."""
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        await self.do("Emulation.setDeviceMetricsOverride", **metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.do("Emulation.setEmulatedMedia", media="print" if paper else "screen", features=[scheme])

    async def open(self, path: Path) -> None:
        """Loads a file, to the end."""
        self._loaded = trio.Event()
        await self.do("Page.navigate", url=path.as_uri())
        await self._loaded.wait()

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page."""
        answer = await self.do("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def screenshot(self, path: Path) -> None:
        """The whole page as a PNG."""
        shot = await self.do("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    async def printed(self) -> bytes:
        """The page as a PDF, A4, as a person's printer would get it."""
        pdf = await self.do("Page.printToPDF", paperWidth=8.27, paperHeight=11.69)
        return base64.b64decode(pdf["data"])


@asynccontextmanager
async def browsing(profile: Path) -> AsyncIterator[Page]:
    """A page of a browser with an empty profile; when the block ends, so does the browser."""
    program = installed()
    assert program is not None
    to_browser, from_browser = os.pipe(), os.pipe()
    theirs = to_browser[0], from_browser[1]
    command = [sys.executable, "-c", _LAUNCH, *map(str, theirs), program, *_FLAGS, f"--user-data-dir={profile}"]
    process = await trio.lowlevel.open_process(
        command, pass_fds=theirs, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    for fd in theirs:
        os.close(fd)
    commands, answers = trio.lowlevel.FdStream(to_browser[1]), trio.lowlevel.FdStream(from_browser[0])
    page = Page(commands, answers)
    try:
        with trio.fail_after(LIMIT_SECONDS):
            async with commands, answers, trio.open_nursery() as nursery:
                nursery.start_soon(page.read)
                await page.attach()
                yield page
                nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            with trio.move_on_after(5):
                await process.wait()  # it ends when its pipes do
            if process.returncode is None:
                process.kill()
                await process.wait()
