"""One run: a feeder that reads batch by batch, a task for each batch that asks, one for each that writes.

Two nurseries, one inside the other. In the inner one batches are asked for, in the outer one what was
answered is written. When a run must end early (no quota, no key, no disk) the inner one is cancelled:
requests are cut off, and batches that Gemini has answered whole are still saved. A person's cancel takes
both: all but a commit under way.

The feeder keeps one batch more in memory than may be asked for at once, so that a place at Gemini never
waits for the database; batches that wait to be written are bounded too, so memory does not grow with
the library.
"""

import logging
import sqlite3
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from functools import partial

import trio

from sidecar.contract import BatchReport, Event, FileFailure, Progress, Reason, RunStatus, RunSummary, Usage
from sidecar.gemini.calls import Calls
from sidecar.gemini.failures import GeminiError
from sidecar.gemini.meter import Meter
from sidecar.gemini.opening import open_client
from sidecar.gemini.pace import Pace
from sidecar.gemini.policy import verdict
from sidecar.gemini.requests import ApiVersion
from sidecar.gemini.verdicts import End, Tries
from sidecar.library import queries
from sidecar.library.connections import Shape
from sidecar.library.faults import Fault, LibraryError
from sidecar.library.run_writes import RunRow
from sidecar.library.store import Library
from sidecar.runs.advice import REFUSED_ALL, ended_by, why_ended
from sidecar.runs.batch import Asked, Batch, Found
from sidecar.runs.budget import Allowance
from sidecar.runs.budget_gate import BudgetGate
from sidecar.runs.knowledge import Knowledge
from sidecar.runs.outcomes import EXCLUDED, GONE, BatchOutcome, NotTagged
from sidecar.runs.plan import Plan
from sidecar.runs.progress import Tally, Waiting, progress
from sidecar.runs.summary import summary_of
from sidecar.runs.writing import Terms, commit, decide_batch, lost_batch, prepare

log = logging.getLogger(__name__)

READ_AHEAD = 1
"""How many batches have been read, and wait for a place at Gemini. With more they would be read too early: where a
person sets tags meanwhile, the answer is thrown away though it is paid for.
"""
READY = 2
"""How many batches have their rows worked out, 200 KB each: one is written, and the next is ready behind it."""
MOST_LOST_BATCHES = 2
"""The run ends when so many transactions in a row have failed, mostly because another program holds the lock."""
MOST_REFUSED_FILES = 100
"""The run ends when the database has refused so many in a row: the rest would be paid for, and refused too."""
NOTICED_SECONDS = 1.0
"""A wait that was told is told again when it has grown by so much."""
INTERNAL = "The sidecar met an error of its own on this batch; its log says where."


class Run:
    """A run under way. `work` does it all; the rest may be called at any time from the trio thread."""

    def __init__(
        self,
        plan: Plan,
        allowance: Allowance,
        library: Library,
        knowledge: Knowledge,
        version: ApiVersion,
        emit: Callable[[Event], None],
        held_until: float,
    ) -> None:
        self.plan = plan
        self.tally = Tally(total_files=plan.selection.total_files, total_batches=plan.selection.total_batches)
        self.unsaved_failures: list[FileFailure] = []
        self._row = RunRow(plan.row, plan.run_id)
        self._library = library
        self._knowledge = knowledge
        self._version = version
        self._emit = emit
        self._meter = Meter()
        self._saved = Meter()
        self._budget_gate = BudgetGate(allowance, self._meter)
        self._began_at = trio.current_time()
        self._pace = Pace(plan.max_parallel, plan.limits, held_until)
        self._told_until = self._began_at
        self._in_outage = False
        self._end: End | None = None
        self._lost_in_a_row = self._refused_in_a_row = 0
        self._asking: trio.CancelScope | None = None
        # Under a budget a batch begins when it can be asked for: what the others have spent is known then.
        ahead = 0 if allowance.is_bounded else READ_AHEAD
        self._asking_places = trio.Semaphore(plan.max_parallel + ahead)
        # Behind those that are asked for, READY may wait for the writer: what waits costs memory, and a crash
        # would lose answers that are paid for.
        self._open_places = trio.Semaphore(plan.max_parallel + ahead + READY)
        self._ready_places = trio.Semaphore(READY)

    async def work(self) -> None:
        """Tags everything, or ends early; `summary` says which. Cancel it to cancel the run."""
        try:
            self._on_wait()
            async with open_client(self.plan.settings) as client:
                calls = Calls(client, self._version, self._pace, self.plan.limits, self._on_wait)
                async with trio.open_nursery() as writing, trio.open_nursery() as asking:
                    self._asking = asking.cancel_scope
                    await self._feed(asking, writing, calls)
        except GeminiError as error:
            end = verdict(error, Tries(), self.plan.limits, 0, datetime.now(UTC))
            self._finish_early(end if isinstance(end, End) else _failed(error.detail))

    @property
    def held_until(self) -> float:
        """Before that time (of trio's clock) nothing may be sent, not by the next run either."""
        return self._pace.held_until

    @property
    def latest(self) -> Progress:
        """The progress of this moment."""
        now = trio.current_time()
        seconds, in_outage = self._pace.wait_seconds(now), self._pace.outage_since is not None
        waiting = Waiting(seconds, in_outage, self._pace.is_overload) if seconds > 0 or in_outage else None
        run, usage = self.plan.run, self._meter.usage
        return progress(run.run_id, self.tally, usage, now - self._began_at, waiting, dry_run=run.dry_run)

    def summary(self, *, cancelled: bool) -> RunSummary:
        """The run's end. `cancelled`: it was cut off before its work was done."""
        if self._end is not None:
            status, why = self._end.status, why_ended(self._end, self.plan.run.kind)
        elif cancelled and self.tally.remaining_files:
            status, why = RunStatus.CANCELLED, ""
        else:
            status, why = RunStatus.COMPLETED, ""
        elapsed_seconds = trio.current_time() - self._began_at
        return summary_of(
            self.plan.run,
            self.tally,
            status,
            why,
            datetime.now(UTC),
            elapsed_seconds,
            self._meter.usage,
        )

    @property
    def unsaved_usage(self) -> Usage:
        """What was spent on requests whose batch has no row: cut off, or its transaction failed."""
        return self._meter.usage - self._saved.usage

    def fail(self, message: str) -> None:
        """Ends the run as failed, for an error outside of any batch."""
        self._finish_early(_failed(message))

    async def _feed(self, asking: trio.Nursery, writing: trio.Nursery, calls: Calls) -> None:
        """Reads the batches in order, each when a place is free for it."""
        for number, ids in enumerate(self.plan.selection.batches(), 1):
            await self._asking_places.acquire()
            await self._open_places.acquire()
            if not await self._budget_gate.admit():
                self._finish_early(self._budget_gate.end)
                return
            # Before the read: what is true in that generation may be relied on until the next.
            generation, version = self._library.generation, self._knowledge.exclusions_version
            try:
                found = await self._library.read(partial(_read, ids=ids))
            except LibraryError as error:
                self._finish_early(ended_by(error))
                return
            batch = Batch(number, found, generation, version, self._meter)
            asking.start_soon(self._ask, batch, calls, writing)

    async def _ask(self, batch: Batch, calls: Calls, writing: trio.Nursery) -> None:
        try:
            asked = await batch.ask(calls, self.plan.prompt, self._knowledge, self._allowed)
        except LibraryError as error:
            asked = ended_by(error)
        except Exception:
            log.exception("batch failed while asking")
            # Not a reason of content: the files are not at fault, and later runs must not set them apart.
            asked = batch.without_answer(NotTagged(Reason.SERVICE_UNAVAILABLE, INTERNAL))
        finally:
            self._budget_gate.done()
            self._asking_places.release()
        if isinstance(asked, End):
            self._finish_early(asked)
        else:
            writing.start_soon(self._write, batch, asked)

    async def _allowed(self, ids: Sequence[int]) -> Collection[int]:
        return {*await self._library.read(lambda connection, _: queries.without_excluded(connection, ids))}

    async def _write(self, batch: Batch, asked: Asked) -> None:
        try:
            async with self._ready_places:
                await self._save(batch, asked)
        finally:
            self._open_places.release()

    async def _save(self, batch: Batch, asked: Asked) -> None:
        knowledge = self._knowledge
        try:
            terms = self._terms(batch)
            decisions = decide_batch(batch, asked, knowledge.mappings, knowledge.vocabulary, self.plan.run.mode)
            ready = prepare(decisions, terms)
            written = await self._library.write(partial(commit, batch, asked, knowledge, terms, ready))
        except LibraryError as error:
            self._lose(batch, asked, error)
        except Exception:
            log.exception("batch failed while being written")
            self._lose(batch, asked, LibraryError(Fault.REFUSED, INTERNAL))
        else:
            self._lost_in_a_row = 0
            self._saved.add(batch.meter.usage)
            knowledge.adopt(written.tables, written.mappings)
            refused = sum(failure.reason is Reason.DATABASE_ERROR for failure in written.outcome.failures)
            self._refused_in_a_row = 0 if written.outcome.tagged else self._refused_in_a_row + refused
            if self._refused_in_a_row >= MOST_REFUSED_FILES:
                self._finish_early(REFUSED_ALL)
            self._report(batch, written.outcome)

    def _terms(self, batch: Batch) -> Terms:
        now = trio.current_time()
        return Terms(
            stamp=self.plan.stamp(datetime.now(UTC)),
            row=self._row,
            number=batch.number,
            total_files=batch.total_files,
            paths=batch.paths,
            usage=batch.meter.usage,
            elapsed_seconds=round(now - self._began_at, 3),
            seconds=round(now - batch.began_at, 3),
            dry_run=self.plan.run.dry_run,
        )

    def _lose(self, batch: Batch, asked: Asked, error: LibraryError) -> None:
        """The batch was rolled back. Where later ones can't fare better, the run ends."""
        outcome = lost_batch(batch, asked, error)
        self.unsaved_failures.extend(outcome.failures)
        self._lost_in_a_row += 1
        if error.ends_run or self._lost_in_a_row >= MOST_LOST_BATCHES:
            self._finish_early(ended_by(error))
        self._report(batch, outcome)

    def _report(self, batch: Batch, outcome: BatchOutcome) -> None:
        """Counts a finished batch and says so. Without a checkpoint: after a commit nothing is cut off."""
        self.tally = self.tally.with_batch(outcome)
        self._emit(
            BatchReport(
                run_id=self.plan.run_id,
                batch=batch.number,
                ok=outcome.failed == 0,
                tagged=outcome.tagged,
                failed=outcome.failed,
                skipped=outcome.skipped,
                attempts=batch.meter.usage.requests,
                seconds=round(trio.current_time() - batch.began_at, 3),
                failures=outcome.failures,
            )
        )
        self._emit(self.latest)

    def _finish_early(self, end: End) -> None:
        """The first reason counts. Requests are cut off; answers that wait are still written."""
        if self._end is None:
            self._end = end
        if self._asking is not None:
            self._asking.cancel()

    def _on_wait(self) -> None:
        """Says so when a wait or an outage begins, or grows by so much that a person would notice."""
        now, outage = trio.current_time(), self._pace.outage_since is not None
        until = now + self._pace.wait_seconds(now)
        if until == now:
            return
        noticed = until >= self._told_until + NOTICED_SECONDS
        if now >= self._told_until or noticed or outage != self._in_outage:
            self._in_outage, self._told_until = outage, until
            self._emit(self.latest)


def _read(connection: sqlite3.Connection, shape: Shape, ids: Sequence[int]) -> Found:
    """The files as they are now, and why others of `ids` are not to be asked for."""
    allowed = queries.without_excluded(connection, ids).tolist()
    files = queries.snapshots(connection, shape, allowed)
    gone = {*allowed} - {snapshot.file.id for snapshot in files}
    excluded = {*ids} - {*allowed}
    not_tagged = dict.fromkeys(gone, GONE) | dict.fromkeys(excluded, EXCLUDED)
    return Found(files, not_tagged, queries.paths(connection, excluded) if excluded else {})


def _failed(sentence: str) -> End:
    return End(RunStatus.FAILED, sentence)
