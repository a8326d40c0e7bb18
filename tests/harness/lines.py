"""Lines as a strict reader of JSON-RPC sees them."""

import json
from typing import Any, Final

Message = dict[str, Any]

_LINE_LIMIT: Final = 16 * 1024 * 1024
_NO_ID: Final = "null"


def is_answer(message: Message, number: object) -> bool:
    """Whether the message answers the request of that id."""
    return "method" not in message and message.get("id") == number


def decoded_line(line: bytes) -> Any:
    """The JSON value. Raises ValueError, RecursionError."""
    if len(line) > _LINE_LIMIT:
        raise ValueError("too long")
    value = json.loads(line.decode(), parse_constant=_refuse)
    ids = [item.get("id") for item in (value if isinstance(value, list) else [value]) if isinstance(item, dict)]
    json.dumps(ids, ensure_ascii=False).encode()  # half of a surrogate pair could not be echoed
    return value


def _refuse(constant: str) -> None:
    """Python reads NaN and infinities; JSON has none."""
    raise ValueError(constant)


def id_key(message: Message) -> str:
    """The id as text; ids that JSON-RPC does not know count as none."""
    number = message.get("id")
    known = isinstance(number, str | int | float) and not isinstance(number, bool)
    return json.dumps(number) if known else _NO_ID
