"""A disk that is full or broken at the N-th write, or away; a read-only file, a lock, flipped bytes.

Besides the invariants: the process goes on and says what is wrong, and once the fault is gone a next run
tags exactly what is left. A process whose fault has passed needs no restart.
"""

import os
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

import trio

from sidecar.demo import standin
from tests import harness
from tests.harness import Client, Library
from tests.trust import strace
from tests.trust.row import Case, Counts, Figure, Row, chance, each
from tests.trust.writes import calls_of_a_run

BATCH, BATCHES, PARALLEL = 2, 4, 2
DATABASE_UNAVAILABLE = -32010
TRIES = 4
"""Runs of one process until one completes: a fault of one moment may meet two threads, each once."""
MET_SHARE: Final = 0.8
"""Of the faults: a run makes now and then fewer writes than the one that was counted."""
ABSENT_SECONDS: Final = 4
LOCK_SECONDS: Final = (0.1, 0.1, 0.1, 5, 5, 35)
Body = Callable[[Path, Counter[str], Random], Coroutine[Any, Any, None]]


async def run(size: int, seed: int) -> Counts:
    """`size` faults, in the shares of `_KINDS`."""
    with tempfile.TemporaryDirectory() as folder:
        calls = await calls_of_a_run(Path(folder) / "counted", BATCHES)
        counts = await each(_cases(Path(folder), calls, size, seed), at_once=2)
        logs = [log.read_text(errors="replace") for log in Path(folder).glob("*/strace.log")]
    met = sum("(INJECTED)" in log for log in logs)
    share = sum(share for name, share, _ in _KINDS if name.startswith("E")) / 100
    counts.figures.append(
        Figure("of them faults that strace injected", met, at_least=int(MET_SHARE * share * size))
    )
    return counts


def _cases(folder: Path, calls: Counter[str], size: int, seed: int) -> Iterator[Case]:
    hundred = [(name, body) for name, share, body in _KINDS for _ in range(share)]
    chance(seed, "disk").shuffle(hundred)
    for number in range(size):
        name, body = hundred[number % len(hundred)]
        place = folder / str(number)
        yield f"{name} {number}", partial(_case, body, place, calls, chance(seed, "disk", number))


async def _case(body: Body, folder: Path, calls: Counter[str], random: Random) -> None:
    folder.mkdir()
    await body(folder, calls, random)


def _library(folder: Path) -> Library:
    return harness.library(folder, BATCH * BATCHES)


async def _tried(subject: Client) -> bool:
    """Whether a run completed with every file; whatever else it came to has a name and a sentence."""
    answer = await subject.request("auto_tag_files", batch_size=BATCH, max_parallel=PARALLEL)
    if "error" in answer:
        error = answer["error"]
        assert error["code"] == DATABASE_UNAVAILABLE and error["message"].endswith("."), error
        return False
    if answer["result"]["run_id"] is None:
        return True
    done = await subject.complete(answer["result"]["run_id"])
    assert done["status"] in ("completed", "failed"), done
    assert (await subject.result("status"))["active_run_id"] is None
    return bool(done["status"] == "completed" and done["failed_files"] == 0)


# --- a full or a broken disk --------------------------------------------------------------------


async def _injected(folder: Path, calls: Counter[str], random: Random, *, error: str, lasting: bool) -> None:
    [call] = random.choices(strace.WRITES, (14, 5, 1))
    number = random.randint(1, max(1, calls[call]))
    library = _library(folder)
    inject = f"{call}:error={error}:when={number}{'+' if lasting else ''}"
    async with standin.running() as gemini:
        async with strace.start(library, gemini, inject, folder / "strace.log") as subject:
            tried = [await _tried(subject)]
            while not lasting and not tried[-1] and len(tried) < TRIES:
                tried.append(await _tried(subject))
            assert lasting or tried[-1], f"{call} {number}: {tried}"
        async with harness.start(library, gemini) as subject:
            assert await _tried(subject), f"{call} {number}"
    assert library.tagged == BATCH * BATCHES, f"{call} {number}"


# --- files that may not be written ---------------------------------------------------------------


async def _read_only(folder: Path, _calls: Counter[str], random: Random) -> None:
    library, from_the_start = _library(folder), random.random() < 0.5
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        if not from_the_start:
            await subject.result("count_untagged_files")
        library.path.chmod(0o444)
        assert not await _tried(subject)
        assert gemini.arrived == 0
        library.path.chmod(0o644)
        assert await _tried(subject)
    assert library.tagged == BATCH * BATCHES


async def _locked(folder: Path, _calls: Counter[str], random: Random, *, seconds: float) -> None:
    """Before the run, or in its midst; longer than a writer's patience, it costs the run but no file for good."""
    library, in_the_midst = _library(folder), random.random() < 0.5
    gate = trio.Event()
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        gemini.script = (lambda _: standin.Reply(gate=gate)) if in_the_midst else None
        asking = await subject.send("auto_tag_files", batch_size=BATCH) if in_the_midst else None
        if in_the_midst:
            with trio.fail_after(20):
                await gemini.wait_for(1)
        with closing(library.connect()) as shell:
            shell.execute("BEGIN IMMEDIATE")
            gate.set()
            if asking is None:
                asking = await subject.send("auto_tag_files", batch_size=BATCH)
            await trio.sleep(seconds)
            shell.execute("COMMIT")
        answer = await subject.wait_for(lambda m: harness.is_answer(m, asking))
        patient = seconds < 30
        if "error" in answer:
            assert not patient and answer["error"]["data"]["kind"] == "locked", answer
        else:
            done = await subject.complete(answer["result"]["run_id"])
            assert done["status"] == "completed" or (not patient and "locked" in done["message"]), done
            assert not patient or done["failed_files"] == 0, done
        assert await _tried(subject)
    assert library.tagged == BATCH * BATCHES


# --- a disk that does not answer -----------------------------------------------------------------


async def _absent(folder: Path, _calls: Counter[str], _random: Random) -> None:
    """As a share that has gone away: what needs no file is answered at once, `status` within its moment."""
    library = _library(folder)
    async with standin.running() as gemini:
        async with strace.start_on_a_slow_disk(library, gemini, ABSENT_SECONDS) as subject:
            for method in ("rpc.discover", "status", "check_gemini_api_key", "status"):
                with trio.fail_after(ABSENT_SECONDS / 2):
                    answer = await subject.result(method)
                if method == "status":
                    assert "does not answer" in answer["database"]["error"], answer
            await subject.close_stdin()
            assert await subject.exit_code() == 0
        async with harness.start(library, gemini) as subject:
            assert await _tried(subject)
    assert library.tagged == BATCH * BATCHES


# --- flipped bytes -------------------------------------------------------------------------------


async def _flipped(folder: Path, _calls: Counter[str], random: Random) -> None:
    """Whatever is wrong with the file: an answer to every call, one end to every run, an orderly exit.

    Where SQLite finds nothing wrong, all invariants hold; a damaged file may only not be made worse silently.
    """
    library = _library(folder)
    with closing(library.connect()) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    size = library.path.stat().st_size
    with library.path.open("r+b") as file:
        for _ in range(random.choice((1, 1, 4, 64))):
            position = random.randrange(random.choice((100, 4096, size)))
            file.seek(position)
            old = file.read(1)
            file.seek(position)
            file.write(bytes([old[0] ^ 1 << random.randrange(8)]))
        os.fsync(file.fileno())
    whole = _whole(library)
    async with (
        standin.running() as gemini,
        harness.start(library if whole else library.path, gemini) as subject,
    ):
        await _calls_answered(subject)
        answer = await subject.request("auto_tag_files", batch_size=BATCH, max_parallel=PARALLEL)
        if "error" not in answer and answer["result"]["run_id"]:
            done = await subject.complete(answer["result"]["run_id"])
            assert done["status"] in ("completed", "failed"), done
        elif "error" in answer:
            error = answer["error"]
            assert error["code"] == DATABASE_UNAVAILABLE and error["message"].endswith("."), error
        await _calls_answered(subject)


async def _calls_answered(subject: Client) -> None:
    assert (await subject.result("status"))["name"] == "ligeia-sidecar"
    for method in ("count_untagged_files", "get_untagged_files", "list_runs", "list_tag_mappings", "find_stale"):
        answer = await subject.request(method)
        assert answer.get("error", {"code": DATABASE_UNAVAILABLE})["code"] == DATABASE_UNAVAILABLE, answer


def _whole(library: Library) -> bool:
    """Whether SQLite finds nothing wrong; then what it reads is what the shell's library now is."""
    try:
        if library.query("PRAGMA integrity_check") != [{"integrity_check": "ok"}]:
            return False
        library.baseline = library.snapshot()
    except sqlite3.Error:
        return False
    return library.query("PRAGMA foreign_key_check") == []


_KINDS: tuple[tuple[str, int, Body], ...] = (
    ("ENOSPC once", 20, partial(_injected, error="ENOSPC", lasting=False)),
    ("EIO once", 20, partial(_injected, error="EIO", lasting=False)),
    ("ENOSPC from then on", 10, partial(_injected, error="ENOSPC", lasting=True)),
    ("EIO from then on", 10, partial(_injected, error="EIO", lasting=True)),
    ("read-only", 4, _read_only),
    *((f"locked for {seconds} s", 1, partial(_locked, seconds=seconds)) for seconds in LOCK_SECONDS),
    ("absent", 4, _absent),
    ("flipped bytes", 26, _flipped),
)
"""Of a hundred cases."""

ROW = Row("disk", "Disk full, broken, away, read-only, locked, bytes flipped", (100, 1000), run)
