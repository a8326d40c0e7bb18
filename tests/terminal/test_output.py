"""What is printed on a terminal, and what happens where nothing can be printed."""

import os
import re
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import IO

import pytest
import trio

from sidecar.contract import Usage
from sidecar.demo.standin import Reply, rate_limited
from sidecar.runs.outcomes import BatchOutcome
from sidecar.runs.progress import Tally, progress
from sidecar.terminal.display import Display
from tests import harness
from tests.terminal.scenes import CREEPY, LIMIT_SECONDS, Shell, environment, tagged

_NAMING_THREADS = """
import sys, threading
start = threading.Thread.start
def told(self):
    print(type(self).__module__, self._target, file=sys.__stderr__)
    start(self)
threading.Thread.start = told
from sidecar.__main__ import main
sys.exit(main())
"""
"""The program, telling what threads it starts."""


@pytest.mark.parametrize(
    ("elapsed", "words"), [(6, "6 s left"), (95, "1 min 35 s left"), (7440, "2 h 4 min left")]
)
def test_the_time_that_is_left_is_told_as_people_tell_time(
    elapsed: float, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    half = Tally(total_files=20, total_batches=2).with_batch(BatchOutcome(10, []))
    Display().show(progress("a run", half, Usage(), elapsed, None))
    assert f", {words}  " in capsys.readouterr().out


async def on_a_terminal(
    command: list[str],
    shell: Shell,
    stderr: IO[bytes] | None = None,
    watch: Callable[[str], None] | None = None,
    columns: int = 120,
) -> str:
    """What the command prints there, until it ends well. `watch` is told after each bit what there is so far."""
    ours, theirs = os.openpty()
    env = environment(shell.gemini) | {"TERM": "xterm-256color", "COLUMNS": str(columns)}
    process = await trio.lowlevel.open_process(command, env=env, stdout=theirs, stderr=stderr)
    os.close(theirs)
    printed = b""
    with trio.fail_after(LIMIT_SECONDS):
        async with trio.lowlevel.FdStream(ours) as screen:
            try:
                async for chunk in screen:
                    printed += chunk
                    if watch is not None:
                        watch(printed.decode(errors="replace"))
            except trio.BrokenResourceError:  # Linux tells the end of a pseudo-terminal so
                assert await process.wait() == 0
            finally:
                process.kill()
    return printed.decode()


def without_escapes(printed: str) -> list[str]:
    """The lines that were drawn, one below the other that it replaced."""
    return re.sub("\x1b\\[[0-9;?]*[A-Za-z]", "", printed).splitlines()


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
async def test_a_terminal_gets_tables_that_no_file_name_can_disturb(shell: Shell) -> None:
    with closing(sqlite3.connect(shell.library)) as connection, connection:
        connection.execute("UPDATE audio_files SET file_path = file_path || ?", (CREEPY,))
    command = [*harness.command(), "tag", "--dry-run", "--database", str(shell.library)]
    text = await on_a_terminal(command, shell)
    assert "┃" in text and "\x1b[" in text, "a table and a bar"
    assert "[31m" not in text.replace("\ufffd[31m", "")
    assert "\x07" not in text and "\u202e" not in text


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
async def test_a_terminal_too_narrow_for_a_table_gets_a_line_for_each_cell(shell: Shell) -> None:
    command = [*harness.command(), "tag", "--dry-run", "--database", str(shell.library)]
    printed = without_escapes(await on_a_terminal(command, shell, columns=40))
    with closing(sqlite3.connect(shell.library)) as connection:
        paths = {path for (path,) in connection.execute("SELECT file_path FROM audio_files")}
    sounds = [line.removeprefix("Sound: ") for line in printed if line.startswith("Sound: ")]
    assert sounds and all(any(path.endswith(sound) for path in paths) for sound in sounds)
    assert sum(line.startswith("Genre: ") for line in printed) == len(sounds)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
async def test_the_bar_turns_before_the_first_answer_and_takes_no_thread_for_it(
    shell: Shell, tmp_path: Path
) -> None:
    gate = trio.Event()
    shell.gemini.script = lambda _: Reply(gate=gate)
    options = ["--database", str(shell.library), "--batch-size", "20", "--max-parallel", "1"]
    command = [sys.executable, "-c", _NAMING_THREADS, "tag", *options]
    threads = tmp_path / "threads"

    def watch(printed: str) -> None:
        if len({*re.findall("[\u2801-\u28ff]", printed)}) > 4:
            gate.set()

    with threads.open("wb") as stderr:
        printed = await on_a_terminal(command, shell, stderr, watch)
    frames = without_escapes(printed)
    bars = [line for line in frames if "/60" in line]
    assert bars[0].endswith(" 0/60  Tagging 60 files in 3 batches")
    assert bars[-1].endswith("Tagging: 60 of 60 files")
    assert frames[-1] == "60 files tagged."
    names = threads.read_text()
    assert "sidecar" in names and "rich" not in names


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
async def test_the_cursor_is_there_while_the_bar_turns(shell: Shell) -> None:
    gate = trio.Event()
    shell.gemini.script = lambda _: Reply(gate=gate)
    seen: list[bool] = []

    def watch(printed: str) -> None:
        if not gate.is_set() and len({*re.findall("[\u2801-\u28ff]", printed)}) > 4:
            seen.append(printed.rfind("\x1b[?25h") >= printed.rfind("\x1b[?25l"))
            gate.set()

    await on_a_terminal([*harness.command(), "tag", "--database", str(shell.library)], shell, watch=watch)
    assert seen == [True]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
async def test_a_narrow_terminal_cuts_the_end_of_what_is_told_and_not_the_count_of_files(shell: Shell) -> None:
    shell.gemini.script = lambda received: rate_limited("1s") if received.number == 3 else None
    options = ["--database", str(shell.library), "--batch-size", "20", "--max-parallel", "1"]
    printed = await on_a_terminal([*harness.command(), "tag", *options], shell, columns=40)
    bars = [line for line in without_escapes(printed) if "min" in line]
    assert any(line.endswith("\N{HORIZONTAL ELLIPSIS}") for line in bars)
    assert [line for line in bars if not re.search("\u2501 (0|20|40|60)/60 ", line) or len(line) > 40] == []


@pytest.mark.parametrize("command", ["tag", "report"])
async def test_a_reader_that_goes_away_stops_neither_a_run_nor_makes_a_noise(shell: Shell, command: str) -> None:
    if command == "report":
        await shell("tag")
    ours, theirs = os.pipe()
    os.close(ours)
    with trio.fail_after(LIMIT_SECONDS):
        ended = await trio.run_process(
            [*harness.command(), command, "--database", str(shell.library)],
            env=environment(shell.gemini),
            stdout=theirs,
            capture_stderr=True,
            check=False,
        )
    os.close(theirs)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert tagged(shell.library) == 60


@pytest.mark.skipif(sys.platform != "linux", reason="needs a device that is always full")
@pytest.mark.parametrize("asked", ["--help", "--version", "tag --help"])
@pytest.mark.parametrize(
    ("to", "code", "sentence"),
    [
        (">&-", 0, None),
        ("| true", 0, ""),
        (">/dev/full", 1, "The output could not be written: No space left on device.\n"),
    ],
)
async def test_help_that_nobody_can_read_makes_no_noise(
    asked: str, to: str, code: int, sentence: str | None
) -> None:
    with trio.fail_after(LIMIT_SECONDS):
        ended = await trio.run_process(
            ["bash", "-c", f'set -o pipefail; "$@" {to}', "bash", *harness.command(), *asked.split()],
            env=environment() | {"PYTHONUNBUFFERED": ""},  # with it argparse itself swallows what went wrong
            capture_stderr=True,
            check=False,
        )
    assert ended.returncode == code
    assert sentence is None or ended.stderr.decode() == sentence  # else it is told on stderr


@pytest.mark.skipif(sys.platform != "linux", reason="needs a device that is always full")
@pytest.mark.parametrize(
    ("to", "code", "sentence"),
    [(">&-", 0, ""), (">/dev/full", 1, "The output could not be written: No space left on device.\n")],
)
async def test_where_nothing_can_be_printed_the_work_is_done(
    shell: Shell, tmp_path: Path, to: str, code: int, sentence: str
) -> None:
    demo = tmp_path / "demo.db"
    for words in (["tag"], ["report"], ["demo", "--files", "60", "--database", str(demo)]):
        with trio.fail_after(LIMIT_SECONDS):
            ended = await trio.run_process(
                [
                    "sh",
                    "-c",
                    f'exec "$@" {to}',
                    "sh",
                    *harness.command(),
                    "--database",
                    str(shell.library),
                    *words,
                ],
                env=environment(shell.gemini),
                capture_stderr=True,
                check=False,
            )
        assert (ended.returncode, ended.stderr.decode()) == (code, sentence)
    assert tagged(shell.library) == tagged(demo) == 60
