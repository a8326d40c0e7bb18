"""What holds for the requests that reached the stand-ins: those of whole batches, each needed, each counted."""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from sidecar.demo.standin import Received
from tests.harness.client import COMPLETE, Client
from tests.harness.library import Library


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


def check_whole_batches(library: Library, closed: dict[str, set[int]], clients: Iterable[Client]) -> None:
    """The files of one request are closed together or not at all, by the stand-ins' own journals."""
    ids = _ids_by_path(library)
    for run_id, requests in _requests_of_runs(clients):
        for received in requests:
            _check_whole(received, closed.get(run_id, set()), ids)


def check_counted(clients: Sequence[Client]) -> None:
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
