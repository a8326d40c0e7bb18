"""Drives a frozen binary once through all that it is for: `python smoke.py BINARY`, exit code 0 when it works.

`--version`, `demo`, `status`, a run against the stand-in for Gemini over real HTTP, the database afterwards,
a page of its report, `shutdown` within 2 s, and nothing left in the temp folder. Run by freeze.py, in the
venv of the freeze.
"""

import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import trio

from sidecar import __version__
from sidecar.contract import COMPLETE, NAME
from sidecar.demo import standin
from sidecar.demo.client import open_client
from sidecar.demo.library import create_library

FILES = 60
LIMIT_SECONDS = 60
END_SECONDS = 2.0


def expect(what: str, found: object, wanted: object) -> None:
    """Ends the smoke test with a sentence unless both are the same."""
    if found != wanted:
        sys.exit(f"smoke test: {what} is {found!r}, not {wanted!r}")


async def drive(binary: str, folder: Path) -> None:
    """One life of the sidecar as the shell leads it."""
    database, temp = folder / "library.db", folder / "temp"
    temp.mkdir()
    create_library(database, files=FILES)
    env = {**os.environ, "TMPDIR": str(temp), "TEMP": str(temp), "TMP": str(temp), "NO_PROXY": "127.0.0.1"}
    version = await trio.run_process([binary, "--version"], env=env, capture_stdout=True)
    expect("--version", version.stdout.decode().split(), [NAME, __version__])
    demo = [binary, "demo", "--files", "20", "--database", str(folder / "demo.db")]
    shown = await trio.run_process(demo, env=env, capture_stdout=True)
    expect("a sentence in what `demo` shows", b"20 files tagged." in shown.stdout, True)
    async with standin.running(hallucinate=0.1) as gemini:
        env |= {"GEMINI_API_KEY": "smoke-key", "GOOGLE_GEMINI_BASE_URL": gemini.base_url}
        async with open_client([binary, "--database", str(database)], env, stderr=subprocess.PIPE) as client:
            status = await client.request("status")
            expect("the version in `status`", status["version"], __version__)
            expect("the state of the database", status["database"]["ok"], True)
            await client.request("auto_tag_files", batch_size=20)
            async for notification in client.notifications:
                if notification.method == COMPLETE:
                    expect("the run's end", notification.params["message"], f"{FILES} files tagged.")
                    break
            began = time.monotonic()
            await client.request("shutdown")
            expect("the exit code", await client.process.wait(), 0)
            expect("an exit within 2 s", time.monotonic() - began < END_SECONDS, True)
        page = folder / "report.html"
        await trio.run_process([binary, "report", "--database", str(database), "--html", str(page)], env=env)
        expect("a chart in what `report --html` writes", "<svg" in page.read_text(encoding="utf-8"), True)
    with closing(sqlite3.connect(database)) as connection:
        [tagged] = connection.execute("SELECT count(*) FROM audio_files WHERE auto_tagged = 1").fetchone()
        expect("the number of tagged files", tagged, FILES)
        expect("integrity_check", connection.execute("PRAGMA integrity_check").fetchone(), ("ok",))
    expect("what is left in the temp folder", os.listdir(temp), [])  # noqa: PTH208


async def main(binary: str) -> None:
    """Bounded in time, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder, trio.fail_after(LIMIT_SECONDS):
        await drive(binary, Path(folder))


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
