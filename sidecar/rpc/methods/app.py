"""What the methods work on, and what they return."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

import trio
from msgspec import Struct

from sidecar.contract import Event
from sidecar.library.store import Library, open_library
from sidecar.redaction import Redactor
from sidecar.runs.runs import Runs
from sidecar.settings import Settings

R = TypeVar("R")


class App:
    """Settings, library, runs. `stop` is set when the process is to end."""

    def __init__(
        self,
        settings: Settings,
        library: Library,
        nursery: trio.Nursery,
        emit: Callable[[Event], None],
        redactor: Redactor,
    ) -> None:
        self.settings = settings
        self.library = library
        self.runs = Runs(library, emit, nursery)
        self.stop = trio.Event()
        self.redactor = redactor


@asynccontextmanager
async def running_app(settings: Settings, emit: Callable[[Event], None], redactor: Redactor) -> AsyncIterator[App]:
    """The methods over an open library; when the block ends, so do the active run and the writer."""
    redactor.add(*settings.secrets)
    async with open_library(settings.database) as library, trio.open_nursery() as nursery:
        yield App(settings, library, nursery, emit, redactor)
        nursery.cancel_scope.cancel()


class Answer(Struct, Generic[R], frozen=True):
    """A result, and what is to happen once it is on its way to the shell.

    `is_over`: whether it has been overtaken; to make a large line takes a while.
    """

    result: R
    then: Callable[[], None] | None = None
    is_over: Callable[[], bool] | None = None
