"""`apply` and `undo`: what is done with a run once it has ended."""

import argparse
from collections.abc import Callable
from typing import Final

from sidecar.contract import Applied, RpcError, RunSummary, Undone
from sidecar.redaction import Redactor
from sidecar.rpc.methods import App
from sidecar.settings import Settings
from sidecar.terminal.display import Display, sorry
from sidecar.terminal.session import Signals, ask, command_line, over_library
from sidecar.terminal.words import counted, moment

_RUNS_LOOKED_AT: Final = 1000


async def apply(options: argparse.Namespace, settings: Settings, redactor: Redactor, signals: Signals) -> int:
    """Writes what a dry run proposed; without --run, the latest."""

    before: list[str | None] = []  # empty until it has been looked up

    async def work(app: App, display: Display) -> int:
        before.append(await _latest(app, _has_tagged))
        run_id = await _latest(app, lambda run: run.dry_run) if options.run is None else options.run
        if run_id is None:
            return sorry("There is no dry run whose proposals could be applied: tag --dry-run makes one.", 1)
        applied: Applied = await ask(app, "apply_proposals", run_id=run_id, reject=options.reject)
        if applied.run_id is None:
            display.say("There was nothing to write.")
            return 0
        display.say(f"{counted(applied.applied_files, 'proposal')} written.")
        if applied.skipped_files:
            display.say(
                f"{counted(applied.skipped_files, 'file')} left as found: written already, deleted, excluded, "
                "changed since the dry run, or without valid tags now."
            )
        if applied.applied_files:
            display.say("To take them back:" if applied.applied_files > 1 else "To take it back:")
            display.say(f"  {command_line(options, 'undo', '--run', applied.run_id)}")
        return 0

    async def stopped(app: App) -> str:
        try:
            written = await _latest(app, _has_tagged) if before else None
        except RpcError:
            return "Stopped. What is written stays."
        if written is None or written in before:
            return "Stopped. Nothing was written."
        return (
            f"Stopped. What is written stays; to take it back: {command_line(options, 'undo', '--run', written)}"
        )

    return await over_library(work, settings, redactor, signals, if_stopped=stopped)


async def undo(options: argparse.Namespace, settings: Settings, redactor: Redactor, signals: Signals) -> int:
    """Takes a run back; without --run, the latest that tagged files."""

    async def work(app: App, display: Display) -> int:
        run_id = await _latest(app, _has_tagged) if options.run is None else options.run
        if run_id is None:
            return sorry("There is no run that tagged files.", 1)
        undone: Undone = await ask(app, "undo_run", run_id=run_id)
        run = await _summary(app, run_id)
        which = f"the run of {moment(run.started_at)}" if run else "the run"
        files = counted(undone.restored_files, "file")
        display.say(f"{files} restored to what they were before {which} ({run_id}).")
        if undone.skipped_files:
            display.say(
                f"{counted(undone.skipped_files, 'file')} left as found: deleted, changed since, tagged by a "
                "later run, or restored before."
            )
        return 0

    async def stopped(_app: App) -> str:
        return "Stopped. The same command restores the rest."

    return await over_library(work, settings, redactor, signals, if_stopped=stopped)


def _has_tagged(run: RunSummary) -> bool:
    return not run.dry_run and run.processed_files > 0


async def _latest(app: App, fits: Callable[[RunSummary], bool]) -> str | None:
    runs: list[RunSummary] = await ask(app, "list_runs", limit=_RUNS_LOOKED_AT)
    return next((run.run_id for run in runs if fits(run)), None)


async def _summary(app: App, run_id: str) -> RunSummary | None:
    runs: list[RunSummary] = await ask(app, "list_runs", limit=_RUNS_LOOKED_AT)
    return next((run for run in runs if run.run_id == run_id), None)
