"""What the methods work on, and what they return."""

from collections.abc import Callable
from typing import Generic, TypeVar

import trio
from msgspec import Struct

from sidecar.contract import Event
from sidecar.library.store import Library
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


class Answer(Struct, Generic[R], frozen=True):
    """A result, and what is to happen once it is on its way to the shell."""

    result: R
    then: Callable[[], None] | None = None
