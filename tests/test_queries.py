"""What a batch reads of its files, whatever a library's columns hold."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sidecar.demo.library import create_library
from sidecar.library.connections import connect, judge
from sidecar.library.queries import audio_files, current_tags, snapshots
from sidecar.tagging.records import Snapshot
from sidecar.tagging.tags import AudioFile


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    create_library(tmp_path / "library.db", files=6)
    with closing(connect(tmp_path / "library.db", busy_seconds=1, writes=True)) as found:
        yield found


def snapshot(connection: sqlite3.Connection, file_id: int) -> Snapshot:
    [found] = snapshots(connection, judge(connection), [file_id])
    return found


def told(connection: sqlite3.Connection, file_id: int) -> AudioFile:
    """As a preview of the request shows it."""
    [found] = audio_files(connection, judge(connection), [file_id])
    return found


def test_the_files_come_in_the_order_asked_for_without_those_that_are_gone(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM audio_files WHERE id = 2")
    found = snapshots(connection, judge(connection), [5, 2, 1])
    assert [entry.file.id for entry in found] == [5, 1]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("83.25", 83.25),
        ("7", 7),
        ("NULL", None),
        ("'long'", None),
        ("x'00ff'", None),
        ("1e999", None),
        ("-1", None),
        ("2e9", None),
    ],
)
def test_a_duration_that_is_none_is_left_out(
    connection: sqlite3.Connection, value: str, seconds: float | None
) -> None:
    connection.execute(f"UPDATE audio_files SET duration = {value} WHERE id = 3")
    assert snapshot(connection, 3).file.duration == seconds
    assert told(connection, 3) == snapshot(connection, 3).file


@pytest.mark.parametrize(("value", "flag"), [("1", 1), ("0", 0), ("NULL", None), ("x'01'", None), ("0.5", None)])
def test_auto_tagged_is_a_number_or_nothing(connection: sqlite3.Connection, value: str, flag: int | None) -> None:
    connection.execute(f"UPDATE audio_files SET auto_tagged = {value} WHERE id = 3")
    assert snapshot(connection, 3).before.auto_tagged == flag


def test_texts_that_are_none_are_read_as_far_as_they_are(connection: sqlite3.Connection) -> None:
    connection.execute(
        """UPDATE audio_files SET file_path = CAST(x'2f61ff62e282' AS TEXT), title = CAST(x'61006222' AS TEXT),
            album = 1.5, artist = x'c3a9', genre = 5 WHERE id = 3"""
    )
    file, before = snapshot(connection, 3).file, snapshot(connection, 3).before
    assert (file.file_path, file.title, file.album, file.artist) == ("/a\ufffdb\ufffd", 'a\x00b"', "1.5", "é")
    assert before.genre == "5"
    assert told(connection, 3) == file


def test_a_tag_without_a_value_is_none(connection: sqlite3.Connection) -> None:
    connection.execute("DROP TABLE rpg_tags")
    connection.execute("CREATE TABLE rpg_tags (audio_file_id, tag_type, tag_value)")
    connection.execute(
        "INSERT INTO rpg_tags VALUES (3, 'keyword', NULL), (3, 'keyword', 'b'), (3, 'keyword', 'a')"
    )
    assert snapshot(connection, 3).before.keywords == ("a", "b")
    assert current_tags(connection, [3])[3].keywords == ("a", "b")
