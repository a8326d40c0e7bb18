"""The exclusions of a library: read with every query that decides what is tagged."""

import sqlite3
from collections.abc import Iterable

from sidecar.contract import Exclusion
from sidecar.library.own_tables import create_tables, has_own_table
from sidecar.library.wanted import WANTED, as_json
from sidecar.tagging.exclusions import Exclusions


def read_exclusions(connection: sqlite3.Connection, ids: Iterable[int] | None = None) -> Exclusions:
    """What they cover, or cover of these files: a library may have excluded thousands one by one."""
    if not has_own_table(connection, "auto_tag_exclusions"):
        return Exclusions()
    globs = [glob for (glob,) in connection.execute("SELECT glob FROM auto_tag_exclusions WHERE glob > ''")]
    if ids is None:
        rows = connection.execute("SELECT file_id FROM auto_tag_exclusions WHERE file_id IS NOT NULL")
    else:
        rows = connection.execute(
            f"SELECT file_id FROM {WANTED} auto_tag_exclusions ON file_id = auto_tag_wanted", (as_json(ids),)
        )
    return Exclusions(globs, (file_id for (file_id,) in rows), _roots(connection) if globs else ())


def list_exclusions(connection: sqlite3.Connection) -> list[Exclusion]:
    """All, in the order in which they were added."""
    if not has_own_table(connection, "auto_tag_exclusions"):
        return []
    rows = connection.execute("SELECT glob, file_id, created_at FROM auto_tag_exclusions ORDER BY id")
    return [Exclusion(*row) for row in rows]


def add_exclusion(connection: sqlite3.Connection, entry: Exclusion) -> Exclusion:
    """Adds it, once; the row as it stands. Needs the tables."""
    connection.execute(
        "INSERT OR IGNORE INTO auto_tag_exclusions (glob, file_id, created_at) VALUES (?, ?, ?)",
        (entry.glob, entry.file_id, entry.created_at),
    )
    row = connection.execute(
        "SELECT glob, file_id, created_at FROM auto_tag_exclusions WHERE glob IS ? AND file_id IS ?",
        (entry.glob, entry.file_id),
    ).fetchone()
    return Exclusion(*row)


def keep_root(connection: sqlite3.Connection, root: str) -> None:
    """Remembers for every glob the common root that the library has now: the glob stays valid for paths below it.

    Needs the tables. Does nothing in a library without files, which has no root.
    """
    connection.execute(
        """INSERT OR IGNORE INTO auto_tag_exclusion_roots (glob, root)
            SELECT glob, ? FROM auto_tag_exclusions
            WHERE glob IS NOT NULL AND EXISTS (SELECT 1 FROM audio_files)""",
        (root,),
    )


def remove_exclusion(connection: sqlite3.Connection, glob: str | None, file_id: int | None) -> bool:
    """Whether it was there."""
    if not has_own_table(connection, "auto_tag_exclusions"):
        return False
    create_tables(connection)
    connection.execute("DELETE FROM auto_tag_exclusion_roots WHERE glob = ?", (glob,))
    cursor = connection.execute(
        "DELETE FROM auto_tag_exclusions WHERE glob IS ? AND file_id IS ?", (glob, file_id)
    )
    return cursor.rowcount > 0


def _roots(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    """Each glob with each of its roots."""
    if not has_own_table(connection, "auto_tag_exclusion_roots"):
        return []
    return connection.execute(
        "SELECT glob, root FROM auto_tag_exclusion_roots JOIN auto_tag_exclusions USING (glob)"
    ).fetchall()
