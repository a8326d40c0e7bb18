"""A shell that sends and sends and takes no answers is held up by its own pipe: bounded memory, nothing lost."""

import json
from collections import Counter
from pathlib import Path
from typing import Any, Final

import psutil
import trio

from sidecar.demo import standin
from tests import harness

REQUESTS: Final = 150_000
"""More than twice as many as the answers that may wait."""
MORE_MB: Final = 60
EXIT_SECONDS: Final = 2.5
STILL_SECONDS: Final = 1.0
"""A sender that gets nothing through for so long is held up."""
RUN: Final = b'{"jsonrpc":"2.0","id":"run","method":"auto_tag_files","params":{"batch_size":1}}\n'


class Flood:
    """Short requests, as fast as they are taken; `sent` counts those that were."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stdin is not None
        self._pipe = process.stdin
        self.sent = 0
        self.over = trio.Event()

    async def run(self) -> None:
        """All of them."""
        for start in range(0, REQUESTS, 100):
            ids = range(start, start + 100)
            lines = (b'{"jsonrpc":"2.0","id":%d,"method":"check_gemini_api_key"}\n' % number for number in ids)
            await self._pipe.send_all(b"".join(lines))
            self.sent += len(ids)
        self.over.set()

    async def held_up(self) -> None:
        """Returns when nothing gets through any more."""
        before = -1
        with trio.fail_after(harness.DEADLINE_SECONDS):
            while self.sent != before and self.sent < REQUESTS:
                before = self.sent
                await trio.sleep(STILL_SECONDS)
        assert self.sent < REQUESTS, "everything was read"


async def read_all(process: trio.Process) -> list[Any]:
    """Every message up to the end of the output."""
    assert process.stdout is not None
    data = bytearray()
    async for chunk in process.stdout:
        data += chunk
    return [json.loads(line) for line in data.splitlines()]


async def read_in_the_end(process: trio.Process, flood: Flood) -> list[Any]:
    """Everything, once the sender got all through and hung up."""
    messages: list[Any] = []

    async def read() -> None:
        messages.extend(await read_all(process))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        with trio.fail_after(harness.DEADLINE_SECONDS):
            await flood.over.wait()
        assert process.stdin is not None
        await process.stdin.aclose()
    return messages


def check_answers(messages: list[Any]) -> None:
    """One for each request."""
    answers = Counter(message["id"] for message in messages if "id" in message)
    answers.pop("run", None)
    assert answers == Counter(range(REQUESTS))


async def test_a_flood_is_held_up_and_answered_in_the_end(tmp_path: Path) -> None:
    async with harness.unread(harness.library(tmp_path, 3)) as process, trio.open_nursery() as nursery:
        usage = psutil.Process(process.pid)
        before = usage.memory_info().rss
        flood = Flood(process)
        nursery.start_soon(flood.run)
        await flood.held_up()
        assert usage.memory_info().rss - before < MORE_MB * 1e6
        check_answers(await read_in_the_end(process, flood))


async def test_a_run_goes_on_to_its_end_while_a_flood_is_held_up(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 60)
    async with standin.running(latency_seconds=0.1) as gemini, harness.unread(library, gemini) as process:
        assert process.stdin is not None
        await process.stdin.send_all(RUN)
        flood = Flood(process)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood.run)
            await flood.held_up()
            await harness.eventually(lambda: library.tagged == 60)
            messages = await read_in_the_end(process, flood)
        check_answers(messages)
        last = [message["params"] for message in messages if message.get("method") == "tagging-complete"]
        assert [(end["status"], end["processed_files"]) for end in last] == [("completed", 60)]
        harness.check_invariants(library, [])


async def test_who_hangs_up_while_held_up_ends_the_process(tmp_path: Path) -> None:
    async with harness.unread(harness.library(tmp_path, 3)) as process:
        flood = Flood(process)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood.run)
            await flood.held_up()
            nursery.cancel_scope.cancel()
        assert process.stdin is not None
        await process.stdin.aclose()
        with trio.fail_after(EXIT_SECONDS):
            assert await process.wait() == 0
