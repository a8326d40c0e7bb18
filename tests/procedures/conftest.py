"""Libraries of every shape."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from sidecar.library.connections import judge
from sidecar.library.own_tables import create_tables
from sidecar.library.procedures import create_procedures
from tests.procedures.scenes import (
    SHELL,
    Opened,
)


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Opens a library of nine files; `setup` are statements after those that make the shell's tables."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:

        def library(*setup: str) -> sqlite3.Connection:
            connection.executescript(SHELL)
            for table in ("rpg_tags", "tag_mapping_cache"):
                if any(statement.startswith(f"CREATE TABLE {table} ") for statement in setup):
                    connection.execute(f"DROP TABLE {table}")
            for number in range(1, 10):
                connection.execute(
                    "INSERT INTO audio_files (file_path, title, genre) VALUES (?, 'a title', 'old')",
                    (f"/s/{number}",),
                )
            for statement in setup:
                connection.execute(statement)
            connection.execute("PRAGMA foreign_keys=ON")
            create_tables(connection)
            create_procedures(connection, judge(connection))
            return connection

        yield library
