"""A pipe with somebody's logs in it."""

import logging
import os
import threading

from sidecar.process.logs import (
    Logs,
    configure,
)

SOON = 10.0
KEY = "AIza" + "Sy-0_" * 7
own = logging.getLogger("sidecar.test")


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
