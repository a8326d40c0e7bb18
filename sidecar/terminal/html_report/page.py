"""The page: what a run's report says, in sections, with a table for every chart."""

from collections.abc import Iterator, Sequence
from xml.etree.ElementTree import Element

from sidecar import __version__
from sidecar.contract import NAME, FileFailure, Report, TagType, WorryingFile, duration
from sidecar.runs.progress import files_per_minute
from sidecar.tagging.paths import split
from sidecar.terminal.html_report import timeline
from sidecar.terminal.html_report.cards import bar_card, card, cards, column_card, none, table
from sidecar.terminal.html_report.elements import Child, document, element, style_sheet
from sidecar.terminal.html_report.style import STYLE
from sidecar.terminal.words import (
    MODE_WORDS,
    REASON_WORDS,
    STATUS_WORDS,
    TYPE_WORDS,
    counted,
    moment,
    number,
    outcome,
    source_counts,
)

# Nothing is fetched and nothing runs, not even what might have slipped through the escaping.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
_FILES_IN_SIGHT = 25
_FAILURES_LISTED = 1000
_DONE = {False: "Tagged", True: "Proposed"}
"""What became of a run's good files; the key says whether it was a dry run."""


def render(report: Report, failures: Sequence[FileFailure] = ()) -> str:
    """The whole page. `failures`: the files behind the report's counts of what was not tagged."""
    title = f"Tagging report, {moment(report.run.started_at)}"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="generator", content=f"{NAME} {__version__}"),
        element("title", title),
        element("link", rel="icon", href="data:,"),
        style_sheet(STYLE),
    )
    body = element(
        "body",
        _header(report),
        element(
            "main",
            _section("summary", "Summary", _tiles(report)),
            _section("tags", "Tags", _tags(report)),
            _section("time", "Over time", *_over_time(report)),
            _section("failures", "Files that were not tagged", *_failures(report, failures)),
            _section("worries", "To look at first", _worries(report)),
        ),
        element("footer", element("p", f"Run {report.run.run_id}. Written by {NAME} {__version__}.")),
    )
    return document(element("html", head, body, lang="en"))


def _header(report: Report) -> Element:
    run = report.run
    facts: list[tuple[str, Child]] = [
        ("Started", element("time", moment(run.started_at), datetime=run.started_at)),
        ("Took", duration(run.elapsed_seconds)),
        ("Model", run.model),
        ("Present tags", MODE_WORDS[run.mode]),
        ("Written", "nothing: a dry run" if run.dry_run else "to the library"),
    ]
    return element(
        "header",
        element("p", "Ligeia", class_="eyebrow"),
        element(
            "div",
            element("h1", "Tagging report"),
            element("span", STATUS_WORDS[run.status], class_=f"status {run.status}"),
            class_="heading",
        ),
        element("p", outcome(run), class_="lead"),
        element(
            "dl",
            *(element("div", element("dt", name), element("dd", value)) for name, value in facts),
            class_="facts",
        ),
    )


def _tiles(report: Report) -> Element:
    run, usage = report.run, report.run.usage
    pace = files_per_minute(run.total_files - run.remaining_files, run.elapsed_seconds)
    tiles = [
        (
            _DONE[run.dry_run],
            run.processed_files,
            f"of {counted(run.total_files, 'file')}",
            "",
        ),
        ("Failed", run.failed_files, None, "bad" if run.failed_files else ""),
        ("Skipped", run.skipped_files, None, ""),
        ("Remaining", run.remaining_files, None, ""),
        (
            "Tags proposed" if run.dry_run else "Tags set",
            sum(tag.files for tag in report.tags),
            f"{number(len(report.tags))} different",
            "",
        ),
        ("Files a minute", pace, None, ""),
        ("Requests", usage.requests, f"{counted(usage.retries, 'retry', 'retries')} among them", ""),
        ("Tokens", usage.tokens, f"{number(usage.cached_tokens)} from Gemini's cache", ""),
    ]
    return element(
        "ul",
        *(
            element(
                "li",
                element("span", name),
                element("strong", number(value)),
                element("small", further) if further else None,
                class_=f"tile {kind}".strip(),
            )
            for name, value, further, kind in tiles
        ),
        class_="tiles",
        role="list",  # Safari takes the role away with the bullets
    )


def _tags(report: Report) -> Element:
    if not report.tags:
        return cards(
            card("By type", none(f"This run {'proposed' if report.run.dry_run else 'set'} no tags.")),
            _sources(report),
        )
    by_type = {
        kind: [(tag.tag_value, tag.files) for tag in report.tags if tag.tag_type is kind] for kind in TagType
    }
    totals = [(TYPE_WORDS[kind], sum(files for _, files in tags)) for kind, tags in by_type.items()]
    return cards(
        bar_card("by-type", "plain", "By type", totals, ("Type", "Tags")),
        _sources(report),
        *(
            bar_card(kind, kind, TYPE_WORDS[kind], values, ("Tag", "Files"))
            for kind, values in by_type.items()
            if values
        ),
    )


def _over_time(report: Report) -> Iterator[Element]:
    spans = timeline.spans(report.batches)
    if not spans:
        yield none("No batch finished.")
        return
    usage = [span.usage for span in spans]
    length = duration(timeline.span_seconds(report.batches))
    labels = timeline.labels(spans)
    files = column_card(
        "files",
        "outcomes",
        "Files",
        f"What finished in each {length} of the run, in {counted(len(report.batches), 'batch', 'batches')}.",
        labels,
        [
            (_DONE[report.run.dry_run], [span.tagged for span in spans]),
            ("Failed", [span.failed for span in spans]),
            ("Skipped", [span.skipped for span in spans]),
        ],
        [("Batches", [span.batches for span in spans])],
    )
    tokens = [
        ("Prompt", [used.prompt_tokens - used.cached_tokens for used in usage]),
        ("Prompt, from Gemini's cache", [used.cached_tokens for used in usage]),
        ("Output", [used.output_tokens for used in usage]),
        ("Thoughts", [used.thoughts_tokens for used in usage]),
    ]
    if any(any(values) for _, values in tokens):
        note = f"What the batches took that finished in each {length}."
        requests = [("Requests", [used.requests for used in usage])]
        yield cards(files, column_card("tokens", "tokens", "Tokens", note, labels, tokens, requests))
    else:
        yield cards(files, card("Tokens", none("No batch of this run asked Gemini.")))


def _sources(report: Report) -> Element:
    title, counts = "How they came out of the answers", source_counts(report.sources)
    if not any(count for _, count in counts):
        return card(title, none("No batch of this run asked Gemini."))
    return bar_card("sources", "plain", title, counts, ("In the answers", "Tags"))


def _failures(report: Report, failures: Sequence[FileFailure]) -> Iterator[Element]:
    if not report.failures:
        yield none("None failed, none was skipped.")
        return
    counts = [(REASON_WORDS[entry.reason], entry.files) for entry in report.failures]
    yield cards(bar_card("failures", "failures", "By reason", counts, ("Reason", "Files")))
    if failures:
        listed = failures[:_FAILURES_LISTED]
        rows = [(_path(file.file_path or f"File {file.file_id}"), file.message) for file in listed]
        is_cut = len(listed) < len(failures)
        yield _files(
            "failed", rows, f"The first {number(len(listed))} of {number(len(failures))}." if is_cut else None
        )


def _worries(report: Report) -> Element:
    if not report.worries:
        return none("Nothing stands out.")
    shown, found = len(report.worries), report.worrying_files
    rows = [(_path(file.file_path), _reasons(file)) for file in report.worries]
    some = f"The {number(shown)} that stand out most, of {counted(found, 'file')}." if shown < found else None
    return _files("worries", rows, some)


def _files(kind: str, rows: Sequence[Sequence[Child]], some: str | None) -> Element:
    """Files, each with why it is named. `some` says so where these are not all."""
    first, rest = rows[:_FILES_IN_SIGHT], rows[_FILES_IN_SIGHT:]
    names = ("Sound", "Why")
    more = (
        element("details", element("summary", f"{number(len(rest))} more"), table(names, rest)) if rest else None
    )
    note = element("p", some, class_="note") if some else None
    return element("div", note, table(names, first), more, class_=f"card files {kind}")


def _path(path: str) -> Element:
    """A path, its folder apart; isolated, so that a name written from right to left keeps to itself."""
    folder, name = split(path)
    shown = element("bdi", folder, class_="folder") if folder else None
    return element("span", shown, element("bdi", name, class_="name"))


def _reasons(file: WorryingFile) -> Element:
    return element("ul", *(element("li", message) for message in file.messages), class_="reasons", role="list")


def _section(name: str, title: str, *children: Child) -> Element:
    heading = element("h2", title, id=name)
    return element("section", heading, *children, aria_labelledby=name)
