"""The sample library: what the shell would have made, and no sound of it tagged."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sidecar.demo.library import VOCABULARY, create_library
from sidecar.demo.vocabulary import INVENTED, plausible_tags

UNTAGGED = """
    SELECT count(*) FROM audio_files AS f
    WHERE auto_tagged IS NOT 1 AND (
        genre IS NULL OR genre IN ('', 'Unknown') OR mood IS NULL OR mood = ''
        OR NOT EXISTS (SELECT 1 FROM rpg_tags
                       WHERE audio_file_id = f.id AND tag_type IN ('occasion', 'keyword')))
"""


@pytest.fixture
def library(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    create_library(tmp_path / "ligeia.db", files=400)
    with closing(sqlite3.connect(tmp_path / "ligeia.db")) as connection:
        yield connection


def rows(connection: sqlite3.Connection, statement: str) -> list[Any]:
    return connection.execute(statement).fetchall()


def columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in rows(connection, f"PRAGMA table_info({table})")]


def test_every_sound_is_untagged(library: sqlite3.Connection) -> None:
    assert rows(library, UNTAGGED) == [(400,)]
    assert rows(library, "SELECT min(id), max(id), count(*) FROM audio_files") == [(1, 400, 400)]


def test_no_raw_genre_looks_like_a_choice_from_the_vocabulary(library: sqlite3.Connection) -> None:
    genres = {str(value).casefold() for kind, value, _, _ in VOCABULARY if kind == "genre"}
    raw = {genre for (genre,) in rows(library, "SELECT DISTINCT genre FROM audio_files")}
    assert {None, "", "Unknown"} < raw
    assert not genres & {str(genre).casefold() for genre in raw}


def test_the_file_is_sound_and_in_wal_mode(library: sqlite3.Connection) -> None:
    assert rows(library, "PRAGMA integrity_check") == [("ok",)]
    assert rows(library, "PRAGMA foreign_key_check") == []
    assert rows(library, "PRAGMA journal_mode") == [("wal",)]


def test_audio_files_has_many_filled_columns_of_every_type(library: sqlite3.Connection) -> None:
    names = columns(library, "audio_files")
    assert len(names) == 60
    assert not {"created_at", "updated_at"} & set(names)
    empty = [name for name in names if rows(library, f"SELECT max({name}) FROM audio_files") == [(None,)]]
    assert empty == ["auto_tag_date", "auto_tag_version"]
    kinds = {kind for name in names for (kind,) in rows(library, f"SELECT typeof({name}) FROM audio_files")}
    assert kinds == {"integer", "real", "text", "blob", "null"}


def test_the_dates_are_there_when_asked_for(tmp_path: Path) -> None:
    create_library(tmp_path / "ligeia.db", files=3, with_dates=True)
    with closing(sqlite3.connect(tmp_path / "ligeia.db")) as connection:
        assert {"created_at", "updated_at"} < set(columns(connection, "audio_files"))
        assert rows(connection, "SELECT count(*) FROM audio_files WHERE updated_at IS NULL") == [(0,)]


def test_the_further_columns_can_be_left_empty(tmp_path: Path) -> None:
    create_library(tmp_path / "ligeia.db", files=3, fill_all_columns=False)
    with closing(sqlite3.connect(tmp_path / "ligeia.db")) as connection:
        assert rows(connection, "SELECT codec, file_size, bwf_umid FROM audio_files") == [(None,) * 3] * 3
        assert rows(connection, UNTAGGED) == [(3,)]


def test_the_same_arguments_make_the_same_rows(tmp_path: Path) -> None:
    made = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        create_library(tmp_path / name, files=50, seed=seed)
        with closing(sqlite3.connect(tmp_path / name)) as connection:
            made.append(rows(connection, "SELECT * FROM audio_files ORDER BY id"))
    assert made[0] == made[1] != made[2]


@pytest.mark.parametrize(
    ("root", "start"), [("/srv/sounds/", "/srv/sounds/"), (r"C:\Users\Ann\Music", "C:\\Users\\Ann\\Music\\")]
)
def test_the_sounds_lie_below_the_root(tmp_path: Path, root: str, start: str) -> None:
    create_library(tmp_path / "ligeia.db", files=100, root=root)
    with closing(sqlite3.connect(tmp_path / "ligeia.db")) as connection:
        for (path,) in rows(connection, "SELECT file_path FROM audio_files"):
            assert path.startswith(start)
            assert ("/" in path) != ("\\" in path) and "//" not in path


@pytest.mark.parametrize("files", [0, 1])
def test_a_tiny_library_is_one_too(tmp_path: Path, files: int) -> None:
    create_library(tmp_path / "ligeia.db", files=files)
    with closing(sqlite3.connect(tmp_path / "ligeia.db")) as connection:
        assert rows(connection, UNTAGGED) == [(files,)]


def test_an_existing_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ligeia.db"
    path.write_bytes(b"precious")
    with pytest.raises(FileExistsError):
        create_library(path)
    assert path.read_bytes() == b"precious"


def test_other_tables_refer_to_sounds(library: sqlite3.Connection) -> None:
    for table in ("soundboard_pads", "playlist_tracks", "rpg_tags", "app_settings"):
        assert rows(library, f"SELECT count(*) FROM {table}") != [(0,)], table


def test_the_vocabulary_is_large_and_well_formed(library: sqlite3.Connection) -> None:
    stored = rows(library, "SELECT tag_type, tag_value, description, parent_tag FROM tag_vocabulary ORDER BY id")
    assert stored == list(VOCABULARY)
    assert 850 <= len(VOCABULARY) <= 1000
    by_type: dict[str, list[str]] = {}
    for kind, value, _, parent in VOCABULARY:
        by_type.setdefault(kind, []).append(value)
        assert parent is None or (kind == "genre" and value.startswith(f"{parent}:"))
        assert (kind == "keywords") <= (value.count(":") == 1)
    assert set(by_type) == {"genre", "mood", "occasion", "keywords"}
    assert all(len(values) == len(set(values)) >= 100 for values in by_type.values())
    assert {parent for _, _, _, parent in VOCABULARY if parent} <= set(by_type["genre"])
    assert {"orchestral:cinematic", "ambient:drone"} <= set(by_type["genre"])


def test_invented_tags_are_unknown_and_their_mappings_known() -> None:
    known = {(kind.replace("keywords", "keyword"), value) for kind, value, _, _ in VOCABULARY}
    for (kind, tag), valid in INVENTED.items():
        assert (kind, tag) not in known
        assert valid is None or (kind, valid) in known


def test_plausible_tags_are_the_same_in_every_process() -> None:
    tags = plausible_tags("Dungeon/Water Drips 03.mp3")
    assert tags.genre == "sound-effect:water"
    assert tags.keywords[:2] == ("element:water", "place:dungeon")
    assert tags.moods == ("angry", "magical", "tragic")
