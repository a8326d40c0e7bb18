"""A shell that never reads stdout, never stderr, or neither; closes one in mid-run; pauses for 30 s; or floods.

Each case is a whole run at the log level `debug`, where every request is worth many lines. The run completes,
the process ends in time, and its memory stays within 10 MB of that under a shell that reads everything. The shell
that pauses finds all that the contract keeps for it: the answers, the last progress, the completion. So does the
one that sends 200,000 requests in the meantime, for whose answers there is a bound of its own.
"""

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final, Literal, cast

import psutil
import trio
from msgspec import Struct

from sidecar.demo import standin
from sidecar.process.lines import LineSplitter
from sidecar.process.stdio import CHUNK_BYTES
from tests import harness
from tests.harness import Library
from tests.trust.row import Case, Counts, Figure, Row, attempt, each

Habit = Literal["reads", "never", "closes"]
MEMORY_MB: Final = 10
PAUSE_SECONDS: Final = 30
PAUSES: Final = "pauses both"
FLOODS: Final = "floods stdin, reads in the end"
FLOOD_REQUESTS: Final = 200_000
FLOOD_MB: Final = 60
"""16 MiB of answers wait in memory, the others on disk; the rest is of the calls under way."""
FILES_A_SIZE: Final = 60
"""Files for each unit of the size: one request each, and two notifications."""
LINES_A_FILE: Final = 10
"""Log lines, at least; so the long form has a million of them."""
JOURNAL_REQUESTS: Final = 5_000
"""As many are compared with what was written; those of a long run would be gigabytes."""
LONGEST_RUN_SECONDS: Final = 3600
EXIT_SECONDS: Final = 2.5
START: Final = (
    b'{"jsonrpc":"2.0","id":1,"method":"auto_tag_files","params":{"batch_size":1,"max_parallel":8}}\n'
    b'{"jsonrpc":"2.0","id":2,"method":"list_runs"}\n'
)


class Shell(Struct, frozen=True):
    """How it treats the two pipes."""

    stdout: Habit = "reads"
    stderr: Habit = "reads"

    @property
    def name(self) -> str:
        """In words."""
        return f"stdout {self.stdout}, stderr {self.stderr}"


SHELLS: Final = (
    Shell("never", "reads"),
    Shell("reads", "never"),
    Shell("never", "never"),
    Shell("closes", "reads"),
    Shell("reads", "closes"),
    Shell("closes", "closes"),
)


async def run(size: int, _seed: int) -> Counts:
    """Every shell once; `size` scales the run."""
    files, peaks, lines = size * FILES_A_SIZE, dict[str, float](), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        failures = await attempt(
            "a shell that reads", partial(_case, Shell(), Path(folder) / "reads", files, peaks, lines)
        )
        cases = _cases(Path(folder), files, peaks, lines)
        counts = await each(cases, at_once=2)
    counts.wanted = len(cases)
    counts.failures += failures
    floor = peaks.get(Shell().name, 0.0)
    flooded = peaks.pop(FLOODS, 0.0) - floor
    most = max((peak - floor for peak in peaks.values()), default=0.0)
    counts.figures += [
        Figure("files in each run", files),
        Figure("log lines of one", lines[Shell().name], at_least=files * LINES_A_FILE),
        Figure("peak memory of a shell that reads, MB", round(floor, 1)),
        Figure("MB more, most", round(most, 1), at_most=MEMORY_MB),
        Figure("MB more in a flood", round(flooded, 1), at_most=FLOOD_MB),
    ]
    return counts


def _cases(folder: Path, files: int, peaks: dict[str, float], lines: Counter[str]) -> list[Case]:
    cases = [
        (shell.name, partial(_case, shell, folder / str(number), files, peaks, lines))
        for number, shell in enumerate(SHELLS)
    ]
    pauses = (PAUSES, partial(_pauses, folder / "pauses", files, peaks))
    return [pauses, (FLOODS, partial(_floods, folder / "floods", files, peaks)), *cases]


async def _case(shell: Shell, folder: Path, files: int, peaks: dict[str, float], lines: Counter[str]) -> None:
    folder.mkdir()
    library = harness.library(folder, files)
    async with standin.running() as gemini, harness.unread(library, gemini, "--log-level", "debug") as process:
        gemini.keep_journal = False
        usage, peak = psutil.Process(process.pid), 0
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None

        def half_done() -> bool:
            return gemini.answered * 2 >= files

        async with trio.open_nursery() as nursery:
            nursery.start_soon(_treat, shell.stdout, process.stdout, half_done, lines, "stdout")
            nursery.start_soon(_treat, shell.stderr, process.stderr, half_done, lines, shell.name)
            await process.stdin.send_all(START)
            with trio.fail_after(LONGEST_RUN_SECONDS):
                while _status(library) != "completed":
                    peak = max(peak, usage.memory_info().rss)
                    await trio.sleep(0.1)
            await process.stdin.aclose()
            with trio.fail_after(EXIT_SECONDS):
                assert await process.wait() == 0
            nursery.cancel_scope.cancel()
    peaks[shell.name] = peak / 1e6
    assert library.tagged == files
    harness.check_invariants(library, [])


async def _pauses(folder: Path, files: int, peaks: dict[str, float]) -> None:
    folder.mkdir()
    library, reading = harness.library(folder, files), trio.Event()
    async with (
        standin.running() as gemini,
        harness.start(library, gemini, arguments=["--log-level", "debug"], reading=reading, anew=True) as subject,
    ):
        usage, peak = psutil.Process(subject.process.pid), 0
        began = trio.current_time()
        run = await subject.send("auto_tag_files", batch_size=1, max_parallel=8)
        with trio.fail_after(LONGEST_RUN_SECONDS):
            while _status(library) != "completed" or trio.current_time() < began + PAUSE_SECONDS:
                gemini.keep_journal &= gemini.arrived < JOURNAL_REQUESTS
                peak = max(peak, usage.memory_info().rss)
                await trio.sleep(0.1)
        reading.set()
        answer = await subject.wait_for(lambda m: harness.is_answer(m, run))
        assert (await subject.complete(answer["result"]["run_id"]))["processed_files"] == files
        assert subject.events("tagging-progress")[-1]["processed_files"] == files
        assert len(await subject.result("list_runs")) == 1
    peaks[PAUSES] = peak / 1e6


async def _floods(folder: Path, files: int, peaks: dict[str, float]) -> None:
    folder.mkdir()
    library = harness.library(folder, files)
    answers, completed = Counter[int](), 0
    async with standin.running() as gemini, harness.unread(library, gemini) as process:
        gemini.keep_journal = False
        usage, peak = psutil.Process(process.pid), 0
        assert process.stdin is not None and process.stdout is not None
        flood = harness.Flood(process, _requests())
        async with trio.open_nursery() as nursery:
            await process.stdin.send_all(START)
            nursery.start_soon(flood.run)
            with trio.fail_after(LONGEST_RUN_SECONDS):
                while _status(library) != "completed" or not flood.over.is_set():
                    peak = max(peak, usage.memory_info().rss)
                    await trio.sleep(0.1)
        splitter = LineSplitter()
        with trio.fail_after(LONGEST_RUN_SECONDS):
            while answers.total() < FLOOD_REQUESTS + 2 or not completed:  # a long run ends after the last answer
                for line in splitter.feed(bytes(await process.stdout.receive_some(CHUNK_BYTES))):
                    message = json.loads(cast("bytes", line))
                    answers.update([message["id"]] if "id" in message else [])
                    completed += message.get("method") == harness.COMPLETE
        await process.stdin.aclose()
        with trio.fail_after(EXIT_SECONDS):
            assert await process.wait() == 0
    peaks[FLOODS] = peak / 1e6
    assert answers == Counter(range(1, FLOOD_REQUESTS + 3))
    assert completed == 1
    assert library.tagged == files
    harness.check_invariants(library, [])


def _requests() -> Iterator[bytes]:
    """START has the ids 1 and 2."""
    return (b'{"jsonrpc":"2.0","id":%d,"method":"status"}' % number for number in range(3, FLOOD_REQUESTS + 3))


async def _treat(
    habit: Habit, pipe: trio.abc.ReceiveStream, half_done: Callable[[], bool], lines: Counter[str], name: str
) -> None:
    if habit == "never":
        return
    if habit == "closes":
        await harness.eventually(half_done, LONGEST_RUN_SECONDS)
        await pipe.aclose()
        return
    async for chunk in pipe:
        lines[name] += chunk.count(b"\n")


def _status(library: Library) -> str:
    """Of the latest run, by the database: nobody may be listening."""
    if not library.query("SELECT 1 FROM sqlite_master WHERE name = 'auto_tag_runs'"):
        return ""
    return str(library.scalar("SELECT max(status) FROM auto_tag_runs"))


ROW = Row("shells", "Shells that do not read, close, pause 30 s, or flood", (8, 1_667), run)
