"""Finding what the database itself refuses (a trigger or a constraint of the shell's), file by file."""

import sqlite3
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def refused(connection: sqlite3.Connection, entries: Sequence[T], write: Callable[[T], None]) -> list[T]:
    """Writes each on its own, so that one refused entry does not take the others with it; the refused.

    In the caller's transaction. Raises sqlite3.Error, for what is no refusal.
    """
    return [entry for entry in entries if not _written(connection, entry, write)]


def _written(connection: sqlite3.Connection, entry: T, write: Callable[[T], None]) -> bool:
    connection.execute("SAVEPOINT entry")
    taken = True
    try:
        write(entry)
    except sqlite3.IntegrityError:
        if not connection.in_transaction:  # RAISE(ROLLBACK) took the caller's transaction and all savepoints
            raise
        connection.execute("ROLLBACK TO entry")
        taken = False
    # Not after other errors: they may have ended the transaction, and would lose their name to this one's.
    connection.execute("RELEASE entry")
    return taken
