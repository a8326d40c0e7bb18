"""`report --html` as a person sees it: the page of a real run, in Debian's Chromium."""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
import trio

from sidecar.contract import (
    BatchRow,
    Reason,
    ReasonCount,
    RunStatus,
    Sources,
    TagCount,
    TagType,
    Usage,
    Worry,
    WorryingFile,
)
from sidecar.demo import standin
from sidecar.demo.library import create_library
from sidecar.demo.standin import Received, Reply
from sidecar.terminal.html_report.page import render
from tests import harness
from tests.terminal import browser
from tests.terminal.scenes import environment, run
from tests.test_html_report import report

SCREENSHOTS = harness.ROOT / "build" / "work" / "screenshots"
LAYOUT = (Path(__file__).parent / "layout.js").read_text(encoding="utf-8")
NAME = "Attic Footsteps <img src=x onerror=\"document.title='stolen'\"><script>document.title='stolen'.wav"
CHARTS = 9
WIDTHS = {480: False, 768: True, 1024: False, 1400: True}
"""Window widths, and whether the theme is the dark one."""

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(sys.platform == "win32", reason="the browser is driven through inherited pipes"),
]


@pytest.fixture(scope="module", autouse=True)
def needs_a_browser() -> None:
    assert browser.installed() is not None, "install Debian's chromium for this test"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run with failures of two kinds, a rate limit and hostile names."""
    folder = tmp_path_factory.mktemp("report")
    library, page = folder / "library.db", folder / "report.html"
    create_library(library, files=600)
    with closing(sqlite3.connect(library)) as connection, connection:
        # This sound stands out from its folder, so it is on the list of worries.
        connection.execute(
            "UPDATE audio_files SET file_path = replace(file_path, 'Attic Footsteps 01.ogg', ?)", (NAME,)
        )

    def script(received: Received) -> Reply | None:
        if received.number in (3, 9):
            return standin.rate_limited("1s")
        if b"Slime Bubbling" in received.body:
            return Reply(body={"candidates": [{"finishReason": "SAFETY", "index": 0}]})
        return standin.text_reply("nonsense") if b"Kraken" in received.body else None

    async def make() -> None:
        async with standin.running(latency_seconds=0.05, hallucinate=0.05, script=script) as gemini:
            env = environment(gemini)
            arguments = ("--database", str(library))
            assert (await run("tag", *arguments, "--batch-size", "10", env=env)).returncode == 0
            written = await run("report", *arguments, "--html", str(page), env=env)
            assert (written.returncode, written.stdout.decode(), written.stderr) == (0, f"Report: {page}\n", b"")

    trio.run(make)
    return page


@pytest.fixture(scope="module")
def extreme(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run of hours over a million files, with every reason and names as long as they come."""
    spent = Usage(
        requests=30, prompt_tokens=2_400_000, cached_tokens=1_000_000, output_tokens=90_000, thoughts_tokens=9
    )
    found = report(
        run=msgspec.structs.replace(
            report().run,
            status=RunStatus.QUOTA_EXHAUSTED,
            message=f"The quota {'x' * 200} of this model is used up. So far: 1234567 files tagged.",
            model="m" * 128,
            total_files=123_456_789,
            processed_files=1_234_567,
            failed_files=34_567,
            skipped_files=4_567,
            remaining_files=122_183_088,
            elapsed_seconds=40_000.0,
            usage=Usage(*[123_456_789_012] * 6),
        ),
        tags=[
            TagCount(kind, f"{kind}:{'w' * length}", 1_234_567 // length)
            for kind in TagType
            for length in range(1, 60)
        ],
        failures=[ReasonCount(reason, 10_000 - 900 * number) for number, reason in enumerate(Reason)],
        sources=Sources(12_345_678, 1, 22, 333, 4_444),
        batches=[BatchRow(n, n * 2.0, 9.0, 45, 3, 2, spent) for n in range(1, 20_000) if not 5000 < n < 9000],
        worries=[
            WorryingFile(
                1, "/" + "a" * 600 + "/" + "b" * 300 + ".wav", [*Worry], ["c" * 500, "It has only 1 tags."]
            ),
            WorryingFile(2, "C:\\Klänge\\夜の森\\שיר \u202egnp.wav", [Worry.FEW_TAGS], ["It has only 1 tags."]),
            WorryingFile(3, "", [Worry.FEW_TAGS], ["It has only 1 tags."]),
        ],
        worrying_files=1_000_000,
    )
    path = tmp_path_factory.mktemp("extreme") / "report.html"
    path.write_text(render(found), encoding="utf-8")
    return path


@pytest.mark.parametrize(("kind", "allowed"), [("usual", []), ("extreme", ["a table scrolls sideways"])])
async def test_nothing_is_cut_off_empty_or_hard_to_read(
    kind: str, allowed: list[str], page: Path, extreme: Path, tmp_path: Path
) -> None:
    page = extreme if kind == "extreme" else page
    async with browser.browsing(tmp_path) as window:
        for width, dark in WIDTHS.items():
            await window.show(width, dark=dark)
            await window.open(page)
            await window.screenshot(SCREENSHOTS / f"report-{kind}-{width}-{'dark' if dark else 'light'}.png")
            for details in ("closed", "open"):
                opened = "true" if details == "open" else "false"
                await window.evaluate(
                    f"for (const part of document.querySelectorAll('details')) part.open = {opened}"
                )
                wrong = [sentence for sentence in await window.evaluate(LAYOUT) if sentence not in allowed]
                assert (width, details, wrong) == (width, details, [])
        assert await window.evaluate("document.querySelectorAll('svg').length") == CHARTS
        figures = "[...document.querySelectorAll('figure')]"
        assert await window.evaluate(f"{figures}.length") == CHARTS
        assert await window.evaluate(f"{figures}.every((part) => part.querySelectorAll('tbody tr').length)")
        assert page.as_uri() in window.requests
        assert {*window.requests} <= {page.as_uri(), "data:,"}
        assert window.complaints == []


async def test_it_prints_in_ink_on_white_whatever_the_theme(page: Path, tmp_path: Path) -> None:
    async with browser.browsing(tmp_path) as window:
        await window.show(720, dark=True, paper=True)
        await window.open(page)
        await window.screenshot(SCREENSHOTS / "report-paper.png")
        assert await window.evaluate(LAYOUT) == []
        assert await window.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert (await window.printed()).startswith(b"%PDF")


async def test_a_hostile_name_is_only_text(page: Path, tmp_path: Path) -> None:
    async with browser.browsing(tmp_path) as window:
        await window.show(1024)
        await window.open(page)
        assert (await window.evaluate("document.title")).startswith("Tagging report")
        assert await window.evaluate("document.querySelectorAll('script, img, iframe, a').length") == 0
        assert NAME in await window.evaluate("document.querySelector('.worries').textContent")
        assert window.complaints == []


async def test_the_checks_of_the_layout_can_fail(page: Path, tmp_path: Path) -> None:
    """What the first test relies on: it sees a chart that is squeezed, words that are cut off and faint type."""
    damage = "* { max-width: 60px; white-space: nowrap; color: #ccc; } rect { width: 0; }"
    async with browser.browsing(tmp_path) as window:
        await window.show(1024)
        await window.open(page)
        await window.evaluate(f"document.querySelector('style').textContent += {damage!r}")
        found = " ".join(await window.evaluate(LAYOUT))
    for words in ("cut off:", "only", "a mark of no size", "is cut off", "too small to read", "contrast of only"):
        assert words in found
