"""The engine for a person at a terminal: every subcommand, over the same methods as the shell's.

- `words`        numbers, durations and reasons as a person reads them
- `display`      what is shown: a live bar and tables on a terminal, plain lines elsewhere
- `session`      the methods in this process, and the signals that end them
- `tag`          `tag` and `retry`: runs with a progress bar and a Ctrl-C that cancels cleanly
- `afterwards`   `apply` and `undo`
- `figures`      `report`, `runs` and `estimate`
- `html_report/` the page of `report --html`
- `demo`         starts the sidecar as the shell does, on a sample library

Exit codes: 0 completed, 1 failed or refused, 2 not begun, 130 stopped by a signal.
"""

import argparse
import logging
import os
import sys
from functools import partial
from typing import Final, TextIO, cast

import trio

from sidecar.process import logs
from sidecar.process.output import Output
from sidecar.settings import read_file, resolve
from sidecar.terminal import afterwards, figures, tag
from sidecar.terminal.display import sorry
from sidecar.terminal.session import Command, with_signals

log = logging.getLogger(__name__)

_COMMANDS: Final[dict[str, Command]] = {
    "tag": tag.tag,
    "retry": tag.retry,
    "apply": afterwards.apply,
    "undo": afterwards.undo,
    "report": figures.report,
    "runs": figures.runs,
    "estimate": figures.estimate,
}


def run(options: argparse.Namespace) -> int:
    """Does what the command line says; returns the exit code."""
    output, errors = Output(sys.stdout), Output(sys.stderr)
    sys.stdout, sys.stderr = cast("TextIO", output), cast("TextIO", errors)
    code = _run(options)
    return sorry(output.complaint, code or 1) if output.complaint else code


def _run(options: argparse.Namespace) -> int:
    level = "warning" if options.log_level == "info" else options.log_level
    redactor = logs.configure(level, 2, capture=False).redactor
    settings = resolve(options.database, options.env_file, os.environ, read_file)
    try:
        return trio.run(with_signals, partial(_command(options.command), options, settings, redactor))
    except Exception:
        log.exception("%s failed", options.command)
        return sorry("The sidecar met an error of its own; --log-level debug says more.", 1)


def _command(name: str) -> Command:
    if name == "demo":
        from sidecar.terminal.demo import demo  # noqa: PLC0415 - no other command needs the stand-in

        return demo
    return _COMMANDS[name]
