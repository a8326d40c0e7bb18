"""A window, an app or a sidecar that ends in the middle of a run: nothing is left but the rest to tag."""

import signal
from typing import Literal

import pytest

from sidecar.demo import standin
from tests import harness
from tests.tauri.window.desktop import Desktop
from tests.tauri.window.runs import (
    BATCH,
    FILES,
    FINISHED,
    START,
    Holding,
    bar_at,
    check_nothing_left,
    start_run,
)


@pytest.mark.parametrize("how", ["closed", "killed"])
async def test_a_window_that_goes_in_the_middle_of_a_run_leaves_nothing_but_the_rest_to_tag(
    desktop: Desktop, how: Literal["closed", "killed"]
) -> None:
    library = desktop.make_library(FILES)
    script = Holding(6)
    async with standin.running(script=script) as gemini:
        async with desktop.open(gemini) as window:
            await start_run(window)
            await window.see(bar_at(2 * BATCH))
            sidecars = window.sidecars()
            assert sidecars
            if how == "closed":
                await window.command(close=True)
            else:
                window.process.kill()
            await harness.none_left([*sidecars, window.handle])
            await window.ended()
        await check_nothing_left(desktop, gemini)
        first = library.tagged
        assert first % BATCH == 0
        assert 0 < first < FILES
        harness.check_invariants(library, [])
        seen, script.limit = len(gemini.journal), FILES
        async with desktop.open(gemini) as window:
            await window.see_heading(f"{FILES - first} files wait for tags")
            since = await start_run(window)
            done = await window.see_heading(FINISHED, since)
            assert done["notices"][0].startswith(f"{FILES - first} files tagged")
            await window.close()
        asked_again = [file["path"] for received in gemini.journal[seen:] for file in received.files]
        assert len(asked_again) == len(set(asked_again)) == FILES - first
    harness.check_invariants(library, [])
    assert library.tagged == FILES
    await check_nothing_left(desktop, gemini)


async def test_a_sidecar_that_dies_can_be_started_again_and_a_reload_leaves_one(desktop: Desktop) -> None:
    library = desktop.make_library(FILES)
    script = Holding(6)
    async with standin.running(script=script) as gemini, desktop.open(gemini) as window:
        await start_run(window)
        await window.see(bar_at(BATCH))
        first = window.sidecars()
        first[0].send_signal(signal.SIGKILL)
        stopped = await window.see_heading("Tagging has stopped unexpectedly")
        await harness.none_left(first)
        assert "Cancel" not in stopped["buttons"]
        await window.look_at("stopped")
        since = await window.press("Start it again")
        rest = FILES - library.tagged
        await window.see_heading(f"{rest} files wait for tags", since)
        script.limit = gemini.arrived + 1
        await window.press(START)
        await window.see(bar_at(1), since)

        second, reloaded = window.sidecars(), len(window.states)
        await window.command(reload=True)
        await window.see(lambda state: "wait" in state["heading"], reloaded)
        await harness.none_left(second)
        assert window.sidecars()
        script.limit = FILES
        since = await window.press(START)
        await window.see_heading(FINISHED, since)
        await window.close()
    assert library.tagged == FILES
    await check_nothing_left(desktop, gemini)


async def test_a_failed_request_of_tauris_own_takes_nothing_from_a_run(desktop: Desktop) -> None:
    """Tauri leaves its custom protocol for good then: calls and the sidecar's output take another way."""
    library = desktop.make_library(FILES)
    script = Holding(2)
    async with standin.running(script=script) as gemini, desktop.open(gemini) as window:
        since = await start_run(window)
        await window.see(bar_at(2 * BATCH), since)
        await window.command(**{"break": True})
        await window.see(lambda state: state["refused"])
        await window.press("Cancel")
        await window.see_heading("Tagging was cancelled", since)
        rest = f"Tag the remaining {FILES - library.tagged} files"
        await window.see(lambda state: rest in state["buttons"], since)
        script.limit = FILES
        again = await window.press(rest)
        await window.see_heading(FINISHED, again)
        assert window.now["refused"] == 1, "after the first one it was not tried again"
        await window.close()
    harness.check_invariants(library, [])
    assert library.tagged == FILES
    await check_nothing_left(desktop, gemini)
