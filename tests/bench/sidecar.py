"""The process under measurement and the stand-in for Gemini, each in a process of its own, over pipes."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from sidecar.demo.library import create_library
from tests.harness import command

BATCH = 50
MB = 1e6


class Sidecar:
    """The process, as the shell starts it; with its peak memory in bytes."""

    def __init__(
        self, database: Path, base_url: str = "http://127.0.0.1:9", program: list[str] | None = None
    ) -> None:
        env = {**os.environ, "GEMINI_API_KEY": "bench-key", "GOOGLE_GEMINI_BASE_URL": base_url}
        self.process = subprocess.Popen(
            [*(program or command()), "--database", str(database)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env,
        )
        self.usage = psutil.Process(self.process.pid)
        self.peak_bytes = 0
        self._writing = threading.Lock()

    def send(self, method: str, /, **params: Any) -> None:
        """One request; its id is the method's name."""
        self.write(request(method, method, **params))

    def write(self, lines: bytes) -> None:
        """Lines as they are; from any thread."""
        assert self.process.stdin is not None
        with self._writing:
            self.process.stdin.write(lines)
            self.process.stdin.flush()

    def until(self, wanted: Any) -> dict[str, Any]:
        """The first message that is the answer to the id, or the notification named, `wanted`."""
        for message in self.messages():
            if wanted in (message.get("id"), message.get("method")):
                return message
        raise RuntimeError(f"the sidecar ended before {wanted}")

    def messages(self) -> Iterator[dict[str, Any]]:
        """All that comes, until the output ends."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.peak_bytes = max(self.peak_bytes, self.usage.memory_info().rss)
            yield json.loads(line)

    def ask(self, method: str, /, **params: Any) -> Any:
        """A call's result."""
        self.send(method, **params)
        return self.until(method)["result"]

    def run(self, **params: Any) -> tuple[float, dict[str, Any]]:
        """Seconds from call to completion of a run in which nothing fails, and the completion."""
        began = time.perf_counter()
        self.send("auto_tag_files", **params)
        done = self.until("tagging-complete")["params"]
        seconds = time.perf_counter() - began
        assert done["status"] == "completed" and done["failed_files"] == 0, done["message"]
        return seconds, done

    def warm(self) -> None:
        """A run of one file: the SDK is loaded, a connection made."""
        self.run(file_ids=[1])

    def cpu_seconds(self) -> float:
        """Of all its threads, so far."""
        times = self.usage.cpu_times()
        return times.user + times.system

    def end(self) -> None:
        """Shuts it down."""
        self.send("shutdown")
        self.process.wait(5)


def request(number: Any, method: str, /, **params: Any) -> bytes:
    """A request as a line."""
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode() + b"\n"


@contextmanager
def sidecar(database: Path, latency_seconds: float = 0.0) -> Iterator[Sidecar]:
    """A process with a stand-in for Gemini of its own."""
    with stand_in(latency_seconds) as base_url:
        subject = Sidecar(database, base_url)
        try:
            yield subject
            subject.end()
        finally:
            subject.process.kill()
            subject.process.wait()


@contextmanager
def stand_in(latency_seconds: float) -> Iterator[str]:
    """A stand-in for Gemini in a process of its own; its base URL."""
    program = [sys.executable, "-m", "sidecar.demo.standin", "--port", "0", "--latency", str(latency_seconds)]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


@contextmanager
def library(files: int) -> Iterator[Path]:
    """A fresh sample library."""
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "library.db"
        create_library(path, files=files)
        yield path
