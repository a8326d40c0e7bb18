"""How long it takes to undo a run, against how long it took to write it.

Written twice: by a run whose stand-in answers at once, and by `apply_proposals`, which writes the same tags
without a request and so is nothing but writing. Both are undone; the second ratio is the stricter one.
"""

import time
from typing import Any

from tests.bench.figures import Figure, against
from tests.bench.sidecar import Sidecar, library, sidecar


def undo(files: int) -> list[Figure]:
    """An undo is bounded by the writing (issue: at most as long)."""
    with library(files) as path, sidecar(path) as subject:
        subject.warm()
        wrote, done = subject.run(file_ids=list(range(1, files + 1)))
        took = _seconds(subject, "undo_run", run_id=done["run_id"], restored_files=files)
        _, proposed = subject.run(file_ids=list(range(1, files + 1)), dry_run=True)
        applied = _seconds(subject, "apply_proposals", run_id=proposed["run_id"], applied_files=files)
        [run] = subject.ask("list_runs", limit=1)
        took_again = _seconds(subject, "undo_run", run_id=run["run_id"], restored_files=files)
    name = f"undo of {files:,} files"
    return [
        against(name, f"{took:.2f} s", f"{wrote:.2f} s (the run)", took / wrote, most=1),
        against(name, f"{took_again:.2f} s", f"{applied:.2f} s (apply_proposals)", took_again / applied, most=1),
    ]


def _seconds(subject: Sidecar, method: str, *, run_id: str, **expected: int) -> float:
    """What a call takes that does the whole of its work."""
    began = time.perf_counter()
    result: dict[str, Any] = subject.ask(method, run_id=run_id)
    seconds = time.perf_counter() - began
    assert {name: result[name] for name in expected} == expected, result
    return seconds
