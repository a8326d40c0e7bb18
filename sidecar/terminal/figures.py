"""`report`, `runs` and `estimate`: how runs came out, and what the next one would take."""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sidecar.contract import CostEstimate, Estimate, FileFailure, Report, RunDetails, RunSummary, TagType, duration
from sidecar.redaction import Redactor
from sidecar.rpc.methods import App
from sidecar.settings import Settings
from sidecar.terminal.display import Display, sorry
from sidecar.terminal.session import Signals, ask, over_library
from sidecar.terminal.words import (
    MODE_WORDS,
    REASON_WORDS,
    STATUS_WORDS,
    TYPE_WORDS,
    counted,
    moment,
    money,
    number,
    outcome,
    source_counts,
)

_TAGS_A_TYPE: Final = 8
_FILES: Final = 20
_RUNS: Final = 20
_PAGE_BEGINS: Final = b"<!DOCTYPE html>"
"""How our pages begin. What begins otherwise, the library above all, is never written over."""


async def report(options: argparse.Namespace, settings: Settings, redactor: Redactor, signals: Signals) -> int:
    """How a run (without --run: the latest) came out, here or as an HTML page."""

    async def work(app: App, display: Display) -> int:
        found: Report = await ask(app, "report", run_id=options.run)
        untagged = await _untagged(app, found)
        if options.html is None:
            _show_report(display, found, untagged)
            return 0
        return _write_page(display, found, untagged, Path(options.html))

    return await over_library(work, settings, redactor, signals)


async def _untagged(app: App, found: Report) -> list[FileFailure]:
    """The files behind the report's counts, the rarest reason first.

    A list that is cut off shall not end before the one file that Gemini has blocked.
    """
    how_many = {entry.reason: entry.files for entry in found.failures}
    if not how_many:
        return []
    details: RunDetails = await ask(app, "get_run", run_id=found.run.run_id)
    return sorted(details.failures, key=lambda file: how_many.get(file.reason, 0))


async def runs(_options: argparse.Namespace, settings: Settings, redactor: Redactor, signals: Signals) -> int:
    """The latest runs: which there is to undo, apply or retry."""

    async def work(app: App, display: Display) -> int:
        found: list[RunSummary] = await ask(app, "list_runs", limit=_RUNS)
        if not found:
            return sorry("There is no run yet.", 1)
        for run in found:  # no table: a narrow one would break the ids, which are to be copied
            display.say(f"{run.run_id}  {moment(run.started_at)}  {outcome(run)}")
        return 0

    return await over_library(work, settings, redactor, signals)


async def estimate(options: argparse.Namespace, settings: Settings, redactor: Redactor, signals: Signals) -> int:
    """What tagging the rest would take, in money too where prices are given."""
    if (options.input_price is None) != (options.output_price is None):
        return sorry("Give --input-price and --output-price together, both per million tokens.", 2)
    if options.input_price is None and (options.cached_price, options.currency) != (None, None):
        return sorry("--cached-price and --currency need --input-price and --output-price.", 2)
    prices = {
        name: value
        for name, value in (
            ("input", options.input_price),
            ("output", options.output_price),
            ("cached", options.cached_price),
            ("currency", options.currency),
        )
        if value is not None
    }

    async def work(app: App, display: Display) -> int:
        if prices:
            cost: CostEstimate = await ask(app, "estimate_cost", batch_size=options.batch_size, prices=prices)
            display.table(*_needs(cost), numbers=(1,))
            display.table(*_costs(cost), numbers=(1, 2))
        else:
            needs: Estimate = await ask(app, "estimate", batch_size=options.batch_size)
            display.table(*_needs(needs), numbers=(1,))
        display.say("Estimated without a request to Gemini; what has to be asked twice comes on top.")
        return 0

    return await over_library(work, settings, redactor, signals)


_Table = tuple[str, Sequence[str], Sequence[Sequence[str]]]


def _needs(found: Estimate) -> _Table:
    rows = [
        ("Untagged files", number(found.total_files)),
        ("Batches", number(found.total_batches)),
        ("Requests", number(found.requests)),
        ("Prompt tokens", number(found.prompt_tokens)),
        ("Output tokens", number(found.output_tokens)),
    ]
    return "A run over all untagged files", ("What", "About"), rows


def _costs(found: CostEstimate) -> _Table:
    fresh = found.prompt_tokens - found.cached_tokens
    parts = [
        ("Prompt", fresh, found.input_cost),
        ("Prompt, from Gemini's cache", found.cached_tokens, found.cached_cost),
        ("Output", found.output_tokens, found.output_cost),
        ("Together", found.prompt_tokens + found.output_tokens, found.total_cost),
    ]
    rows = [(name, number(tokens), money(cost, found.currency)) for name, tokens, cost in parts]
    return "Its cost at these prices", ("Tokens", "About", "Cost"), rows


def _show_report(display: Display, found: Report, untagged: Sequence[FileFailure]) -> None:
    run, usage = found.run, found.run.usage
    kind = "Dry run" if run.dry_run else "Run"
    status, told = STATUS_WORDS[run.status], outcome(run)
    told = told[:1].lower() + told[1:] if told.startswith(status) else f"{status.lower()}. {told}"
    display.say(f"{kind} {run.run_id}: {told}")
    display.say(f"{moment(run.started_at)}, {duration(run.elapsed_seconds)}, {run.model}, {MODE_WORDS[run.mode]}")
    display.say(
        f"{counted(usage.requests, 'request')}, {number(usage.prompt_tokens)} prompt tokens "
        f"({number(usage.cached_tokens)} from Gemini's cache), {number(usage.output_tokens)} output tokens"
    )
    sources = [(words, number(count)) for words, count in source_counts(found.sources)]
    display.table("How the tags in Gemini's answers came out", ("Tags", "Count"), sources, numbers=(1,))
    if found.tags:
        rows = [_type_row(found, kind) for kind in TagType]
        given = "Proposed" if run.dry_run else "Set"
        display.table("Tags by type", ("Type", "Values", given, "Most used"), rows, numbers=(1, 2))
    if found.failures:
        failures = [(entry.reason, REASON_WORDS[entry.reason], number(entry.files)) for entry in found.failures]
        display.table("Files that were not tagged", ("Reason", "", "Files"), failures, numbers=(2,))
    if untagged:
        listed = [(str(file.file_id), file.file_path, file.message) for file in untagged[:_FILES]]
        title = f"Which they are ({len(listed)} of {number(len(untagged))})"
        display.table(title, ("Id", "Sound", "Why"), listed, numbers=(0,))
    if found.worries:
        shown = found.worries[:_FILES]
        worries = [(str(file.file_id), file.file_path, " ".join(file.messages)) for file in shown]
        title = f"To look at first ({len(shown)} of {number(found.worrying_files)})"
        display.table(title, ("Id", "Sound", "Why"), worries, numbers=(0,))


def _type_row(found: Report, kind: TagType) -> tuple[str, ...]:
    tags = [tag for tag in found.tags if tag.tag_type is kind]
    most = ", ".join(f"{tag.tag_value} {number(tag.files)}" for tag in tags[:_TAGS_A_TYPE])
    return TYPE_WORDS[kind], number(len(tags)), number(sum(tag.files for tag in tags)), most


def _write_page(display: Display, found: Report, untagged: Sequence[FileFailure], path: Path) -> int:
    from sidecar.terminal.html_report.page import render  # noqa: PLC0415 - the other commands need no charts

    try:
        if path.is_file() and not _is_page(path):
            return sorry(f"{path} exists and is no report; name another file.", 2)
        _replace(path, render(found, untagged))
    except OSError as error:
        return sorry(f"The report cannot be written to {path}: {error.strerror}.", 1)
    display.say(f"Report: {path}")
    return 0


def _replace(path: Path, page: str) -> None:
    """The page whole, or what was there before: the disk may be full. A link stays one."""
    if path.exists() and not path.is_file():  # a pipe, a terminal
        path.write_text(page, encoding="utf-8", newline="\n")
        return
    path = path.resolve()
    with tempfile.TemporaryDirectory(prefix=".report-", dir=path.parent) as folder:
        part = Path(folder) / path.name
        part.write_text(page, encoding="utf-8", newline="\n")
        part.replace(path)


def _is_page(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_PAGE_BEGINS)) in (_PAGE_BEGINS, b"")
