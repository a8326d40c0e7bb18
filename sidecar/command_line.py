"""What may stand on the command line, and the help that says so."""

import argparse
from collections.abc import Callable, Sequence
from typing import Final

from sidecar import __version__
from sidecar.contract import NAME

STOPPED: Final = 130
"""The exit code of a command that a signal has stopped."""

_LEVELS: Final = ("debug", "info", "warning", "error")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options; `command` is None where none is named. Raises SystemExit for `--help` and what does not fit."""
    whole = argparse.ArgumentParser(
        NAME,
        parents=[_shared()],
        description="Tags a Ligeia sound library with Gemini. Without a command: JSON-RPC on stdin and stdout.",
        epilog="The API key is taken from GEMINI_API_KEY (or GOOGLE_API_KEY), never from the command line.",
    )
    whole.add_argument("--version", action="version", version=f"{NAME} {__version__}")
    commands = whole.add_subparsers(dest="command", metavar="COMMAND")
    _add_commands(lambda name, **words: commands.add_parser(name, parents=[_shared()], **words))
    whole.set_defaults(database=None, env_file=None, log_level="info")
    return whole.parse_args(argv)


def _shared() -> argparse.ArgumentParser:
    """The options that may stand before and behind a command.

    Made anew for each: `set_defaults` reaches the actions, and the default of a command's own would win over what
    stands before it.
    """
    shared = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    add = shared.add_argument
    add("--database", metavar="PATH", help="the Ligeia library (LIGEIA_DATABASE)")
    add("--env-file", metavar="PATH", help="else .env here or beside the database")
    add("--log-level", type=str.lower, choices=_LEVELS, help="what is logged on stderr (info)")
    return shared


def _add_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    """What sidecar/terminal/ does."""
    tag = command("tag", help="tag a library from the terminal")
    tag.add_argument("--batch-size", type=int, metavar="N", help="files a request, 1 to 500 (50)")
    tag.add_argument("--max-parallel", type=int, metavar="N", help="requests at once, 1 to 32 (3)")
    tag.add_argument("--mode", choices=("merge", "replace"), default="merge", help="keep or replace present tags")
    tag.add_argument("--dry-run", action="store_true", help="write nothing; show what would be written")

    apply = command("apply", help="write what a dry run proposed")
    apply.add_argument("--run", metavar="ID", help="the dry run (the latest)")
    apply.add_argument(
        "--reject", type=int, nargs="+", action="extend", default=[], metavar="ID", help="files to leave out"
    )

    undo = command("undo", help="give each file back what it had before a run")
    undo.add_argument("--run", metavar="ID", help="the run (the latest that tagged files)")

    retry = command("retry", help="tag what failed in a run")
    retry.add_argument("--run", metavar="ID", help="the run (the latest)")
    retry.add_argument(
        "--reason", nargs="+", action="extend", metavar="REASON", help="only what failed so, as `report` names it"
    )

    report = command("report", help="how a run came out, and which files to look at first")
    report.add_argument("--run", metavar="ID", help="the run (the latest)")
    report.add_argument("--html", metavar="FILE", help="write a page with charts instead")

    estimate = command("estimate", help="what tagging the rest would take, without a request to Gemini")
    estimate.add_argument("--batch-size", type=int, metavar="N", help="files a request, 1 to 500 (50)")
    estimate.add_argument("--input-price", type=float, metavar="X", help="money per million prompt tokens")
    estimate.add_argument("--output-price", type=float, metavar="Y", help="money per million output tokens")
    estimate.add_argument("--cached-price", type=float, metavar="Z", help="per million from Gemini's cache")
    estimate.add_argument("--currency", metavar="C", help="what the prices are in (USD)")

    demo = command("demo", help="tag a sample library, without key or network")
    demo.add_argument("--files", type=int, default=400, metavar="N", help="sounds in the sample library (400)")
    demo.add_argument("--real", action="store_true", help="use Gemini itself and your API key")
