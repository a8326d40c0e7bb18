"""The page in a real Tauri window, with the real shell plugin and the sidecar: what a person sees and does."""

import trio

from sidecar.demo import standin
from sidecar.demo.standin import Received, Reply
from tests import harness
from tests.tauri.window.desktop import Desktop
from tests.tauri.window.runs import (
    BATCH,
    FILES,
    FINISHED,
    START,
    Holding,
    bar_at,
    check_bar,
    check_bar_grows,
    start_run,
)


def asked(received: Received, part: str) -> bool:
    """Whether a tagging request holds a file with that in its path."""
    return any(part in file["path"] for file in received.files)


def as_said(count: int) -> str:
    """As the page says it."""
    return "1 file" if count == 1 else f"{count} files"


async def test_a_person_enters_a_key_and_tags_a_library(desktop: Desktop) -> None:
    library = desktop.make_library(FILES)

    held = trio.Event()

    def script(received: Received) -> Reply | None:
        if asked(received, "Rats in the Walls"):
            return standin.finish("SAFETY")
        return Reply(gate=held) if len(api.journal) > FILES // BATCH // 2 else None

    rats = library.scalar("SELECT count(*) FROM audio_files WHERE file_path LIKE '%Rats in the Walls%'")
    gemini = standin.running(latency_seconds=0.15, api_key=harness.KEY, script=script)
    async with gemini as api, desktop.open(api, key=None) as window:
        await window.see_heading("Connect to Gemini")
        await window.see(lambda state: state["focus"] == "API key")
        assert "Back" not in window.now["buttons"]
        await window.look_at("key")
        await window.type("not-a-key")
        await window.key("Return")
        refused = await window.see(lambda state: state["notices"])
        assert "key" in refused["notices"][0]
        await window.look_at("key-refused")
        await window.key("ctrl+a")
        await window.type(harness.KEY)
        await window.key("Return")
        await window.see_heading(f"{FILES} files wait for tags")
        await window.look_at("ready")
        since = await start_run(window)
        running = await window.see(bar_at(1), since)
        assert running["heading"] == "Tagging…"
        assert running["buttons"]["Cancel"]
        await window.look_at("running")
        held.set()
        done = await window.see(
            lambda s: s["heading"] == FINISHED and "Done" not in s["buttons"] and s["failures"]
        )
        check_bar(window.states[since:])
        assert done["bar"]["now"] == FILES - rats
        assert done["notices"][0].startswith(f"{FILES - rats} files tagged, {rats} failed")
        assert done["said"] == done["notices"][0]
        assert done["notices"][0] == library.scalar("SELECT message FROM auto_tag_runs")
        assert done["failures"] == [f"Gemini’s content filter blocked them {rats}"]
        assert "Cancel" not in done["buttons"]
        await window.press(f"Gemini’s content filter blocked them {rats}")
        await window.look_at("finished")
        assert all(state["fits"] for state in window.states), "the page scrolls sideways"
        await window.close()
    assert window.process.returncode == 0
    harness.check_invariants(library, [])
    assert library.tagged == FILES - rats


async def test_cancel_stops_and_the_rest_can_be_tagged_afterwards(desktop: Desktop) -> None:
    library = desktop.make_library(FILES)
    script = Holding(6)
    async with standin.running(script=script) as gemini, desktop.open(gemini) as window:
        since = await start_run(window)
        await window.see(bar_at(2 * BATCH), since)
        await window.press("Cancel")
        cancelling = await window.see_heading("Cancelling", since)
        assert "open requests are dropped" in cancelling["notices"][0]
        assert not cancelling["buttons"]["Cancel"]
        ended = await window.see_heading("Tagging was cancelled", since)
        arrived = gemini.arrived
        assert gemini.open_requests == 0
        await harness.never(lambda: gemini.arrived > arrived, 0.5)
        assert ended["notices"][0].startswith("Cancelled: ")
        assert 0 < ended["bar"]["now"] == library.tagged < FILES
        assert ended["bar"]["now"] % BATCH == 0
        check_bar_grows(window.states[since:])
        rest = f"Tag the remaining {FILES - library.tagged} files"
        await window.see(lambda state: rest in state["buttons"])
        await window.look_at("cancelled")
        script.limit = FILES
        again = await window.press(rest)
        await window.see_heading("Tagging…", again)
        await window.see_heading(FINISHED, again)
        await window.close()
    harness.check_invariants(library, [])
    assert library.tagged == FILES


async def test_a_rate_limit_is_counted_down(desktop: Desktop) -> None:
    library = desktop.make_library(FILES)
    limit_seconds = 3
    refused = False

    def script(received: Received) -> Reply | None:
        nonlocal refused
        if received.kind == "tagging" and gemini.answered >= 3 and not refused:
            refused = True
            return standin.rate_limited(f"{limit_seconds}s")
        return None

    running = standin.running(latency_seconds=0.1, script=script)
    async with running as gemini, desktop.open(gemini, dark=True) as window:
        since = await start_run(window)
        waiting = await window.see(lambda state: state["countdown"], since)
        assert "rate limit" in waiting["notices"][0]
        assert waiting["buttons"]["Cancel"]
        await window.look_at("waiting-dark")
        await window.see(lambda state: state["countdown"] == "0:01", since)
        await window.see_heading(FINISHED, since)
        counted = [state["countdown"] for state in window.states[since:] if state["countdown"]]
        assert counted == sorted(counted, reverse=True)
        assert set(counted) <= {"0:04", "0:03", "0:02", "0:01"}
        assert window.now["countdown"] is None
        check_bar_grows(window.states[since:])
        await window.look_at("finished-dark")
        await window.close()
    assert refused
    assert library.tagged == FILES


async def test_no_library_then_one_then_nothing_to_do(desktop: Desktop) -> None:
    async with standin.running() as gemini, desktop.open(gemini, width=900) as window:
        await window.see_heading("The library can’t be opened")
        await window.look_at("no-library-wide")
        desktop.make_library(FILES)
        await window.press("Try again")
        await window.see_heading(f"{FILES} files wait for tags")
        await window.look_at("ready-wide")
        await window.take_focus()
        await window.key("Return")  # the focus has come to the heading: nothing starts by accident
        await window.key("Tab", "Tab")
        await window.see(lambda state: state["focus"] == START)
        await window.key("Return")
        await window.see_heading(FINISHED)
        await window.see(lambda state: "Done" in state["buttons"])
        await window.look_at("finished-wide")
        await window.press("Done")
        await window.see_heading("Everything is tagged")
        await window.look_at("nothing-wide")
        assert all(state["fits"] for state in window.states), "the page scrolls sideways"
        await window.close()


async def test_a_run_is_undone_after_a_question(desktop: Desktop) -> None:
    library = desktop.make_library(FILES)
    async with standin.running() as gemini, desktop.open(gemini, width=900, dark=True) as window:
        await window.press(START)
        await window.see_heading(FINISHED)
        await window.press("Undo this run")
        await window.see(lambda state: state["focus"] == "Keep the tags")
        await window.look_at("undo-wide-dark")
        since = len(window.states)
        await window.key("Return")
        kept = await window.see(lambda state: "Keep the tags" not in state["buttons"], since)
        assert kept["heading"] == FINISHED
        assert library.tagged == FILES
        since = await window.press("Undo this run")
        await window.see(lambda state: "Undo" in state["buttons"], since)
        await window.press("Undo")
        undone = await window.see(lambda state: state["notices"][0].startswith("Undone"), since)
        assert f"{FILES} files" in undone["notices"][0]
        await window.see(lambda state: f"Tag the remaining {FILES} files" in state["buttons"], since)
        assert "Undo this run" not in window.now["buttons"]
        await window.close()
    after = library.snapshot()
    for table in ("audio_files", "rpg_tags"):
        assert after[table] == library.baseline[table]
