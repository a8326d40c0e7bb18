"""What holds after every case, whatever the case: CONTRACT sections 1 to 6, in one call."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from tests.harness.client import Client
from tests.harness.library import Library
from tests.harness.lines import Message
from tests.harness.messages import check_messages
from tests.harness.outputs import check_outputs, check_secrets_sent
from tests.harness.requests import check_counted, check_whole_batches
from tests.harness.rows import Snapshot, compare, new_history

_PROGRESS: Final = "tagging-progress"


def check_invariants(library: Library | None, clients: Sequence[Client]) -> None:
    """Fails unless the clients' processes, the library they worked on and their requests keep the contract.

    May be called between runs and after the processes have ended, however they have. The library is
    compared with its baseline, the requests are those of the clients' stand-ins.
    """
    for client in clients:
        check_messages(client)
        check_outputs(client, library)
    check_secrets_sent(clients)
    check_counted(clients)
    if library is None:
        return
    assert library.query("PRAGMA integrity_check") == [{"integrity_check": "ok"}]
    assert library.query("PRAGMA foreign_key_check") == []
    after = library.snapshot()
    compare(
        library.baseline,
        after,
        undone=any(map(_has_undone, clients)),
    )
    tagged = _taggings(library.baseline, after)
    closed = _check_runs(library.baseline, after, tagged)
    check_whole_batches(library, closed, clients)
    _check_durable(tagged, _deleted(after), closed.keys(), clients)


def _has_undone(client: Client) -> bool:
    """Whether it may have taken back a run: one that was killed in the middle of it gave no answer."""
    refused = sum(method == "undo_run" and "error" in message for method, message in client.seen)
    return client.called["undo_run"] > refused


def _taggings(before: Snapshot, after: Snapshot) -> dict[str, set[int]]:
    """The files of the new history rows, by run."""
    found: dict[str, set[int]] = defaultdict(set)
    for rows in new_history(before, after).values():
        for row in rows:
            found[json.loads(row["tags_applied"])["run_id"]].add(row["file_id"])
    return found


def _deleted(after: Snapshot) -> int:
    """How many sounds were deleted, taking their history along: an id is never given twice."""
    [last_id] = [row["seq"] for row in after["sqlite_sequence"].values() if row["name"] == "audio_files"]
    return int(last_id) - len(after["audio_files"])


def _check_runs(before: Snapshot, after: Snapshot, taggings: dict[str, set[int]]) -> dict[str, set[int]]:
    """Each file of a run exactly one of tagged, failed, skipped, remaining; its files that are closed, by run."""
    failures: dict[int, set[int]] = defaultdict(set)
    for failure in after.get("auto_tag_failures", {}).values():
        failures[failure["run"]].add(failure["file_id"])
    deleted, closed = _deleted(after), {}
    for key, run in after.get("auto_tag_runs", {}).items():
        if run == before.get("auto_tag_runs", {}).get(key) or run["dry_run"]:
            continue
        tagged, failed = taggings[run["run_id"]], failures[run["id"]]
        assert not tagged & failed, f"both tagged and failed: {tagged & failed}"
        closed[run["run_id"]] = tagged | failed
        # Files that failed before may stand apart in batches of their own.
        if not deleted and not any(failures[earlier] for earlier in failures if earlier < run["id"]):
            _check_size(run, len(tagged | failed))
        if run["ended_at"] and run["processed_files"] is not None:
            assert 0 <= run["processed_files"] - len(tagged) <= deleted, (run, len(tagged))
            assert run["failed_files"] + run["skipped_files"] == len(failed), run
    return closed


def _check_size(run: Message, closed: int) -> None:
    """The closed files fill whole batches, of which the last may be smaller."""
    lacking = run["total_batches"] * run["batch_size"] - run["total_files"]
    assert not closed % run["batch_size"] or not (closed + lacking) % run["batch_size"], f"no whole batches: {run}"


def _check_durable(
    taggings: dict[str, set[int]], deleted: int, written: Iterable[str], clients: Iterable[Client]
) -> None:
    """What was announced is in the library, though the process was killed right after."""
    for client in clients:
        for progress in client.events(_PROGRESS):
            if progress["run_id"] in written:
                found = len(taggings[progress["run_id"]]) + deleted
                assert progress["processed_files"] <= found, f"announced before it was durable: {progress}"
