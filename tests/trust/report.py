"""What the figures are published as: a table on the terminal and in README.md, and a JSON file."""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from typing import Final

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from tests.harness import ROOT
from tests.trust.row import MOST_TOLD, Counts, Figure

JSON_FILE: Final = ROOT / "build" / "out" / "trust.json"
README: Final = ROOT / "README.md"
BEGIN, END = "<!-- trust:begin -->", "<!-- trust:end -->"


class Result(Struct, frozen=True):
    """A row's counts, beside what the row was wanted to do."""

    key: str
    name: str
    wanted: int
    counts: Counts
    seconds: float

    @property
    def met(self) -> bool:
        """Whether the row did something, and all of it as wanted."""
        return self.counts.done > 0 and self.counts.met


class Report(Struct, frozen=True):
    """Everything that the JSON file holds."""

    commit: str
    changed_files: bool
    machine: str
    cores: int
    python: str
    sqlite: str
    seed: int
    form: str
    ended_at: str
    seconds: float
    rows: list[Result]

    @classmethod
    def of(cls, rows: list[Result], *, seed: int, long: bool, seconds: float) -> "Report":
        """The rows, with where they come from."""
        import sqlite3  # noqa: PLC0415 - for its version only

        return cls(
            commit=_git("rev-parse", "HEAD"),
            changed_files=bool(_git("status", "--porcelain", "--", "sidecar", "tests")),
            machine=f"{platform.system()} {platform.release()} {platform.machine()}",
            cores=os.cpu_count() or 0,
            python=sys.version.split()[0],
            sqlite=sqlite3.sqlite_version,
            seed=seed,
            form="long" if long else "short",
            ended_at=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=round(seconds, 1),
            rows=rows,
        )


def _git(*arguments: str) -> str:
    """Empty where there is no git, or no repository."""
    try:
        said = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S607
    except OSError:
        return ""
    return said.stdout.strip()


def line(result: Result) -> str:
    """A row in a line, for those who wait, with the figures that are not as wanted."""
    verdict = "ok  " if result.met else "FAIL"
    unmet = "".join(f"; {_figure(figure)}" for figure in result.counts.figures if not figure.met)
    return f"{verdict} {result.key}: {_cases(result)} in {result.seconds:.0f} s{unmet}"


def print_table(report: Report) -> None:
    """On the terminal, with the first failures of every row below."""
    title = f"{report.form} form, seed {report.seed}, {report.cores} cores, {_time(report)}"
    table = Table("row", "done / wanted", "failed", "figures", "seconds", "of CPU", title=title)
    for row in report.rows:
        failed = f"{len(row.counts.failures)}" if row.met else f"[red]{len(row.counts.failures)}[/]"
        figures = "\n".join(map(_figure, row.counts.figures))
        seconds = f"{row.seconds:.0f}", f"{row.counts.cpu_seconds:.0f}"
        table.add_row(row.name, _cases(row), failed, figures, *seconds)
    console = Console(width=140)
    console.print(table)
    for row in report.rows:
        for failure in row.counts.failures[:MOST_TOLD]:
            console.print(f"{row.key}: {failure}", markup=False, highlight=False)


def write(report: Report) -> None:
    """The JSON file."""
    JSON_FILE.parent.mkdir(parents=True, exist_ok=True)
    JSON_FILE.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")


def fill_readme(report: Report) -> None:
    """The table between the markers of README.md. Raises ValueError where they are missing."""
    text = README.read_text(encoding="utf-8")
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README.md lacks the markers {BEGIN} and {END}")
    README.write_text(f"{head}{BEGIN}\n{_markdown(report)}{END}{tail}", encoding="utf-8")


def _markdown(report: Report) -> str:
    rows = "".join(
        f"| {row.name} | {_cases(row)} | {len(row.counts.failures)} | "
        f"{'<br>'.join(map(_figure, row.counts.figures))} |\n"
        for row in report.rows
    )
    source = (
        f"{report.form.capitalize()} form, commit {report.commit[:12]}"
        f"{' with changes' if report.changed_files else ''}, seed {report.seed}, {report.cores} cores, "
        f"Python {report.python}, SQLite {report.sqlite}, {_time(report)}."
    )
    return f"\n| row | done / wanted | failed | figures |\n|---|---|---|---|\n{rows}\n{source}\n\n"


def _time(report: Report) -> str:
    used = sum(row.counts.cpu_seconds for row in report.rows)
    return f"{report.seconds:.0f} s, {used:.0f} s of CPU"


def _cases(result: Result) -> str:
    wanted = result.wanted if result.counts.wanted is None else result.counts.wanted
    return f"{result.counts.done:,} / {wanted:,}"


def _figure(figure: Figure) -> str:
    bounds = [f"≤ {figure.at_most:,g}"] if figure.at_most is not None else []
    bounds += [f"≥ {figure.at_least:,g}"] if figure.at_least is not None else []
    missed = "" if figure.met else " MISSED"
    return f"{figure.name}: {figure.value:,g}" + (f" ({', '.join(bounds)})" if bounds else "") + missed
