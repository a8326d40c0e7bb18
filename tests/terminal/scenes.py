"""Commands as a person runs them: processes of their own, without a terminal on stdout."""

import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import trio

from sidecar.demo.standin import StandIn
from tests import harness

LIMIT_SECONDS = 60
RUN_ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
CREEPY = "\x1b[31m\x07Rats\u202e"
"""What steers a terminal, in the name of a file."""


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


class Shell:
    """A person's shell: one library, one stand-in for Gemini."""

    def __init__(self, library: Path, gemini: StandIn) -> None:
        self.library = library
        self.gemini = gemini

    async def __call__(self, *words: str, code: int = 0) -> list[str]:
        """The lines that a command prints, on stdout where it ends well, else on stderr."""
        ended = await run(words[0], "--database", str(self.library), *words[1:], env=environment(self.gemini))
        assert ended.returncode == code, ended
        quiet, loud = (ended.stderr, ended.stdout) if code == 0 else (ended.stdout, ended.stderr)
        assert quiet == b"", ended
        assert b"\x1b" not in loud and b"Traceback" not in loud
        return loud.decode().splitlines()

    @property
    def requests(self) -> int:
        return len(self.gemini.journal)

    def tags(self) -> list[tuple[object, ...]]:
        """What the library says of its files, to compare before and after."""
        with closing(sqlite3.connect(self.library)) as connection:
            files = (
                "SELECT id, genre, mood, auto_tagged, auto_tag_date, auto_tag_version FROM audio_files ORDER BY id"
            )
            rows = "SELECT audio_file_id, tag_type, tag_value FROM rpg_tags ORDER BY 1, 2, 3"
            return [*connection.execute(files), *connection.execute(rows)]
