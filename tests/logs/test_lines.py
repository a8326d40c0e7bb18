"""logs: one line each, and no wait for who reads them."""

import contextlib
import logging
import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest

from sidecar.process.lines import Line
from sidecar.process.logs import (
    MAX_LINE_CHARS,
    MAX_WAITING_LINES,
    LineSink,
    Waiting,
    configure,
)
from tests.logs.scenes import KEY, SOON, Stderr, own

ROOT = Path(__file__).parents[2]


# --- lines --------------------------------------------------------------------------------------


def test_a_record_is_one_ascii_line(stderr: Stderr) -> None:
    stderr.start("info")
    own.info("a %s\nb\r\tc\x1b[0m\u2028%d", "é😀", 7)
    own.debug("unseen")
    assert stderr.lines() == ["INFO sidecar.test: a \\xe9\\U0001f600\\nb\\r\\tc\\x1b[0m\\u20287"]


def test_a_very_long_message_is_cut(stderr: Stderr) -> None:
    stderr.start("INFO")
    own.info("x" * 10 * MAX_LINE_CHARS)
    (line,) = stderr.lines()
    assert len(line) == MAX_LINE_CHARS


def test_a_message_that_cannot_be_formatted_is_said_to_be_one(stderr: Stderr) -> None:
    stderr.start("INFO")
    own.info("%d", "x")
    (line,) = stderr.lines()
    assert line.startswith("INFO sidecar.test: a message that cannot be formatted: TypeError")


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="LOUD"):
        configure("LOUD", 2)


def test_close_gives_everything_back() -> None:
    def state() -> list[object]:
        root = logging.getLogger()
        hooks = [sys.stderr, sys.stdout, sys.excepthook, threading.excepthook, sys.unraisablehook]
        return [*hooks, root.level, list(root.handlers), warnings.formatwarning]

    before = state()
    logs = configure("DEBUG", 2)
    assert state() != before
    logs.close()
    assert state() == before


# --- who is heard -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["google_genai.models", "httpx", "httpcore.connection", "trio", "whoever"])
def test_libraries_are_heard_from_warning_on(stderr: Stderr, name: str) -> None:
    stderr.start("INFO")
    library = logging.getLogger(name)
    library.info("HTTP Request: POST https://host/v1beta/models?key=abc")
    library.warning("careful")
    assert stderr.lines() == [f"WARNING {name}: careful"]


def test_a_library_that_sets_its_own_level_is_not_heard_either(
    stderr: Stderr, monkeypatch: pytest.MonkeyPatch
) -> None:
    stderr.start("INFO")
    monkeypatch.setattr(logging.getLogger("httpx"), "level", logging.DEBUG)
    logging.getLogger("httpx").info("HTTP Request: POST https://host")
    assert stderr.lines() == []


def test_at_debug_libraries_are_heard_without_keys(stderr: Stderr) -> None:
    stderr.start("DEBUG").redactor.add("house/key")
    logging.getLogger("httpx").debug("GET https://host/?key=house%%2Fkey&x=%s /home/ana/x.mp3", KEY)
    assert stderr.lines() == ["DEBUG httpx: GET https://host/?key=[key]&x=[key] /home/ana/x.mp3"]


# --- what others print --------------------------------------------------------------------------


def test_what_is_written_to_stderr_is_logged_by_the_line(stderr: Stderr) -> None:
    stderr.start("INFO").redactor.add("house key")
    sys.stderr.write("one house")
    sys.stderr.write(" key\ntwo\n\nopened /home/ana/x\n" + "x" * (MAX_LINE_CHARS + 9) + "\nno end")
    assert stderr.lines() == [
        "WARNING stderr: one [key]",
        "WARNING stderr: two",
        "WARNING stderr: opened [path]",
        "WARNING stderr: a line too long to log",
        "WARNING stderr: no end",
    ]


def test_an_unhandled_exception_of_a_thread_is_a_line(stderr: Stderr) -> None:
    stderr.start("INFO")

    def fail() -> None:
        raise LookupError("/home/ana/x")

    with contextlib.suppress(LookupError):
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
    assert stderr.lines() == ["CRITICAL sidecar.process.logs: unhandled (LookupError)"]


def test_behind_claim_print_is_a_log_line_and_the_last_words_are_written() -> None:
    code = """
import sys
from sidecar.process import logs, stdio
logs.configure("INFO", stdio.claim().stderr_fd)
print("printed")
raise LookupError("/home/ana")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, cwd=ROOT, check=False)
    assert done.stdout == b""
    assert done.stderr.splitlines() == [
        b"WARNING stdout: printed",
        b"CRITICAL sidecar.process.logs: unhandled (LookupError)",
    ]


def test_a_sink_is_a_text_file_whose_lines_go_elsewhere() -> None:
    lines: list[Line] = []
    sink = LineSink(lines.append, 2, 100)
    file = sink.as_text()
    print("é", 1, file=file)
    file.write("no end \ud800")
    file.buffer.write(b"\xff")
    assert lines == ["é 1".encode()]
    sink.end()
    assert lines[1:] == [b"no end \\ud800\xff"]
    assert (file.fileno(), file.isatty(), file.writable()) == (2, False, True)


# --- who reads late, or never -------------------------------------------------------------------


def test_the_oldest_lines_make_room_and_are_counted() -> None:
    waiting = Waiting()
    for number in range(MAX_WAITING_LINES + 2):
        waiting.put(b"%d\n" % number)
    lines = waiting.take().splitlines()
    assert lines[0] == b"WARNING sidecar.process.logs: 2 log lines were dropped"
    assert lines[1:] == [b"%d" % number for number in range(2, MAX_WAITING_LINES + 2)]
    assert waiting.take() == b""


def test_while_nobody_reads_nobody_waits_and_afterwards_one_line_says_what_is_missing(stderr: Stderr) -> None:
    logs = stderr.start("INFO")
    for number in range(20_000):
        own.info("%d %s", number, "x" * 200)
    assert not logs.flush(0.05)
    lines = stderr.lines()
    (told,) = [line for line in lines if "dropped" in line]
    assert told == f"WARNING sidecar.process.logs: {20_000 - (len(lines) - 1)} log lines were dropped"
    assert lines[-1].startswith("INFO sidecar.test: 19999 ")


def test_when_the_reader_is_gone_logging_goes_on_in_silence(stderr: Stderr) -> None:
    reader, writer = os.pipe()
    logs = configure("INFO", writer)
    os.close(reader)
    for _ in range(5000):
        own.info("x")
    assert logs.flush(SOON)
    logs.close()
    os.close(writer)
