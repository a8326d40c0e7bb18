"""Values that are no texts or no numbers where a library should hold such: bytes in place of a path or a count."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sidecar.contract import Exclusion, TagType
from sidecar.demo.library import create_library
from sidecar.library.connections import connect, judge
from sidecar.library.exclusions import add_exclusion
from sidecar.library.mapping_rows import list_mappings
from sidecar.library.own_tables import create_tables
from sidecar.library.queries import (
    count_untagged,
    library_root,
    untagged_files,
    untagged_ids,
    vocabulary,
    without_excluded,
)

FILES = 6


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    create_library(tmp_path / "library.db", files=FILES, root="/home/ann")
    with closing(connect(tmp_path / "library.db", busy_seconds=1, writes=True)) as found:
        create_tables(found)
        found.execute("UPDATE audio_files SET auto_tagged = 0, mood = NULL")
        yield found


@pytest.mark.parametrize(
    "path", ["CAST('/home/ann/Private/a.wav' AS BLOB)", "CAST(x'2f686f6d652f616e6eff' AS TEXT)"]
)
def test_a_glob_is_tried_on_paths_that_are_no_texts_too(connection: sqlite3.Connection, path: str) -> None:
    connection.execute(f"UPDATE audio_files SET file_path = {path} WHERE id = 3")
    add_exclusion(connection, Exclusion("/home/ann/Private", None, "now"))
    add_exclusion(connection, Exclusion("/home/ann\ufffd", None, "now"))
    left = [1, 2, 4, 5, 6]
    assert [*untagged_ids(connection)] == left
    assert [file.id for file in untagged_files(connection, 0, None)] == left
    assert [*without_excluded(connection, range(1, 7))] == left
    assert count_untagged(connection) == len(left)


def test_the_common_folder_is_found_where_paths_are_no_texts(connection: sqlite3.Connection) -> None:
    expected = library_root(connection)
    connection.execute("UPDATE audio_files SET file_path = CAST(file_path AS BLOB)")
    assert library_root(connection) == expected == "/home/ann/"


@pytest.mark.parametrize("blank", ["", "  ", "\t\n", "\N{NO-BREAK SPACE}"])
def test_a_row_of_blanks_in_the_vocabulary_is_no_tag_that_a_person_could_have_chosen(
    connection: sqlite3.Connection, blank: str
) -> None:
    connection.execute("INSERT INTO tag_vocabulary (tag_type, tag_value) VALUES ('genre', ?)", (blank,))
    found = vocabulary(connection, judge(connection))
    assert not found.has(TagType.GENRE, blank)
    assert all(tag.value.strip() for tag in found.tags)


@pytest.mark.parametrize(("value", "uses"), [("x'ff'", 0), ("'many'", 0), ("NULL", 0), ("2.5", 2), ("7", 7)])
def test_a_count_of_uses_is_a_number(connection: sqlite3.Connection, value: str, uses: int) -> None:
    connection.execute("DELETE FROM tag_mapping_cache")
    connection.execute(
        f"""INSERT INTO tag_mapping_cache (tag_type, invalid_tag, valid_tag, usage_count)
            VALUES ('mood', 'odd', 'eerie', {value})"""
    )
    [entry] = list_mappings(connection)
    assert entry.usage_count == uses
