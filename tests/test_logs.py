"""logs: one line each, no key ever, no path above DEBUG, and no wait for who reads them."""

import contextlib
import logging
import os
import subprocess
import sys
import threading
import urllib.parse
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sidecar.redaction import Redactor
from sidecar.rpc.lines import LineSplitter
from sidecar.rpc.logs import (
    MAX_LINE_CHARS,
    MAX_WAITING_LINES,
    Logs,
    Waiting,
    configure,
    describe,
    without_paths,
)

ROOT = Path(__file__).parents[1]
SOON = 10.0
KEY = "AIza" + "Sy-0_" * 7
own = logging.getLogger("sidecar.test")

Start = Callable[[str], Logs]
Read = Callable[[], list[str]]


def failure(message: str, cause: Exception) -> Exception:
    """An exception that was really raised."""

    def fail() -> None:
        raise LookupError(message) from cause

    with pytest.raises(LookupError) as caught:
        fail()
    return caught.value


class Stderr:
    """A pipe with somebody's logs in it."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        self.logs: list[Logs] = []

    def start(self, level: str) -> Logs:
        logs = configure(level, self.writer)
        self.logs.append(logs)
        return logs

    def lines(self) -> list[str]:
        """Stops the logs and returns all lines there were."""
        got = bytearray()

        def read() -> None:
            while chunk := os.read(self.reader, 1 << 20):
                got.extend(chunk)

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        for logs in self.logs:
            assert logs.flush(SOON)
        self.close()
        thread.join(SOON)
        assert not thread.is_alive()
        assert got.isascii()
        return got.decode().splitlines()

    def close(self) -> None:
        while self.logs:
            self.logs.pop().close()
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1


@pytest.fixture
def stderr() -> Iterator[Stderr]:
    pipe = Stderr()
    yield pipe
    pipe.close()
    os.close(pipe.reader)


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


# --- keys ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "secret", ["plain-key", "a/b+c d&e", "quo'te\"d\\", "schlüssel", "%2F%2F", "a.*b", "k\u00e9y\n"]
)
def test_a_known_key_is_redacted_in_every_spelling(secret: str) -> None:
    redactor = Redactor()
    redactor.add("other")
    redactor.add(secret)
    for text in (
        secret,
        repr(secret),
        urllib.parse.quote(secret),
        urllib.parse.quote(secret, safe=""),
        urllib.parse.quote(secret, safe="").lower(),
        urllib.parse.quote_plus(secret),
        urllib.parse.urlencode({"k": secret}),
    ):
        assert secret not in redactor.redact(text)
        assert "[key]" in redactor.redact(f"<{text}>")


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        (f"key {KEY}.", "key [key]."),
        ("AQ." + "Ab8-_" * 8, "[key]"),
        ("AIzaShort", "AIzaShort"),
        ("https://h/p?key=abc&alt=sse", "https://h/p?key=[key]&alt=sse"),
        ("{'x-goog-api-key': 'abc', 'a': 'b'}", "{'x-goog-api-key': '[key]', 'a': 'b'}"),
        ("[(b'X-Goog-Api-Key', b'abc')]", "[(b'X-Goog-Api-Key', b'[key]')]"),
        ("x-goog-api-key: abc", "x-goog-api-key: [key]"),
    ],
)
def test_what_looks_like_a_key_is_redacted_unknown(text: str, redacted: str) -> None:
    assert Redactor().redact(text) == redacted


def test_a_secret_of_three_letters_is_not_looked_for() -> None:
    redactor = Redactor()
    redactor.add("the")
    assert redactor.redact("the end") == "the end"


def test_no_cut_leaves_half_a_key(stderr: Stderr) -> None:
    secret = "half-" * 50
    stderr.start("DEBUG").redactor.add(secret)
    own.info("x" * (MAX_LINE_CHARS - 100) + secret)
    (line,) = stderr.lines()
    assert "half" not in line


@pytest.mark.parametrize("level", ["DEBUG", "INFO"])
def test_a_key_in_an_exception_is_redacted(stderr: Stderr, level: str) -> None:
    stderr.start(level).redactor.add("house key")
    own.error("failed with house%20key", exc_info=failure(f"house key {KEY}", OSError("house+key")))
    text = "\n".join(stderr.lines())
    assert "house" not in text
    assert KEY not in text
    assert ("Traceback" in text) == (level == "DEBUG")


# --- paths --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("no such file: '/home/ana/My Music/x.mp3', sorry", "no such file: [path], sorry"),
        ('File "C:\\Users\\ana\\x.py", line 3', "File [path], line 3"),
        ("cannot open /home/ana/My Music/x.mp3", "cannot open [path]"),
        ("cannot open D:/Sounds/My Music/x.mp3", "cannot open [path]"),
        ("cannot open \\\\nas\\sounds\\x.mp3", "cannot open [path]"),
        ("file:///home/ana/x", "[path]"),
        ("~/x and ../x", "[path]"),
        ("a/b 3 / 4 https://host/path?q=1", "a/b 3 / 4 https://host/path?q=1"),
    ],
)
def test_foreign_text_is_told_without_paths(text: str, rest: str) -> None:
    assert without_paths(text) == rest


def test_warnings_are_told_without_file_and_line(stderr: Stderr) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        stderr.start("INFO")
        warnings.showwarning("careful", DeprecationWarning, "/home/ana/x.py", 3)
        warnings.warn("old", ResourceWarning, stacklevel=1)
        lines = stderr.lines()
    assert lines == [
        "WARNING py.warnings: DeprecationWarning: careful",
        "WARNING py.warnings: ResourceWarning: old",
    ]


def test_an_exception_is_its_type_and_our_own_innermost_line(stderr: Stderr) -> None:
    stderr.start("INFO")
    try:
        LineSplitter().feed(None)  # type: ignore[arg-type]
    except AttributeError:
        own.exception("failed")
    (line,) = stderr.lines()
    place = line.removeprefix("ERROR sidecar.test: failed (AttributeError at sidecar/rpc/lines.py:")
    assert place.removesuffix(")").isdigit()


def test_an_exception_from_elsewhere_is_its_type_alone() -> None:
    assert describe(ValueError("/home/ana/x")) == "ValueError"


def test_of_a_group_each_member_is_described() -> None:
    group = ExceptionGroup("secret", [ValueError("a"), ExceptionGroup("b", [KeyError("c")])])
    assert describe(group) == "ExceptionGroup of ValueError, ExceptionGroup of KeyError"


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
    assert stderr.lines() == ["CRITICAL sidecar.rpc.logs: unhandled (LookupError)"]


def test_behind_claim_print_is_a_log_line_and_the_last_words_are_written() -> None:
    code = """
import sys
from sidecar.rpc import logs, stdio
logs.configure("INFO", stdio.claim().stderr_fd)
print("printed")
raise LookupError("/home/ana")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, cwd=ROOT, check=False)
    assert done.stdout == b""
    assert done.stderr.splitlines() == [
        b"WARNING stdout: printed",
        b"CRITICAL sidecar.rpc.logs: unhandled (LookupError)",
    ]


# --- who reads late, or never -------------------------------------------------------------------


def test_the_oldest_lines_make_room_and_are_counted() -> None:
    waiting = Waiting()
    for number in range(MAX_WAITING_LINES + 2):
        waiting.put(b"%d\n" % number)
    lines = waiting.take().splitlines()
    assert lines[0] == b"WARNING sidecar.rpc.logs: 2 log lines were dropped"
    assert lines[1:] == [b"%d" % number for number in range(2, MAX_WAITING_LINES + 2)]
    assert waiting.take() == b""


def test_while_nobody_reads_nobody_waits_and_afterwards_one_line_says_what_is_missing(stderr: Stderr) -> None:
    logs = stderr.start("INFO")
    for number in range(20_000):
        own.info("%d %s", number, "x" * 200)
    assert not logs.flush(0.05)
    lines = stderr.lines()
    (told,) = [line for line in lines if "dropped" in line]
    assert told == f"WARNING sidecar.rpc.logs: {20_000 - (len(lines) - 1)} log lines were dropped"
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
