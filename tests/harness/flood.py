"""A shell that sends as fast as it can, whatever it reads."""

from collections.abc import Iterable
from typing import Final

import trio

TAKEN_SECONDS: Final = 120
STILL_SECONDS: Final = 1.5
"""A sender that gets nothing through for so long is held up: nothing tells it sooner."""
_BLOCK_BYTES: Final = 8192


class Flood:
    """Lines, as fast as they are taken; `sent_bytes` counts what was, `over` is set when all were."""

    def __init__(self, process: trio.Process, lines: Iterable[bytes]) -> None:
        assert process.stdin is not None
        self._pipe = process.stdin
        self._lines = lines
        self.sent_bytes = 0
        self.over = trio.Event()

    async def run(self) -> None:
        """Sends all of them."""
        block = bytearray()
        for line in self._lines:
            block += line + b"\n"
            if len(block) > _BLOCK_BYTES:
                await self._send(block)
        await self._send(block)
        self.over.set()

    async def _send(self, block: bytearray) -> None:
        await self._pipe.send_all(bytes(block))
        self.sent_bytes += len(block)
        block.clear()

    async def taken(self) -> None:
        """The same, in time: for when all has to get through though nobody reads."""
        with trio.fail_after(TAKEN_SECONDS):
            await self.run()

    async def held_up(self) -> None:
        """Returns when `run`, in another task, gets nothing through any more."""
        before = -1
        with trio.fail_after(TAKEN_SECONDS):
            while self.sent_bytes != before and not self.over.is_set():
                before = self.sent_bytes
                await trio.sleep(STILL_SECONDS)
        assert not self.over.is_set(), "everything was read"
