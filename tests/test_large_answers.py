"""Answers that take long to encode: the same bytes, a piece at a time, and everybody else is served meanwhile."""

import gc
import json
import os
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from msgspec import UNSET, Struct, UnsetType, field

from sidecar.contract import AutoTagParams, Completion, Event, RunDetails
from sidecar.demo import standin
from sidecar.demo.library import create_library
from sidecar.demo.standin import Reply
from sidecar.redaction import Redactor
from sidecar.rpc import jsonrpc
from sidecar.rpc.jsonrpc import PIECE_ITEMS, is_large, large_result_line, result_line
from sidecar.rpc.methods import running_app
from sidecar.rpc.outbox import Outbox
from sidecar.rpc.server import Server
from sidecar.settings import Settings

PATIENCE_SECONDS = 20.0
FILES = 2 * PIECE_ITEMS


class Nothing(Struct):
    pass


class Result(Struct):
    entries: list[Any]
    nothing: Nothing = field(default_factory=Nothing)
    other_name: str = field(name="otherName", default="a 😀 \udcff")
    none: None = None
    maybe: int | UnsetType = UNSET


@pytest.mark.parametrize("count", [0, 1, PIECE_ITEMS, PIECE_ITEMS + 1, 2 * PIECE_ITEMS, 2 * PIECE_ITEMS + 1])
def test_an_answer_in_pieces_has_the_same_bytes(count: int) -> None:
    entries = [{"title": 'Drømme "\\"', "number": number, "all": []} for number in range(count)]
    for result in ([*entries], Result([*entries]), Result([*entries], maybe=3)):
        assert is_large(result) == (count > PIECE_ITEMS)
        whole = result_line(b'"1"', result)
        assert large_result_line(b'"1"', result) == whole


def test_the_items_of_a_large_answer_do_not_stand_in_memory_beside_their_text() -> None:
    items = [f"{number:1000}" for number in range(10 * PIECE_ITEMS)]
    tracemalloc.start()
    try:
        copies = [f"{item}!" for item in items]
        held, _ = tracemalloc.get_traced_memory()
        pieces = [len(piece) for piece in jsonrpc._pieces(copies)]
        left, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(pieces) > 0.9 * held
    assert peak < 1.3 * held and left < 0.1 * held


@pytest.mark.parametrize("result", [None, 3, "x" * 10_000, {"entries": []}, Nothing()])
def test_other_answers_are_small_and_may_be_encoded_in_pieces_all_the_same(result: object) -> None:
    assert not is_large(result)
    whole = result_line(b"1", result)
    assert large_result_line(b"1", result) == whole


@pytest.fixture
def ends() -> Iterator[dict[str, int]]:
    """Of two pipes: what the shell writes to and reads from, and what the sidecar does."""
    stdin, to_sidecar = os.pipe()
    from_sidecar, stdout = os.pipe()
    found = {"stdin": stdin, "to_sidecar": to_sidecar, "from_sidecar": from_sidecar, "stdout": stdout}
    yield found
    for name in ("stdin", "from_sidecar", "stdout"):
        os.close(found[name])


async def test_while_a_large_answer_is_encoded_others_are_sent(
    tmp_path: Path, ends: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "library.db"
    create_library(path, files=FILES)
    gate, begun = threading.Event(), threading.Event()

    def slow(call_id: bytes, result: object) -> bytes:
        begun.set()
        assert gate.wait(PATIENCE_SECONDS)
        return large_result_line(call_id, result)

    monkeypatch.setattr(jsonrpc, "large_result_line", slow)
    outbox = Outbox(ends["stdout"])
    with trio.fail_after(PATIENCE_SECONDS), os.fdopen(ends["from_sidecar"], "rb", closefd=False) as answers:
        settings = Settings(database=path, api_key="k" * 20)
        async with (
            running_app(settings, lambda _: None, Redactor()) as app,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(Server(app, outbox).read, ends["stdin"])
            os.write(ends["to_sidecar"], b'{"jsonrpc":"2.0","id":"large","method":"get_untagged_files"}\n')
            assert await trio.to_thread.run_sync(begun.wait, PATIENCE_SECONDS)
            os.write(ends["to_sidecar"], b'{"jsonrpc":"2.0","id":"small","method":"count_untagged_files"}\n')
            small = json.loads(await trio.to_thread.run_sync(answers.readline))
            gate.set()
            large = json.loads(await trio.to_thread.run_sync(answers.readline))
            os.close(ends["to_sidecar"])
    assert small["id"] == "small" and large["id"] == "large"
    assert len(large["result"]) == small["result"]["count"] > PIECE_ITEMS


async def test_one_about_a_run_that_ends_while_it_is_encoded_tells_the_end(
    tmp_path: Path, ends: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    create_library(tmp_path / "library.db", files=3)
    may_answer, begun, ended = trio.Event(), threading.Event(), threading.Event()

    def slow(call_id: bytes, result: object) -> bytes:
        begun.set()
        assert ended.wait(PATIENCE_SECONDS)
        return large_result_line(call_id, result)

    def emit(event: Event) -> None:
        if isinstance(event, Completion):
            ended.set()

    monkeypatch.setattr(jsonrpc, "large_result_line", slow)
    monkeypatch.setattr(jsonrpc, "is_large", lambda result: isinstance(result, RunDetails))
    outbox = Outbox(ends["stdout"])
    with trio.fail_after(PATIENCE_SECONDS), os.fdopen(ends["from_sidecar"], "rb", closefd=False) as answers:
        async with standin.running(script=lambda _: Reply(gate=may_answer)) as gemini:
            settings = Settings(database=tmp_path / "library.db", api_key="k" * 20, base_url=gemini.base_url)
            async with running_app(settings, emit, Redactor()) as app, trio.open_nursery() as nursery:
                nursery.start_soon(Server(app, outbox).read, ends["stdin"])
                _, active = await app.runs.start(AutoTagParams(dry_run=True), settings)
                assert active is not None
                active.release()
                os.write(ends["to_sidecar"], b'{"jsonrpc":"2.0","id":1,"method":"get_run"}\n')
                assert await trio.to_thread.run_sync(begun.wait, PATIENCE_SECONDS)
                may_answer.set()
                told = json.loads(await trio.to_thread.run_sync(answers.readline))["result"]
                os.close(ends["to_sidecar"])
    assert (told["status"], told["processed_files"], len(told["proposals"])) == ("completed", 3, 3)


async def test_a_refused_call_leaves_nothing_of_its_params_behind(tmp_path: Path, ends: dict[str, int]) -> None:
    create_library(tmp_path / "library.db", files=1)
    outbox, ids = Outbox(ends["stdout"]), [*range(10**6, 10**6 + 50_000)]
    with trio.fail_after(PATIENCE_SECONDS), os.fdopen(ends["from_sidecar"], "rb", closefd=False) as answers:
        async with (
            running_app(Settings(database=tmp_path / "library.db"), lambda _: None, Redactor()) as app,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(Server(app, outbox).read, ends["stdin"])

            async def refused() -> int:
                """Bytes that are left once it has been answered."""
                request = {"jsonrpc": "2.0", "id": 1, "method": "estimate", "params": {"file_ids": ids}}
                line = json.dumps(request).encode() + b"\n"
                await trio.to_thread.run_sync(os.write, ends["to_sidecar"], line)
                assert b"no file has the id" in await trio.to_thread.run_sync(answers.readline)
                await trio.testing.wait_all_tasks_blocked()
                return tracemalloc.get_traced_memory()[0]

            gc.disable()
            tracemalloc.start()
            try:
                first = await refused()
                last = [await refused() for _ in range(3)][-1]
            finally:
                tracemalloc.stop()
                gc.enable()
            os.close(ends["to_sidecar"])
    assert last - first < len(ids)
