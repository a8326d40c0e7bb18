"""A failed run in the real window: when another key is offered, and that nothing is lost on the way to it."""

from sidecar.demo import standin
from sidecar.demo.standin import Received, Reply
from tests import harness
from tests.tauri.window.desktop import Desktop
from tests.tauri.window.runs import BATCH, FILES, FINISHED, start_run

FAILED = "Tagging has failed"
OTHER_KEY = "Use another key"
UNDO = "Undo this run"
NEW_KEY = "AIzaSyNewKeyThatIsGoodNow"


async def test_a_refused_key_is_replaced_and_the_run_stays_in_reach(desktop: Desktop) -> None:
    library = desktop.make_library(FILES)

    def script(received: Received) -> Reply | None:
        if received.number > FILES // BATCH // 2:
            api.api_key = NEW_KEY  # every request from now on is refused
        return None

    async with standin.running(api_key=harness.KEY, script=script) as api, desktop.open(api) as window:
        since = await start_run(window)
        await window.see_heading(FAILED, since)
        failed = await window.see(lambda state: OTHER_KEY in state["buttons"], since)
        rest = f"Tag the remaining {FILES - library.tagged} files"
        assert {UNDO, rest} <= failed["buttons"].keys()
        await window.look_at("failed")

        since = await window.press(OTHER_KEY)
        await window.see_heading("Connect to Gemini", since)
        await window.look_at("key-again")
        since = await window.press("Back")
        back = await window.see_heading(FAILED, since)
        for part in ("notices", "counters", "buttons"):
            assert back[part] == failed[part]

        since = await window.press(OTHER_KEY)
        await window.see(lambda state: state["focus"] == "API key", since)
        await window.type("not-a-key")
        await window.key("Return")
        await window.see(lambda state: "does not know this key" in "".join(state["notices"]), since)
        await window.key("ctrl+a")
        await window.type(NEW_KEY)
        await window.key("Return")
        accepted = await window.see(lambda state: "accepts the new key" in "".join(state["notices"]), since)
        assert accepted["said"] == accepted["notices"][0]
        assert {UNDO, rest} <= accepted["buttons"].keys()
        assert OTHER_KEY not in accepted["buttons"]
        await window.look_at("key-accepted")
        since = await window.press(rest)
        await window.see_heading(FINISHED, since)
        await window.close()
    assert library.tagged == FILES
    harness.check_invariants(library, [])


async def test_another_key_is_not_offered_where_it_would_not_help(desktop: Desktop) -> None:
    desktop.make_library(FILES)
    elsewhere = standin.error(400, "User location is not supported for the API use.", "FAILED_PRECONDITION")
    async with standin.running(script=lambda _: elsewhere) as gemini, desktop.open(gemini) as window:
        since = await start_run(window)
        await window.see_heading(FAILED, since)
        await window.see(lambda state: f"Tag the remaining {FILES} files" in state["buttons"], since)
        await harness.eventually(lambda: gemini.open_requests == 0, 2.0)
        await harness.never(lambda: OTHER_KEY in window.now["buttons"], 1.0)
        await window.close()
