"""The mapping cache as a settings page sees it: list, set, delete."""

import sqlite3
from datetime import datetime

from sidecar.contract import TagMapping, TagType
from sidecar.library.connections import Shape
from sidecar.tagging.vocabulary import normalise, tag_type


def list_mappings(connection: sqlite3.Connection) -> list[TagMapping]:
    """All rows by type and invalid tag, but for those that lack one of them: they map nothing."""
    rows = connection.execute(
        """SELECT CAST(tag_type AS TEXT), CAST(invalid_tag AS TEXT), ifnull(CAST(valid_tag AS TEXT), ''),
                ifnull(CAST(usage_count AS INTEGER), 0)
            FROM tag_mapping_cache WHERE tag_type IS NOT NULL AND invalid_tag IS NOT NULL
            ORDER BY tag_type, invalid_tag"""
    )
    return [TagMapping(kind, invalid, valid, count) for kind, invalid, valid, count in rows]


def find_mappings(connection: sqlite3.Connection, kind: TagType, invalid: str) -> list[TagMapping]:
    """The rows of an invalid tag, however they spell it and its type; the one spelled just so comes first."""
    key = normalise(invalid)
    found = [
        entry
        for entry in list_mappings(connection)
        if tag_type(entry.tag_type) is kind and normalise(entry.invalid_tag) == key
    ]
    return sorted(found, key=lambda entry: entry.invalid_tag != invalid)


def set_mapping(
    connection: sqlite3.Connection, shape: Shape, kind: TagType, invalid: str, valid: str, now: datetime
) -> TagMapping:
    """Changes the tag's rows or adds one, with no use counted yet; the row as it stands."""
    found = find_mappings(connection, kind, invalid)
    if found:
        connection.executemany(
            "UPDATE tag_mapping_cache SET valid_tag = ? WHERE invalid_tag = ? AND tag_type = ?",
            [(valid, entry.invalid_tag, entry.tag_type) for entry in found],
        )
        return TagMapping(found[0].tag_type, found[0].invalid_tag, valid, found[0].usage_count)
    dated = shape.has("tag_mapping_cache", "created_at")
    connection.execute(
        f"""INSERT INTO tag_mapping_cache
                (invalid_tag, valid_tag, tag_type, usage_count{", created_at" if dated else ""})
            VALUES (?, ?, ?, 0{", ?" if dated else ""})""",
        (invalid, valid, kind, *((f"{now:%Y-%m-%d %H:%M:%S}",) if dated else ())),
    )
    return TagMapping(kind, invalid, valid, 0)


def delete_mapping(connection: sqlite3.Connection, kind: TagType, invalid: str) -> bool:
    """Whether there was one."""
    found = find_mappings(connection, kind, invalid)
    connection.executemany(
        "DELETE FROM tag_mapping_cache WHERE invalid_tag = ? AND tag_type = ?",
        [(entry.invalid_tag, entry.tag_type) for entry in found],
    )
    return bool(found)
