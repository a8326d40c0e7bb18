"""Which files a call means: all untagged ones or those named, without excluded ones, suspects last."""

import sqlite3
from collections.abc import Callable

from sidecar.contract import CONTENT_REASONS, invalid_params
from sidecar.library import queries, run_reads
from sidecar.library.connections import Shape
from sidecar.runs.selection import Selection, select

MOST_NAMED_IDS = 20


def chosen(
    file_ids: list[int] | None, batch_size: int, *, named: bool = True
) -> Callable[[sqlite3.Connection, Shape], Selection]:
    """A read of the files in the order in which a run would ask for them.

    It raises RpcError -32602 for ids that no file has where the caller has `named` them, sqlite3.Error.
    """

    def query(connection: sqlite3.Connection, _shape: Shape) -> Selection:
        if file_ids is None:
            ids = queries.untagged_ids(connection)
        else:
            if named:
                _refuse_unknown(connection, file_ids)
            ids = queries.without_excluded(connection, dict.fromkeys(file_ids))
        failed = run_reads.failed_before(connection, CONTENT_REASONS)
        return select(ids, failed, batch_size)

    return query


def _refuse_unknown(connection: sqlite3.Connection, file_ids: list[int]) -> None:
    refuse_ids(queries.unknown_ids(connection, file_ids), "`file_ids`: no file has the id")


def refuse_ids(ids: list[int], complaint: str) -> None:
    """Raises RpcError -32602 naming the ids, if there are any, each once."""
    if ids:
        ids = list(dict.fromkeys(ids))
        named = ", ".join(map(str, ids[:MOST_NAMED_IDS]))
        more = f" and {len(ids) - MOST_NAMED_IDS} more" if len(ids) > MOST_NAMED_IDS else ""
        raise invalid_params(f"{complaint} {named}{more}.")
