"""The writer thread: one transaction a job, in order; cancelled until it has begun, finished once it has."""

import itertools
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import psutil
import pytest
import trio
import trio.testing

from sidecar.demo.library import create_library
from sidecar.library.faults import Fault, LibraryError
from sidecar.library.own_tables import create_tables
from sidecar.library.procedures import Rows, write_rows
from sidecar.library.writer import Transaction, Writer

PATIENCE_SECONDS = 20.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "library.db"
    create_library(found, files=3)
    return found


class Clock:
    """Time for a writer's thread: it passes while the thread waits, and where a job says so."""

    def __init__(self, meanwhile: Callable[[threading.Event], object] = lambda _: None) -> None:
        self.now = 0.0
        self.waits: list[float] = []
        self._meanwhile = meanwhile

    def monotonic(self) -> float:
        return self.now

    def wait(self, gone: threading.Event, seconds: float) -> None:
        """Nothing waits in truth; what happens meanwhile, but for waits of no time at all, does."""
        self.waits.append(seconds)
        self.now += seconds
        if seconds:
            self._meanwhile(gone)

    def passes(self, seconds: float) -> Callable[[Transaction], None]:
        """A job that takes so long."""

        def job(_transaction: Transaction) -> None:
            self.now += seconds

        return job


@asynccontextmanager
async def writing(path: Path, clock: Clock | None = None) -> AsyncIterator[Writer]:
    timing = () if clock is None else (clock.monotonic, clock.wait)
    writer = Writer(path, itertools.count(1), *timing)
    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.run)
            try:
                yield writer
            finally:
                writer.close()
                with trio.CancelScope(shield=True):
                    await writer.ended.wait()


class Job:
    """Sets a file's rating; waits at its gate within the transaction, if it has one."""

    def __init__(self, number: int, rating: int, gate: threading.Event | None = None) -> None:
        self._number = number
        self._rating = rating
        self._gate = gate
        self.begun = threading.Event()

    def __call__(self, transaction: Transaction) -> int:
        self.begun.set()
        transaction.connection.execute(
            "UPDATE audio_files SET rating = ? WHERE id = ?", (self._rating, self._number)
        )
        if self._gate is not None:
            assert self._gate.wait(PATIENCE_SECONDS)
        return self._rating


def ratings(path: Path) -> list[int | None]:
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT rating FROM audio_files ORDER BY id")]


async def begun(job: Job) -> None:
    assert await trio.to_thread.run_sync(job.begun.wait, PATIENCE_SECONDS)


async def test_a_result_comes_after_its_commit(path: Path) -> None:
    async with writing(path) as writer:
        assert await writer.write(Job(1, 5)) == 5
        assert ratings(path)[0] == 5


async def test_jobs_run_in_the_order_of_their_hand_over(path: Path) -> None:
    order: list[int] = []
    async with writing(path) as writer, trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(writer.write, lambda _, number=number: order.append(number))
            await trio.testing.wait_all_tasks_blocked()
    assert order == list(range(20))


async def test_a_job_that_raises_changes_nothing_and_its_error_arrives(path: Path) -> None:
    def job(transaction: Transaction) -> None:
        transaction.connection.execute("UPDATE audio_files SET rating = 1")
        raise KeyError("mine")

    before = ratings(path)
    async with writing(path) as writer:
        with pytest.raises(KeyError, match="mine"):
            await writer.write(job)
        assert ratings(path) == before
        assert await writer.write(Job(2, 4)) == 4


async def test_an_error_of_sqlite_is_a_library_error(path: Path) -> None:
    async with writing(path) as writer:
        with pytest.raises(LibraryError) as caught:
            await writer.write(lambda transaction: transaction.connection.execute("SELECT nothing"))
        assert caught.value.fault is Fault.REFUSED
        assert await writer.write(Job(1, 3)) == 3


async def test_a_job_finds_the_procedures_in_its_connection(path: Path) -> None:
    def job(transaction: Transaction) -> list[tuple[str]]:
        create_tables(transaction.connection)
        write_rows(transaction.connection, Rows(run=1, proposals='{"3": "it"}'))
        return transaction.connection.execute("SELECT proposal FROM auto_tag_proposals").fetchall()

    async with writing(path) as writer:
        assert await writer.write(job) == [("it",)]


async def test_a_job_that_waits_in_the_queue_is_cancelled_at_once_and_never_runs(path: Path) -> None:
    gate = threading.Event()
    first, second = Job(1, 5, gate), Job(2, 5)
    before = ratings(path)[1]
    async with writing(path) as writer, trio.open_nursery() as nursery:
        nursery.start_soon(writer.write, first)
        await begun(first)
        with trio.move_on_after(0) as scope:
            await writer.write(second)
        assert scope.cancelled_caught
        gate.set()
    assert not second.begun.is_set()
    assert ratings(path)[:2] == [5, before]


async def test_a_transaction_under_way_is_finished_before_its_task_is_cancelled(path: Path) -> None:
    gate = threading.Event()
    job = Job(1, 5, gate)
    async with writing(path) as writer, trio.open_nursery() as nursery:
        nursery.start_soon(writer.write, job)
        await begun(job)
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await trio.testing.wait_all_tasks_blocked()
            assert nursery.child_tasks
        gate.set()
    assert ratings(path)[0] == 5


async def test_a_task_that_leaves_while_its_transaction_begins_leaves_no_transaction_behind(path: Path) -> None:
    begins, gate = threading.Event(), threading.Event()

    def hold_begin(statement: str) -> None:
        if statement.startswith("BEGIN") and not gate.is_set():
            begins.set()
            assert gate.wait(PATIENCE_SECONDS)

    job = Job(1, 77)
    async with writing(path) as writer:
        await writer.write(lambda transaction: transaction.connection.set_trace_callback(hold_begin))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.write, job)
            assert await trio.to_thread.run_sync(begins.wait, PATIENCE_SECONDS)
            nursery.cancel_scope.cancel()
        gate.set()
        assert await writer.write(Job(2, 5)) == 5
    assert not job.begun.is_set()
    assert ratings(path)[0] != 77


async def test_the_generation_rises_only_when_another_program_has_written(path: Path) -> None:
    def generation(transaction: Transaction) -> int:
        return transaction.generation

    async with writing(path) as writer:
        first = await writer.write(generation)
        await writer.write(Job(1, 5))
        assert await writer.write(generation) == first == writer.generation
        with closing(sqlite3.connect(path)) as other, other:
            other.execute("UPDATE audio_files SET rating = 2 WHERE id = 2")
        assert await writer.write(generation) > first
        assert writer.generation > first


async def test_before_its_first_transaction_a_writer_has_seen_no_generation(path: Path) -> None:
    async with writing(path) as writer:
        before = writer.generation
        assert before < await writer.write(lambda transaction: transaction.generation)


async def test_another_program_gets_its_turn_while_jobs_come_without_a_pause(path: Path) -> None:
    """Seen from outside: while jobs come without a pause, another program finds the lock free again and again."""
    held_seconds = 0.03
    async with writing(path) as writer, trio.open_nursery() as nursery:

        def hold(_transaction: Transaction) -> None:
            threading.Event().wait(held_seconds)

        async def keep_busy() -> None:
            for _ in range(20):
                await writer.write(hold)

        nursery.start_soon(keep_busy)
        nursery.start_soon(keep_busy)

        def edit() -> int:
            edits = 0
            with closing(sqlite3.connect(path, timeout=PATIENCE_SECONDS, isolation_level=None)) as other:
                for _ in range(10):
                    other.execute("UPDATE audio_files SET rating = ifnull(rating, 0) + 1 WHERE id = 3")
                    edits += 1
            return edits

        found = await trio.to_thread.run_sync(edit)
    assert found == 10


async def test_a_missing_file_is_told_and_a_later_one_is_used(path: Path) -> None:
    away = path.with_suffix(".away")
    path.rename(away)
    async with writing(path) as writer:
        with pytest.raises(LibraryError) as caught:
            await writer.write(Job(1, 5))
        assert caught.value.fault is Fault.MISSING
        away.rename(path)
        assert await writer.write(Job(1, 5)) == 5


# --- the lock, its rest and the log ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("held", "idle", "rest"),
    [(0.06, 0.0, 0.03), (0.06, 0.01, 0.02), (0.06, 1.0, 0.0), (10.0, 0.0, 1.0)],
)
async def test_a_job_waits_until_the_lock_was_free_for_half_the_time_that_it_was_held_at_most_a_second(
    path: Path, held: float, idle: float, rest: float
) -> None:
    clock = Clock()
    async with writing(path, clock) as writer:
        await writer.write(clock.passes(held))
        clock.now += idle
        await writer.write(Job(1, 5))
    assert clock.waits == [0.0, pytest.approx(rest)]


async def test_a_rest_that_was_too_long_shortens_the_next_by_five_milliseconds_at_most(path: Path) -> None:
    clock = Clock()
    async with writing(path, clock) as writer:
        await writer.write(clock.passes(0.06))
        clock.now += 0.032
        await writer.write(clock.passes(0.06))  # 2 ms in hand
        clock.now += 1.0
        await writer.write(clock.passes(0.06))  # 5 ms
        await writer.write(clock.passes(0.06))
        await writer.write(Job(1, 5))
    assert clock.waits == [0.0, 0.0, 0.0, pytest.approx(0.025), pytest.approx(0.03)]


async def test_the_lock_is_free_for_a_third_of_the_time_when_rests_are_never_exact(path: Path) -> None:
    clock = Clock()
    async with writing(path, clock) as writer:
        for number in range(100):
            clock.now += 0.003 * (number % 3)
            await writer.write(clock.passes(0.006))
    assert clock.now == pytest.approx(0.6 * 3 / 2, abs=0.005)


def foreign(path: Path) -> "closing[sqlite3.Connection]":
    """Another program, as far as SQLite can tell."""
    return closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0))


async def test_a_foreign_lock_is_tried_in_the_steps_of_sqlites_own_busy_handler(path: Path) -> None:
    milliseconds = [1, 2, 5, 10, 15, 20, 25, 25, 25, 50, 50, 100, 100, 100]

    def release_after_the_last(_gone: threading.Event) -> None:
        if len(clock.waits) == 1 + len(milliseconds):
            other.execute("COMMIT")

    clock = Clock(release_after_the_last)
    with foreign(path) as other:
        other.execute("BEGIN IMMEDIATE")
        async with writing(path, clock) as writer:
            assert await writer.write(Job(1, 5)) == 5
    assert clock.waits == [0.0, *(step / 1000 for step in milliseconds)]


@pytest.mark.parametrize(("patience", "waits"), [(0.0, []), (0.001, [0.001]), (0.0011, [0.001, 0.002])])
async def test_a_lock_that_outlasts_the_patience_is_an_error(
    path: Path, patience: float, waits: list[float]
) -> None:
    clock = Clock()
    with foreign(path) as other:
        other.execute("BEGIN IMMEDIATE")
        async with writing(path, clock) as writer:
            with pytest.raises(LibraryError) as caught:
                await writer.write(Job(1, 5), patience)
            assert caught.value.fault is Fault.LOCKED
            assert clock.waits == [0.0, *waits]
            other.execute("ROLLBACK")
            assert await writer.write(Job(1, 5)) == 5


async def test_a_writer_is_as_patient_as_the_shell_thirty_seconds(path: Path) -> None:
    clock = Clock()
    with foreign(path) as other:
        other.execute("BEGIN IMMEDIATE")
        async with writing(path, clock) as writer:
            with pytest.raises(LibraryError):
                await writer.write(Job(1, 5))
    assert 30 <= clock.now < 30.1


async def test_waiting_for_another_programs_lock_can_be_cancelled(path: Path) -> None:
    waiting = threading.Event()

    def until_gone(gone: threading.Event) -> None:
        waiting.set()
        assert gone.wait(PATIENCE_SECONDS)

    job = Job(1, 77)
    with foreign(path) as other:
        async with writing(path, Clock(until_gone)) as writer:
            other.execute("BEGIN IMMEDIATE")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(writer.write, job)
                assert await trio.to_thread.run_sync(waiting.wait, PATIENCE_SECONDS)
                nursery.cancel_scope.cancel()
            other.execute("ROLLBACK")
            await writer.write(Job(2, 2))
    assert not job.begun.is_set()


async def test_only_a_foreign_lock_is_waited_for_other_troubles_are_told_at_once(path: Path) -> None:
    async with writing(path) as writer:
        await writer.write(lambda transaction: transaction.connection.execute("PRAGMA query_only=ON"))
        with pytest.raises(LibraryError) as caught:
            await writer.write(Job(1, 5), patience_seconds=10 * PATIENCE_SECONDS)
        assert caught.value.fault is Fault.READ_ONLY


# --- the second, careful try -------------------------------------------------------------------------


class Refused:
    """Sets a file's rating, then does what the database refuses, on the first try only unless `always`."""

    def __init__(self, before: Callable[[], object] = lambda: None, *, always: bool = False) -> None:
        self._before = before
        self._always = always
        self.tries: list[tuple[bool, int, int | None]] = []
        """(careful, generation, the rating that was found) of each."""

    def __call__(self, transaction: Transaction) -> str:
        connection = transaction.connection
        found = connection.execute("SELECT rating FROM audio_files WHERE id = 1").fetchone()[0]
        self.tries.append((transaction.careful, transaction.generation, found))
        connection.execute("UPDATE audio_files SET rating = 77 WHERE id = 1")
        if self._always or not transaction.careful:
            self._before()
            connection.execute("INSERT INTO audio_files (file_path) SELECT file_path FROM audio_files")
        return "in the second try"


async def test_what_the_database_refuses_is_rolled_back_and_runs_again_told_to_be_careful(path: Path) -> None:
    job = Refused()
    async with writing(path) as writer:
        await writer.write(Job(1, 5))
        assert await writer.write(job) == "in the second try"
        assert ratings(path)[0] == 77
    [(first, generation, found), second] = job.tries
    assert not first and found == 5
    assert second == (True, generation, 5)


async def test_what_is_refused_twice_has_changed_nothing_and_is_told(path: Path) -> None:
    job = Refused(always=True)
    async with writing(path) as writer:
        await writer.write(Job(1, 5))
        with pytest.raises(LibraryError) as caught:
            await writer.write(job)
        assert caught.value.fault is Fault.REFUSED
        assert ratings(path)[0] == 5
        assert await writer.write(Job(1, 4)) == 4
    assert [careful for careful, *_ in job.tries] == [False, True]


async def test_the_error_of_the_second_try_arrives_not_that_of_the_first(path: Path) -> None:
    job = Refused()

    def fails_otherwise(transaction: Transaction) -> None:
        job(transaction)
        raise KeyError("second")

    async with writing(path) as writer:
        await writer.write(Job(1, 5))
        with pytest.raises(KeyError, match="second"):
            await writer.write(fails_otherwise)
    assert len(job.tries) == 2
    assert ratings(path)[0] == 5


@pytest.mark.parametrize("error", [KeyError("mine"), sqlite3.OperationalError("odd"), sqlite3.DataError("odd")])
async def test_other_errors_get_no_second_try(path: Path, error: Exception) -> None:
    tries = []

    def job(transaction: Transaction) -> None:
        tries.append(transaction.careful)
        raise error

    async with writing(path) as writer:
        with pytest.raises((KeyError, LibraryError)):
            await writer.write(job)
    assert tries == [False]


async def test_a_commit_that_is_refused_has_changed_nothing_and_gets_a_second_try(path: Path) -> None:
    found: list[list[int | None]] = []

    def orphan(transaction: Transaction) -> None:
        found.append(ratings(path))
        transaction.connection.execute("PRAGMA defer_foreign_keys=ON")
        transaction.connection.execute("UPDATE audio_files SET rating = 7 WHERE id = 1")
        if not transaction.careful:
            transaction.connection.execute(
                "INSERT INTO rpg_tags (audio_file_id, tag_type, tag_value) VALUES (999, 'keyword', 'x')"
            )

    before = ratings(path)
    async with writing(path) as writer:
        await writer.write(orphan)
    assert found == [before, before]
    assert ratings(path) == [7, *before[1:]]


@asynccontextmanager
async def at_the_second_begin(writer: Writer, act: Callable[[], object]) -> AsyncIterator[Refused]:
    """A job that is refused; `act` happens just before its second transaction takes the lock."""

    def watch(connection: sqlite3.Connection) -> None:
        def on_statement(statement: str) -> None:
            if statement.startswith("BEGIN"):
                connection.set_trace_callback(None)
                act()

        connection.set_trace_callback(on_statement)

    connections: list[sqlite3.Connection] = []
    await writer.write(lambda transaction: connections.append(transaction.connection))
    yield Refused(lambda: watch(connections[0]))


async def test_a_second_try_sees_what_another_program_wrote_after_the_first(path: Path) -> None:
    with foreign(path) as other:
        async with (
            writing(path) as writer,
            at_the_second_begin(
                writer, lambda: other.execute("UPDATE audio_files SET rating = 9 WHERE id = 1")
            ) as job,
        ):
            await writer.write(job)
            [(_, first, _), (_, second, found)] = job.tries
            assert found == 9
            assert first < second == writer.generation


async def test_a_second_try_waits_for_another_programs_lock_and_a_cancel_waits_for_it(path: Path) -> None:
    waiting, gate = threading.Event(), threading.Event()

    def wait(gone: threading.Event) -> None:
        waiting.set()
        assert gate.wait(PATIENCE_SECONDS)
        assert not gone.is_set()
        if other.in_transaction:
            other.execute("COMMIT")

    with foreign(path) as other:
        async with (
            writing(path, Clock(wait)) as writer,
            at_the_second_begin(writer, lambda: other.execute("BEGIN IMMEDIATE")) as job,
        ):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(writer.write, job)
                assert await trio.to_thread.run_sync(waiting.wait, PATIENCE_SECONDS)
                nursery.cancel_scope.cancel()
                with trio.CancelScope(shield=True):
                    await trio.testing.wait_all_tasks_blocked()
                    assert nursery.child_tasks
                gate.set()
            assert len(job.tries) == 2
            assert ratings(path)[0] == 77


async def test_a_lock_that_outlasts_the_patience_of_a_second_try_is_an_error(path: Path) -> None:
    with foreign(path) as other:
        async with (
            writing(path, Clock()) as writer,
            at_the_second_begin(writer, lambda: other.execute("BEGIN IMMEDIATE")) as job,
        ):
            await writer.write(Job(1, 5))
            with pytest.raises(LibraryError) as caught:
                await writer.write(job)
            assert caught.value.fault is Fault.LOCKED
            assert len(job.tries) == 1
            other.execute("ROLLBACK")
            assert ratings(path)[0] == 5
            assert await writer.write(Job(1, 4)) == 4


# --- a shell that migrates --------------------------------------------------------------------------

NO_LIBRARY = "ALTER TABLE tag_mapping_cache RENAME TO away"
LIBRARY_AGAIN = "ALTER TABLE away RENAME TO tag_mapping_cache"


def has_stars(transaction: Transaction) -> bool:
    """A job."""
    return transaction.shape.has("audio_files", "stars")


async def test_a_job_works_by_the_columns_that_are_there_when_it_begins(path: Path) -> None:
    with foreign(path) as other:
        async with writing(path) as writer:
            assert not await writer.write(has_stars)
            other.execute("ALTER TABLE audio_files ADD COLUMN stars INTEGER")
            assert await writer.write(has_stars)
            other.execute("ALTER TABLE audio_files DROP COLUMN stars")
            assert not await writer.write(has_stars)


async def test_an_edit_that_is_no_migration_leaves_the_connection_as_it_is(path: Path) -> None:
    connections: list[sqlite3.Connection] = []
    with foreign(path) as other:
        async with writing(path) as writer:
            for _ in range(2):
                await writer.write(lambda transaction: connections.append(transaction.connection))
                other.execute("UPDATE audio_files SET rating = 9")
    assert connections[0] is connections[1]


async def test_a_library_that_stops_being_one_is_told_and_used_again_when_it_is_one(path: Path) -> None:
    with foreign(path) as other:
        async with writing(path) as writer:
            await writer.write(Job(1, 5))
            other.execute(NO_LIBRARY)
            for _ in range(2):
                with pytest.raises(LibraryError) as caught:
                    await writer.write(Job(1, 77))
                assert caught.value.fault is Fault.NOT_A_LIBRARY
            other.execute(LIBRARY_AGAIN)
            assert await writer.write(Job(2, 6)) == 6
    assert ratings(path)[:2] == [5, 6]


async def test_a_second_try_works_by_the_columns_that_it_finds(path: Path) -> None:
    found: list[bool] = []
    with foreign(path) as other:
        async with (
            writing(path) as writer,
            at_the_second_begin(
                writer, lambda: other.execute("ALTER TABLE audio_files ADD COLUMN stars INTEGER")
            ) as job,
        ):

            def tries(transaction: Transaction) -> str:
                found.append(has_stars(transaction))
                return job(transaction)

            assert await writer.write(tries) == "in the second try"
    assert found == [False, True]


async def test_a_library_that_stops_being_one_before_a_second_try_is_told(path: Path) -> None:
    with foreign(path) as other:
        async with (
            writing(path) as writer,
            at_the_second_begin(writer, lambda: other.execute(NO_LIBRARY)) as job,
        ):
            await writer.write(Job(1, 5))
            with pytest.raises(LibraryError) as caught:
                await writer.write(job)
            assert caught.value.fault is Fault.NOT_A_LIBRARY
            assert len(job.tries) == 1
            other.execute(LIBRARY_AGAIN)
            assert ratings(path)[0] == 5
            assert await writer.write(Job(1, 4)) == 4


# --- other troubles -------------------------------------------------------------------------------


def is_open(path: Path) -> bool:
    return str(path.resolve()) in [file.path for file in psutil.Process().open_files()]


async def test_a_database_that_is_no_library_is_refused_and_not_kept_open(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE notes (text)")
    async with writing(path) as writer:
        with pytest.raises(LibraryError) as caught:
            await writer.write(lambda _: None)
        assert caught.value.fault is Fault.NOT_A_LIBRARY
        assert not is_open(path)


async def test_the_database_is_open_from_the_first_job_until_the_writer_has_ended(path: Path) -> None:
    async with writing(path) as writer:
        assert not is_open(path)
        await writer.write(Job(1, 5))
        assert is_open(path)
        await writer.write(Job(1, 6))
    assert not is_open(path)


async def test_a_read_only_file_is_told_and_may_be_mended(path: Path) -> None:
    path.chmod(0o444)
    async with writing(path) as writer:
        with pytest.raises(LibraryError) as caught:
            await writer.write(Job(1, 5))
        assert caught.value.fault is Fault.READ_ONLY
        path.chmod(0o644)
        assert await writer.write(Job(1, 5)) == 5


async def test_an_error_of_the_file_system_within_a_job_is_a_library_error(path: Path) -> None:
    def refused(_transaction: Transaction) -> None:
        raise PermissionError

    def gone(_transaction: Transaction) -> None:
        raise FileNotFoundError

    async with writing(path) as writer:
        for job, fault in ((refused, Fault.READ_ONLY), (gone, Fault.MISSING)):
            with pytest.raises(LibraryError) as caught:
                await writer.write(job)
            assert caught.value.fault is fault


async def test_a_task_that_is_cancelled_already_hands_nothing_over(path: Path) -> None:
    job = Job(1, 5)
    async with writing(path) as writer:
        with trio.CancelScope() as scope:
            scope.cancel()
            await writer.write(job)
        assert scope.cancelled_caught
        await writer.write(lambda _: None)
    assert not job.begun.is_set()


async def test_jobs_that_were_handed_over_before_the_close_are_dealt_with(path: Path) -> None:
    gate = threading.Event()
    first, second = Job(1, 5, gate), Job(2, 6)
    async with writing(path) as writer, trio.open_nursery() as nursery:
        nursery.start_soon(writer.write, first)
        await begun(first)
        nursery.start_soon(writer.write, second)
        await trio.testing.wait_all_tasks_blocked()
        writer.close()
        assert not writer.ended.is_set()
        gate.set()
    assert writer.ended.is_set()
    assert ratings(path)[:2] == [5, 6]


async def test_an_error_whose_task_has_left_reaches_nobody_and_harms_nobody(path: Path) -> None:
    away = path.with_suffix(".away")
    path.rename(away)
    writer = Writer(path, itertools.count(1))
    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.write, Job(1, 5))
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.run)
            with pytest.raises(LibraryError):  # handed over after the other, so that has been dealt with
                await writer.write(Job(2, 6))
            away.rename(path)
            assert await writer.write(Job(2, 6)) == 6
            writer.close()
