"""Error codes, the words and data that go with them, and the exception that carries one to the wire."""

from enum import IntEnum, StrEnum
from typing import Annotated, Final

from msgspec import Struct

from sidecar.contract.values import means

OWN_ERROR: Final = "The sidecar met an error of its own; its log says where."
"""Of a call or a run that met a defect."""


class Code(IntEnum):
    """Error codes: the JSON-RPC 2.0 ones, then the sidecar's own."""

    PARSE_ERROR = -32700
    INVALID_REQUEST = -32600
    METHOD_NOT_FOUND = -32601
    INVALID_PARAMS = -32602
    INTERNAL_ERROR = -32603
    RUN_ACTIVE = -32001
    NO_SUCH_RUN = -32002
    DATABASE_UNAVAILABLE = -32010
    NO_API_KEY = -32011
    KEY_REFUSED = -32012
    REQUEST_REFUSED = -32013


class DatabaseKind(StrEnum):
    """Why the database cannot be used: `data.kind` of error -32010."""

    MISSING = "missing"
    NOT_A_LIBRARY = "not_a_library"
    READ_ONLY = "read_only"
    LOCKED = "locked"
    CORRUPT = "corrupt"
    NO_VOCABULARY = "no_vocabulary"


class DatabaseErrorData(Struct, frozen=True):
    """Why the database cannot be used, for programs."""

    kind: Annotated[DatabaseKind, means("What is wrong with the database.")]


class ActiveRunData(Struct, frozen=True):
    """The run that is under way, in this process or another; null in the moment before it is booked."""

    run_id: Annotated[str | None, means("The run that is under way; null in the moment before it is booked.")]


class RefusalData(Struct, frozen=True):
    """Google's word for the refusal, or the HTTP status."""

    status: Annotated[str, means("Google's word for the refusal, or the HTTP status.")]


ErrorData = DatabaseErrorData | ActiveRunData | RefusalData


class RpcError(Exception):
    """A call's failure as the shell sees it: a code, a sentence to act on, and data for programs."""

    def __init__(self, code: Code, message: str, data: ErrorData | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


def invalid_params(message: str) -> RpcError:
    """-32602 with a sentence."""
    return RpcError(Code.INVALID_PARAMS, message)
