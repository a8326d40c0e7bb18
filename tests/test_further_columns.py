"""Columns of `rpg_tags` of which the sidecar knows nothing: what a run takes away of them its undo puts back."""

import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from sidecar.demo.library import create_library
from sidecar.library.changes import rows_of
from sidecar.library.own_tables import create_tables
from sidecar.library.procedures import write_rows
from sidecar.library.queries import snapshots
from sidecar.library.store import Library, open_library
from sidecar.library.undo import undo_files
from sidecar.library.writer import Transaction
from tests.procedures.scenes import AFTER, REPLACE, tagged

IDS = (1, 2, 3)
TAGS = """CREATE TABLE rpg_tags (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    audio_file_id INTEGER NOT NULL REFERENCES audio_files(id) ON DELETE CASCADE,
    tag_type TEXT NOT NULL, tag_value TEXT NOT NULL, created_at DATETIME DEFAULT CURRENT_TIMESTAMP{},
    UNIQUE (audio_file_id, tag_type, tag_value))"""
KNOWN = "audio_file_id, tag_type, tag_value, created_at"
WEIGHT = "weight REAL DEFAULT 1.0, note"


class Shell:
    """The other program in the library at `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def does(self, *statements: str) -> None:
        with closing(sqlite3.connect(self._path, isolation_level=None)) as connection:
            for statement in statements:
                connection.execute(statement)

    def gives(self, *rows: str, columns: str = "weight, note") -> None:
        """Each row: a tag's file, value, and what it holds in these columns."""
        for row in rows:
            file_id, value, *further = (part.strip() for part in row.split(","))
            self.does(
                f"INSERT INTO rpg_tags (audio_file_id, tag_type, tag_value, created_at, {columns}) "
                f"VALUES ({file_id}, 'keyword', '{value}', 'then', {', '.join(further)})"
            )

    def tags(self, columns: str = "*") -> list[tuple[Any, ...]]:
        """The rows of tags. Texts as bytes, since some are no text."""
        with closing(sqlite3.connect(self._path)) as connection:
            connection.text_factory = bytes
            return connection.execute(f"SELECT {columns} FROM rpg_tags ORDER BY rowid").fetchall()

    def kept(self) -> tuple[int, int]:
        """How many rows are kept for an undo, and how many values of theirs."""
        with closing(sqlite3.connect(self._path)) as connection:
            [counts] = connection.execute(
                "SELECT (SELECT count(*) FROM auto_tag_removed), (SELECT count(*) FROM auto_tag_removed_values)"
            )
            return counts[0], counts[1]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "library.db"
    create_library(found, files=3)
    return found


def shell(path: Path, further: str = f", {WEIGHT}") -> Shell:
    """A library whose tags have such further columns."""
    found = Shell(path)
    found.does("DROP TABLE rpg_tags", TAGS.format(further))
    return found


async def run(library: Library, run_id: int = 7, ids: tuple[int, ...] = IDS) -> None:
    """A run in mode `replace` tags these files."""
    stamp = replace(REPLACE, run_id=f"run-{run_id}", row=run_id)

    def write(transaction: Transaction) -> None:
        connection = transaction.connection
        create_tables(connection)
        connection.execute(
            """INSERT OR IGNORE INTO auto_tag_runs (id, run_id, status, mode, dry_run, model, vocabulary, rules,
                batch_size, started_at, total_files, total_batches, first_history_id)
                VALUES (?, ?, 'completed', 'replace', 0, '', '', '', 3, '', 3, 1, 1)""",
            (stamp.row, stamp.run_id),
        )
        found = snapshots(connection, transaction.shape, ids)
        changes = [replace(tagged(entry.file.id, after=AFTER), snapshot=entry) for entry in found]
        write_rows(connection, rows_of(stamp, changes))

    await library.write(write)


async def undo(library: Library, run_id: int = 7) -> int:
    """How many files it restores."""
    await library.write(lambda transaction: create_tables(transaction.connection))
    return await library.write(partial(undo_files, run=run_id, ids=IDS))


MANY = ", ".join(f"c{n}" for n in range(400))
COLUMNS = {
    "types": (
        f"{WEIGHT}, i INTEGER, t TEXT, b BLOB, n NUMERIC",
        ("1, a, 0.25, 'hello', 1, '1', x'00ff', 1.5", "1, b, 'no number', 2, 'x', x'01', 'text', '1e400'"),
        "weight, note, i, t, b, n",
    ),
    "no text": (
        WEIGHT,
        ("1, a, 1e999, CAST(x'ff' AS TEXT)", "2, b, 0.1, 'a' || char(0)", "2, c, 5e-324, 9223372036854775807"),
        "weight, note",
    ),
    "null and not the default": (WEIGHT, ("1, a, NULL, NULL", "2, b, 1.0, ''"), "weight, note"),
    "names": (
        '"a ""quoted"" one" TEXT, "it\'s; a [name]", "select", "", "Größe 雨", "A\nB"',
        ("1, a, 1, 2, 3, 4, 5, 6",),
        '"a ""quoted"" one", "it\'s; a [name]", "select", "", "Größe 雨", "A\nB"',
    ),
    "names of ours": (
        "run, row_id, FILE_ID, name, Value, tags, v, rowid, previous, old, key, \"new\"",
        ("1, a, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12", "1, b, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12"),
        "run, row_id, FILE_ID, name, Value, tags, v, rowid, previous, old, key, \"new\"",
    ),
    "generated": (
        f"{WEIGHT}, twice GENERATED ALWAYS AS (2 * weight) STORED, once AS (weight) VIRTUAL",
        ("1, a, 0.25, 'hello'",),
        "weight, note",
    ),
    "checked": (f"{WEIGHT} CHECK (weight IS NOT 1.0 OR note IS NULL)", ("1, a, 0.25, 'hello'",), "weight, note"),
    "unique": (
        f"{WEIGHT}, place INTEGER DEFAULT NULL UNIQUE",
        ("1, a, 0.25, 'x', 1", "1, b, 0.25, 'x', 2"),
        "weight, note, place",
    ),
    "many": (MANY, (f"1, a, {', '.join(map(str, range(400)))}",), MANY),
}  # fmt: skip


@pytest.mark.parametrize("case", COLUMNS)
async def test_whatever_they_are_they_come_back_to_the_byte(path: Path, case: str) -> None:
    further, rows, columns = COLUMNS[case]
    found = shell(path, f", {further}")
    found.gives(*rows, columns=columns)
    before = found.tags()
    async with open_library(path) as library:
        await run(library)
        assert found.kept()[0] == len(rows)
        await run(library, 8)
        assert await undo(library, 8) == 3
        assert await undo(library) == 3
    assert found.tags() == before
    assert found.kept() == (0, 0)


KEPT = (b"a", 0.25, b"hello")
MIGRATIONS = {
    "nothing": ((), "tag_value, weight, note", KEPT),
    "dropped": (("ALTER TABLE rpg_tags DROP COLUMN note",), "tag_value, weight", KEPT[:2]),
    "all dropped": (
        ("ALTER TABLE rpg_tags DROP COLUMN note", "ALTER TABLE rpg_tags DROP COLUMN weight"),
        "tag_value",
        KEPT[:1],
    ),
    "renamed": (("ALTER TABLE rpg_tags RENAME note TO remark",), "tag_value, weight, remark", (*KEPT[:2], None)),
    "in other letters": (("ALTER TABLE rpg_tags RENAME note TO Note",), "tag_value, weight, note", KEPT),
    "added": (
        ("ALTER TABLE rpg_tags ADD COLUMN stars INTEGER NOT NULL DEFAULT 3",),
        "tag_value, weight, note, stars",
        (*KEPT, 3),
    ),
    "forbidden by a trigger": (
        (
            "CREATE TRIGGER quiet BEFORE INSERT ON rpg_tags WHEN NEW.note IS NOT NULL "
            "BEGIN SELECT RAISE(ABORT, 'no notes'); END",
        ),
        "tag_value, weight, note",
        (b"a", 1.0, None),
    ),
    "required": (
        (
            "ALTER TABLE rpg_tags RENAME TO old",
            TAGS.format(", weight REAL NOT NULL, note NOT NULL"),
            f"INSERT INTO rpg_tags (id, {KNOWN}, weight, note) SELECT id, {KNOWN}, 0, 0 FROM old",
            "DROP TABLE old",
        ),
        "tag_value, weight, note",
        KEPT,
    ),
    "shaken": (
        ("DELETE FROM auto_tag_removed_values WHERE file_id = 3", "VACUUM"),
        "tag_value, weight, note",
        KEPT,
    ),
}


@pytest.mark.parametrize("goes_on", [True, False])
@pytest.mark.parametrize("case", MIGRATIONS)
async def test_a_row_gets_what_the_shell_still_has_room_for(path: Path, case: str, goes_on: bool) -> None:
    statements, columns, expected = MIGRATIONS[case]
    found = shell(path)
    found.gives("1, a, 0.25, 'hello'")
    before = found.tags("id, audio_file_id, tag_type, created_at")
    async with open_library(path) as library:
        await run(library)
        if goes_on:
            found.does(*statements)
            assert await undo(library) == 3
    if not goes_on:
        found.does(*statements)
        async with open_library(path) as library:
            assert await undo(library) == 3
    assert expected in found.tags(columns)
    assert before[0] in found.tags("id, audio_file_id, tag_type, created_at")
    assert found.kept()[0] == 0


@pytest.mark.parametrize("conflict", ["ABORT", "REPLACE", "IGNORE", "ROLLBACK"])
async def test_what_another_row_holds_by_now_stays_there(path: Path, conflict: str) -> None:
    found = shell(path, f", weight REAL DEFAULT 1.0, note UNIQUE ON CONFLICT {conflict}")
    found.gives("1, a, 0.25, 'hello'", "2, b, 0.5, 'again'")
    async with open_library(path) as library:
        await run(library)
        found.gives("3, c, 3, 'hello'")
        found.does("UPDATE rpg_tags SET tag_type = 'mood' WHERE tag_value = 'c'")
        assert await undo(library) == 3
    assert found.tags("tag_value, weight, note") == [
        (b"a", 1.0, None),
        (b"b", 0.5, b"again"),
        (b"c", 3.0, b"hello"),
    ]


async def test_what_refers_to_a_row_that_is_gone_stays_away(path: Path) -> None:
    found = shell(path, f", {WEIGHT} REFERENCES boards (id)")
    found.does("CREATE TABLE boards (id PRIMARY KEY)", "INSERT INTO boards VALUES ('hello'), ('again')")
    found.gives("1, a, 0.25, 'hello'", "2, b, 0.5, 'again'")
    async with open_library(path) as library:
        await run(library)
        found.does("DELETE FROM boards WHERE id = 'hello'")
        assert await undo(library) == 3
    assert found.tags("tag_value, weight, note") == [(b"a", 1.0, None), (b"b", 0.5, b"again")]


async def test_columns_that_come_and_go_in_the_middle_of_a_run(path: Path) -> None:
    found = shell(path, "")
    found.gives("1, a, 1", "2, b, 2", "3, c, 3", columns="id")
    async with open_library(path) as library:
        await run(library, ids=(1,))
        found.does("ALTER TABLE rpg_tags ADD COLUMN weight REAL DEFAULT 1.0", "UPDATE rpg_tags SET weight = 0.25")
        await run(library, ids=(2,))
        found.does(
            "ALTER TABLE rpg_tags RENAME weight TO mass", "ALTER TABLE rpg_tags ADD COLUMN note DEFAULT 'new'"
        )
        found.does("UPDATE rpg_tags SET note = 'mine'")
        await run(library, ids=(3,))
        found.does("ALTER TABLE rpg_tags ADD COLUMN weight REAL DEFAULT 2.0")
        assert await undo(library) == 3
    assert found.tags("tag_value, weight, mass, note") == [
        (b"a", 2.0, 1.0, b"new"), (b"b", 0.25, 1.0, b"new"), (b"c", 2.0, 0.25, b"mine"),
    ]  # fmt: skip


async def test_rows_that_an_older_sidecar_has_kept_get_the_defaults(path: Path) -> None:
    found = shell(path)
    found.gives("1, a, 0.25, 'hello'", "2, b, 0.5, 'again'")
    async with open_library(path) as library:
        await run(library)
        found.does("DROP TABLE auto_tag_removed_values")
        assert await undo(library) == 3
    assert found.tags("tag_value, weight, note") == [(b"a", 1.0, None), (b"b", 1.0, None)]


@pytest.mark.parametrize(
    ("key", "kept"),
    [
        ("id TEXT PRIMARY KEY DEFAULT (hex(randomblob(8)))", True),
        ("id TEXT", False),
        ("number INTEGER PRIMARY KEY", False),
    ],
)
async def test_rows_are_known_by_their_ids(path: Path, key: str, kept: bool) -> None:
    found = Shell(path)
    found.does(
        "DROP TABLE rpg_tags", TAGS.format(f", {WEIGHT}").replace("id INTEGER PRIMARY KEY AUTOINCREMENT", key)
    )
    found.gives("1, a, 0.25, 'hello'", "1, b, 0.5, 'again'")
    async with open_library(path) as library:
        await run(library)
        assert await undo(library) == 3
    expected: list[tuple[Any, ...]] = [(b"a", 0.25, b"hello"), (b"b", 0.5, b"again")]
    if not kept:  # as every row without one
        expected = [(b"a", 1.0, None), (b"b", 1.0, None)]
    assert found.tags("tag_value, weight, note") == expected
