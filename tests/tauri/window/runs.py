"""Runs in the window: how they are started, held, and what must always hold of them."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import trio

from sidecar.demo.standin import Received, Reply, StandIn
from tests import harness
from tests.tauri.window.desktop import Desktop, State, Window

FILES = 120
BATCH = 10
FIELD = "Files in one request"
TYPED_SECONDS = 3
START = "Start tagging"
FINISHED = "Tagging is finished"


@dataclass
class Holding:
    """A script for the stand-in: every request beyond the first `limit` is held for as long as it is wanted."""

    limit: int

    def __call__(self, received: Received) -> Reply | None:
        return Reply(gate=trio.Event()) if received.number > self.limit else None


async def start_run(window: Window) -> int:
    """Small batches, then Start; the index of the states that follow."""
    await window.press("Options")
    await window.see(lambda state: FIELD in state["places"])
    await window.press(FIELD)
    for _ in range(3):  # a person looks at what is typed, too: a busy machine has lost a key
        since = len(window.states)
        await window.key("ctrl+a")
        await window.type(str(BATCH))
        with trio.move_on_after(TYPED_SECONDS):
            await window.see(lambda state: state["numbers"][FIELD] == str(BATCH), since)
            break
    return await window.press(START)


def bar_at(least: int) -> Callable[[State], bool]:
    """Whether the bar stands there at least."""
    return lambda state: state["bar"] is not None and state["bar"]["now"] >= least


def check_bar_grows(states: list[State]) -> None:
    """The bar never goes back."""
    values = [state["bar"]["now"] for state in states if state["bar"]]
    assert values == sorted(values)


def check_bar(states: list[State]) -> None:
    """One run on the screen: the bar only grows, in its value and its length, and the counters add up."""
    bars = [state["bar"] for state in states if state["bar"]]
    assert len({bar["now"] for bar in bars}) > 4, bars
    assert len({round(bar["filled"]) for bar in bars}) > 4, bars
    for earlier, later in pairwise(bars):
        assert later["now"] >= earlier["now"]
        assert later["filled"] >= earlier["filled"] - 1
        assert later["max"] == earlier["max"]
    for state in states:
        if state["bar"]:
            parts = (int(state["counters"][name]) for name in ("Tagged", "Failed", "Skipped", "Remaining"))
            assert sum(parts) == state["bar"]["max"], state["counters"]
            assert state["counters"]["Tagged"] == str(state["bar"]["now"])


async def check_nothing_left(desktop: Desktop, gemini: StandIn) -> None:
    """No open request; nothing in a onefile's folder.

    The folder is its bootloader's to remove, which Tauri kills while an app ends: it may be there, empty.
    """
    await harness.eventually(lambda: gemini.open_requests == 0, 2.0)
    await harness.eventually(lambda: not list(desktop.temporary.glob("_MEI*/*")))
