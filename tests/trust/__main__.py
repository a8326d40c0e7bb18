"""The command. Rows run in processes of their own, three at a time; those that measure time or memory alone.

Three on two cores: most rows wait now and then, for a lock, a pause or a delay.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

import msgspec
import trio

from tests.harness import forks
from tests.trust import report
from tests.trust.row import Counts, Row
from tests.trust.rows import ROWS

AT_ONCE = 3
LONGEST = ("examples", "writes", "disk")
"""Begun first, so that in the end no processor waits for one of them."""
SEED = 20261124


def main() -> int:
    """Runs the rows, prints and writes what came of them. 0 when every figure is met."""
    parser = argparse.ArgumentParser(prog="python -m tests.trust", description=__doc__)
    parser.add_argument("--long", action="store_true", help="the sizes for a release: hours")
    parser.add_argument("--only", nargs="+", choices=sorted(ROWS), metavar="ROW", default=list(ROWS))
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--frozen", metavar="FILE", help="the frozen program, for rows that measure memory")
    parser.add_argument("--readme", action="store_true", help="put the table into README.md")
    parser.add_argument("--row", choices=sorted(ROWS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row:
        return _work(ROWS[options.row], options.seed, long=options.long)
    began = time.monotonic()
    rows = [ROWS[key] for key in ROWS if key in options.only]
    results = list(_results(rows, options.seed, options.frozen, long=options.long))
    order = list(ROWS)
    results.sort(key=lambda result: order.index(result.key))
    document = report.Report.of(results, seed=options.seed, long=options.long, seconds=time.monotonic() - began)
    report.print_table(document)
    report.write(document)
    if options.readme:
        report.fill_readme(document)
    return 0 if all(result.met for result in results) else 1


def _work(row: Row, seed: int, *, long: bool) -> int:
    """One row, in this process; its counts are all that it prints."""
    counts: Counts = trio.run(row.run, row.size(long=long), seed)
    forks.end()
    used = os.times()
    counts.cpu_seconds = round(used.user + used.system + used.children_user + used.children_system, 1)
    sys.stdout.write(msgspec.json.encode(counts).decode() + "\n")
    return 0


def _results(rows: Sequence[Row], seed: int, frozen: str | None, *, long: bool) -> Iterator[report.Result]:
    waiting = sorted((row for row in rows if not row.alone), key=lambda row: row.key not in LONGEST)
    alone = [row for row in rows if row.alone]
    running: dict[subprocess.Popen[str], tuple[Row, float]] = {}
    while waiting or running or alone:
        while waiting and len(running) < AT_ONCE:
            row = waiting.pop(0)
            running[_begun(row, seed, None, long=long)] = (row, time.monotonic())
        if not waiting and not running:
            row = alone.pop(0)
            running[_begun(row, seed, frozen, long=long)] = (row, time.monotonic())
        for process in [process for process in running if process.poll() is not None]:
            row, began = running.pop(process)
            result = _result(row, process, time.monotonic() - began, long=long)
            sys.stderr.write(report.line(result) + "\n")
            yield result
        time.sleep(0.05)


def _begun(row: Row, seed: int, frozen: str | None, *, long: bool) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.trust", "--row", row.key, "--seed", str(seed)]
    env = {**os.environ}
    if frozen is not None and row.frozen:
        env["LIGEIA_SIDECAR_COMMAND"] = msgspec.json.encode([os.path.abspath(frozen)]).decode()
    return subprocess.Popen(command + ["--long"] * long, stdout=subprocess.PIPE, text=True, env=env)


def _result(row: Row, process: subprocess.Popen[str], seconds: float, *, long: bool) -> report.Result:
    said, _ = process.communicate()
    try:
        counts = msgspec.json.decode(said, type=Counts)
    except msgspec.DecodeError:
        counts = Counts(failures=[f"the row itself failed, exit code {process.returncode}"])
    return report.Result(row.key, row.name, row.wanted[long], counts, round(seconds, 1))


if __name__ == "__main__":
    sys.exit(main())
