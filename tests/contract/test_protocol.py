"""CONTRACT section 2 and 9: JSON-RPC 2.0 in full, line by line."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.demo import standin
from tests import harness
from tests.harness import Client


@pytest.fixture
async def subject(tmp_path: Path) -> AsyncIterator[Client]:
    """A sidecar over a small library; no test in here lets it reach Gemini."""
    async with harness.start(harness.library(tmp_path, 5)) as running:
        yield running


def call(method: str, number: object = 1, **members: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, **members}


async def test_a_batch_is_answered_by_one_array_without_its_notifications(subject: Client) -> None:
    batch = [
        call("count_untagged_files", "a"),
        {"jsonrpc": "2.0", "method": "status"},
        call("no_such_method", "b"),
        7,
        call("get_run", "c"),
    ]
    answers = await subject.exchange(json.dumps(batch).encode())
    by_id = {answer["id"]: answer for answer in answers}
    assert [answer["id"] for answer in answers] == ["a", "b", None, "c"]
    assert by_id["a"]["result"] == {"count": 5}
    assert by_id["b"]["error"]["code"] == -32601
    assert by_id[None]["error"]["code"] == -32600
    assert by_id["c"]["error"]["code"] == -32002


async def test_an_empty_batch_is_an_invalid_request(subject: Client) -> None:
    answer = await subject.exchange(b"[]")
    assert answer["error"]["code"] == -32600 and answer["id"] is None


async def test_notifications_get_no_answer_alone_or_in_a_batch(subject: Client) -> None:
    await subject.notify("status")
    await subject.notify("no_such_method")
    await subject.notify("count_untagged_files", bogus=1)
    await subject.send_line(b'[{"jsonrpc": "2.0", "method": "status"}]')
    await subject.result("status")
    await subject.result("count_untagged_files")
    assert len(subject.transcript) == 2


@pytest.mark.parametrize(
    "number",
    [b"1.0", b"null", b"0", b"-7", b"9007199254740993", b"1e2", b'"x"', b'"\\u00e9\\ud83c\\udfb2"', b'""'],
)
async def test_ids_are_echoed_byte_for_byte(subject: Client, number: bytes) -> None:
    await subject.exchange(b'{"jsonrpc": "2.0", "id": ' + number + b', "method": "status"}')
    compact = subject.raw[0].replace(b'"id": ', b'"id":')
    assert b'"id":' + number in compact


@pytest.mark.parametrize("number", [b"true", b"{}", b"[1]"])
async def test_an_id_of_another_kind_is_an_invalid_request(subject: Client, number: bytes) -> None:
    answer = await subject.exchange(b'{"jsonrpc": "2.0", "id": ' + number + b', "method": "status"}')
    assert answer["error"]["code"] == -32600 and answer["id"] is None


async def test_an_unknown_param_is_refused_by_its_name(subject: Client) -> None:
    for method in ("status", "auto_tag_files", "cancel", "get_untagged_files", "configure", "shutdown"):
        error = await subject.error(method, colour="red")
        assert error["code"] == -32602 and "colour" in error["message"]


@pytest.mark.parametrize("number", [1, None])
async def test_positional_params_are_invalid_params(subject: Client, number: object) -> None:
    answer = await subject.exchange(json.dumps(call("get_untagged_files", number, params=[10])).encode())
    assert answer["error"]["code"] == -32602 and answer["id"] == number


@pytest.mark.parametrize(("number", "params"), [(1, 1), (1, "x"), (1, True), (None, 3)])
async def test_params_that_are_no_structure_are_an_invalid_request(
    subject: Client, number: object, params: object
) -> None:
    answer = await subject.exchange(json.dumps(call("status", number, params=params)).encode())
    assert answer["error"]["code"] == -32600 and answer["id"] == number


@pytest.mark.parametrize(
    ("method", "params", "name"),
    [
        ("auto_tag_files", {"batch_size": 0}, "batch_size"),
        ("auto_tag_files", {"batch_size": 501}, "batch_size"),
        ("auto_tag_files", {"max_parallel": 33}, "max_parallel"),
        ("auto_tag_files", {"mode": "overwrite"}, "mode"),
        ("auto_tag_files", {"file_ids": "all"}, "file_ids"),
        ("get_untagged_files", {"limit": -1}, "limit"),
        ("get_tagging_history", {}, "file_id"),
    ],
)
async def test_params_out_of_range_are_named(
    subject: Client, method: str, params: dict[str, Any], name: str
) -> None:
    error = await subject.error(method, **params)
    assert error["code"] == -32602 and name in error["message"]


async def test_an_explicit_null_means_the_default(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 60)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        assert len(await subject.result("get_untagged_files", limit=None, after_id=None)) == 60
        names = ("batch_size", "max_parallel", "file_ids", "mode", "dry_run", "model")
        done = await subject.tag(**dict.fromkeys(names))
        assert (done["processed_files"], done["total_batches"]) == (60, 2)
        run = await subject.result("get_run", run_id=None)
        assert run["run_id"] == done["run_id"]
        assert [r["mode"] for r in await subject.result("list_runs", limit=None)] == ["merge"]


async def test_a_line_over_16_mib_is_refused_and_the_next_one_served(subject: Client) -> None:
    limit = 16 * 1024 * 1024
    head = b'{"jsonrpc": "2.0", "id": 1, "method": "status"'
    answer = await subject.exchange(head + b" " * (limit - len(head)) + b"}")
    assert answer["error"]["code"] == -32700 and answer["id"] is None
    answer = await subject.exchange(b"x" * (limit + 1))
    assert answer["error"]["code"] == -32700 and answer["id"] is None
    answer = await subject.exchange(head + b" " * (limit - len(head) - 1) + b"}")
    assert answer["result"]["name"] == "ligeia-sidecar"


@pytest.mark.parametrize(
    "line",
    [
        b'{"jsonrpc": "2.0", "id": "\xff\xfe", "method": "status"}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "status", "params": {"x": "\xc3"}}',
        b'{"jsonrpc": "2.0", "id": "\xed\xa0\x80", "method": "status"}',
        b"\x00",
        b"{",
        b"hello",
        b"{nonsense",
        b"\xff",
        b'{"jsonrpc": "2.0", "id": 1, "method": "status"} {}',
        b"[" * 100_000,
        b'{"jsonrpc": "2.0", "id": 1, "method": "status", "params": ' + b"[" * 100_000,
    ],
)
async def test_what_is_no_json_is_a_parse_error_and_the_next_line_is_served(subject: Client, line: bytes) -> None:
    answer = await subject.exchange(line)
    assert answer["error"]["code"] == -32700 and answer["id"] is None
    assert (await subject.result("count_untagged_files"))["count"] == 5


@pytest.mark.parametrize(
    ("request_", "number"),
    [
        ({"id": 1, "method": "status"}, 1),
        ({"jsonrpc": "1.0", "id": "v", "method": "status"}, "v"),
        ({"jsonrpc": "2.0", "id": 3}, 3),
        ({"jsonrpc": "2.0", "id": 4, "method": 5}, 4),
        (True, None),
        ("status", None),
    ],
)
async def test_an_invalid_request_is_answered_under_its_id(
    subject: Client, request_: object, number: object
) -> None:
    answer = await subject.exchange(json.dumps(request_).encode())
    assert answer["error"]["code"] == -32600 and answer["id"] == number


async def test_blank_lines_are_ignored_and_carriage_returns_accepted(subject: Client) -> None:
    await subject.send_line(b"\r\n   \n\n\t\r")
    await subject.send_line(json.dumps(call("count_untagged_files")).encode() + b"\r")
    await subject.wait_for(lambda m: m["result"] == {"count": 5})
    assert len(subject.transcript) == 1


async def test_an_unknown_method_is_not_found(subject: Client) -> None:
    assert (await subject.error("auto_tag"))["code"] == -32601


async def test_text_outside_of_ascii_is_escaped(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 400)
    async with harness.start(library) as subject:
        files = await subject.result("get_untagged_files")
        assert any(not file["file_path"].isascii() for file in files)
        assert all(line.isascii() for line in subject.raw)


async def test_many_requests_at_once_are_each_answered_once(subject: Client) -> None:
    lines = [json.dumps(call("count_untagged_files", number)).encode() for number in range(300)]
    await subject.send_line(b"\n".join(lines))
    await subject.wait_until(lambda: len(subject.transcript) == 300)
    assert {message["id"] for message in subject.transcript} == set(range(300))
