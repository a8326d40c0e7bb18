"""connections: the URI of a database, from any path that a shell may give."""

import sqlite3
from contextlib import closing
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath

import pytest

from sidecar.library.connections import database_uri


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        (PurePosixPath("/srv/ann/library.db"), "file:/srv/ann/library.db"),
        (PurePosixPath("/srv/what? 100 %#.db"), "file:/srv/what%3F%20100%20%25%23.db"),
        (PurePosixPath("//?/C:/library.db"), "file:////%3F/C:/library.db"),
        (PureWindowsPath(r"C:\Users\Ann\library.db"), "file:/C:/Users/Ann/library.db"),
        (PureWindowsPath(r"\\nas\sounds\library.db"), "file:////nas/sounds/library.db"),
        (PureWindowsPath(r"\\?\C:\Users\Ann\library.db"), "file:/C:/Users/Ann/library.db"),
        (PureWindowsPath(r"\\?\UNC\nas\sounds\library.db"), "file:////nas/sounds/library.db"),
    ],
)
def test_a_path_becomes_what_sqlite_documents(path: PurePath, uri: str) -> None:
    assert database_uri(path) == f"{uri}?mode=rw"


@pytest.mark.parametrize("name", ["library.db", "what 100 %#&=.db", "Geräusche 音.db"])
def test_sqlite_opens_the_file_that_the_path_names(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version=7")
    with closing(sqlite3.connect(database_uri(path), uri=True)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (7,)
