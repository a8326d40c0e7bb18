"""What may stand on the command line, and the help that says so."""

import argparse
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn, get_args

import msgspec

from sidecar import __version__
from sidecar.contract import NAME, BatchSize, Currency, FileId, Mode, Parallel, Price, Reason
from sidecar.redaction import Redactor

STOPPED: Final = 130
"""The exit code of a command that a signal has stopped."""

_LEVELS: Final = ("debug", "info", "warning", "error")
_KEY_SOURCE: Final = "The API key is taken from GEMINI_API_KEY (or GOOGLE_API_KEY), never from the command line."
_KEY_OPTIONS: Final = ("--api-key", "--api_key", "--gemini-api-key", "--google-api-key", "--key")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options; `command` is None where none is named. Raises SystemExit for `--help` and what does not fit."""
    whole = _Parser(
        NAME,
        parents=[_shared()],
        description="Tags a Ligeia sound library with Gemini. Without a command: JSON-RPC on stdin and stdout.",
        epilog=_KEY_SOURCE,
    )
    whole.add_argument("--version", action="version", version=f"{NAME} {__version__}")
    commands = whole.add_subparsers(dest="command", metavar="COMMAND")
    _add_commands(lambda name, **words: commands.add_parser(name, parents=[_shared()], **words))
    whole.set_defaults(database=None, env_file=None, log_level="info")
    return whole.parse_args(argv)


def _shared() -> "_Parser":
    """The options that may stand before and behind a command.

    Made anew for each: `set_defaults` reaches the actions, and the default of a command's own would win over what
    stands before it.
    """
    shared = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    add = shared.add_argument
    add("--database", metavar="PATH", help="the Ligeia library (LIGEIA_DATABASE)")
    add("--env-file", metavar="PATH", help="else .env here or beside the database")
    add("--log-level", type=str.lower, choices=_LEVELS, help="what is logged on stderr (info)")
    # Unknown, it would have what stands behind it repeated as a command that there is not.
    add(*_KEY_OPTIONS, nargs="?", action=_Refused, help=argparse.SUPPRESS)
    return shared


class _Parser(argparse.ArgumentParser):
    """Refuses what does not fit, in words of which a shell may keep a log: without keys."""

    def error(self, message: str) -> NoReturn:
        super().error(Redactor().redact(message))


class _Refused(argparse.Action):
    """An option that many programs have and this one must not."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        parser.error(_KEY_SOURCE)


def _add_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    """What sidecar/terminal/ does."""
    batch_size, parallel, price = map(_Within, (BatchSize, Parallel, Price))
    tag = command("tag", help="tag a library from the terminal")
    tag.add_argument(
        "--batch-size", type=batch_size, metavar="N", help=f"files a request, {batch_size.words} (50)"
    )
    tag.add_argument("--max-parallel", type=parallel, metavar="N", help=f"requests at once, {parallel.words} (3)")
    tag.add_argument(
        "--mode",
        choices=[mode.value for mode in Mode],
        default=Mode.MERGE.value,
        help="keep or replace present tags",
    )
    tag.add_argument("--dry-run", action="store_true", help="write nothing; show what would be written")

    apply = command("apply", help="write what a dry run proposed")
    apply.add_argument("--run", metavar="ID", help="the dry run (the latest)")
    apply.add_argument(
        "--reject",
        type=_Within(FileId),
        nargs="+",
        action="extend",
        default=[],
        metavar="ID",
        help="files to leave out",
    )

    undo = command("undo", help="give each file back what it had before a run")
    undo.add_argument("--run", metavar="ID", help="the run (the latest that tagged files)")

    retry = command("retry", help="tag what failed in a run")
    retry.add_argument("--run", metavar="ID", help="the run (the latest)")
    retry.add_argument(
        "--reason",
        nargs="+",
        action="extend",
        choices=[reason.value for reason in Reason],
        metavar="REASON",
        help="only what failed so, as `report` names it",
    )

    report = command("report", help="how a run came out, and which files to look at first")
    report.add_argument("--run", metavar="ID", help="the run (the latest)")
    report.add_argument("--html", metavar="FILE", help="write a page with charts instead")

    command("runs", help="the latest runs, newest first, with the ids that --run takes")

    estimate = command("estimate", help="what tagging the rest would take, without a request to Gemini")
    estimate.add_argument(
        "--batch-size", type=batch_size, metavar="N", help=f"files a request, {batch_size.words} (50)"
    )
    estimate.add_argument("--input-price", type=price, metavar="X", help="money per million prompt tokens")
    estimate.add_argument("--output-price", type=price, metavar="Y", help="money per million output tokens")
    estimate.add_argument("--cached-price", type=price, metavar="Z", help="per million from Gemini's cache")
    estimate.add_argument("--currency", type=_currency, metavar="C", help="what the prices are in (USD)")

    demo = command("demo", help="tag a sample library, without key or network")
    demo.add_argument("--files", type=int, default=400, metavar="N", help="sounds in the sample library (400)")
    demo.add_argument("--real", action="store_true", help="use Gemini itself and your API key")


class _Within:
    """Reads a number, whole or not, within the bounds that a type of the contract has."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        base, bounds = get_args(kind)
        self._words = "a whole number" if base is int else "a number"
        self.words = f"{int(bounds.ge):,} to {int(bounds.le):,}"

    def __call__(self, text: str) -> float:
        try:
            number: float = msgspec.convert(text, self._kind, strict=False)
        except msgspec.ValidationError:
            raise argparse.ArgumentTypeError(f"{text!r} is not {self._words} from {self.words}.") from None
        return number


def _currency(text: str) -> str:
    _, bounds = get_args(Currency)
    if len(text) <= bounds.max_length:
        return text
    raise argparse.ArgumentTypeError(f"{text!r} is longer than {bounds.max_length} letters.")
