"""The page of `report --html` as text: what is on it, and that nothing on it is markup but ours."""

import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser

import msgspec
import pytest

from sidecar.contract import (
    BatchRow,
    FileFailure,
    Mode,
    Reason,
    ReasonCount,
    Report,
    RunStatus,
    RunSummary,
    Sources,
    TagCount,
    TagType,
    Usage,
    Worry,
    WorryingFile,
    duration,
)
from sidecar.terminal.html_report.elements import document, element
from sidecar.terminal.html_report.page import render
from sidecar.terminal.html_report.timeline import MOST_SPANS, labels, span_seconds, spans
from sidecar.terminal.words import REASON_WORDS, printable

COMMANDS = ("tag", "afterwards", "figures", "demo")
ATTACK = "</script></style></title><script>alert(1)</script><img src=x onerror=alert(2)>\"'&amp;"


class Reader(HTMLParser):
    """Reads a page as a browser does: its tags, its attributes, its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return "\n".join(self.texts)


def batch(number: int, elapsed_seconds: float, tagged: int = 20, failed: int = 0) -> BatchRow:
    usage = Usage(requests=1, prompt_tokens=8000, cached_tokens=7000, output_tokens=900)
    return BatchRow(number, elapsed_seconds, 1.0, tagged, failed, 0, usage)


def report(**changes: object) -> Report:
    run = RunSummary(
        run_id="7b2c",
        status=RunStatus.COMPLETED,
        message="38 files tagged, 2 failed.",
        mode=Mode.MERGE,
        dry_run=False,
        model="gemini-3.5-flash-lite",
        started_at="2026-01-31T08:15:12.345+00:00",
        ended_at="2026-01-31T08:15:22.345+00:00",
        total_files=40,
        processed_files=38,
        failed_files=2,
        skipped_files=0,
        remaining_files=0,
        current_batch=2,
        total_batches=2,
        elapsed_seconds=10.0,
        usage=Usage(requests=2, prompt_tokens=16000, cached_tokens=14000, output_tokens=1800),
    )
    whole = Report(
        run=run,
        sources=Sources(valid=90, mapped_by_gemini=2, dropped=1),
        tags=[
            TagCount(TagType.MOOD, "eerie", 30),
            TagCount(TagType.GENRE, "ambient:drone", 25),
            TagCount(TagType.KEYWORD, "biome:cave", 20),
            TagCount(TagType.OCCASION, "dungeon-crawl", 18),
        ],
        failures=[ReasonCount(Reason.BLOCKED, 2)],
        batches=[batch(1, 4.0), batch(2, 9.5, 18, 2)],
        worries=[WorryingFile(4, "/music/Cave/Drips.wav", [Worry.FEW_TAGS], ["It has only 3 tags."])],
        worrying_files=1,
    )
    return msgspec.structs.replace(whole, **changes)


def test_the_page_says_what_the_report_says() -> None:
    page = Reader(render(report()))
    for words in (
        "38 files tagged, 2 failed.", "Completed", "2026-01-31 08:15 UTC", "10 s", "gemini-3.5-flash-lite",
        "of 40 files", "17,800", "240", "Genres", "ambient:drone", "Moods", "eerie", "biome:cave", "dungeon-crawl",
        "Mapped by Gemini", "Blocked by Gemini", "/music/Cave/", "Drips.wav", "It has only 3 tags.",
    ):  # fmt: skip
        assert words in page.text, words


def test_every_chart_is_named_and_has_a_table() -> None:
    page = Reader(render(report()))
    assert page.tags.count("svg") == page.tags.count("figure") == page.tags.count("details") == 9
    ids = {value for name, value in page.attributes if name == "id"}
    referred = [value for name, value in page.attributes if name == "aria-labelledby" and value]
    assert len(ids) == sum(name == "id" for name, _ in page.attributes)
    assert len(referred) == 9 + 5
    assert {name for value in referred for name in value.split()} <= ids


def test_the_page_needs_no_other_file_and_runs_nothing() -> None:
    text = render(report())
    page = Reader(text)
    assert not {"script", "img", "iframe", "object", "a", "base"} & {*page.tags}
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in ("src", "xlink:href")]
    assert [value for name, value in page.attributes if name == "href"] == ["data:,"]
    policy = next(value for name, value in page.attributes if name == "content" and value)
    assert policy.startswith("default-src 'none';")
    assert "url(" not in text and "@import" not in text
    assert "://" not in text


def test_every_text_of_a_report_is_inert() -> None:
    """An attack in the place of each string of the report in turn, then in all of them."""
    safe = Reader(render(report()))
    for hostile in [*_with_attacks(report()), msgspec.convert(_attacked(msgspec.to_builtins(report())), Report)]:
        page = Reader(render(hostile))
        assert not {"script", "img"} & {*page.tags}
        assert {*page.tags} <= {*safe.tags}
        assert {name for name, _ in page.attributes} == {name for name, _ in safe.attributes}


def test_an_attack_in_a_path_is_shown_as_it_is_written() -> None:
    [worry] = report().worries
    path = f"C:\\Sounds\\{ATTACK}".replace("/", "_")
    page = Reader(render(report(worries=[msgspec.structs.replace(worry, file_path=path)])))
    assert path.rpartition("\\")[2] in page.text


def _attacked(value: object) -> object:
    """The value with the attack in the place of every free string."""
    match value:
        case dict():
            closed = ("tag_type", "status", "mode", "reason", "worries", "started_at")
            return {k: v if k in closed and isinstance(v, str) else _attacked(v) for k, v in value.items()}
        case list():
            return [entry if entry in [*Worry] else _attacked(entry) for entry in value]
        case str():
            return ATTACK
    return value


def _with_attacks(whole: Report) -> Iterator[Report]:
    yield msgspec.structs.replace(whole, run=msgspec.structs.replace(whole.run, message=ATTACK))
    yield msgspec.structs.replace(whole, run=msgspec.structs.replace(whole.run, model=ATTACK))
    yield msgspec.structs.replace(whole, run=msgspec.structs.replace(whole.run, run_id=ATTACK))
    yield msgspec.structs.replace(whole, tags=[TagCount(TagType.MOOD, ATTACK, 3), *whole.tags])
    worry = whole.worries[0]
    yield msgspec.structs.replace(whole, worries=[msgspec.structs.replace(worry, file_path=ATTACK)])
    yield msgspec.structs.replace(whole, worries=[msgspec.structs.replace(worry, messages=[ATTACK])])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"tags": []}, "This run set no tags."),
        ({"batches": []}, "No batch finished."),
        ({"batches": [BatchRow(1, 0.1, 0.0, 20, 0, 0, Usage())]}, "No batch of this run asked Gemini."),
        ({"sources": Sources()}, "No batch of this run asked Gemini."),
        ({"failures": []}, "None failed, none was skipped."),
        ({"worries": [], "worrying_files": 0}, "Nothing stands out."),
    ],
)
def test_what_there_is_nothing_of_is_said(changes: dict[str, object], sentence: str) -> None:
    assert sentence in Reader(render(report(**changes))).text


def test_an_empty_run_and_a_dry_run_have_a_page() -> None:
    nothing = report(sources=Sources(), tags=[], failures=[], batches=[], worries=[], worrying_files=0)
    assert "svg" not in Reader(render(nothing)).tags
    dry = report(run=msgspec.structs.replace(report().run, dry_run=True, elapsed_seconds=0.0))
    assert "nothing: a dry run" in Reader(render(dry)).text


def test_the_page_of_a_dry_run_says_nowhere_that_anything_was_tagged_or_set() -> None:
    run = msgspec.structs.replace(report().run, dry_run=True, message="38 files given proposals, 2 failed.")
    for dry in (report(run=run), report(run=run, tags=[])):
        text = Reader(render(dry)).text
        assert "Proposed" in text and "Tags proposed" in text
        assert re.findall(r"Tagged|Tags set|set no tags", text) == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "So far: 38 files tagged, 2 failed, 1,200 remaining."),
        ({"dry_run": True}, "So far: 38 files given proposals, 2 failed, 1,200 remaining."),
        (
            {"processed_files": 1, "skipped_files": 39, "failed_files": 0},
            "So far: 1 file tagged, 39 skipped, 1,200",
        ),
    ],
)
def test_a_run_that_goes_on_has_its_figures(changes: dict[str, object], sentence: str) -> None:
    going_on = {"status": RunStatus.RUNNING, "message": "", "remaining_files": 1200, **changes}
    run = msgspec.structs.replace(report().run, **going_on)
    assert sentence in Reader(render(report(run=run))).text


def test_a_long_list_of_worries_says_how_many_there_are() -> None:
    worries = [WorryingFile(n, f"/{n}.wav", [Worry.FEW_TAGS], ["It has only 1 tags."]) for n in range(200)]
    text = Reader(render(report(worries=worries, worrying_files=3210))).text
    assert "The 200 that stand out most, of 3,210 files." in text
    assert "175 more" in text and "199.wav" in text


def test_the_files_that_were_not_tagged_are_named_a_long_list_not_to_its_end() -> None:
    failures = [FileFailure(n, f"/music/{n}.wav", Reason.BLOCKED, f"Blocked, {ATTACK}") for n in range(1, 1002)]
    page = Reader(render(report(), failures[:3]))
    assert all(words in page.text for words in ("1.wav", "3.wav", ATTACK)) and "The first" not in page.text
    text = Reader(render(report(), failures)).text
    assert "The first 1,000 of 1,001." in text and "975 more" in text
    assert "1000.wav" in text and "1001.wav" not in text
    assert "File 7" in Reader(render(report(), [FileFailure(7, "", Reason.DELETED, "Deleted.")])).text


@pytest.mark.parametrize("last", [0.0, 0.05, 2.4, 7.0, 59.9, 60.0, 3600.0, 86_400.0, 9_999_999.0])
def test_spans_hold_every_batch_once(last: float) -> None:
    batches = [batch(number, last * number / 500, failed=1) for number in range(501)]
    parts = spans(batches)
    assert len(parts) <= MOST_SPANS
    assert sum(part.batches for part in parts) == sum(part.failed for part in parts) == 501
    assert sum(part.tagged for part in parts) == 501 * 20
    assert sum(part.usage.prompt_tokens for part in parts) == 501 * 8000
    assert len({*labels(parts)}) == len(parts)


def test_spans_are_as_short_as_they_may_be_and_keep_pauses() -> None:
    assert span_seconds([batch(1, 11.9)]) == 0.5
    assert span_seconds([batch(1, 12.0)]) == 1
    assert [part.tagged for part in spans([batch(1, 0.0), batch(2, 12.0)])] == [20, *[0] * 11, 20]
    assert labels(spans([batch(1, 90.0)]))[-1] == "1:30"
    assert labels(spans([batch(1, 7500.0)]))[-1] == "2:00 h"
    assert spans([]) == []


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0 s"), (0.5, "0.5 s"), (9.96, "10 s"), (60, "1 min"), (185, "3 min 5 s"), (7440, "2 h 4 min")],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_what_steers_a_terminal_or_turns_a_line_is_replaced() -> None:
    assert printable("a\x1b[31m\x00b\n\u202ec\ud800") == "a\ufffd[31m\ufffdb\ufffd\ufffdc\ufffd"
    assert printable("Drømmeland 夜の森 🎲 שלום") == "Drømmeland 夜の森 🎲 שלום"
    assert document(element("p", "\x1b", title="\x1b")) == '<!DOCTYPE html>\n<p title="\ufffd">\ufffd</p>\n'


def test_every_reason_has_words() -> None:
    assert REASON_WORDS.keys() == {*Reason}


def test_only_the_page_loads_the_charts() -> None:
    """Neither serving nor any other command pays for them."""
    others = "sidecar.__main__, sidecar.rpc.server, " + ", ".join(f"sidecar.terminal.{name}" for name in COMMANDS)
    loaded = "print([name for name in ('leather', 'xml.etree') if name in sys.modules])"
    code = f"import sys, {others}\n{loaded}\nimport sidecar.terminal.html_report.page\n{loaded}"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n['leather', 'xml.etree']\n"
