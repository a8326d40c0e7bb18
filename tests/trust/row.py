"""A row of the table: what it tries, how often, and what it counts; and the loop over its cases."""

import random
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import trio
from msgspec import Struct

Case = tuple[str, Callable[[], Awaitable[None]]]
"""A name that says how to make it again, and what to do. It fails by an exception."""

MOST_TOLD: Final = 20


class Figure(Struct, frozen=True):
    """A number beside the cases, and the most (or least) that it may be."""

    name: str
    value: float
    at_most: float | None = None
    at_least: float | None = None

    @property
    def met(self) -> bool:
        """Whether it is as wanted."""
        return (self.at_most is None or self.value <= self.at_most) and (
            self.at_least is None or self.value >= self.at_least
        )


class Counts(Struct):
    """What came of a row. `failures` says of each failed case how to make it again and what was wrong.

    `wanted`: how many cases the issue asks for, where only the row itself can tell. `cpu_seconds`: of the row's
    processes together.
    """

    done: int = 0
    cpu_seconds: float = 0.0
    wanted: int | None = None
    failures: list[str] = []
    figures: list[Figure] = []

    @property
    def met(self) -> bool:
        """Whether all cases passed and all figures are as wanted."""
        return not self.failures and all(figure.met for figure in self.figures)

    def add(self, other: "Counts") -> None:
        """Takes the other's counts over."""
        self.done += other.done
        self.failures += other.failures
        self.figures += other.figures


Run = Callable[[int, int], Awaitable[Counts]]
"""(how many cases, seed) → counts."""


class Row(Struct, frozen=True):
    """A row.

    `wanted` is what the issue asks of the short and of the long form, `short` what the short form does where it
    has no time for so many. `alone`: its figures are times or memory, so nothing else may run beside it.
    `frozen`: they are judged with the file that users get, where the command is given one.
    """

    key: str
    name: str
    wanted: tuple[int, int]
    run: Run
    short: int | None = None
    alone: bool = False
    frozen: bool = False

    def size(self, *, long: bool) -> int:
        """How many cases that form runs."""
        return self.wanted[1] if long else self.short or self.wanted[0]


async def each(cases: Iterable[Case], *, at_once: int = 1) -> Counts:
    """Runs every case, however many of them fail."""
    counts, waiting = Counts(), iter(cases)

    async def work() -> None:
        for name, case in waiting:
            counts.failures += await attempt(name, case)
            counts.done += 1

    async with trio.open_nursery() as nursery:
        for _ in range(at_once):
            nursery.start_soon(work)
    return counts


async def attempt(name: str, case: Callable[[], Awaitable[None]]) -> list[str]:
    """What went wrong in the case, in one line; nothing where nothing did."""
    try:
        await case()
    except Exception as error:  # noqa: BLE001 - whatever a case meets, the others are still tried
        told = f"{name}: {described(error)}"
        sys.stderr.write(told + "\n")
        return [told]
    return []


def described(error: BaseException) -> str:
    """One line: type, message, and the innermost line of the tests or of the sidecar."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(map(described, error.exceptions))
    trace, place = error.__traceback__, ""
    while trace is not None:
        path = trace.tb_frame.f_code.co_filename.replace("\\", "/")
        for root in ("/tests/", "/sidecar/"):
            if root in path:
                place = f" at {root[1:]}{path.rpartition(root)[2]}:{trace.tb_lineno}"
        trace = trace.tb_next
    text = " ".join(str(error).split())[:400]
    return f"{type(error).__name__}{place}" + (f": {text}" if text else "")


def chance(seed: int, *words: object) -> random.Random:
    """A source of random numbers for one case, the same wherever it is asked for."""
    return random.Random(":".join(map(str, (seed, *words))))


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Until now."""
        return time.perf_counter() - self._began
