"""A sample library with all of the shell's columns filled, and how it has to look after whatever happens."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sidecar.demo.library import create_library
from sidecar.demo.standin import Received
from sidecar.demo.vocabulary import VOCABULARY, plausible_tags
from tests.harness import rows

if TYPE_CHECKING:
    from tests.harness.client import Client

USER: Final = "user-4711"
"""Whose library it is: a name that stands nowhere else, so that each sight of it is a leak."""
HOME: Final = f"/home/{USER}/Music/Ligeia"


class Library:
    """A library at `path`.

    `baseline` is what it holds but for the sidecar's work: what was found at the start, and every edit that
    `execute` has made since in the shell's place. `clients` are the sidecars that were started on it.
    As text, and wherever a path is wanted, it is its path.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.baseline = self.snapshot()
        self.clients: list[Client] = []

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)

    def snapshot(self) -> rows.Snapshot:
        """The present state, whole."""
        with closing(sqlite3.connect(self.path, timeout=30)) as connection:
            connection.execute("BEGIN")
            return rows.snapshot(connection)

    def shell_rows(self) -> rows.Snapshot:
        """The present state of the shell's own tables, whole."""
        return rows.of_the_shell(self.snapshot())

    def execute(self, statement: str, *values: Any) -> None:
        """An edit of the shell's, which the baseline takes over. One transaction."""
        with self.edited() as connection:
            connection.execute(statement, values)

    @contextmanager
    def edited(self) -> Iterator[sqlite3.Connection]:
        """A transaction of the shell's, open while the block runs, which the baseline takes over."""
        with closing(self.connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            before = rows.snapshot(connection)
            yield connection
            after = rows.snapshot(connection)
            connection.execute("COMMIT")
        rows.fold(self.baseline, before, after)

    def connect(self) -> sqlite3.Connection:
        """A connection as the shell opens it, in autocommit; its edits are not in the baseline."""
        connection = sqlite3.connect(self.path, timeout=30, isolation_level=None)
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    def query(self, statement: str, *values: Any) -> list[rows.Row]:
        """Rows as dicts."""
        with closing(sqlite3.connect(self.path, timeout=30)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(statement, values)]

    def scalar(self, statement: str, *values: Any) -> Any:
        """The one value of the one row."""
        [row] = self.query(statement, *values)
        [value] = row.values()
        return value

    def file(self, file_id: int) -> rows.Row:
        """One sound, whole."""
        [row] = self.query("SELECT * FROM audio_files WHERE id = ?", file_id)
        return row

    def name(self, file_id: int) -> str:
        """The sound's file name, which stands at the end of its path in requests too."""
        return str(self.file(file_id)["file_path"]).rpartition("/")[2]

    def tags(self, file_id: int) -> set[tuple[str, str]]:
        """The type and value of the sound's rows in `rpg_tags`."""
        found = self.query("SELECT tag_type, tag_value FROM rpg_tags WHERE audio_file_id = ?", file_id)
        return {(row["tag_type"], row["tag_value"]) for row in found}

    @property
    def ids(self) -> list[int]:
        """The ids of all sounds, in ascending order."""
        return [row["id"] for row in self.query("SELECT id FROM audio_files ORDER BY id")]

    @property
    def tagged(self) -> int:
        """How many sounds are marked as tagged."""
        return int(self.scalar("SELECT count(*) FROM audio_files WHERE auto_tagged = 1"))


def library(folder: Path, files: int = 60, *, with_dates: bool = False, root: str = HOME) -> Library:
    """A fresh library of that many sounds, with the ids from 1 on, in the folder. They lie below `root`.

    `rpg_tags` has a further column, of which no two rows hold the same: one that comes back without it is another.
    """
    path = folder / "ligeia.db"
    create_library(path, files=files, root=root, with_dates=with_dates)
    columns = "id, audio_file_id, tag_type, tag_value, created_at"
    with closing(sqlite3.connect(path)) as connection, connection:
        found = connection.execute(f"SELECT {columns} FROM rpg_tags").fetchall()
        connection.execute("DELETE FROM rpg_tags")  # while there are rows no default can be computed
        connection.execute("ALTER TABLE rpg_tags ADD COLUMN luck DEFAULT (random())")
        connection.executemany(f"INSERT INTO rpg_tags ({columns}) VALUES (?, ?, ?, ?, ?)", found)
    return Library(path)


def vocabulary(kind: str) -> list[str]:
    """The sample library's tags of a type: `genre`, `mood`, `occasion`, `keyword`."""
    return [row[1] for row in VOCABULARY if row[0].removesuffix("s") == kind]


def answers(received: Received) -> list[dict[str, Any]]:
    """The items of a right answer to a tagging request."""
    items = []
    for file in received.files:
        tags = plausible_tags(str(file["path"]))
        items.append(
            {
                "id": file["id"],
                "genre": tags.genre,
                "moods": tags.moods,
                "occasions": tags.occasions,
                "keywords": tags.keywords,
            }
        )
    return items
