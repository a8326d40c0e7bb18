"""jsonrpc: a batch is its members, each for itself, up to a bound."""

import json
import tracemalloc

import pytest

from sidecar.rpc.jsonrpc import (
    MAX_BATCH_MEMBERS,
    Call,
    Refusal,
    batch_line,
    error_line,
    read,
    result_line,
)
from tests.test_jsonrpc import INVALID, PARSE, only, refusal


def test_each_member_of_a_batch_stands_for_itself() -> None:
    message = read(b'[1, {"jsonrpc":"2.0","id":1,"method":"m"}, {"id":2}, [], {"jsonrpc":"2.0","method":"n"}]')
    assert message.is_batch
    first, second, third, fourth, fifth = message.items
    assert [refusal(item) for item in (first, third, fourth)] == [
        (b"null", INVALID),
        (b"2", INVALID),
        (b"null", INVALID),
    ]
    assert [second, fifth] == [Call(b"1", "m", None), Call(None, "n", None)]


def test_a_batch_of_one_is_a_batch() -> None:
    assert read(b"[{}]").is_batch


def test_a_batch_beyond_the_bound_is_refused_as_a_whole() -> None:
    members = [b"1"] * MAX_BATCH_MEMBERS
    assert len(read(b"[" + b",".join(members) + b"]").items) == MAX_BATCH_MEMBERS
    assert refusal(only(b"[" + b",".join([*members, b"1"]) + b"]")) == (b"null", INVALID)


def test_a_batch_of_millions_is_refused_without_their_memory() -> None:
    line = b"[" + b"1," * 4_000_000 + b"1]"
    read(line)
    tracemalloc.start()
    try:
        assert refusal(only(line)) == (b"null", INVALID)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("tail", [b"x]", b"nul]", b"1", b"1]]"])
def test_a_batch_beyond_the_bound_is_read_to_its_end_all_the_same(tail: bytes) -> None:
    assert refusal(only(b"[" + b"1," * MAX_BATCH_MEMBERS + tail)) == (b"null", PARSE)


def test_commas_within_members_do_not_count() -> None:
    numbers = b"[" + b"1," * (MAX_BATCH_MEMBERS * 2) + b"1]"
    message = read(b'[{"jsonrpc":"2.0","id":1,"method":"m","params":' + numbers + b"}]")
    assert message.is_batch and message.items == [Call(b"1", "m", numbers)]


def test_the_bound_of_a_batch_is_ten_thousand_members_and_the_refusal_says_so() -> None:
    refused = only(b"[" + b",".join([b"{}"] * 10_001) + b"]")
    assert isinstance(refused, Refusal)
    assert "10,000" in refused.message
    assert len(read(b"[" + b",".join([b"{}"] * 10_000) + b"]").items) == 10_000


def test_a_batch_of_answers_is_one_array_on_one_line() -> None:
    line = batch_line([result_line(b"1", None), error_line(b"null", -32600, "no")])
    assert line.endswith(b"]\n")
    assert line.count(b"\n") == 1
    assert json.loads(line) == [
        {"jsonrpc": "2.0", "id": 1, "result": None},
        {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "no"}},
    ]


def test_a_batch_without_answers_is_nothing_at_all() -> None:
    assert batch_line([]) == b""
