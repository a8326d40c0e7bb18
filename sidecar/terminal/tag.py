"""`tag` and `retry`: a run in this process, with a progress bar and a Ctrl-C that cancels cleanly."""

import argparse
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from sidecar.command_line import STOPPED
from sidecar.contract import Count, Proposal, Reason, RpcError, RunDetails, RunStatus
from sidecar.redaction import Redactor
from sidecar.rpc.methods import App, call, running_app
from sidecar.settings import Settings
from sidecar.terminal.display import Display, selection, sorry
from sidecar.terminal.session import Signals, ask, cancelling, command_line, encoded, watch
from sidecar.terminal.words import counted


async def tag(options: argparse.Namespace, settings: Settings, redactor: Redactor, signals: Signals) -> int:
    """Tags what is untagged; as a dry run it ends with proposals and how to apply them."""
    display = Display()
    params = {
        "batch_size": options.batch_size,
        "max_parallel": options.max_parallel,
        "mode": options.mode,
        "dry_run": options.dry_run,
    }
    async with running_app(settings, display.show, redactor) as app:
        try:
            code = await _run(app, "auto_tag_files", params, display, signals)
            if options.dry_run and display.completion:
                await _show_proposals(app, display, display.completion.run_id, options)
        except RpcError as error:
            return sorry(redactor.redact(error.message), 1)
    return code


async def retry(options: argparse.Namespace, settings: Settings, redactor: Redactor, signals: Signals) -> int:
    """Tags what failed in an earlier run."""
    display = Display()
    async with running_app(settings, display.show, redactor) as app:
        try:
            params = {"run_id": options.run, "reasons": options.reason}
            nothing = partial(_nothing_to_retry, app, options)
            code = await _run(app, "retry_failed", params, display, signals, if_nothing=nothing)
            if display.completion:  # of a dry run what failed is asked for in a dry run, too
                await _show_proposals(app, display, display.completion.run_id, options)
        except RpcError as error:
            return sorry(redactor.redact(error.message), 1)
    return code


async def _run(
    app: App,
    method: str,
    params: dict[str, object],
    display: Display,
    signals: Signals,
    *,
    if_nothing: Callable[[], Awaitable[str]] | None = None,
) -> int:
    """The run, from its start to its exit code. `if_nothing` knows better than the method what there is to say."""
    answer = refusal = None
    stopped = False
    async with trio.open_nursery() as starting:

        async def stop_at_signal() -> None:
            nonlocal stopped
            async for _ in signals:
                stopped = True
                starting.cancel_scope.cancel()

        starting.start_soon(stop_at_signal)
        try:
            answer = await call(app, method, encoded(params))
        except RpcError as error:  # raised here, it would come out as a group
            refusal = error
        starting.cancel_scope.cancel()
    if refusal is not None:
        raise refusal
    if answer is None:
        display.say("Stopped before tagging had begun.")
        return STOPPED
    if answer.then is None:
        display.say(await if_nothing() if if_nothing else answer.result.message)
        return 0
    started = answer.result
    display.begin(started.total_files, started.total_batches, dry_run=bool(params.get("dry_run")))
    answer.then()
    return await watch(display, signals, cancelling(app, started.run_id), stopped=stopped)


async def _nothing_to_retry(app: App, options: argparse.Namespace) -> str:
    details: RunDetails = await ask(app, "get_run", run_id=options.run)
    if details.status == RunStatus.RUNNING:
        return "That run still goes on, in another process: try again when it has ended."
    reasons = options.reason or [reason for reason in Reason if not reason.is_skip]
    if any(failure.reason in reasons for failure in details.failures):
        sentence = "Nothing that failed in that run is untagged any more."
    else:
        sentence = f"Nothing failed in that run{' for such a reason' if options.reason else ''}."
    untagged: Count = await ask(app, "count_untagged_files")
    if not untagged.count:
        return sentence
    are, them = ("is", "it") if untagged.count == 1 else ("are", "them")
    return f"{sentence} {counted(untagged.count, 'file')} {are} untagged: `tag` goes on with {them}."


async def _show_proposals(app: App, display: Display, run_id: str, options: argparse.Namespace) -> None:
    proposals: list[Proposal] = (await ask(app, "get_run", run_id=run_id)).proposals
    if not proposals:
        return
    shown = selection(proposals)
    title = f"Proposals ({len(shown)} of {len(proposals)})" if len(shown) < len(proposals) else "Proposals"
    display.table(
        title,
        ("Id", "Sound", "Genre", "Moods", "Occasions", "Keywords"),
        (
            (
                str(proposal.file_id),
                proposal.file_path,
                proposal.genre or "",
                ", ".join(proposal.moods),
                ", ".join(proposal.occasions),
                ", ".join(proposal.keywords),
            )
            for proposal in shown
        ),
        numbers=(0,),
    )
    display.say(f"To write {counted(len(proposals), 'proposal')}, without those that you name after --reject:")
    display.say(f"  {command_line(options, 'apply', '--run', run_id)}")
