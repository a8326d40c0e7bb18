"""JSON-RPC 2.0 (https://www.jsonrpc.org/specification) as bytes: a line → calls or refusals, and back.

Pure: no I/O, and no method is known here. Its law: what cannot be read becomes a refusal, never an
exception; an id is echoed byte for byte; whatever is built here is one line of ASCII, ended by `\\n`.
"""

import io
import re
from collections.abc import Iterator
from functools import cache
from json.encoder import encode_basestring_ascii
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, Struct

from sidecar.contract import Code

NULL_ID: Final = b"null"
MAX_ID_BYTES: Final = 1024
"""JSON sets no bound, but a Python peer refuses to read numbers of more than 4,300 digits."""
MAX_BATCH_MEMBERS: Final = 10_000
PIECE_ITEMS: Final = 1000
"""Of a list, some 200 KB: encoded in 1 ms."""


class Call(Struct, frozen=True):
    """A valid request. `id` and `params` are raw JSON; without an `id` it is a notification.

    `params` is an object or an array; None when the member is absent.
    """

    id: bytes | None
    method: str
    params: bytes | None


class Refusal(Struct, frozen=True):
    """What stood in a call's place: answered with this error under this id (raw JSON)."""

    id: bytes
    code: Code
    message: str


Item = Call | Refusal


class Message(Struct, frozen=True):
    """What one line held. The answers of a batch go out as one array, if there are any."""

    items: list[Item]
    is_batch: bool


TOO_LONG: Final = Refusal(NULL_ID, Code.PARSE_ERROR, "The line is longer than 16 MiB.")
"""What a line too long to be read is answered with (contract 1)."""

_REPLACEMENT: Final = b"\\ufffd"
_HALVES: Final = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\."
)
"""Escapes one after the other; the group is half of a pair that stands alone."""

_BROKEN: Final = Refusal(NULL_ID, Code.PARSE_ERROR, "The line is not valid JSON in UTF-8.")


def _invalid(message: str, call_id: bytes = NULL_ID) -> Refusal:
    return Refusal(call_id, Code.INVALID_REQUEST, message)


class _Envelope(Struct):
    """A request object before it is judged: empty bytes stand for an absent member."""

    jsonrpc: Raw = Raw(b"")
    id: Raw = Raw(b"")
    method: Raw = Raw(b"")
    params: Raw = Raw(b"")


_envelopes = msgspec.json.Decoder(_Envelope)
_members = msgspec.json.Decoder(list[Raw])
_anything = msgspec.json.Decoder(Raw)
_strings = msgspec.json.Decoder(str)
_encoder = msgspec.json.Encoder()


# --- reading ------------------------------------------------------------------------------------


def read(line: bytes) -> Message:
    """Everything that one line asks for; never raises.

    A single request or anything wrong with the line as a whole is a message of one item, not a batch. Half of a
    surrogate pair is U+FFFD: JavaScript's `JSON.stringify` sends one for text that was cut within an emoji.
    """
    message = _read(line)
    if message.items == [_BROKEN] and (whole := _HALVES.sub(_replacement, line)) != line:
        repaired = _read(whole)
        # An id that holds half a character cannot be echoed as it came.
        if not any(item.id is not None and _REPLACEMENT in item.id for item in repaired.items):
            return repaired
    return message


def _read(line: bytes) -> Message:
    try:
        if not line.isascii():
            line.decode("utf-8")  # msgspec does not validate UTF-8 inside a Raw
        match line.lstrip()[:1]:
            case b"{":
                return _single(_request(line))
            case b"[":
                return _batch(line)
            case _:
                _anything.decode(line)
                return _single(_invalid("A request is an object, or an array of objects."))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _single(_BROKEN)


def _replacement(escape: re.Match[bytes]) -> bytes:
    return _REPLACEMENT if escape[1] else escape[0]


def _single(item: Item) -> Message:
    return Message([item], is_batch=False)


def _batch(line: bytes) -> Message:
    if _too_many(line):
        return _single(_invalid(f"A batch holds at most {MAX_BATCH_MEMBERS:,} requests."))
    members = _members.decode(line)
    if not members:
        return _single(_invalid("The batch is empty."))
    return Message([_member(bytes(raw)) for raw in members], is_batch=True)


@cache
def _first_members() -> msgspec.json.Decoder[Any]:
    """Reads as many members as a batch may hold and one more; the others are skipped, not kept.

    A list of the eight million members that a line has room for would take some 700 MB. Made for the
    first line that may hold too many: it costs 50 ms.
    """
    fields = [(f"member_{number}", Raw, Raw(b"")) for number in range(MAX_BATCH_MEMBERS + 1)]
    return msgspec.json.Decoder(msgspec.defstruct("FirstMembers", fields, array_like=True))


def _too_many(line: bytes) -> bool:
    """Whether the array has more members than a batch may have. Raises msgspec.DecodeError."""
    if line.count(b",") < MAX_BATCH_MEMBERS:
        return False
    return bytes(getattr(_first_members().decode(line), f"member_{MAX_BATCH_MEMBERS}")) != b""


def _member(raw: bytes) -> Item:
    if not raw.startswith(b"{"):
        return _invalid("A request is an object.")
    return _request(raw)


def _request(raw: bytes) -> Item:
    """Raises msgspec.DecodeError or RecursionError for text that is not JSON."""
    envelope = _envelopes.decode(raw)
    call_id = bytes(envelope.id)
    if call_id and not _is_id(call_id):
        return _invalid(f"`id` is a string, a number or null, of at most {MAX_ID_BYTES:,} bytes.")
    call_id = _ascii(call_id)
    params = bytes(envelope.params)
    if not _is_version_2(bytes(envelope.jsonrpc)):
        return _invalid('`jsonrpc` must be "2.0".', call_id or NULL_ID)
    method = bytes(envelope.method)
    if not method.startswith(b'"'):
        return _invalid("`method` must be a string.", call_id or NULL_ID)
    if params and params[:1] not in b"{[":
        return _invalid("`params` must be an object or an array.", call_id or NULL_ID)
    return Call(call_id or None, _strings.decode(method), params or None)


def _is_id(raw: bytes) -> bool:
    """Whether this JSON value may be an id; its first byte tells its type."""
    return len(raw) <= MAX_ID_BYTES and (raw == NULL_ID or raw[:1] in b'"-0123456789')


def _is_version_2(raw: bytes) -> bool:
    return raw == b'"2.0"' or (raw.startswith(b'"') and _strings.decode(raw) == "2.0")


# --- writing ------------------------------------------------------------------------------------


def result_line(call_id: bytes, result: object) -> bytes:
    """The answer to a call; `call_id` is raw JSON, `result` anything msgspec encodes."""
    return b'{"jsonrpc":"2.0","id":' + call_id + b',"result":' + _encode(result) + b"}\n"


def is_large(result: object) -> bool:
    """Whether to encode it may take so long that whoever has others to serve leaves it to a thread."""
    if type(result) is list:
        return len(result) > PIECE_ITEMS
    if isinstance(result, Struct):
        for name in result.__struct_fields__:
            member = getattr(result, name)
            if type(member) is list and len(member) > PIECE_ITEMS:
                return True
    return False


def large_result_line(call_id: bytes, result: object) -> bytes:
    """As `result_line`; takes up to seconds, but lets other threads run meanwhile.

    Uses up the lists in the result, see `_pieces`.
    """
    line = io.BytesIO()  # to join the pieces would keep the GIL, and hold all of them twice
    line.write(b'{"jsonrpc":"2.0","id":' + call_id + b',"result":')
    line.writelines(_pieces(result))
    line.write(b"}\n")
    return line.getvalue()


def error_line(call_id: bytes, code: int, message: str, data: object = None) -> bytes:
    """The answer to a call that failed; without `data` the member is left out."""
    error: dict[str, Any] = {"code": int(code), "message": message}
    if data is not None:
        error["data"] = data
    return b'{"jsonrpc":"2.0","id":' + call_id + b',"error":' + _encode(error) + b"}\n"


def notification_line(method: str, params: object) -> bytes:
    """A message that asks for no answer."""
    return b'{"jsonrpc":"2.0","method":' + _encode(method) + b',"params":' + _encode(params) + b"}\n"


def batch_line(lines: list[bytes]) -> bytes:
    """The answers of a batch, each as built above, as one array; `b""` when there is none to send."""
    if not lines:
        return b""
    return b"[" + b",".join([line.removesuffix(b"\n") for line in lines]) + b"]\n"


def _encode(value: object) -> bytes:
    """JSON in ASCII. NaN and infinities become null, lone surrogates U+FFFD."""
    try:
        raw = _encoder.encode(value)
    except UnicodeEncodeError:
        raw = _encoder.encode(_without_surrogates(msgspec.to_builtins(value)))
    return _ascii(raw)


def _pieces(value: object) -> Iterator[bytes]:
    """As `_encode`, of which each call keeps the GIL until it is done.

    The items of a list are gone once they are encoded: kept beside their text they would double the memory, and to
    free a million at once keeps the GIL for a second.
    """
    if isinstance(value, list):
        separator = b"["
        for start in range(0, len(value), PIECE_ITEMS):
            items = value[start : start + PIECE_ITEMS]
            value[start : start + PIECE_ITEMS] = [None] * len(items)
            yield separator + _encode(items)[1:-1]
            separator = b","
        yield b"]" if separator == b"," else b"[]"
    elif isinstance(value, Struct):
        separator = b"{"
        for field in msgspec.structs.fields(value):
            if (member := getattr(value, field.name)) is not UNSET:
                yield separator + _encode(field.encode_name) + b":"
                yield from _pieces(member)
                separator = b","
        yield b"}" if separator == b"," else b"{}"
    else:
        yield _encode(value)


def _ascii(raw: bytes) -> bytes:
    """JSON without a byte above 127; such characters can only stand inside strings."""
    if raw.isascii():
        return raw
    # All in C: an error handler of a codec is a call for each run of such characters. What it does to quotes, each
    # of which gets a backslash, and to backslashes, which it doubles, is undone; JSON of ours and raw ids hold no
    # control characters but DEL, which may be escaped.
    escaped = encode_basestring_ascii(raw.decode("utf-8"))[1:-1]
    return escaped.replace('\\"', '"').replace("\\\\", "\\").encode("ascii")


def _without_surrogates(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        case dict():
            return {_without_surrogates(name): _without_surrogates(item) for name, item in value.items()}
        case list() | tuple():
            return [_without_surrogates(item) for item in value]
        case _:
            return value
