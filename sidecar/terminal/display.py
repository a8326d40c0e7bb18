"""What a person sees: a live bar and tables on a terminal, plain lines elsewhere.

Whatever comes from the library or from Gemini is made printable here, so no command has to think of it.
"""

import sys
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from typing import Final, TypeVar

import trio
from rich import progress as bars
from rich.cells import cell_len
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from sidecar.command_line import STOPPED
from sidecar.contract import BatchReport, Completion, Event, Progress, RunStatus, duration
from sidecar.terminal.words import counted, printable

T = TypeVar("T")

SELECTED_ROWS: Final = 12
_REFRESH_SECONDS: Final = 0.1
_NARROWEST_COLUMN: Final = 9
"""Characters, borders included: narrower ones hold no words."""


class _Words(bars.ProgressColumn):
    """What is told beside the bar: the count of files first, since a narrow terminal cuts off the end."""

    def render(self, task: bars.Task) -> Text:
        told = f"{task.fields['processed']}/{task.total:.0f} {task.fields['pace']} {task.description}"
        return Text(told, no_wrap=True, overflow="ellipsis")


class Display:
    """One command's output."""

    def __init__(self) -> None:
        is_terminal = sys.stdout.isatty()
        size = (None, None) if is_terminal else (False, 160)
        self.console = Console(force_terminal=size[0], width=size[1], markup=False, highlight=False, emoji=False)
        self.completion: Completion | None = None
        self.ended = trio.Event()
        self._failures: Counter[str] = Counter()
        self._sentences: dict[str, str] = {}
        self._bar: bars.Progress | None = None
        if self.console.is_terminal and not self.console.is_dumb_terminal:
            whole = Column(no_wrap=True)
            width = min(16, self.console.width // 8)
            columns = [bars.SpinnerColumn(table_column=whole), bars.BarColumn(width, table_column=whole), _Words()]
            self._bar = bars.Progress(*columns, console=self.console, auto_refresh=False)  # else in a thread

    def begin(self, files: int, batches: int, *, dry_run: bool = False) -> None:
        """A run has started, whose first answers may take a while. Before its first `show`."""
        doing = "Dry run over" if dry_run else "Tagging"
        sentence = f"{doing} {counted(files, 'file')} in {counted(batches, 'batch', 'batches')}"
        if self._bar is None:
            self.say(sentence)
        else:
            self._bar.add_task(sentence, total=files, processed=0, pace="")

    def show(self, event: Event) -> None:
        """Takes a notification of the run."""
        match event:
            case Completion():
                self.completion = event
                self.ended.set()
            case BatchReport():
                for failure in event.failures:
                    self._failures[failure.reason] += 1
                    self._sentences.setdefault(failure.reason, failure.message)
            case Progress():
                self._progress(event)

    async def until_ended(self) -> None:
        """Keeps the bar alive, where there is one, until the run has ended."""
        if self._bar is None:
            await self.ended.wait()
            return
        with self._bar:
            self.console.show_cursor()  # hidden, it would stay so in the shell that Ctrl-Z goes back to
            while not self.ended.is_set():
                self._bar.refresh()
                with trio.move_on_after(_REFRESH_SECONDS):
                    await self.ended.wait()

    def say(self, sentence: str) -> None:
        """One line, unbroken."""
        self.console.print(printable(sentence), soft_wrap=True)

    def table(
        self, title: str, names: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Container[int] = ()
    ) -> None:
        """A table; a line for each row away from a terminal, and for each cell where a terminal is narrow.

        `numbers`: the columns that are set to the right.
        """
        cells = [[printable(cell) for cell in row] for row in rows]
        if self.console.is_terminal and self.console.width < _NARROWEST_COLUMN * len(names):
            self.say(title)
            for row in cells:
                self.say("")
                for name, cell in zip(names, row, strict=True):
                    self.say(f"{name}: {cell}")
            return
        if self.console.is_terminal:
            # Not as the table's own title: that is broken where the table is narrow.
            self.console.print(Text(f"\n{title}", "bold"))
            table = Table()
            for index, name in enumerate(names):
                table.add_column(name, overflow="fold", justify="right" if index in numbers else "left")
            for row in cells:
                table.add_row(*map(Text, row))
            self.console.print(table)
            return
        self.say(title)
        widths = [max(map(cell_len, column)) for column in zip(names, *cells, strict=True)]
        for row in ([*names], *cells):
            padding = [" " * (width - cell_len(cell)) for width, cell in zip(widths, row, strict=True)]
            padded = [
                space + cell if index in numbers else cell + space
                for index, (cell, space) in enumerate(zip(row, padding, strict=True))
            ]
            self.say(("  " + "  ".join(padded)).rstrip())

    def conclude(self) -> int:
        """Prints failures by reason and the message of the end; returns the exit code."""
        for reason, count in self._failures.most_common():
            self.say(f"  {count:>6}  {reason}: {self._sentences[reason]}")
        if self.completion is None:
            return sorry("The sidecar ended before its run did.", 1)
        self.say(self.completion.message)
        if self.completion.success:
            return 0
        return STOPPED if self.completion.status is RunStatus.CANCELLED else 1

    def _progress(self, event: Progress) -> None:
        pace = f"{event.files_per_minute:.0f}/min"
        if event.eta_seconds is not None and event.remaining_files:
            pace += f", {duration(round(event.eta_seconds))} left"
        if event.failed_files:
            pace += f", {event.failed_files} failed"
        if self._bar is None:
            self.say(f"{event.processed_files}/{event.total_files}  {pace}  {event.status}")
            return
        done, files = event.total_files - event.remaining_files, event.processed_files
        self._bar.update(
            self._bar.task_ids[0], completed=done, description=event.status, processed=files, pace=pace
        )


def selection(rows: Sequence[T]) -> Sequence[T]:
    """Some of the rows, evenly spread."""
    return rows[:: max(1, len(rows) // SELECTED_ROWS)][:SELECTED_ROWS]


def sorry(sentence: str, code: int) -> int:
    """Says on stderr what went wrong; returns the exit code."""
    print(printable(sentence), file=sys.stderr, flush=True)  # noqa: T201 - a terminal program's way to speak
    return code
