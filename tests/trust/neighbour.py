"""A second writer at 200 edits a second during a run: no edit lost, none overwritten.

The edits are those of a person in the shell: a title, a genre, a mood, a keyword; half of them where the run is
just then. A valid genre or mood of a person's stays in `merge`, and so does a person's keyword.
"""

import tempfile
import time
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any, Final

import trio

from sidecar.demo import standin
from tests import harness
from tests.harness import Library
from tests.trust.row import Counts, Figure, Row, Stopwatch, attempt, chance

EDITS_A_SECOND: Final = 200
BATCH, PARALLEL = 50, 8
LIBRARY_FACTOR: Final = 2
"""Files for each edit: each file is edited once at most."""
COLUMNS: Final = ("title", "genre", "mood")


class Edits:
    """The second writer, on a connection of its own with the shell's busy timeout."""

    def __init__(self, library: Library, size: int, random: Random) -> None:
        self.library, self.random = library, random
        self.done: list[tuple[int, str, Any]] = []
        self.waits: list[float] = []
        self._left = size
        self._files = size * LIBRARY_FACTOR
        self._open = set(range(1, self._files + 1))

    def make(self) -> None:
        """All edits, at their pace. In a thread."""
        began = time.perf_counter()
        with closing(self.library.connect()) as connection:
            while self._left:
                time.sleep(max(0.0, began + len(self.done) / EDITS_A_SECOND - time.perf_counter()))
                [run_at] = connection.execute(
                    "SELECT ifnull((SELECT file_id FROM auto_tag_history ORDER BY id DESC LIMIT 1), 0)"
                ).fetchone()
                file_id, kind = self._file(run_at), self.random.choice((*COLUMNS, "keyword"))
                value = self._value(kind, file_id)
                watch = Stopwatch()
                if kind == "keyword":
                    insert = "INSERT INTO rpg_tags (audio_file_id, tag_type, tag_value) VALUES (?, 'keyword', ?)"
                    connection.execute(insert, (file_id, value))
                else:
                    connection.execute(f"UPDATE audio_files SET {kind} = ? WHERE id = ?", (value, file_id))
                self.waits.append(watch.seconds)
                self.done.append((file_id, kind, value))
                self._left -= 1

    def _file(self, run_at: int) -> int:
        near = [f for f in range(run_at + 1, run_at + BATCH * PARALLEL + 1) if f in self._open]
        chosen = self.random.choice(near) if near and self.random.random() < 0.5 else self._any()
        self._open.discard(chosen)
        return chosen

    def _any(self) -> int:
        """One of those that are open, at least half of all: drawn until it is one."""
        while (file_id := self.random.randint(1, self._files)) not in self._open:
            pass
        return file_id

    def _value(self, kind: str, file_id: int) -> str:
        if kind in ("genre", "mood"):
            return self.random.choice(harness.vocabulary(kind))
        return f"edit of {file_id}"

    def overwritten(self) -> int:
        """The edits of a column that holds something else now; what holds becomes part of the baseline."""
        rows, lost = self.library.snapshot()["audio_files"], 0
        for file_id, kind, value in self.done:
            if kind in COLUMNS:
                lost += rows[file_id][kind] != value
                self.library.baseline["audio_files"][file_id][kind] = value
        return lost

    def lost(self) -> int:
        """The keywords that are gone."""
        rows = {
            row["audio_file_id"]: row
            for row in self.library.snapshot()["rpg_tags"].values()
            if row["tag_value"].startswith("edit of ")
        }
        self.library.baseline["rpg_tags"] |= {row["id"]: row for row in rows.values()}
        return sum(kind == "keyword" and file_id not in rows for file_id, kind, _ in self.done)


async def run(size: int, seed: int) -> Counts:
    """`size` edits."""
    counts = Counts()

    async def case() -> None:
        with tempfile.TemporaryDirectory() as folder:
            await _case(Path(folder), size, chance(seed, "neighbour"), counts)

    counts.failures += await attempt("the run", case)
    return counts


async def _case(folder: Path, size: int, random: Random, counts: Counts) -> None:
    library = harness.library(folder, size * LIBRARY_FACTOR)
    edits = Edits(library, size, random)
    batches = size * LIBRARY_FACTOR / BATCH
    # So that the run takes as long as the edits.
    latency = size / EDITS_A_SECOND * PARALLEL / batches
    async with (
        standin.running(latency_seconds=latency) as gemini,
        harness.start(library, gemini) as subject,
    ):
        started = await subject.result("auto_tag_files", batch_size=BATCH, max_parallel=PARALLEL)
        await trio.to_thread.run_sync(edits.make)
        with trio.fail_after(300 + size / EDITS_A_SECOND):
            await subject.wait_until(lambda: bool(subject.events(harness.COMPLETE)), 600)
        done = await subject.complete(started["run_id"])
        assert (done["status"], done["failed_files"]) == ("completed", 0), done
        skipped = (await subject.result("get_run"))["failures"]
        edited = {file_id for file_id, _, _ in edits.done}
        assert {failure["file_id"] for failure in skipped} <= edited
        assert {failure["reason"] for failure in skipped} <= {"changed"}
        counts.done = len(edits.done)
        counts.figures += [
            Figure("edits lost", edits.lost(), at_most=0),
            Figure("edits overwritten", edits.overwritten(), at_most=0),
            Figure("files skipped since they were edited", len(skipped), at_least=1),
            Figure("ms of an edit, p99", round(sorted(edits.waits)[int(len(edits.waits) * 0.99)] * 1000, 1)),
        ]


ROW = Row("neighbour", "A second writer's edits during a run", (5000, 100_000), run)
