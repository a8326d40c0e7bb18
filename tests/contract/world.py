"""A library, a stand-in for Gemini and the real process over real pipes, with a transcript of all it said."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from sidecar.demo.library import create_library
from sidecar.demo.standin import StandIn

PATIENCE_SECONDS = 40
MAY_CHANGE = {"genre", "mood", "auto_tagged", "auto_tag_date", "auto_tag_version", "updated_at"}
FAST = {"backoff_base_seconds": 0.01, "backoff_max_seconds": 0.05}
COMMAND = json.loads(os.environ.get("LIGEIA_SIDECAR_COMMAND", "null")) or [sys.executable, "-m", "sidecar"]
"""A JSON array: how the program under test is started; a frozen binary, say."""


class Sidecar:
    """One process. `transcript` holds every line of stdout in order, decoded."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.transcript: list[dict[str, Any]] = []
        self.news = trio.Event()
        self._last_id = 0

    async def read(self) -> None:
        """Until the end of stdout."""
        assert self.process.stdout is not None
        rest = b""
        async for chunk in self.process.stdout:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                assert line.isascii()
                self.transcript.append(json.loads(line))
            self.news.set()
            self.news = trio.Event()
        assert rest == b""

    async def raw(self, line: bytes) -> None:
        """Sends bytes as they are."""
        assert self.process.stdin is not None
        await self.process.stdin.send_all(line)

    async def wait_for(self, wanted: Callable[[dict[str, Any]], bool], after: int = 0) -> dict[str, Any]:
        """The first message from position `after` on that is wanted."""
        with trio.fail_after(PATIENCE_SECONDS):
            while True:
                for message in self.transcript[after:]:
                    if isinstance(message, dict) and wanted(message):
                        return message
                await self.news.wait()

    async def batch(self, after: int) -> list[dict[str, Any]]:
        """The first batch of answers from position `after` on."""
        with trio.fail_after(PATIENCE_SECONDS):
            while True:
                for message in self.transcript[after:]:
                    if isinstance(message, list):
                        return message
                await self.news.wait()

    async def send(self, method: str, **params: Any) -> str:
        """Sends a call; its id."""
        self._last_id += 1
        call = {"jsonrpc": "2.0", "id": f"c{self._last_id}", "method": method, "params": params}
        await self.raw(json.dumps(call).encode() + b"\n")
        return f"c{self._last_id}"

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The whole answer to a call."""
        call_id = await self.send(method, **params)
        return await self.wait_for(lambda message: message.get("id") == call_id)

    async def result(self, method: str, **params: Any) -> Any:
        """The result of a call that succeeds."""
        answer = await self.call(method, **params)
        assert "error" not in answer, answer
        return answer["result"]

    async def complete(self, after: int = 0) -> dict[str, Any]:
        """The params of the first `tagging-complete` from `after` on."""
        message = await self.wait_for(lambda m: m.get("method") == "tagging-complete", after)
        params: dict[str, Any] = message["params"]
        return params

    async def tag(self, **params: Any) -> dict[str, Any]:
        """A run from call to completion, with the guarantees of section 3 checked."""
        after = len(self.transcript)
        started = await self.result("auto_tag_files", **params)
        assert started["message"] == "Auto-tagging started", started
        done = await self.complete(after)
        check_messages(self.transcript, started["run_id"])
        return done

    def events(self, method: str) -> list[dict[str, Any]]:
        """The params of all notifications of that name."""
        return [m["params"] for m in self.transcript if isinstance(m, dict) and m.get("method") == method]


@asynccontextmanager
async def sidecar(
    database: Path | None, gemini: StandIn | None = None, **environment: str
) -> AsyncIterator[Sidecar]:
    """Starts the process; kills it at the end if it still runs."""
    env = {k: v for k, v in os.environ.items() if k not in ("GEMINI_API_KEY", "GOOGLE_API_KEY")}
    env |= {"GEMINI_API_KEY": "test-key-of-nobody"} if gemini else {}
    env |= {"GOOGLE_GEMINI_BASE_URL": gemini.base_url} if gemini else {}
    command = [*COMMAND, *(["--database", str(database)] if database else [])]
    process = await trio.lowlevel.open_process(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**env, **environment},
    )
    subject = Sidecar(process)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(subject.read)
            yield subject
            nursery.cancel_scope.cancel()
    finally:
        if process.returncode is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


def library(folder: Path, files: int = 120, **options: Any) -> Path:
    """A sample library with every column filled."""
    path = folder / "library.db"
    create_library(path, files=files, **options)
    return path


def rows(database: Path, query: str, *values: Any) -> list[dict[str, Any]]:
    """The rows of a query as dicts."""
    connection = sqlite3.connect(database, timeout=30)
    connection.row_factory = sqlite3.Row
    try:
        return [dict(row) for row in connection.execute(query, values)]
    finally:
        connection.close()


def execute(database: Path, statement: str, *values: Any) -> None:
    """What the shell might write."""
    connection = sqlite3.connect(database, timeout=30)
    with connection:
        connection.execute(statement, values)
    connection.close()


def files_of(database: Path) -> dict[int, dict[str, Any]]:
    """Every column of every sound, by id."""
    return {row["id"]: row for row in rows(database, "SELECT * FROM audio_files")}


def check_library(database: Path, before: dict[int, dict[str, Any]], *, tagged: int) -> None:
    """Integrity; no column changed that may not; whole taggings only: one history row for each tagged file."""
    assert rows(database, "PRAGMA integrity_check") == [{"integrity_check": "ok"}]
    assert rows(database, "PRAGMA foreign_key_check") == []
    vocabulary = {
        (row["tag_type"].removesuffix("s"), row["tag_value"])
        for row in rows(database, "SELECT * FROM tag_vocabulary WHERE is_active")
    }
    history = [
        row["file_id"]
        for row in rows(database, "SELECT file_id FROM auto_tag_history WHERE tags_applied LIKE '{\"run_id\":%'")
    ]
    after = files_of(database)
    for file_id, row in after.items():
        changed = {name for name in row if row[name] != before[file_id][name]}
        assert changed <= MAY_CHANGE, changed
        assert bool(changed) == bool(row["auto_tagged"]), file_id
        if row["auto_tagged"]:
            assert ("genre", row["genre"]) in vocabulary
            assert all(("mood", mood) in vocabulary for mood in row["mood"].split("; "))
            assert history.count(file_id) == 1
    assert sum(bool(row["auto_tagged"]) for row in after.values()) == tagged
    for row in rows(database, "SELECT * FROM rpg_tags WHERE tag_type IN ('occasion', 'keyword')"):
        assert (row["tag_type"], row["tag_value"]) in vocabulary


def check_messages(transcript: list[dict[str, Any]], run_id: str) -> None:
    """Answer first, batch before its progress, counters add up and never go back, one completion, last."""
    ours = [m for m in transcript if m.get("params", {}).get("run_id") == run_id]
    answer = next(i for i, m in enumerate(transcript) if (m.get("result") or {}) and _run_of(m) == run_id)
    assert answer < transcript.index(ours[0])
    assert [m["method"] for m in ours].count("tagging-complete") == 1
    assert ours[-1]["method"] == "tagging-complete"
    last = 0
    for message in ours:
        if message["method"] != "tagging-batch":
            p = message["params"]
            closed = p["processed_files"] + p["failed_files"] + p["skipped_files"]
            assert closed + p["remaining_files"] == p["total_files"]
            assert closed >= last
            last = closed


def _run_of(message: dict[str, Any]) -> Any:
    return message["result"].get("run_id") if isinstance(message["result"], dict) else None
