"""The benchmark: every figure with its floor, measured in the same run.

    python3 build/dev.py bench [--files 10000] [--million] [--frozen FILE] [--only NAME ...] [--readme]

Prints one table; `--readme` writes it into README.md between its markers.
"""

import argparse
import json
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from tests.bench import answers, resources, speed
from tests.bench.figures import Figure
from tests.bench.frozen import frozen
from tests.bench.undo import undo

ROOT = Path(__file__).resolve().parent.parent.parent
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"


def main() -> None:
    """Measures, prints, writes."""
    options = _options()
    measures: dict[str, Callable[[], list[Figure]]] = {
        "throughput": lambda: speed.throughput(options.files),
        "wall": lambda: speed.wall_time(options.files),
        "memory": lambda: resources.memory((1000, options.files, 10 * options.files)),
        "idle": answers.idle,
        "busy": lambda: answers.busy(options.files),
        "cancel": answers.cancel,
        "writer": lambda: resources.second_writer(options.files),
        "start": answers.started,
    }
    measures["undo"] = lambda: undo(options.files)
    if options.frozen:
        measures["frozen"] = lambda: frozen(options.frozen.resolve(strict=True), options.files)
    if options.million:
        measures["size"] = lambda: speed.library_size(1_000_000)
        measures["ids"] = lambda: resources.ids(1_000_000)
    if unknown := {*(options.only or ())} - {*measures}:
        sys.exit(f"bench: --only knows {', '.join(measures)}, not {', '.join(sorted(unknown))}")
    console, figures = Console(), list[Figure]()
    for name in options.only or measures:
        with console.status(name):
            figures += measures[name]()
    console.print(_table(figures))
    if options.json:
        record = {**_circumstances(), "figures": msgspec.to_builtins(figures)}
        options.json.write_text(json.dumps(record, indent=1, ensure_ascii=False), encoding="utf-8")
    if options.readme:
        _write_readme(figures)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench")
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--million", action="store_true", help="also libraries of a million files (minutes)")
    parser.add_argument("--frozen", type=Path, metavar="FILE", help="what `freeze` has built")
    parser.add_argument("--only", nargs="*", metavar="NAME")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--readme", action="store_true")
    return parser.parse_args()


def _table(figures: list[Figure]) -> Table:
    table = Table("figure", "measured", "floor", "ratio", "wanted", "met")
    for figure in figures:
        table.add_row(*_cells(figure))
    return table


def _cells(figure: Figure) -> list[str]:
    met = {True: "yes", False: "no", None: ""}[figure.met]
    ratio = "" if figure.ratio is None else f"{figure.ratio:.3f}"
    return [figure.name, figure.measured, figure.floor, ratio, figure.wanted, met]


def _circumstances() -> dict[str, str]:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607 - whichever git there is
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "commit": commit.stdout.strip(),
        "machine": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def _write_readme(figures: list[Figure]) -> None:
    rows = ["| figure | measured | floor | ratio | wanted | met |", "|---|---|---|---|---|---|"]
    rows += [f"| {' | '.join(_cells(figure))} |" for figure in figures]
    about = _circumstances()
    rows.append(f"\nCommit {about['commit']}, Python {about['python']} on {about['machine']}, 2 shared cores.")
    readme = ROOT / "README.md"
    head, rest = readme.read_text(encoding="utf-8").split(BEGIN)
    readme.write_text(head + BEGIN + "\n" + "\n".join(rows) + "\n" + END + rest.split(END)[1], encoding="utf-8")


if __name__ == "__main__":
    main()
