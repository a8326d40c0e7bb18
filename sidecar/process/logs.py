"""Logs on stderr: one ASCII line each, `LEVEL name: message`, and never a wait for who reads them.

Its law: no API key at any level; above DEBUG no traceback and no file path. Foreign text (other
libraries' loggers, warnings, whatever they print) is trusted with neither.
"""

import atexit
import contextlib
import io
import logging
import re
import sys
import threading
import traceback
import warnings
from collections import deque
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, Final, TextIO, cast

from sidecar.process.lines import Line, LineSplitter, TooLong
from sidecar.process.pump import Pump
from sidecar.process.stdio import CHUNK_BYTES
from sidecar.redaction import Redactor

MAX_WAITING_LINES: Final = 1000
MAX_LINE_CHARS: Final = 8_000
"""As written, in ASCII. With the bound above: at most 8 MB for a reader that never reads; a traceback fits."""
_QUOTED_PATH: Final = re.compile(r"""(['"])(?:/|~|\\\\|[A-Za-z]:[\\/])(?:(?!\1).)+\1""")
_BARE_PATH: Final = re.compile(
    r"""(?:file://|(?<![\w:/.\]])(?:~|\.\.?)?/(?=[^\s/])|\b[A-Za-z]:[\\/](?!/)|\\\\).*"""
)
_CONTROLS: Final = {code: f"\\x{code:02x}" for code in (*range(32), 127)} | {9: "\\t", 10: "\\n", 13: "\\r"}
_ROOT: Final = (lambda: None).__code__.co_filename.replace("\\", "/").removesuffix("process/logs.py")


def without_paths(text: str) -> str:
    """Foreign text without file paths; after an unquoted one nothing is left, as it may hold spaces."""
    return _BARE_PATH.sub("[path]", _QUOTED_PATH.sub("[path]", text))


def describe(error: BaseException) -> str:
    """`Type at sidecar/module.py:line`, the line being our own innermost one; a group's members each.

    Foreign exceptions carry paths, prompts and keys in their messages: none is told.
    """
    name = type(error).__name__
    if isinstance(error, BaseExceptionGroup):  # a trio nursery's
        return f"{name} of {', '.join(describe(member) for member in error.exceptions[:5])}"
    ours = [
        f"sidecar/{path.removeprefix(_ROOT)}:{line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if (path := frame.f_code.co_filename.replace("\\", "/")).startswith(_ROOT)
    ]
    return f"{name} at {ours[-1]}" if ours else name


class Waiting:
    """The lines that wait; the oldest make room and are counted in a line. Not thread-safe.

    `take` may be interrupted by a `put` in its own thread: a finaliser that fails is logged where it runs.
    """

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque()
        self._dropped = 0

    def put(self, line: bytes) -> None:
        """One more line."""
        if len(self._lines) == MAX_WAITING_LINES:
            self._lines.popleft()
            self._dropped += 1
        self._lines.append(line)

    def take(self) -> bytes:
        """About one write's worth, `b""` when nothing waits; what was dropped stood before it."""
        taken: list[bytes] = []
        dropped, self._dropped = self._dropped, 0
        if dropped:
            taken.append(b"WARNING sidecar.process.logs: %d log lines were dropped\n" % dropped)
        size = 0
        while self._lines and size < CHUNK_BYTES:
            taken.append(self._lines.popleft())
            size += len(taken[-1])
        return b"".join(taken)


class _Handler(logging.Handler):
    """Turns records into lines for the pump; never raises, whatever is wrong with a record."""

    def __init__(self, pump: Pump, waiting: Waiting, redactor: Redactor, *, is_verbose: bool) -> None:
        super().__init__()
        self._pump = pump
        self._waiting = waiting
        self._redactor = redactor
        self._is_verbose = is_verbose

    def handle(self, record: logging.LogRecord) -> bool:
        """Without the lock of `logging`: the pump has its own.

        A finaliser may log in the thread that holds the pump's, while another thread that logs waits for that.
        """
        is_heard = self.filter(record)
        if is_heard:
            self.emit(record)
        return is_heard

    def filter(self, record: logging.LogRecord) -> bool:
        """Libraries below WARNING (httpx logs URLs) only at DEBUG, whatever level they gave themselves."""
        return self._is_verbose or record.levelno >= logging.WARNING or not _is_foreign(record.name)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self._text(record)
        except Exception as error:  # noqa: BLE001 (foreign arguments may fail to format in any way)
            text = f"a message that cannot be formatted: {describe(error)}"
        # Cut last: a key must not be cut in two before it is looked for, and escapes make a line longer.
        line = f"{record.levelname} {record.name}: {text}"[:MAX_LINE_CHARS].translate(_CONTROLS)
        self._pump.put(self._waiting.put, line.encode("ascii", "backslashreplace")[:MAX_LINE_CHARS] + b"\n")

    def _text(self, record: logging.LogRecord) -> str:
        message = self._redactor.redact(record.getMessage())
        if _is_foreign(record.name) and not self._is_verbose:
            message = without_paths(message)
        error = record.exc_info[1] if record.exc_info else None
        if error is None:
            return message
        if self._is_verbose:
            return f"{message}\n{self._redactor.redact(''.join(traceback.format_exception(error)).rstrip())}"
        return f"{message} ({describe(error)})"


def _is_foreign(logger_name: str) -> bool:
    return logger_name.partition(".")[0] != "sidecar"


class LineSink(io.RawIOBase):
    """A file to write to: calls `take` with each line. Stands in for stdout and stderr; any thread may write.

    `fd` is only what `fileno` says: faulthandler and child processes write past us.
    """

    def __init__(self, take: Callable[[Line], None], fd: int, limit_bytes: int) -> None:
        super().__init__()
        self._take = take
        self._fd = fd
        self._splitter = LineSplitter(limit_bytes)
        self._lock = threading.RLock()

    def as_text(self) -> TextIO:
        """What `sys.stdout` or `sys.stderr` may be set to: nothing stays in a buffer."""
        file = cast("Any", self)  # typeshed wants IO[bytes]; TextIOWrapper is content with any RawIOBase
        return io.TextIOWrapper(file, "utf-8", "backslashreplace", newline="\n", write_through=True)

    def writable(self) -> bool:
        """Yes."""
        return True

    def fileno(self) -> int:
        """The descriptor behind all this."""
        return self._fd

    def write(self, data: Any) -> int:
        """Takes all of it."""
        chunk = bytes(data)
        with self._lock:
            lines = self._splitter.feed(chunk)
        for line in lines:
            self._take(line)
        return len(chunk)

    def end(self) -> None:
        """What was written without an end of line is a line now."""
        with self._lock:
            lines = self._splitter.end()
        for line in lines:
            self._take(line)


class Logs:
    """The logs of the process, configured. Any thread may call."""

    def __init__(self, fd: int, level: int) -> None:
        self.redactor = Redactor()
        is_verbose = level <= logging.DEBUG
        waiting = Waiting()
        self._pump = Pump(fd, waiting.take, "logs")
        handler = _Handler(self._pump, waiting, self.redactor, is_verbose=is_verbose)
        self._sinks: list[LineSink] = []
        self._undo = contextlib.ExitStack()
        root, own = logging.getLogger(), logging.getLogger("sidecar")
        self._set(root, "handlers", [handler])
        self._undo.callback(root.setLevel, root.level)
        self._undo.callback(own.setLevel, own.level)
        root.setLevel(level if is_verbose else max(level, logging.WARNING))
        own.setLevel(level)
        atexit.register(self.flush, 1.0)
        self._undo.callback(atexit.unregister, self.flush)

    def capture(self, fd: int) -> None:
        """From now on warnings, unhandled exceptions and whatever is printed are log lines."""
        logging.captureWarnings(capture=True)
        self._undo.callback(logging.captureWarnings, capture=False)
        self._set(warnings, "formatwarning", _format_warning)
        self._set(sys, "excepthook", self._log_unhandled)
        self._set(sys, "unraisablehook", lambda event: self._log_unhandled(*event[:3]))
        self._set(threading, "excepthook", lambda event: self._log_unhandled(*event[:3]))
        if sys.stdout is sys.stderr:  # stdio.claim made it so: the real one is the protocol's
            self._set(sys, "stdout", self._stream("stdout", fd))
        self._set(sys, "stderr", self._stream("stderr", fd))

    def flush(self, deadline_seconds: float) -> bool:
        """Blocks until everything is written or discarded; False when the time was up before."""
        for sink in self._sinks:
            sink.end()
        return self._pump.flush(deadline_seconds)

    def close(self) -> None:
        """Gives `logging` and `sys` back what they had, and ends the thread."""
        for sink in self._sinks:
            sink.end()
        self._undo.close()
        self._pump.close()

    def _stream(self, name: str, fd: int) -> TextIO:
        sink = LineSink(partial(_log_printed, logging.getLogger(name)), fd, MAX_LINE_CHARS)
        self._sinks.append(sink)
        return sink.as_text()

    def _set(self, owner: object, name: str, value: object) -> None:
        self._undo.callback(setattr, owner, name, getattr(owner, name))
        setattr(owner, name, value)

    def _log_unhandled(
        self, kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and not issubclass(kind, KeyboardInterrupt | SystemExit):
            logging.getLogger(__name__).critical("unhandled", exc_info=(kind, error, trace))


def _log_printed(logger: logging.Logger, line: Line) -> None:
    text = "a line too long to log" if isinstance(line, TooLong) else line.decode(errors="backslashreplace")
    logger.warning("%s", text)


def _format_warning(message: object, category: type[Warning], *_: object, **__: object) -> str:
    """Without file name and source line, which the standard one shows (see warnings.formatwarning)."""
    return f"{category.__name__}: {message}"


def configure(level: str, fd: int, *, capture: bool = True) -> Logs:
    """Sends all logging of the process to `fd`; with `capture` also whatever is printed.

    `level` is one of logging's names, in any case; raises ValueError for another. At DEBUG everything is
    told, redacted; above it libraries are heard from WARNING on.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"unknown log level {level!r}")
    logs = Logs(fd, number)
    if capture:
        logs.capture(fd)
    return logs
