"""The counters of a run and what is said of them. Pure.

Law: processed + failed + skipped + remaining = total, in every state; no counter ever goes back.
"""

from collections.abc import Mapping
from typing import TypeVar

import msgspec
from msgspec import Struct

from sidecar.contract import Completion, Progress, Reason, RunStatus, RunSummary, Usage
from sidecar.gemini.policy import SIGN_IN
from sidecar.library.run_writes import RunKind
from sidecar.runs.advice import again
from sidecar.runs.outcomes import BatchOutcome

_REASONS = {
    Reason.MISSING_IN_RESPONSE: "left out of Gemini's answer",
    Reason.INVALID_TAGS: "given no usable tags by Gemini",
    Reason.BLOCKED: "blocked by Gemini's content filter",
    Reason.BAD_RESPONSE: "answered unusably by Gemini",
    Reason.RATE_LIMITED: "refused by Gemini's rate limit",
    Reason.SERVICE_UNAVAILABLE: "not answered by Gemini",
    Reason.TIMEOUT: "not answered by Gemini in time",
    Reason.REQUEST_REJECTED: "rejected by Gemini",
    Reason.DATABASE_ERROR: "not saved because of a database error",
    Reason.CHANGED: "changed meanwhile",
    Reason.DELETED: "deleted meanwhile",
}
_REASONS_OF_APPLYING = _REASONS | {
    # Gemini's tags were good when they were proposed.
    Reason.INVALID_TAGS: "left without usable tags by a change of the vocabulary",
}

T = TypeVar("T", bound=Struct)

_CUT_OFF = (RunStatus.CANCELLED, RunStatus.INTERRUPTED)
_UNANSWERED = (Reason.SERVICE_UNAVAILABLE, Reason.TIMEOUT)


class Tally(Struct, frozen=True, kw_only=True):
    """A run's counters; `current_batch` counts finished batches.

    `unanswered` is what was said of the last file that failed because Gemini did not answer.
    """

    total_files: int
    total_batches: int
    processed_files: int = 0
    failed_files: int = 0
    skipped_files: int = 0
    current_batch: int = 0
    reasons: dict[Reason, int] = {}
    unanswered: str = ""

    @property
    def remaining_files(self) -> int:
        """Files that are neither tagged nor failed nor skipped."""
        return self.total_files - self.processed_files - self.failed_files - self.skipped_files

    @property
    def counters(self) -> dict[str, int]:
        """All of them, by the names that they have in every message."""
        names = ("total_files", "processed_files", "failed_files", "skipped_files", "remaining_files")
        return {name: getattr(self, name) for name in (*names, "current_batch", "total_batches")}

    def with_batch(self, outcome: BatchOutcome) -> "Tally":
        """The tally after one more finished batch."""
        reasons, unanswered = dict(self.reasons), self.unanswered
        for failure in outcome.failures:
            reasons[failure.reason] = reasons.get(failure.reason, 0) + 1
            if failure.reason in _UNANSWERED or failure.message.endswith(SIGN_IN):
                unanswered = failure.message
        return msgspec.structs.replace(
            self,
            processed_files=self.processed_files + outcome.tagged,
            failed_files=self.failed_files + outcome.failed,
            skipped_files=self.skipped_files + outcome.skipped,
            current_batch=self.current_batch + 1,
            reasons=reasons,
            unanswered=unanswered,
        )


class Waiting(Struct, frozen=True):
    """Why nothing is sent at the moment, and for how long; in an outage 0 s while a probe is under way."""

    seconds: float
    outage: bool
    overload: bool = False


def progress(
    run_id: str,
    tally: Tally,
    usage: Usage,
    elapsed_seconds: float,
    waiting: Waiting | None,
    *,
    dry_run: bool = False,
) -> Progress:
    """The message of this moment."""
    closed = tally.total_files - tally.remaining_files
    wait, is_outage = (waiting.seconds, waiting.outage) if waiting else (0.0, False)
    # Nobody knows how long an outage lasts, and what failed before it was known for one tells of no speed.
    eta = tally.remaining_files * elapsed_seconds / closed + wait if closed and not is_outage else None
    return Progress(
        run_id=run_id,
        **tally.counters,
        status=_status(tally, waiting, dry_run=dry_run),
        elapsed_seconds=round(elapsed_seconds, 3),
        eta_seconds=None if eta is None else round(eta, 1),
        files_per_minute=files_per_minute(closed, elapsed_seconds),
        waiting_seconds=round(wait, 3),
        usage=usage,
    )


def files_per_minute(closed: int, elapsed_seconds: float) -> float:
    """How many files a minute were tagged, failed or skipped."""
    return round(closed * 60 / elapsed_seconds, 1) if elapsed_seconds > 0 else 0.0


def completion(summary: RunSummary) -> Completion:
    """The run's last notification."""
    done = summary.status is RunStatus.COMPLETED
    return retold(Completion, summary, success=done and (summary.processed_files > 0 or summary.failed_files == 0))


def retold(kind: type[T], summary: RunSummary, **own: object) -> T:
    """What another message says of the same run: the fields that it shares with the summary, and `own`."""
    names = [name for name in kind.__struct_fields__ if name not in own and hasattr(summary, name)]
    return kind(**{name: getattr(summary, name) for name in names}, **own)


def completion_message(
    tally: Tally,
    status: RunStatus,
    why: str,
    kind: RunKind = RunKind.UNTAGGED,
) -> str:
    """One sentence or two for the person: how many were tagged, what failed and why, what to do.

    `why` is the sentence that ended the run early, empty otherwise.
    """
    dry_run = kind is RunKind.DRY
    head = _counted(tally, kind)
    advice = ""
    if status in _CUT_OFF:
        head, advice = f"{status.capitalize()}: {head}", f"{again(kind)} to go on."
    elif why:
        head = f"{why} So far: {head}"
    elif tally.failed_files:
        head = " ".join(filter(None, (f"{head}.", tally.unanswered))).removesuffix(".")
        advice = f"{again(kind)} to retry what failed."
        if kind is RunKind.APPLY and Reason.INVALID_TAGS in tally.reasons:  # the same proposals would fail again
            advice = f"{again(RunKind.UNTAGGED)} to ask Gemini anew."
    if dry_run:  # another would begin at the beginning
        looked_at = ": look at the proposals and apply them" if tally.processed_files else ""
        advice = f"Nothing has been written{looked_at}."
    return f"{head}. {advice}".rstrip()


def _counted(tally: Tally, kind: RunKind) -> str:
    reasons = _REASONS_OF_APPLYING if kind is RunKind.APPLY else _REASONS
    parts = [f"{_files(tally.processed_files)} {'given proposals' if kind is RunKind.DRY else 'tagged'}"]
    if tally.failed_files:
        parts.append(f"{tally.failed_files} failed{_because(tally, reasons, skips=False)}")
    if tally.skipped_files:
        parts.append(f"{tally.skipped_files} skipped{_because(tally, reasons, skips=True)}")
    if tally.remaining_files:
        parts.append(f"{tally.remaining_files} remaining")
    return ", ".join(parts)


def _status(tally: Tally, waiting: Waiting | None, *, dry_run: bool) -> str:
    if waiting is not None:
        seconds = max(1, round(waiting.seconds))
        if waiting.outage:
            return "Gemini cannot be reached; trying again" + (f" in {seconds} s" if waiting.seconds else "")
        return f"Waiting {seconds} s: " + ("Gemini is overloaded" if waiting.overload else "Gemini's rate limit")
    closed = tally.total_files - tally.remaining_files
    return f"{'Dry run' if dry_run else 'Tagging'}: {closed} of {_files(tally.total_files)}"


def _because(tally: Tally, words: Mapping[Reason, str], *, skips: bool) -> str:
    counted = [(n, reason) for reason, n in tally.reasons.items() if reason.is_skip == skips]
    counted.sort(key=lambda pair: (-pair[0], pair[1]))
    if not counted:  # of a run whose process has died only the numbers are known
        return ""
    if len(counted) == 1:
        return f" ({words[counted[0][1]]})"
    return f" ({', '.join(f'{n} {words[reason]}' for n, reason in counted)})"


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"
