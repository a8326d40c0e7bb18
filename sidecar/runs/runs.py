"""All runs of a process, one at a time: start, cancel, look up. Owns the run lock and what is known of tags.

The order that the shell can rely on: the answer to `auto_tag_files`, then the run's notifications, of
which `tagging-complete` is the last, then the answer to the `cancel` that caused it. When
`tagging-complete` has been sent the next run is accepted.
"""

import logging
import sqlite3
import uuid
from array import array
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import trio

from sidecar.contract import (
    AutoTagParams,
    Cancelled,
    Code,
    Event,
    FileFailure,
    Progress,
    RpcError,
    RunDetails,
    RunStatus,
    RunSummary,
    Started,
    invalid_params,
)
from sidecar.gemini.client import ApiVersion
from sidecar.library import queries, run_rows
from sidecar.library.connections import Shape
from sidecar.library.faults import Fault, LibraryError
from sidecar.library.lock import RunLock
from sidecar.library.run_rows import NewRun
from sidecar.library.store import Library
from sidecar.library.writer import Transaction
from sidecar.runs.batch import Prompt
from sidecar.runs.knowledge import Knowledge, Tables
from sidecar.runs.run import Plan, Run, completion, rfc3339
from sidecar.settings import Settings
from sidecar.tagging.prompts import RULES_FINGERPRINT, system_instruction

log = logging.getLogger(__name__)

LAST_WRITE_PATIENCE_SECONDS = 0.5
"""For a run's end state: an exit has 2 s, and a state that is not written reads as `interrupted`."""
HOLDER_PATIENCE_SECONDS = 1.0
PROBES = 3
KEPT_SUMMARIES = 32
MOST_NAMED_IDS = 20


class ActiveRun:
    """A run and where it stands between the lock's taking and its last notification."""

    def __init__(self, run: Run, lock: RunLock) -> None:
        self.run = run
        self.lock = lock
        self.scope = trio.CancelScope()
        self.released = trio.Event()
        self.stopped = trio.Event()
        self.announced = trio.Event()
        self.summary: RunSummary | None = None

    def release(self) -> None:
        """Lets the run begin: its answer is on its way to the shell."""
        self.released.set()


class Runs:
    """One for each process. Every method is called from the trio thread."""

    def __init__(self, library: Library, emit: Callable[[Event], None], nursery: trio.Nursery) -> None:
        self._library = library
        self._emit = emit
        self._nursery = nursery
        self._knowledge = Knowledge()
        self._version = ApiVersion()
        self._starting = trio.Lock()
        self._active: ActiveRun | None = None
        self._ended: dict[str, tuple[RunSummary, list[FileFailure]]] = {}

    @property
    def active_run_id(self) -> str | None:
        """The run of this process that has not ended."""
        return self._active.run.plan.run_id if self._active else None

    async def start(self, params: AutoTagParams, settings: Settings) -> tuple[Started, ActiveRun | None]:
        """Starts a run, held until it is released. Raises RpcError, LibraryError."""
        if params.dry_run:
            raise invalid_params("`dry_run` is not offered by this version yet.")
        async with self._starting:
            if self._active is not None:
                raise _run_active(self._active.run.plan.run_id)
            ids = await self._ids(params.file_ids)
            if not ids:
                return Started(None, "nothing_to_do", "No untagged files found", 0, 0), None
            if not settings.api_key:
                raise RpcError(
                    Code.NO_API_KEY, "No Gemini API key is set. Enter one in the settings (GEMINI_API_KEY)."
                )
            lock = await self._take_lock()
            try:
                plan = await self._plan(params, settings, ids)
            except BaseException:
                lock.release()
                raise
            run = Run(plan, self._library, self._knowledge, self._version, self._emit)
            self._active = active = ActiveRun(run, lock)
            self._nursery.start_soon(self._live, active)
        started = Started(plan.run_id, "started", "Auto-tagging started", len(ids), plan.total_batches)
        return started, active

    async def cancel(self, run_id: str | None) -> Cancelled:
        """Cancels the run and waits until it has really stopped. Raises RpcError -32002."""
        async with self._starting:
            active = self._active
        if active is not None and run_id in (None, active.run.plan.run_id):
            active.scope.cancel()
            await active.stopped.wait()
            if active.released.is_set():
                await active.announced.wait()
            summary = active.summary
        elif run_id is None:
            summary = next((summary for summary, _ in reversed(self._ended.values())), None)
        else:
            summary = await self._summary(run_id)
        if summary is None:
            raise _no_such_run(run_id)
        names = [name for name in Cancelled.__struct_fields__ if name != "cancelled"]
        stopped = active is not None and active.summary is summary
        return Cancelled(
            cancelled=stopped and summary.status is RunStatus.CANCELLED,
            **{name: getattr(summary, name) for name in names},
        )

    async def details(self, run_id: str | None) -> RunDetails:
        """The latest progress of a run with its failures. Raises RpcError -32002, LibraryError."""
        active = self._active
        if active is not None and run_id in (None, active.run.plan.run_id):
            failures = await self._failures(active.run.plan.run_id)
            return _details(active.run.latest, [*failures, *active.run.unsaved_failures])
        summary = await self._summary(run_id)
        if summary is None:
            raise _no_such_run(run_id)
        unsaved = self._ended.get(summary.run_id, (summary, []))[1]
        return _details(_progress(summary), [*await self._failures(summary.run_id), *unsaved])

    async def recent(self, limit: int) -> list[RunSummary]:
        """The latest runs of this library, newest first. Raises LibraryError."""
        summaries = await self._library.read(
            lambda c, _: run_rows.list_runs(c, limit) if queries.has_own_tables(c) else []
        )
        return [self._alive(summary) for summary in summaries]

    async def stop(self) -> None:
        """Cancels the active run, if any, and waits for its end."""
        if self._active is not None:
            self._active.scope.cancel()
            await self._active.stopped.wait()

    async def _live(self, active: ActiveRun) -> None:
        """A run from release to its last notification."""
        run = active.run
        with active.scope:
            await active.released.wait()
            try:
                await run.work()
            except Exception:
                log.exception("run failed")
                run.fail("The sidecar met an error of its own; its log says where.")
        active.summary = run.summary(cancelled=active.scope.cancelled_caught)
        with trio.CancelScope(shield=True):
            await self._book_end(active, active.summary)
        active.lock.release()
        self._active = None
        self._remember(active.summary, run.unsaved_failures)
        active.stopped.set()
        await active.released.wait()
        self._emit(completion(active.summary))
        active.announced.set()

    async def _book_end(self, active: ActiveRun, summary: RunSummary) -> None:
        row = active.run.plan.row
        try:
            await self._library.write(
                lambda transaction: run_rows.end_run(transaction.connection, row, summary),
                LAST_WRITE_PATIENCE_SECONDS,
            )
        except LibraryError as error:
            log.warning("the end of the run could not be saved: %s", error.fault)

    async def _ids(self, file_ids: list[int] | None) -> "array[int]":
        """What to tag: 8 bytes a file. Raises RpcError -32602 for ids that no file has."""
        if file_ids is None:
            return await self._library.read(lambda c, _: queries.untagged_ids(c))
        ids = array("q", dict.fromkeys(file_ids))
        unknown = await self._library.read(lambda c, _: queries.unknown_ids(c, ids))
        if unknown:
            named = ", ".join(map(str, unknown[:MOST_NAMED_IDS]))
            more = f" and {len(unknown) - MOST_NAMED_IDS} more" if len(unknown) > MOST_NAMED_IDS else ""
            raise invalid_params(f"`file_ids`: no file has the id {named}{more}.")
        return ids

    async def _take_lock(self) -> RunLock:
        """The run lock. Raises RpcError -32001 with the holder's run, LibraryError."""
        assert self._library.path is not None
        lock = RunLock(self._library.path)
        for _ in range(PROBES):
            if lock.take():
                return lock
            await trio.sleep(0.01)  # another process may hold it for an instant, to see whether a run is alive
        holder = None
        with trio.move_on_after(HOLDER_PATIENCE_SECONDS):
            # Between the holder's lock and its first transaction; only the database can tell.
            while (holder := await self._library.read(_running_run)) is None:  # noqa: ASYNC110
                await trio.sleep(0.02)
        raise _run_active(holder)

    async def _plan(self, params: AutoTagParams, settings: Settings, ids: "array[int]") -> Plan:
        """Books the run as running and reads what it needs, in one transaction."""
        settings = msgspec.structs.replace(settings, model=params.model or settings.model)
        batch_size = params.batch_size or settings.batch_size
        new = NewRun(
            run_id=str(uuid.uuid4()),
            mode=params.mode,
            model=settings.model,
            vocabulary="",
            rules=RULES_FINGERPRINT,
            batch_size=batch_size,
            max_parallel=params.max_parallel or settings.max_parallel,
            started_at=rfc3339(datetime.now(UTC)),
            total_files=len(ids),
            total_batches=-(-len(ids) // batch_size),
        )

        def book(transaction: Transaction) -> tuple[int, str, Tables | None]:
            tables = self._knowledge.newer(transaction)
            vocabulary = tables.vocabulary if tables else self._knowledge.vocabulary
            if not vocabulary.can_tag:
                raise LibraryError(Fault.NO_VOCABULARY)
            connection = transaction.connection
            run_rows.create_tables(connection)
            row = run_rows.insert_run(connection, msgspec.structs.replace(new, vocabulary=vocabulary.fingerprint))
            return row, queries.library_root(connection), tables

        row, root, tables = await self._library.write(book)
        self._knowledge.adopt(tables)
        return Plan(
            run_id=new.run_id,
            row=row,
            ids=ids,
            batch_size=batch_size,
            max_parallel=new.max_parallel,
            mode=params.mode,
            prompt=Prompt(system_instruction(self._knowledge.vocabulary), root),
            settings=settings,
            started_at=new.started_at,
        )

    async def _summary(self, run_id: str | None) -> RunSummary | None:
        if run_id in self._ended:
            return self._ended[run_id][0]
        found = await self._library.read(
            lambda c, _: run_rows.find_run(c, run_id) if queries.has_own_tables(c) else None
        )
        return None if found is None else self._alive(found[0])

    async def _failures(self, run_id: str) -> list[FileFailure]:
        def query(connection: sqlite3.Connection, _shape: Shape) -> list[FileFailure]:
            found = run_rows.find_run(connection, run_id)
            return [] if found is None else run_rows.failures(connection, found[1])

        return await self._library.read(query)

    def _alive(self, summary: RunSummary) -> RunSummary:
        """A row that says `running`, told apart: ours, another process's, or a dead one's."""
        if summary.run_id in self._ended:
            return self._ended[summary.run_id][0]  # its end may not have been saved: a full disk, a foreign lock
        if summary.status is not RunStatus.RUNNING or summary.run_id == self.active_run_id:
            return summary
        assert self._library.path is not None
        lock = RunLock(self._library.path)
        try:
            taken = lock.take()
        except LibraryError:
            taken = True  # where nobody can take the lock nobody runs
        if not taken:
            return summary
        lock.release()
        return msgspec.structs.replace(summary, status=RunStatus.INTERRUPTED)

    def _remember(self, summary: RunSummary, unsaved: list[FileFailure]) -> None:
        self._ended[summary.run_id] = summary, unsaved
        while len(self._ended) > KEPT_SUMMARIES:
            del self._ended[next(iter(self._ended))]


def _running_run(connection: sqlite3.Connection, _shape: Shape) -> str | None:
    return run_rows.running_run(connection) if queries.has_own_tables(connection) else None


def _progress(summary: RunSummary) -> Progress:
    """A run that has ended as progress: `status` is its end state."""
    names = [name for name in Progress.__struct_fields__ if hasattr(summary, name)]
    shared = {name: getattr(summary, name) for name in names}
    closed = summary.total_files - summary.remaining_files
    rate = closed / summary.elapsed_seconds if summary.elapsed_seconds else 0.0
    return Progress(
        **{**shared, "status": summary.status.value},
        eta_seconds=None,
        files_per_minute=round(rate * 60, 1),
        waiting_seconds=0.0,
    )


def _details(latest: Progress, failures: list[FileFailure]) -> RunDetails:
    return RunDetails(**msgspec.structs.asdict(latest), failures=failures)


def _run_active(run_id: str | None) -> RpcError:
    return RpcError(
        Code.RUN_ACTIVE,
        "Tagging is already under way for this library. Wait for its end or cancel it first.",
        {"run_id": run_id},
    )


def _no_such_run(run_id: str | None) -> RpcError:
    text = "There is no run yet." if run_id is None else f"There is no run `{run_id[:80]}` in this library."
    return RpcError(Code.NO_SUCH_RUN, text)
