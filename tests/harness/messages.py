"""What holds for everything that a process says: CONTRACT sections 1 to 3."""

import json
from collections import Counter, defaultdict
from itertools import pairwise
from typing import Any, Final

from tests.harness.client import COMPLETE, Client
from tests.harness.lines import Message

_COUNTERS: Final = ("processed_files", "failed_files", "skipped_files")
_SUMMED: Final = frozenset({*_COUNTERS, "remaining_files", "total_files"})
_BATCH: Final = "tagging-batch"
_PROGRESS: Final = "tagging-progress"


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
