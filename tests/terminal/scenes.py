"""Commands as a person runs them: processes of their own, without a terminal on stdout."""

import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import trio

from sidecar.demo.standin import StandIn
from tests import harness

LIMIT_SECONDS = 60


def environment(gemini: StandIn | None = None) -> dict[str, str]:
    """Of a process that has a key, if it has a stand-in to use it with."""
    return harness.environment(
        gemini, {"PYTHONUTF8": "1", "NO_PROXY": "127.0.0.1", **({} if gemini else harness.NO_KEY)}
    )


async def run(*arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    with trio.fail_after(LIMIT_SECONDS):
        return await trio.run_process(
            [*harness.command(), *arguments], env=env, capture_stdout=True, capture_stderr=True, check=False
        )


def tagged(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        count: int = connection.execute(
            "SELECT count(*) FROM audio_files WHERE auto_tagged = 1 AND genre != '' AND mood != ''"
        ).fetchone()[0]
        return count
