"""What holds after every case, whatever the case: CONTRACT sections 1 to 6, in one call."""

import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from sidecar.demo.standin import Received
from tests.harness.client import COMPLETE, Client, Message
from tests.harness.library import USER, Library
from tests.harness.rows import Snapshot, compare, new_history

_COUNTERS: Final = ("processed_files", "failed_files", "skipped_files")
_SUMMED: Final = frozenset({*_COUNTERS, "remaining_files", "total_files"})
_BATCH: Final = "tagging-batch"
_PROGRESS: Final = "tagging-progress"


def check_invariants(library: Library | None, clients: Sequence[Client]) -> None:
    """Fails unless the clients' processes, the library they worked on and their requests keep the contract.

    May be called between runs and after the processes have ended, however they have. The library is
    compared with its baseline, the requests are those of the clients' stand-ins.
    """
    for client in clients:
        check_messages(client)
        _check_outputs(client, library)
    _check_requests(clients)
    _check_counted(clients)
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
    closed = _check_runs(library.baseline, after, tagged, clients)
    _check_whole_batches(library, closed, clients)
    _check_durable(tagged, _deleted(after), closed.keys(), clients)


def _has_undone(client: Client) -> bool:
    """Whether it may have taken back a run: one that was killed in the middle of it gave no answer."""
    refused = sum(method == "undo_run" and "error" in message for method, message in client.seen)
    return client.called["undo_run"] > refused


# --- what the process says ----------------------------------------------------------------------


def check_messages(client: Client) -> None:
    """Valid lines, one answer to each request, sums, and the order of every run's notifications."""
    assert client.objections == []
    assert not client.rest or client.process.returncode, "stdout ended inside of a line"
    for line in client.raw:
        assert line.isascii() and b"\r" not in line
    answered: Counter[str] = Counter()
    started: set[str] = set()
    runs: dict[str, list[Message]] = defaultdict(list)
    for _, message in client.seen:
        assert message["jsonrpc"] == "2.0" and len(message.keys() & {"result", "error", "method"}) == 1, message
        _check_sums(message)
        if "method" in message:
            runs[message["params"]["run_id"]].append(message)
            early = runs.keys() - started
            assert "id" not in message and len(early) <= client.silent_starts, "a notification before the answer"
        else:
            answered[json.dumps(message["id"])] += 1
            result = message.get("result")
            started |= {str(result.get("run_id"))} if isinstance(result, dict) else set()
    assert answered <= client.expected, answered - client.expected
    over = client.process.returncode == 0
    if over and client.heard_all:
        lines = sum(isinstance(line, list) or "method" not in line for line in client.transcript)
        assert (answered, lines) == (client.expected, client.lines_due)
    for messages in runs.values():
        _check_run(messages, must_be_over=over)


def _check_sums(value: Any) -> None:
    """In every object with counters, wherever it stands in a message."""
    if isinstance(value, dict):
        # In the document of rpc.discover these are names of properties, each with its schema.
        if value.keys() >= _SUMMED and not isinstance(value["total_files"], dict):
            closed = sum(value[name] for name in _COUNTERS)
            assert closed + value["remaining_files"] == value["total_files"], value
        for inner in value.values():
            _check_sums(inner)
    elif isinstance(value, list):
        for inner in value:
            _check_sums(inner)


def _check_run(messages: list[Message], *, must_be_over: bool) -> None:
    """One run's notifications: batch before progress, counters that never go back, one completion, last."""
    methods = [message["method"] for message in messages]
    if must_be_over or COMPLETE in methods:
        assert methods.count(COMPLETE) == 1 and methods[-1] == COMPLETE, methods[-3:]
    last = dict.fromkeys((*_COUNTERS, "current_batch"), 0)
    for message in messages:
        params = message["params"]
        if message["method"] != _BATCH:
            assert all(params[name] >= value for name, value in last.items()), "a counter went back"
            last = {name: params[name] for name in last}
    for one, other in pairwise(methods):
        assert one != _BATCH or other in (_BATCH, _PROGRESS), "a batch without its progress"
    _check_batches([m["params"] for m in messages if m["method"] == _BATCH], messages[-1])
    if methods[-1] == COMPLETE and (said := [m for m in messages if m["method"] == _PROGRESS]):
        complete = messages[-1]["params"]
        assert methods[-2] == _PROGRESS
        assert {name: said[-1]["params"][name] for name in last} == {name: complete[name] for name in last}
        if complete["status"] == "completed":
            assert complete["remaining_files"] == 0 and complete["current_batch"] == complete["total_batches"]


def _check_batches(batches: list[Message], last: Message) -> None:
    """Each batch once, each file in one of them; and where none was dropped, together they are the run."""
    numbers = [batch["batch"] for batch in batches]
    failures = [failure["file_id"] for batch in batches for failure in batch["failures"]]
    assert len(set(numbers)) == len(numbers) and len(set(failures)) == len(failures)
    for batch in batches:
        assert batch["failed"] + batch["skipped"] == len(batch["failures"]) and batch["ok"] == (
            not batch["failed"]
        )
    if last["method"] == COMPLETE and len(batches) == last["params"]["current_batch"]:
        sums = [sum(batch[name] for batch in batches) for name in ("tagged", "failed", "skipped")]
        assert sums == [last["params"][name] for name in _COUNTERS]


# --- what must not be said ----------------------------------------------------------------------


def _check_outputs(client: Client, library: Library | None) -> None:
    """No key anywhere; no home, user or path but in the fields that are there for them."""
    printed = b"\n".join([*client.raw, client.rest])
    for secret in client.secrets:
        assert secret.encode() not in printed and secret.encode() not in client.log, "a key got out"
    said = json.dumps([_without_paths(message) for _, message in client.seen])
    log = client.log.decode(errors="replace") if client.quiet else ""
    for word in {USER, *_own_home(), *([str(library.path.parent)] if library else [])}:
        assert word not in said and word not in log, f"{word} got out"
    for row in library.baseline["audio_files"].values() if library else ():
        assert row["file_path"].rpartition("/")[2] not in log, "a file's name is in the log"


def _check_requests(clients: Iterable[Client]) -> None:
    """No key but in its header, no home and no user."""
    words = {USER, *_own_home()}.union(*(client.secrets for client in clients))
    for gemini in {id(client.gemini): client.gemini for client in clients}.values():
        for received in gemini.journal if gemini else ():
            for word in words:
                assert word not in received.path and word.encode() not in received.body, f"{word} was sent"


def _own_home() -> set[str]:
    home = str(Path.home())
    return {home} if len(home) > len("/root") else set()


def _without_paths(value: Any) -> Any:
    """The message without the fields that hold paths of the shell's own, for the shell."""
    if isinstance(value, dict):
        return {k: _without_paths(v) for k, v in value.items() if k not in ("file_path", "path")}
    return [_without_paths(inner) for inner in value] if isinstance(value, list) else value


# --- what the runs have done --------------------------------------------------------------------


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


def _check_runs(
    before: Snapshot, after: Snapshot, taggings: dict[str, set[int]], clients: Iterable[Client]
) -> dict[str, set[int]]:
    """Each file of a run exactly one of tagged, failed, skipped, remaining; its files that are closed, by run."""
    failures: dict[int, set[int]] = defaultdict(set)
    for failure in after.get("auto_tag_failures", {}).values():
        failures[failure["run"]].add(failure["file_id"])
    unsaved, deleted, closed = _unsaved(clients), _deleted(after), {}
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
            assert run["failed_files"] + run["skipped_files"] == len(failed | unsaved[run["run_id"]]), run
    return closed


def _unsaved(clients: Iterable[Client]) -> dict[str, set[int]]:
    """The files of batches whose transaction was rolled back: the process alone knows of them. By run."""
    found: dict[str, set[int]] = defaultdict(set)
    for client in clients:
        for batch in client.events(_BATCH):
            failures = batch["failures"]
            if any(failure["reason"] == "database_error" for failure in failures):
                found[batch["run_id"]] |= {failure["file_id"] for failure in failures}
    return found


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


def _requests_of_runs(clients: Iterable[Client]) -> Iterator[tuple[str, list[Received]]]:
    """Each run with what its stand-in received for it."""
    by_journal: dict[int, list[Client]] = defaultdict(list)
    for client in clients:
        by_journal[id(client.gemini)].append(client)
    for sharing in by_journal.values():
        gemini = sharing[0].gemini
        if gemini is None:
            continue
        starts = sorted(start for client in sharing for start in client.starts)
        runs = [(run_id, *span) for client in sharing for run_id, span in client.runs.items()]
        runs.sort(key=lambda run: run[1])
        for (run_id, start, answered), following in itertools.zip_longest(runs, runs[1:]):
            # What arrived before the start was answered may be a straggler of a killed process.
            end = next((other for other in starts if other > start), len(gemini.journal))
            if following is not None:  # it may have begun where this one did: this one sent nothing then
                end = min(end, following[1])
            yield run_id, gemini.journal[answered:end]


def _check_whole_batches(library: Library, closed: dict[str, set[int]], clients: Iterable[Client]) -> None:
    """The files of one request are closed together or not at all, by the stand-ins' own journals."""
    ids = _ids_by_path(library)
    for run_id, requests in _requests_of_runs(clients):
        for received in requests:
            _check_whole(received, closed.get(run_id, set()), ids)


def _check_counted(clients: Sequence[Client]) -> None:
    """A run that ended has counted every request that arrived."""
    ends = {end["run_id"]: end for client in clients for end in client.events(COMPLETE)}
    for run_id, requests in _requests_of_runs(clients):
        if run_id in ends:
            arrived = sum(received.kind != "other" for received in requests)
            counted = ends[run_id]["usage"]["requests"]
            assert arrived <= counted, f"{arrived} requests arrived, {counted} were counted"
            _check_needed(requests, ends[run_id]["usage"]["retries"])


def _check_needed(requests: Iterable[Received], retries: int) -> None:
    """Batches share no file, and a request for a part of one is for a part of all requests around it; the same
    files are asked for again as retries that are counted, or once more because an answer left them all out.
    """
    asked = [frozenset(str(file["path"]) for file in received.files) for received in requests if received.files]
    distinct = {*asked}
    innermost: dict[str, frozenset[str]] = {}
    for part in sorted(distinct, key=len, reverse=True):
        around = {innermost.get(path) for path in part}
        assert len(around) == 1, f"a request for parts of several: {sorted(part)}"
        innermost.update(dict.fromkeys(part, part))
    again = len(asked) - len(distinct)
    assert again <= retries + len(distinct), f"{again} requests for the same files, {retries} counted as retries"


def _check_whole(received: Received, closed: set[int], ids: dict[str, set[int]]) -> None:
    asked = set().union(*(ids.get(str(file["path"]), ()) for file in received.files))
    assert not asked & closed or asked <= closed, f"half of a batch: {asked & closed} of {asked}"


def _ids_by_path(library: Library) -> dict[str, set[int]]:
    """The sounds whose path ends so, of those that are there still."""
    found: dict[str, set[int]] = defaultdict(set)
    for row in library.baseline["audio_files"].values():
        folders = row["file_path"].split("/")
        for start in range(len(folders)):
            found["/".join(folders[start:])].add(row["id"])
    return found
