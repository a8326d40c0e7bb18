"""What is read of the shell's tables, as functions of a connection. They raise sqlite3.Error."""

import hashlib
import itertools
import json
import sqlite3
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sidecar.contract import HistoryEntry, TagType, UntaggedFile
from sidecar.library.connections import Shape
from sidecar.library.exclusions import read_exclusions
from sidecar.library.own_tables import LATEST, has_own_tables
from sidecar.library.wanted import WANTED, as_json
from sidecar.tagging.mappings import Mapping
from sidecar.tagging.paths import common_root
from sidecar.tagging.records import Snapshot, read_record
from sidecar.tagging.tags import AudioFile, Before, Tags
from sidecar.tagging.vocabulary import Vocabulary, VocabularyTag, tag_type

_UNTAGGED = """
    auto_tagged IS NOT 1 AND (
        genre IS NULL OR genre IN ('', 'Unknown') OR mood IS NULL OR mood = ''
        OR NOT EXISTS (
            SELECT 1 FROM rpg_tags
            WHERE rpg_tags.audio_file_id = audio_files.id AND rpg_tags.tag_type IN ('occasion', 'keyword')
        )
    )"""
"""CONTRACT section 5. The inner query runs on the index of the table's UNIQUE constraint."""


def untagged_ids(connection: sqlite3.Connection) -> "array[int]":
    """Ids of all untagged files that are not excluded, in ascending order: 8 bytes each."""
    if read_exclusions(connection):
        rows = _not_excluded(
            connection, f"SELECT id, CAST(file_path AS TEXT) FROM audio_files WHERE {_UNTAGGED} ORDER BY id"
        )
    else:
        rows = connection.execute(f"SELECT id FROM audio_files WHERE {_UNTAGGED} ORDER BY id")
    return array("q", (row[0] for row in rows))


def count_untagged(connection: sqlite3.Connection) -> int:
    """How many files `untagged_ids` has."""
    if read_exclusions(connection):
        return len(untagged_ids(connection))
    count: int = connection.execute(f"SELECT count(*) FROM audio_files WHERE {_UNTAGGED}").fetchone()[0]
    return count


def untagged_files(connection: sqlite3.Connection, after_id: int, limit: int | None) -> list[UntaggedFile]:
    """A page of the untagged files by id, without excluded ones."""
    rows = _not_excluded(
        connection,
        f"""SELECT id, CAST(file_path AS TEXT), CAST(title AS TEXT), CAST(artist AS TEXT),
                CAST(album AS TEXT), CAST(genre AS TEXT), CAST(mood AS TEXT)
            FROM audio_files WHERE id > ? AND {_UNTAGGED} ORDER BY id""",
        (after_id,),
    )
    same: dict[str | None, str | None] = {}  # of an album's name, and what else many files share, one text is kept
    return [
        UntaggedFile(*row[:3], *(same.setdefault(text, text) for text in row[3:]))
        for row in itertools.islice(rows, limit)
    ]


def unknown_ids(connection: sqlite3.Connection, ids: Sequence[int]) -> list[int]:
    """Those of `ids` that no file has, in their order."""
    rows = connection.execute(
        """SELECT value FROM json_each(?)
            WHERE NOT EXISTS (SELECT 1 FROM audio_files WHERE audio_files.id = json_each.value)""",
        (as_json(ids),),
    )
    return [file_id for (file_id,) in rows]


def still_untagged(connection: sqlite3.Connection, ids: Iterable[int]) -> list[int]:
    """Those of `ids` that are untagged now, in ascending order."""
    rows = connection.execute(
        f"SELECT id FROM {WANTED} audio_files ON id = auto_tag_wanted WHERE {_UNTAGGED} ORDER BY id",
        (as_json(ids),),
    )
    return [file_id for (file_id,) in rows]


def without_excluded(connection: sqlite3.Connection, ids: Iterable[int]) -> "array[int]":
    """`ids` in their order, without those of excluded files."""
    wanted = array("q", ids)
    exclusions = read_exclusions(connection, wanted)
    if not exclusions:
        return wanted
    root = library_root(connection)
    excluded = {file_id for file_id, path in _paths(connection, wanted) if exclusions.cover(file_id, path, root)}
    return array("q", (file_id for file_id in wanted if file_id not in excluded))


def paths(connection: sqlite3.Connection, ids: Iterable[int]) -> dict[int, str]:
    """Where the files lie that are there, by id."""
    return dict(_paths(connection, ids))


def library_root(connection: sqlite3.Connection) -> str:
    """The folder that all of the library's paths share; read off the two ends of the path index."""
    first, last = connection.execute(
        """SELECT CAST((SELECT min(file_path) FROM audio_files) AS TEXT),
            CAST((SELECT max(file_path) FROM audio_files) AS TEXT)"""
    ).fetchone()
    return common_root(first or "", last or "")


def vocabulary(connection: sqlite3.Connection, shape: Shape) -> Vocabulary:
    """The active tags; rows of unknown types, or with no value but blanks, are none."""
    note, parent = _optional(shape, "description"), _optional(shape, "parent_tag")
    rows = connection.execute(
        f"""SELECT CAST(tag_type AS TEXT), CAST(tag_value AS TEXT), CAST({note} AS TEXT),
                CAST({parent} AS TEXT) FROM tag_vocabulary WHERE is_active"""
    )
    return Vocabulary(
        VocabularyTag(kind, value, description, parent_tag)
        for type_text, value, description, parent_tag in rows
        if value and value.strip() and (kind := tag_type(type_text or "")) is not None
    )


def mappings(connection: sqlite3.Connection) -> list[Mapping]:
    """The mapping cache, most used first."""
    rows = connection.execute(
        """SELECT CAST(tag_type AS TEXT), CAST(invalid_tag AS TEXT), CAST(valid_tag AS TEXT)
            FROM tag_mapping_cache ORDER BY usage_count DESC"""
    )
    return [
        Mapping(kind, invalid, valid, type_text)
        for type_text, invalid, valid in rows
        if invalid and valid and (kind := tag_type(type_text or "")) is not None
    ]


def tags_digest(connection: sqlite3.Connection, shape: Shape) -> bytes:
    """Another one where `vocabulary` or `mappings` would find other rows. It takes a tenth of their time."""
    tags, mappings = connection.execute(
        f"""SELECT
            (SELECT json_group_array(json_array(
                CAST(tag_type AS TEXT), CAST(tag_value AS TEXT), CAST({_optional(shape, "description")} AS TEXT),
                CAST({_optional(shape, "parent_tag")} AS TEXT)
            )) FROM tag_vocabulary WHERE is_active),
            (SELECT json_group_array(json_array(
                CAST(tag_type AS TEXT), CAST(invalid_tag AS TEXT), CAST(valid_tag AS TEXT)
            )) FROM tag_mapping_cache)"""
    ).fetchone()
    return hashlib.sha256(f"{tags}\n{mappings}".encode("utf-8", "replace")).digest()


def snapshots(connection: sqlite3.Connection, shape: Shape, ids: Sequence[int]) -> list[Snapshot]:
    """The files as they are now, in the order of `ids`; those that are gone are left out.

    One step, as everything that is asked for each batch: sqlite3 gives the GIL away for each row. JSON holds
    neither blobs nor infinity.
    """
    text = connection.execute(
        f"""SELECT json_group_array(json_array(
                {_columns_sent(shape)}, CAST(genre AS TEXT), CAST(mood AS TEXT),
                CASE WHEN typeof(auto_tagged) = 'integer' THEN auto_tagged END,
                CAST(auto_tag_date AS TEXT), CAST(auto_tag_version AS TEXT)
            )) FROM {WANTED} audio_files ON id = auto_tag_wanted""",
        (as_json(ids),),
    ).fetchone()[0]
    tags = _rpg_tags(connection, ids)
    records = _records(connection, ids)
    found: dict[int, Snapshot] = {}
    for *told, genre, mood, tagged, date, version in json.loads(text):
        file_id = told[0]
        record_id, record_text = records.get(file_id, (None, None))
        occasions, keywords = tags.get(file_id, ((), ()))
        found[file_id] = Snapshot(
            _audio_file(*told),
            Before(genre, mood, occasions, keywords, tagged, date, version),
            read_record(record_text),
            record_id,
        )
    return [found[file_id] for file_id in ids if file_id in found]


def audio_files(connection: sqlite3.Connection, shape: Shape, ids: Sequence[int]) -> list[AudioFile]:
    """What a request tells of these files, in the order of `ids`; those that are gone are left out."""
    rows = connection.execute(
        f"SELECT {_columns_sent(shape)} FROM {WANTED} audio_files ON id = auto_tag_wanted", (as_json(ids),)
    )
    found = {row[0]: _audio_file(*row) for row in rows}
    return [found[file_id] for file_id in ids if file_id in found]


def current_tags(connection: sqlite3.Connection, ids: Sequence[int]) -> dict[int, Tags]:
    """The tags of those files that still exist."""
    text = connection.execute(
        f"""SELECT json_group_array(json_array(id, CAST(genre AS TEXT), CAST(mood AS TEXT)))
            FROM {WANTED} audio_files ON id = auto_tag_wanted""",
        (as_json(ids),),
    ).fetchone()[0]
    tags = _rpg_tags(connection, ids)
    return {file_id: Tags(genre, mood, *tags.get(file_id, ((), ()))) for file_id, genre, mood in json.loads(text)}


def history(connection: sqlite3.Connection, file_id: int) -> list[HistoryEntry]:
    """What was tagged when, newest first."""
    rows = connection.execute(
        """SELECT id, CAST(tagged_at AS TEXT), CAST(tags_applied AS TEXT), CAST(api_version AS TEXT)
            FROM auto_tag_history WHERE file_id = ? ORDER BY id DESC""",
        (file_id,),
    )
    return [HistoryEntry(*row) for row in rows]


def _paths(connection: sqlite3.Connection, ids: Iterable[int]) -> Iterator[tuple[int, str]]:
    rows = connection.execute(
        f"SELECT id, CAST(file_path AS TEXT) FROM {WANTED} audio_files ON id = auto_tag_wanted", (as_json(ids),)
    )
    return ((file_id, path or "") for file_id, path in rows)


def _not_excluded(
    connection: sqlite3.Connection, query: str, values: Sequence[Any] = ()
) -> Iterator[tuple[Any, ...]]:
    """The rows of a query whose first two columns are id and path, that as text."""
    exclusions, root = read_exclusions(connection), library_root(connection)
    for row in connection.execute(query, values):
        if not exclusions.cover(row[0], row[1] or "", root):
            yield row


def _rpg_tags(
    connection: sqlite3.Connection, ids: Sequence[int]
) -> dict[int, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Occasions and keywords of the files, each sorted. Rows that read alike (text and bytes) are one tag."""
    text = connection.execute(
        f"""SELECT json_group_array(json_array(
                audio_file_id, CASE WHEN tag_type IN ('occasion', 'keyword') THEN tag_type END,
                CAST(tag_value AS TEXT)
            )) FROM {WANTED} rpg_tags ON audio_file_id = auto_tag_wanted""",
        (as_json(ids),),
    ).fetchone()[0]
    found: dict[int, tuple[set[str], set[str]]] = {}
    for file_id, kind, value in json.loads(text):
        if kind is None or value is None:
            continue
        found.setdefault(file_id, (set(), set()))[0 if kind == TagType.OCCASION else 1].add(value)
    return {file_id: (tuple(sorted(one)), tuple(sorted(two))) for file_id, (one, two) in found.items()}


def _records(connection: sqlite3.Connection, ids: Sequence[int]) -> dict[int, tuple[int, str]]:
    """Id and text of the history row that our latest tagging of each file left."""
    if not has_own_tables(connection):
        return {}
    rows = connection.execute(
        f"""SELECT auto_tag_latest.file_id, auto_tag_history.id, auto_tag_history.tags_applied
            FROM {WANTED} {LATEST} WHERE auto_tag_latest.file_id = auto_tag_wanted""",
        (as_json(ids),),
    )
    return {file_id: (history_id, text) for file_id, history_id, text in rows}


def _optional(shape: Shape, column: str) -> str:
    """A column of `tag_vocabulary` that not every library has."""
    return column if shape.has("tag_vocabulary", column) else "NULL"


def _columns_sent(shape: Shape) -> str:
    """The columns of an AudioFile, for `_audio_file`; a duration that JSON cannot hold or no sound has is NULL."""
    duration = "duration" if shape.has("audio_files", "duration") else "NULL"
    texts = (f"CAST({name} AS TEXT)" for name in ("file_path", "title", "artist", "album"))
    return f"id, {', '.join(texts)}, CASE WHEN {duration} BETWEEN 0 AND 1e9 THEN {duration} END"


def _audio_file(
    file_id: int, path: str | None, title: str | None, artist: str | None, album: str | None, duration: Any
) -> AudioFile:
    seconds = float(duration) if isinstance(duration, int | float) else None
    return AudioFile(file_id, path or "", title, artist, album, seconds)
