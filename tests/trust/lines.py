"""Hostile lines: what public JSON test suites and lists of naughty strings hold, and broken requests.

Each line is answered as the harness's own reading of JSON-RPC says it has to be. None asks for a write.
"""

import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Final

MIB: Final = 1024 * 1024
LIMIT_BYTES: Final = 16 * MIB
LONGEST_ID: Final = 80
"""Escaped, an id of more characters may have more bytes than one may have; then it is answered under null."""
READING: Final[tuple[tuple[str, dict[str, object]], ...]] = (
    ("status", {}),
    ("count_untagged_files", {}),
    ("get_untagged_files", {"limit": 3, "after_id": 0}),
    ("estimate", {"batch_size": 50, "file_ids": [1, 2, 3]}),
    ("get_run", {"run_id": None}),
    ("list_runs", {"limit": 20}),
    ("get_tagging_history", {"file_id": 1}),
    ("list_tag_mappings", {}),
    ("explain", {"file_id": 2}),
    ("find_stale", {}),
    ("list_exclusions", {}),
    ("cancel", {"run_id": "no such run"}),
)
"""Calls that change nothing, however they are garbled."""

NAUGHTY: Final = (
    "", " ", "undefined", "null", "NaN", "true", "1.0", "-1", "1e400", "\\", "\\\\", '"', "'", "`", "<>", "\t",
    "\u0000", "\u0001", "\u001f", "\u007f", "\u0085", "\u00a0", "\u00ad", "\u2028", "\u2029", "\ufeff", "\ufffe",
    "\uffff", "\U0001f3b2", "\U0010ffff", "e\u0301", "\u202e\u202d", "\u200b", "\u3000", "Ω≈ç√∫˜µ≤≥÷", "田中さん",
    "הָיְתָה", "الكل في المجمو", "(╯°□°）╯︵ ┻━┻", "Z̮̞̠͙͔ͅ", "ﬁ", "ǅ", "ß", "İ", "'; DROP TABLE audio_files;--",
    "1' OR '1'='1", "%s%n%d", "{0}", "${HOME}", "$(touch x)", "`id`", "../../etc/passwd", "C:\\CON", "/dev/null",
    "file:///etc/passwd", "<script>alert(1)</script>", "\r\nContent-Length: 0", "__proto__", "constructor", "rpc.",
    "rpc.discover ", "Status", "status\u0000", "a" * 1020, "a" * 1022, "a" * 5000, "\U0001f3b2" * 300,
)  # fmt: skip

_CALL: Final = b'{"jsonrpc": "2.0", "id": %s, "method": "status"}'
_SUITE: Final = (
    b"", b" ", b"\r", b"\x00", b"\xff", b"\xfe\xff", b"\xef\xbb\xbf" + _CALL % b"1", b"\xff\xfe{\x00}\x00",
    b"[]", b"[[]]", b"[1]", b"[1,2,3]", b"[null]", b"[[],{}]", b"{}", b"null", b"true", b"1", b'"x"', b"-", b"+1",
    b"01", b"1.", b".5", b"1e", b"1e+", b"0x1", b"Infinity", b"-Infinity", b"NaN", b"nan", b"'x'", b'"', b'"\\"',
    b'"\\x"', b'"\\u12"', b'"\\ud800"', b'"\\udc00\\ud800"', b'"\t"', b'"\x01"', b"[1,]", b"[,1]", b"[1 2]",
    b"{,}", b'{"a"}', b'{"a":}', b'{"a" 1}', b'{a:1}', b'{"a":1,}', b'{"a":1 "b":2}', b"{}}", b"[]]", b"{} {}",
    b"tru",
    b"nulll", b"/* x */ {}", b"// x", b"#", b"[" * 100_000, b'{"a":' * 100_000, b"[" * 100_000 + b"]" * 100_000,
    b'{"jsonrpc":"2.0","id":1,"method":"status","params":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"jsonrpc":"2.0","id":1,"method":"status","x":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
    _CALL % (b"9" * 5000), _CALL % (b"-" + b"9" * 1023), _CALL % (b"9" * 1023), _CALL % (b"1." + b"0" * 900),
    _CALL % b"1e999", _CALL % b"-0", _CALL % b"-0.0", _CALL % b"1E2", _CALL % b"NaN", _CALL % b"Infinity",
    _CALL % b'"\\ud800"', _CALL % b'"\\udc00\\ud800"', _CALL % b'"\xed\xa0\x80"', _CALL % b'"\xc0\xaf"',
    _CALL % b'"\xf4\x90\x80\x80"', _CALL % b'"\\u0000"', _CALL % b'"\x7f"', _CALL % b"[1]", _CALL % b"{}",
    _CALL % b"true", _CALL % b"null", b'{"jsonrpc":"2.0","id":901,"id":902,"method":"status"}',
    b'{"jsonrpc":"2.0","id":903,"method":"x","method":"status"}',
    b'{"jsonrpc":"\\u0032.0","id":904,"method":"status"}',
    b'{"\\u006asonrpc":"2.0","id":905,"method":"status"}', b'{"jsonrpc":2.0,"id":906,"method":"status"}',
    b'{"jsonrpc":"2.0","id":907,"method":"status","params":null}', b'{"jsonrpc":"2.0","id":908,"method":null}',
    b'{"JSONRPC":"2.0","id":909,"method":"status"}', b"[" + b",".join([b"1"] * 20_000) + b"]",
    b"[" + b",".join([_CALL % b"1"] * 50) + b"]", b"[" + b",".join([b"[]"] * 5000) + b"]",
)  # fmt: skip
"""The kinds of lines in public JSON test suites, as they are and as a request."""


def huge() -> Iterator[bytes]:
    """Lines about the limit: one byte less, as many, one more, and blanks without end."""
    for bytes_ in (LIMIT_BYTES - 1, LIMIT_BYTES, LIMIT_BYTES + 1, 2 * LIMIT_BYTES):
        yield _CALL % b"1" + b" " * (bytes_ - len(_CALL) + 1)
    yield b"[" + b"1," * (LIMIT_BYTES // 2 - 2) + b"1]"
    yield b'{"jsonrpc":"2.0","id":1,"method":"' + b"x" * (LIMIT_BYTES - 100) + b'"}'


def _call(random: Random, method: str, params: object) -> bytes:
    call = {"jsonrpc": "2.0", "id": _number(random), "method": method, "params": params}
    return json.dumps(call).encode()


def _number(random: Random) -> int:
    """An id that no other line of the chunk has: only by it the harness knows what an answer belongs to."""
    return random.randrange(10**9, 10**12)


def suite(_: Random) -> Iterator[bytes]:
    """Every line of the suite."""
    yield from _SUITE


def naughty(random: Random) -> Iterator[bytes]:
    """Naughty strings as method, as id and as a value, escaped and not."""
    for text in NAUGHTY:
        for ascii_only in (True, False):
            for call in (
                {"id": text[:LONGEST_ID], "method": "status"},
                {"id": _number(random), "method": text},
                {"id": _number(random), "method": "status", "params": {text: text}},
                {"id": _number(random), "method": "get_run", "params": {"run_id": text}},
                {"id": _number(random), text: text, "method": "status"},
            ):
                yield json.dumps({"jsonrpc": "2.0", **call}, ensure_ascii=ascii_only).encode()


def values(random: Random) -> Iterator[bytes]:
    """Every param of every call with values that it was not made for."""
    odd: tuple[object, ...] = (
        None, True, -1, 0, 1.5, 1e300, 2**63, 2**64, -(2**63) - 1, "", "x", [], [[]], {}, {"a": {"b": []}},
        [None], ["1"], [2**63], list(range(300)), "\ud800",
    )  # fmt: skip
    for method, params in READING:
        for name in (*params, "unknown"):
            yield _call(random, method, {**params, name: random.choice(odd)})
        yield _call(random, method, [1])


def mutated(random: Random) -> Iterator[bytes]:
    """Requests of one method with bytes changed, left out, doubled or put elsewhere."""
    method, params = random.choice(READING)
    for _ in range(50):
        line = bytearray(_call(random, method, params))
        for _ in range(random.choice((1, 1, 2, 4))):
            start = random.randrange(len(line))
            end = min(len(line), start + random.choice((1, 1, 3, 20)))
            match random.randrange(5):
                case 0:
                    del line[start:end]
                case 1:
                    line[start:end] = line[start:end] * 2
                case 2:
                    line[start] = random.choice(b'{}[]":,\\0123456789.-+eE \tnulltrue\x00\x7f\xff\xc3')
                case 3:
                    line[start:start] = random.randbytes(random.choice((1, 2, 5)))
                case _:
                    line[start] ^= 1 << random.randrange(8)
            line = line or bytearray(b" ")
        yield bytes(line.replace(b"\n", b" "))


KINDS: Final[tuple[tuple[int, Callable[[Random], Iterator[bytes]]], ...]] = (
    (1, suite),
    (2, naughty),
    (7, values),
    (40, mutated),
)
"""How often each comes."""
