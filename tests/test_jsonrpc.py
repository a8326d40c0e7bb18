"""jsonrpc: a line of bytes is calls or refusals, and what is built is one line of ASCII."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.contract import ActiveRunData, Code
from sidecar.rpc.jsonrpc import (
    Call,
    Item,
    Refusal,
    error_line,
    notification_line,
    read,
    result_line,
)

INVALID = Code.INVALID_REQUEST
PARSE = Code.PARSE_ERROR


def only(line: bytes) -> Item:
    """The one item of a line that is not a batch."""
    message = read(line)
    assert not message.is_batch
    assert len(message.items) == 1
    return message.items[0]


def refusal(item: Item) -> tuple[bytes, Code]:
    assert isinstance(item, Refusal)
    return item.id, item.code


# --- calls --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "call"),
    [
        (b'{"jsonrpc":"2.0","id":1,"method":"m"}', Call(b"1", "m", None)),
        (b'{"jsonrpc":"2.0","method":"m"}', Call(None, "m", None)),
        (b'{"jsonrpc":"2.0","id":null,"method":"m"}', Call(b"null", "m", None)),
        (b'{"jsonrpc":"2.0","id":1,"method":"m","params": {"a": 1} }', Call(b"1", "m", b'{"a": 1}')),
        (b'{"jsonrpc":"2.0","id":1,"method":"m","params":[1]}', Call(b"1", "m", b"[1]")),
        (b' {"id" : "a" , "method":"m","jsonrpc":"2\\u002e0", "extra":[{}]} ', Call(b'"a"', "m", None)),
        (b'{"jsonrpc":"2.0","id":1,"method":"\\u006d\xc3\xa9"}', Call(b"1", "mé", None)),
        (b'{"jsonrpc":"2.0","\\u0069d":1,"method":""}', Call(b"1", "", None)),
    ],
)
def test_a_valid_request_is_a_call(line: bytes, call: Call) -> None:
    assert only(line) == call


@pytest.mark.parametrize(
    "raw_id",
    [
        b"1",
        b"1.0",
        b"-0",
        b"1e3",
        b"1E+400",
        b"0.10",
        b"9" * 1024,
        b'""',
        b'"a\\u0041\\n\\/"',
        b"null",
        b'"\x7f"',
    ],
)
def test_an_id_is_echoed_byte_for_byte(raw_id: bytes) -> None:
    call = only(b'{"jsonrpc":"2.0","id":' + raw_id + b',"method":"m"}')
    assert isinstance(call, Call)
    assert call.id == raw_id
    assert result_line(call.id, 1) == b'{"jsonrpc":"2.0","id":' + raw_id + b',"result":1}\n'


def test_a_non_ascii_id_is_echoed_escaped() -> None:
    call = only('{"jsonrpc":"2.0","id":"é\u2028😀x","method":"m"}'.encode())
    assert isinstance(call, Call)
    assert call.id == b'"\\u00e9\\u2028\\ud83d\\ude00x"'


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"nul",
        b"",
        b'{"jsonrpc":"2.0","id":1,"method":"m"} x',
        b'{"jsonrpc":"2.0","id":1,"method":"m","x":01}',
        b'{"jsonrpc":"2.0","id":1,"method":"m",}',
        b'[{"jsonrpc":"2.0","id":1,"method":"m"}',
        b'[{"jsonrpc":"2.0","id":1,"method":"m"},]',
        b'{"jsonrpc":"2.0","id":"\xff","method":"m"}',
        b'{"jsonrpc":"2.0","id":1,"method":"m","x":"\xed\xa0\x80"}',
        b'{"jsonrpc":"2.0","id":"\\ud800","method":"m"}',
        b'{"jsonrpc":"2.0","id":NaN,"method":"m"}',
        b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"[" * 100_000,
        b'[{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}]",
        b"\x0c{}",
        b"\xef\xbb\xbf{}",
    ],
)
def test_what_is_not_json_in_utf8_is_a_parse_error_under_null(line: bytes) -> None:
    assert refusal(only(line)) == (b"null", PARSE)


@pytest.mark.parametrize(
    ("line", "answered_id"),
    [
        (b"1", b"null"),
        (b'"a"', b"null"),
        (b"null", b"null"),
        (b"[]", b"null"),
        (b"{}", b"null"),
        (b'{"id":7}', b"7"),
        (b'{"id":7,"method":"m"}', b"7"),
        (b'{"jsonrpc":"1.0","id":"x","method":"m"}', b'"x"'),
        (b'{"jsonrpc":2.0,"id":7,"method":"m"}', b"7"),
        (b'{"jsonrpc":"2.0","id":7}', b"7"),
        (b'{"jsonrpc":"2.0","id":7,"method":1}', b"7"),
        (b'{"jsonrpc":"2.0","id":7,"method":null}', b"7"),
        (b'{"jsonrpc":"2.0","id":7,"method":"m","params":null}', b"7"),
        (b'{"jsonrpc":"2.0","id":7,"method":"m","params":"x"}', b"7"),
        (b'{"jsonrpc":"2.0","id":7,"method":"m","params":1}', b"7"),
        (b'{"jsonrpc":"2.0","method":"m","params":false}', b"null"),
        (b'{"jsonrpc":"2.0","method":1}', b"null"),
        (b'{"jsonrpc":"2.0","id":true,"method":"m"}', b"null"),
        (b'{"jsonrpc":"2.0","id":[1],"method":"m"}', b"null"),
        (b'{"jsonrpc":"2.0","id":{},"method":"m"}', b"null"),
        (b'{"jsonrpc":"2.0","id":' + b"9" * 1025 + b',"method":"m"}', b"null"),
        (b'{"jsonrpc":"2.0","id":7,"result":true}', b"7"),
        ('{"jsonrpc":"2.0","id":"é"}'.encode(), b'"\\u00e9"'),
    ],
)
def test_an_invalid_request_is_refused_under_its_id_if_that_can_be_read(line: bytes, answered_id: bytes) -> None:
    assert refusal(only(line)) == (answered_id, INVALID)


def test_the_refusal_of_an_id_says_how_long_one_may_be() -> None:
    refused = only(b'{"jsonrpc":"2.0","id":"' + b"9" * 1024 + b'","method":"m"}')
    assert isinstance(refused, Refusal)
    assert "1,024 bytes" in refused.message


@pytest.mark.parametrize("half", [b"\\ud83d", b"\\uDE00", b"\\udc00\\ud800"])
def test_half_a_character_costs_nothing_but_itself(half: bytes) -> None:
    line = b'{"jsonrpc":"2.0","id":7,"method":"configure","params":{"hints":"a%s\\\\ud83d\\ud83c\\udfb2"}}' % half
    call = only(line)
    assert isinstance(call, Call) and call.params is not None and call.id == b"7"
    assert json.loads(call.params) == {"hints": "a" + "\ufffd" * (len(half) // 6) + "\\ud83d🎲"}


def test_half_a_character_in_a_notification_costs_nothing_but_itself() -> None:
    call = only(b'{"jsonrpc":"2.0","method":"configure","params":{"hints":"\\ud83d"}}')
    assert isinstance(call, Call) and call.params is not None and call.id is None
    assert json.loads(call.params) == {"hints": "\ufffd"}


def test_half_a_character_in_one_id_of_a_batch_leaves_none_that_could_be_answered() -> None:
    message = read(b'[{"jsonrpc":"2.0","id":"\\ud800","method":"m"},{"jsonrpc":"2.0","id":1,"method":"m"}]')
    [refused] = message.items
    assert isinstance(refused, Refusal) and refused.code is Code.PARSE_ERROR and refused.id == b"null"


# --- writing ------------------------------------------------------------------------------------


def test_an_error_has_data_only_when_there_is_some() -> None:
    assert json.loads(error_line(b"1", Code.RUN_ACTIVE, "busy", ActiveRunData("r")))["error"] == {
        "code": -32001,
        "message": "busy",
        "data": {"run_id": "r"},
    }
    assert json.loads(error_line(b"1", Code.RUN_ACTIVE, "busy"))["error"] == {
        "code": -32001,
        "message": "busy",
    }


def test_a_notification_has_no_id() -> None:
    line = notification_line("tagging-progress", {"status": "waits – 3 s"})
    assert line.isascii()
    assert json.loads(line) == {
        "jsonrpc": "2.0",
        "method": "tagging-progress",
        "params": {"status": "waits – 3 s"},
    }


def test_nothing_in_a_result_can_break_the_line() -> None:
    line = result_line(b"1", {"\ud800k": ["a\udfffb", float("nan"), float("-inf"), "\r\n\u2028😀", ("\ud83d",)]})
    assert line.isascii()
    assert line.count(b"\n") == 1
    assert json.loads(line)["result"] == {"\ufffdk": ["a\ufffdb", None, None, "\r\n\u2028😀", ["\ufffd"]]}


def test_a_lone_surrogate_costs_nothing_but_itself() -> None:
    line = result_line(b"1", {"file": "\udcff", "id": 7, "tagged": True, "genre": None, "seconds": 1.5})
    assert json.loads(line)["result"] == {
        "file": "\ufffd",
        "id": 7,
        "tagged": True,
        "genre": None,
        "seconds": 1.5,
    }


# --- properties ---------------------------------------------------------------------------------

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)
members = st.sampled_from(["2.0", "1.0", 2, None]) | json_values
requests = st.fixed_dictionaries(
    {}, optional={"jsonrpc": members, "id": json_values, "method": members, "params": json_values}
)


def answer(item: Item) -> bytes:
    if isinstance(item, Refusal):
        return error_line(item.id, item.code, item.message)
    return result_line(item.id or b"null", item.method)


@given(
    st.binary()
    | st.text().map(str.encode)
    | (requests | st.lists(requests | json_values, max_size=4)).flatmap(
        lambda value: st.booleans().map(lambda ascii_only: json.dumps(value, ensure_ascii=ascii_only))
    ).map(lambda text: text.encode("utf-8", "surrogatepass"))
)  # fmt: skip
def test_read_never_raises_and_every_answer_is_a_line_of_ascii_json(line: bytes) -> None:
    message = read(line)
    assert message.items
    for item in message.items:
        answered = answer(item)
        assert answered.isascii()
        assert answered.index(b"\n") == len(answered) - 1
        json.loads(answered)
        if isinstance(item, Call) and item.params is not None:
            assert isinstance(json.loads(item.params), dict | list)


@given(json_values)
def test_a_result_survives_the_wire(value: Any) -> None:
    try:
        line = result_line(b"1", value)
    except OverflowError:  # msgspec encodes 64-bit integers only; no result of ours has others
        return
    assert json.loads(line)["result"] == json.loads(json.dumps(value))


@given(st.text(st.sampled_from('"\\/u00e9\x7f\x00\x1f\néÿ\u2028\uffff😀\ud83d\ude00\udcff') | st.characters()))
def test_any_text_survives_the_wire_but_for_halves_of_characters(text: str) -> None:
    line = result_line(b"1", [text, {text: text}])
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    assert line.isascii()
    assert line.index(b"\n") == len(line) - 1
    assert json.loads(line)["result"] == [whole, {whole: whole}]


@given(
    st.lists(
        st.sampled_from(["\\u00E9", "\\ud83d\\ude00", "\\/", '\\"', "\\\\", "\\n", "u", "é", "😀", "\ufffd"]),
        max_size=50,
    )
)
def test_of_an_id_nothing_is_changed_but_what_is_not_ascii(pieces: list[str]) -> None:
    call = only(f'{{"jsonrpc":"2.0","id":"{"".join(pieces)}","method":"m"}}'.encode())
    escaped = [piece if piece.isascii() else json.dumps(piece)[1:-1] for piece in pieces]
    assert isinstance(call, Call)
    assert call.id == f'"{"".join(escaped)}"'.encode()


@given(st.text())
def test_a_string_id_comes_back_as_the_string_it_was(text: str) -> None:
    item = only(json.dumps({"jsonrpc": "2.0", "id": text, "method": "m"}, ensure_ascii=False).encode())
    if isinstance(item, Call):
        assert json.loads(answer(item))["id"] == text
    else:
        assert len(json.dumps(text, ensure_ascii=False).encode()) > 1024
