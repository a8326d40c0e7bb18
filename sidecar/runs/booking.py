"""What the database is told of a run that begins, and by which vocabulary it does."""

import uuid
from datetime import UTC, datetime

import msgspec

from sidecar.contract import AutoTagParams, Budget, Usage
from sidecar.library import exclusions, queries, run_reads, run_writes
from sidecar.library.faults import Fault, LibraryError
from sidecar.library.own_tables import create_tables
from sidecar.library.run_writes import NewRun, RunKind
from sidecar.library.store import Library
from sidecar.library.writer import Transaction
from sidecar.runs.budget import Allowance
from sidecar.runs.knowledge import Knowledge, Tables
from sidecar.runs.plan import Plan
from sidecar.runs.prompt import prompt_for
from sidecar.runs.selection import Selection
from sidecar.runs.stamps import day, rfc3339
from sidecar.settings import Settings
from sidecar.tagging.prompts import TOKENS_A_FILE, estimated_tokens, rules_fingerprint


async def book(
    run_id: str,
    library: Library,
    knowledge: Knowledge,
    budget: Budget,
    params: AutoTagParams,
    settings: Settings,
    selection: Selection,
    *,
    named: bool,
) -> tuple[Plan, Allowance]:
    """Books a run as running and reads what it needs, in one transaction. Raises LibraryError.

    `named`: a person has named the files.
    """
    settings = msgspec.structs.replace(settings, model=params.model or settings.model)
    now = datetime.now(UTC)
    kind = RunKind.NAMED if named else RunKind.UNTAGGED
    new = NewRun(
        run_id=run_id,
        mode=params.mode,
        dry_run=params.dry_run,
        model=settings.model,
        rules=rules_fingerprint(settings.hints),
        batch_size=selection.batch_size,
        kind=RunKind.DRY if params.dry_run else kind,
        total_files=selection.total_files,
        total_batches=selection.total_batches,
        started_at=rfc3339(now),
    )

    def write(transaction: Transaction) -> tuple[int, str, Usage, Tables | None]:
        connection = transaction.connection
        tables, root = knowledge.newer(transaction), queries.library_root(connection)
        row = book_run(transaction, knowledge, tables, new, root)
        return row, root, run_reads.spent_on(connection, day(now)), tables

    row, root, spent_today, tables = await library.write(write)
    knowledge.adopt(tables)
    prompt = prompt_for(settings, knowledge.vocabulary, root)
    plan = Plan(
        run=new,
        row=row,
        selection=selection,
        max_parallel=params.max_parallel or settings.max_parallel,
        prompt=prompt,
        settings=settings,
    )
    a_batch = estimated_tokens(prompt.system) + selection.batch_size * TOKENS_A_FILE
    return plan, Allowance(budget, day(now), spent_today, a_batch)


def new_run_id() -> str:
    """The name of a run that begins."""
    return str(uuid.uuid4())


def book_run(
    transaction: Transaction,
    knowledge: Knowledge,
    tables: Tables | None,
    new: NewRun,
    root: str,
    fingerprint: str | None = None,
) -> int:
    """Adds a run's row; its number. Raises LibraryError NO_VOCABULARY.

    `root` is the library's common root now. `fingerprint` is that of the vocabulary by which the run's tags were
    chosen, None for the library's own.
    """
    vocabulary = tables.vocabulary if tables else knowledge.vocabulary
    if not vocabulary.can_tag:
        raise LibraryError(Fault.NO_VOCABULARY)
    connection = transaction.connection
    create_tables(connection)
    exclusions.keep_root(connection, root)
    run_writes.keep_vocabulary(connection, vocabulary)
    return run_writes.insert_run(connection, new, fingerprint or vocabulary.fingerprint)
