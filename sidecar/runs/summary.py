"""How a run has ended, as `get_run`, `list_runs` and the last notification say it. Pure."""

from datetime import datetime

import msgspec

from sidecar.contract import Progress, RunStatus, RunSummary, Usage
from sidecar.library.run_writes import NewRun, RunKind
from sidecar.runs.progress import Tally, completion_message, files_per_minute, retold
from sidecar.runs.stamps import rfc3339


def summary_of(
    run: NewRun,
    tally: Tally,
    status: RunStatus,
    why: str,
    ended_at: datetime,
    elapsed_seconds: float,
    usage: Usage,
) -> RunSummary:
    """The end of a run; `why` is the sentence that ended it early, empty otherwise."""
    return RunSummary(
        run_id=run.run_id,
        status=status,
        message=completion_message(tally, status, why, run.kind),
        mode=run.mode,
        dry_run=run.dry_run,
        model=run.model,
        started_at=run.started_at,
        ended_at=rfc3339(ended_at),
        **tally.counters,
        elapsed_seconds=round(elapsed_seconds, 3),
        usage=usage,
    )


def lacks_message(summary: RunSummary) -> bool:
    """Whether its process died before it could write one."""
    return summary.status is RunStatus.INTERRUPTED and not summary.message


def with_message(summary: RunSummary, kind: RunKind | None) -> RunSummary:
    """A run that lacks one; `kind` is None where its row does not tell."""
    kind = kind or (RunKind.DRY if summary.dry_run else RunKind.UNTAGGED)
    message = completion_message(retold(Tally, summary), summary.status, "", kind)
    return msgspec.structs.replace(summary, message=message)


def ended_progress(summary: RunSummary) -> Progress:
    """A run that has ended as progress: `status` is its end state."""
    closed = summary.total_files - summary.remaining_files
    return retold(
        Progress,
        summary,
        status=summary.status.value,
        eta_seconds=None,
        files_per_minute=files_per_minute(closed, summary.elapsed_seconds),
        waiting_seconds=0.0,
    )
