"""The methods in this process, so that a test can hold up one of their steps while a run goes on."""

from typing import Any

import msgspec
import trio

from sidecar.contract import Completion, Event
from sidecar.rpc.methods import Answer, App, call


class Runs:
    """An app's runs, one after the other. `completed`: how the latest has ended."""

    def __init__(self) -> None:
        self.app: App
        self.completed: Completion
        self.ended = trio.Event()

    def emit(self, event: Event) -> None:
        if isinstance(event, Completion):
            self.completed = event
            self.ended.set()

    async def start(self, **params: Any) -> None:
        """A run, whose end sets `ended`."""
        self.ended = trio.Event()
        answer = await self.call("auto_tag_files", **params)
        assert answer.then is not None
        answer.then()

    async def tag(self, *ids: int) -> None:
        """A run over these files, to its end."""
        await self.start(file_ids=ids)
        with trio.fail_after(20):
            await self.ended.wait()

    async def call(self, method: str, **params: Any) -> Answer[Any]:
        """A method's answer."""
        return await call(self.app, method, msgspec.json.encode(params))
