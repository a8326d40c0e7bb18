"""What a person is told on stdout and stderr, where these may not be writable."""

import errno
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO


class Output:
    """stdout or stderr, given up where it cannot be written: what a command does is not cut short by that.

    `fault` is what went wrong; that nobody reads any more (`| head`) is nothing wrong.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.fault: OSError | None = None
        if isinstance(stream, io.TextIOWrapper):
            with self._giving_up():  # it flushes
                stream.reconfigure(errors="replace")  # a code page may lack what stands in file names

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._giving_up():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._giving_up():
            self._stream.flush()

    @contextmanager
    def _giving_up(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            # Windows says EINVAL of a pipe whose reader has gone: https://github.com/python/cpython/issues/79935
            if not isinstance(error, BrokenPipeError) and (os.name, error.errno) != ("nt", errno.EINVAL):
                self.fault = error
            # What waits in the stream's buffer must go somewhere, else the interpreter complains at exit:
            # https://docs.python.org/3/library/signal.html#note-on-sigpipe
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    @property
    def complaint(self) -> str:
        """What went wrong, in a sentence; empty where nothing did."""
        return f"The output could not be written: {self.fault.strerror}." if self.fault is not None else ""
