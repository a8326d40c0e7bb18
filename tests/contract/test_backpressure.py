"""CONTRACT section 1: a shell that sends and sends and reads nothing is still heard, in bounded memory.

Its answers wait on disk. Only calls without an end, or a disk without room, hold up its pipe.
"""

import json
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import psutil
import pytest
import trio

from sidecar.demo import standin
from sidecar.demo.standin import Reply
from tests import harness

REQUESTS: Final = 120_000
ENOUGH: Final = 100_000
"""Their answers take half as much again as may wait in memory."""
BIG_REQUESTS: Final = 300
BIG_FILES: Final = 2000
"""A list of so many files takes some 400 KB."""
MORE_MB: Final = 60
"""16 MiB of answers that wait, some hundred calls under way, and what the allocator keeps."""
PILED_MB: Final = 130
"""10,000 calls under way at some 8 KB, and what came with the last read."""
EXIT_SECONDS: Final = 2.0
READ_SECONDS: Final = 120
MIB: Final = 1024 * 1024
RUN: Final = b'{"jsonrpc":"2.0","id":"run","method":"auto_tag_files","params":{"batch_size":1}}\n'

linux = pytest.mark.skipif(sys.platform != "linux", reason="sets another process's limits")
hang_up = pytest.mark.skipif(sys.platform == "win32", reason="a pipe tells of its end once it has been read")


def call(number: object, method: str, **params: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode()


class Memory:
    """Of the process and all that belongs to it, above what it took at first."""

    def __init__(self, process: trio.Process) -> None:
        self._pid = process.pid
        self._first = self._now()
        self.most_mb = 0.0

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            self.most_mb = max(self.most_mb, (self._now() - self._first) / 1e6)
            await trio.sleep(0.05)

    def _now(self) -> int:
        return sum(int(member.memory_info().rss) for member in harness.family(self._pid))


async def answered(process: trio.Process, number: object) -> None:
    """Sends `status` and reads up to its answer, which is the first line of the output."""
    assert process.stdin is not None and process.stdout is not None
    await process.stdin.send_all(call(number, "status") + b"\n")
    with trio.fail_after(harness.DEADLINE_SECONDS):
        data = b""
        while not data.endswith(b"\n"):
            data += await process.stdout.receive_some(1)
    assert json.loads(data)["id"] == number


async def read_in_the_end(process: trio.Process, flood: harness.Flood, due: int) -> list[Any]:
    """Every message, once the sender got all through; hangs up when as many lines as are due have come."""
    assert process.stdin is not None and process.stdout is not None
    data, lines = bytearray(), 0
    with trio.fail_after(READ_SECONDS):
        while lines < due:
            chunk = await process.stdout.receive_some(MIB)
            assert chunk, f"the output ended after {lines} of {due} lines"
            data += chunk
            lines += chunk.count(b"\n")
        await flood.over.wait()
        await process.stdin.aclose()
        async for chunk in process.stdout:
            data += chunk
    assert data.isascii()
    return [json.loads(line) for line in data.splitlines()]


def counted(messages: list[Any]) -> Counter[Any]:
    """Answers by id."""
    singles = (answer for message in messages for answer in (message if isinstance(message, list) else [message]))
    return Counter(answer["id"] for answer in singles if "id" in answer)


def many(count: int = ENOUGH) -> Iterator[bytes]:
    """Short requests with short answers, without wasting time on their encoding."""
    return (b'{"jsonrpc":"2.0","id":%d,"method":"check_gemini_api_key"}' % number for number in range(count))


def some_big() -> Iterator[bytes]:
    """The same, among them requests with big answers."""
    every = REQUESTS // BIG_REQUESTS
    for number, line in enumerate(many(REQUESTS)):
        if number % every == 0:
            yield call(f"big {number // every}", "get_untagged_files")
        yield line


async def test_a_flood_is_taken_in_bounded_memory_and_each_request_answered_once(tmp_path: Path) -> None:
    async with harness.unread(harness.library(tmp_path, BIG_FILES)) as process:
        await answered(process, "first")
        flood, memory = harness.Flood(process, some_big()), Memory(process)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(memory.watch)
            await flood.taken()
            nursery.cancel_scope.cancel()
        assert memory.most_mb < MORE_MB
        big = [f"big {number}" for number in range(-(-REQUESTS // (REQUESTS // BIG_REQUESTS)))]
        messages = await read_in_the_end(process, flood, REQUESTS + len(big))
        assert counted(messages) == Counter([*range(REQUESTS), *big])
        assert all(len(m["result"]) == BIG_FILES for m in messages if str(m["id"]).startswith("big"))


async def test_a_run_goes_on_to_its_end_in_a_flood(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 60)
    async with standin.running(latency_seconds=0.1) as gemini, harness.unread(library, gemini) as process:
        assert process.stdin is not None
        await process.stdin.send_all(RUN)
        flood = harness.Flood(process, many())
        await flood.taken()
        await harness.eventually(lambda: library.tagged == 60)
        messages = await read_in_the_end(process, flood, ENOUGH + 2)
        assert counted(messages) == Counter([*range(ENOUGH), "run"])
        last = [message["params"] for message in messages if message.get("method") == "tagging-complete"]
        assert [(end["status"], end["processed_files"]) for end in last] == [("completed", 60)]
    harness.check_invariants(library, [])


async def test_a_cancel_behind_a_flood_is_heard_though_nobody_reads(tmp_path: Path) -> None:
    library, gate = harness.library(tmp_path, 60), trio.Event()
    async with (
        standin.running(script=lambda _: Reply(gate=gate)) as gemini,
        harness.unread(library, gemini) as process,
    ):
        assert process.stdin is not None
        await process.stdin.send_all(RUN)
        flood = harness.Flood(process, many())
        await flood.taken()
        await process.stdin.send_all(call("stop", "cancel") + b"\n")
        await harness.eventually(lambda: library.scalar("SELECT max(status) FROM auto_tag_runs") == "cancelled")
        with trio.fail_after(5):
            await gemini.wait_until_idle()
        messages = await read_in_the_end(process, flood, ENOUGH + 3)
        assert counted(messages) == Counter([*range(ENOUGH), "run", "stop"])
    harness.check_invariants(library, [])


@pytest.mark.parametrize("how", ["stdin", "shutdown"])
async def test_the_end_behind_a_flood_takes_less_than_two_seconds(tmp_path: Path, how: str) -> None:
    async with harness.unread(harness.library(tmp_path, 3)) as process:
        flood = harness.Flood(process, many())
        await flood.taken()
        assert process.stdin is not None
        if how == "stdin":
            await process.stdin.aclose()
        else:
            await process.stdin.send_all(call("end", "shutdown") + b"\n")
        await ends_soon(process)


@linux
async def test_where_the_disk_takes_nothing_the_sender_is_held_up_and_nothing_is_lost(tmp_path: Path) -> None:
    async with harness.unread(harness.library(tmp_path, 3)) as process:
        await answered(process, "first")
        limit_files(process)
        flood, memory = harness.Flood(process, many()), Memory(process)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(memory.watch)
            nursery.start_soon(flood.run)
            await flood.held_up()
            assert memory.most_mb < MORE_MB
            messages = await read_in_the_end(process, flood, ENOUGH)
            nursery.cancel_scope.cancel()
        assert counted(messages) == Counter(range(ENOUGH))


@linux
@pytest.mark.parametrize("how", ["stdin", "SIGTERM"])
async def test_who_is_held_up_by_a_full_disk_can_end_the_process(tmp_path: Path, how: str) -> None:
    async with harness.unread(harness.library(tmp_path, 3)) as process:
        await answered(process, "first")
        limit_files(process)
        flood = harness.Flood(process, many())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood.run)
            await flood.held_up()
            nursery.cancel_scope.cancel()
        assert process.stdin is not None
        if how == "stdin":
            await process.stdin.aclose()
        else:
            process.terminate()
        await ends_soon(process)


def single(count: int) -> Iterator[bytes]:
    return (call(number, "delete_tag_mapping", tag_type="mood", invalid_tag="x") for number in range(count))


def in_batches(count: int) -> Iterator[bytes]:
    lines = list(single(count))
    return (b"[" + b",".join(lines[start : start + 100]) + b"]" for start in range(0, count, 100))


def large(count: int) -> Iterator[bytes]:
    return (line + b" " * MIB for line in single(count))


@pytest.mark.parametrize(
    ("lines", "count", "due"), [(single, 20_000, 20_000), (in_batches, 20_000, 200), (large, 60, 60)]
)
async def test_calls_that_pile_up_hold_up_their_sender_until_they_end(
    tmp_path: Path, lines: Callable[[int], Iterator[bytes]], count: int, due: int
) -> None:
    library = harness.library(tmp_path, 3)
    async with harness.unread(library) as process:
        await answered(process, "first")
        flood, memory = harness.Flood(process, lines(count)), Memory(process)
        async with trio.open_nursery() as nursery:
            with closing(sqlite3.connect(library.path, isolation_level=None)) as shell:
                shell.execute("BEGIN IMMEDIATE")  # no write of the sidecar gets through
                nursery.start_soon(memory.watch)
                nursery.start_soon(flood.run)
                await flood.held_up()
                shell.execute("ROLLBACK")
            messages = await read_in_the_end(process, flood, due)
            nursery.cancel_scope.cancel()
        assert memory.most_mb < PILED_MB
        assert counted(messages) == Counter(range(count))


@hang_up
async def test_who_hangs_up_while_calls_pile_up_ends_the_process(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 3)
    async with harness.unread(library) as process:
        flood = harness.Flood(process, single(20_000))
        with closing(sqlite3.connect(library.path, isolation_level=None)) as shell:
            shell.execute("BEGIN IMMEDIATE")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(flood.run)
                await flood.held_up()
                nursery.cancel_scope.cancel()
            assert process.stdin is not None
            await process.stdin.aclose()
            await ends_soon(process)


def limit_files(process: trio.Process) -> None:
    """From now on it cannot write to a file beyond its first MiB: so does a full disk refuse."""
    for member in harness.family(process.pid):
        member.rlimit(psutil.RLIMIT_FSIZE, (MIB, MIB))


async def ends_soon(process: trio.Process) -> None:
    """Fails unless the process ends as it should, while its output is still not read."""
    began = time.monotonic()
    with trio.fail_after(harness.DEADLINE_SECONDS):
        assert await process.wait() == 0
    assert time.monotonic() - began < EXIT_SECONDS
