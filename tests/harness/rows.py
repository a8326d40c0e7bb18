"""Every row and column of a library, and the one comparison that allows just what CONTRACT section 5 names."""

import json
import re
import sqlite3
from collections import defaultdict
from collections.abc import Hashable
from typing import Any, Final

Row = dict[str, Any]
Rows = dict[Hashable, Row]
Snapshot = dict[str, Rows]
"""Table → key → row. The key is the row's `id`, and all its values in a table without one."""

SCHEMA: Final = "sqlite_master"
WRITABLE: Final = frozenset({"genre", "mood", "auto_tagged", "auto_tag_date", "auto_tag_version", "updated_at"})
_HISTORY: Final = "auto_tag_history"
_TAG_TYPES: Final = frozenset({"occasion", "keyword"})
_COUNTED: Final = frozenset({"rpg_tags", "tag_mapping_cache", _HISTORY})
"""The tables of the shell in which new rows may be made."""
_RFC3339_UTC: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")
_SHELL_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")


def snapshot(connection: sqlite3.Connection) -> Snapshot:
    """All rows of all tables and the schema, within the caller's transaction.

    Names of columns in small letters, as SQLite compares them.
    """
    cursor = connection.cursor()
    cursor.row_factory = None
    names = [name for (name,) in cursor.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    sources = {name: f'"{name}"' for name in sorted(names)} | {SCHEMA: SCHEMA}
    columns = {SCHEMA: "type, name, tbl_name, sql"}
    return {
        table: _keyed(cursor.execute(f"SELECT {columns.get(table, '*')} FROM {source}"))
        for table, source in sources.items()
    }


def _keyed(rows: sqlite3.Cursor) -> Rows:
    names = [column[0].lower() for column in rows.description]
    key = names.index("id") if "id" in names else slice(None)
    return {row[key]: dict(zip(names, row, strict=True)) for row in rows}


def of_the_shell(whole: Snapshot) -> Snapshot:
    """Every row of the shell's own tables, and nothing that the sidecar may count for itself."""
    return {table: rows for table, rows in whole.items() if not _ours(table) and not table.startswith("sqlite_")}


def fold(baseline: Snapshot, before: Snapshot, after: Snapshot) -> None:
    """Puts an edit of the shell's, from `before` to `after`, into the baseline, and nothing besides."""
    for table in before.keys() - after.keys():
        baseline.pop(table, None)
    for table, rows in after.items():
        if rows == before.get(table):
            continue
        old, known = before.get(table, {}), baseline.setdefault(table, {})
        for key in old.keys() - rows.keys():
            known.pop(key, None)
        for key, row in rows.items():
            if row == old.get(key):
                continue
            if key not in old or key not in known:
                known[key] = row
                continue
            edited = {name for name, value in row.items() if name not in old[key] or value != old[key][name]}
            known[key] = {name: value if name in edited else known[key][name] for name, value in row.items()}


def compare(before: Snapshot, after: Snapshot, *, undone: bool = False) -> None:
    """Fails unless `after` is `before` with whole and valid taggings, and nothing else.

    `undone`: a tagging may have been taken back; then its file is as it was, to the byte.
    """
    schema = {key: row for key, row in after[SCHEMA].items() if not _made_by_us(row["tbl_name"], before)}
    assert schema == before[SCHEMA], "the schema of the shell's tables changed"
    for table, rows in before.items():
        if table in (SCHEMA, "audio_files", "sqlite_sequence", *_COUNTED) or _ours(table):
            continue
        assert after[table] == rows, f"{table} changed"
    _compare_sequences(before, after)
    _compare_history(before, after)
    _compare_files(before, after, undone=undone)
    _compare_tags(before, after)
    _compare_mappings(before, after)


def new_history(before: Snapshot, after: Snapshot) -> dict[Any, list[Row]]:
    """The history rows that were not there, by file."""
    found = defaultdict(list)
    for key, row in after[_HISTORY].items():
        if key not in before[_HISTORY]:
            found[row["file_id"]].append(row)
    return found


def active(after: Snapshot, kind: str) -> set[str]:
    """The active vocabulary of a type, however the type is spelled there."""
    rows = after["tag_vocabulary"].values()
    return {row["tag_value"] for row in rows if row["is_active"] and row["tag_type"].removesuffix("s") == kind}


def _ours(table: str) -> bool:
    return table.startswith("auto_tag_") and table != _HISTORY


def _made_by_us(table: str, before: Snapshot) -> bool:
    return _ours(table) and table not in before


def _compare_sequences(before: Snapshot, after: Snapshot) -> None:
    old, new = (
        {row["name"]: row["seq"] for row in tables["sqlite_sequence"].values()} for tables in (before, after)
    )
    changed = {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
    assert {name for name in changed if not _ours(name)} <= _COUNTED, changed
    assert all(new[name] >= old.get(name, 0) for name in changed), "a sequence went back"


def _compare_history(before: Snapshot, after: Snapshot) -> None:
    for key, row in before[_HISTORY].items():
        assert after[_HISTORY].get(key) == row, f"history row {key} changed"
    runs = {row["run_id"] for row in after.get("auto_tag_runs", {}).values()}
    taggings = set()
    for rows in new_history(before, after).values():
        for row in rows:
            record = json.loads(row["tags_applied"])
            assert record["run_id"] in runs and isinstance(record["before"], dict) and record["applied"], row
            assert _RFC3339_UTC.fullmatch(row["tagged_at"]) and row["api_version"], row
            tagging = (record["run_id"], row["file_id"])
            assert tagging not in taggings, f"{tagging} has two history rows"
            taggings.add(tagging)


def _compare_files(before: Snapshot, after: Snapshot, *, undone: bool) -> None:
    files, were, history = after["audio_files"], before["audio_files"], new_history(before, after)
    assert files.keys() == were.keys(), "files came or went"
    genres, moods = active(after, "genre"), active(after, "mood")
    tagged = {tag["audio_file_id"] for tag in after["rpg_tags"].values() if tag["tag_type"] in _TAG_TYPES}
    for file_id, row in files.items():
        if row == were[file_id] and not history[file_id]:
            continue
        changed = {name for name, value in row.items() if value != were[file_id][name]}
        assert changed <= WRITABLE, f"file {file_id}: {changed - WRITABLE} changed"
        if not history[file_id]:
            assert not changed, f"file {file_id}: {changed} changed without a history row"
            continue
        if undone and not changed:
            continue
        assert row["auto_tagged"] == 1, f"file {file_id} has a history row and is not tagged"
        assert row["genre"] in genres, row["genre"]
        assert set(row["mood"].split("; ")) <= moods, row["mood"]
        assert file_id in tagged, f"file {file_id} has no occasion and no keyword"
        assert _RFC3339_UTC.fullmatch(row["auto_tag_date"]) and row["auto_tag_version"], row["auto_tag_date"]
        if "updated_at" in changed:
            assert _SHELL_TIME.fullmatch(row["updated_at"]), row["updated_at"]


def _compare_tags(before: Snapshot, after: Snapshot) -> None:
    """New rows are active vocabulary; a row goes only where a run may replace it."""
    history = new_history(before, after)
    known = {kind: active(after, kind) for kind in _TAG_TYPES}
    for key, row in after["rpg_tags"].items():
        if key in before["rpg_tags"]:
            assert row == before["rpg_tags"][key], f"tag row {key} changed"
        else:
            assert row["tag_type"] in _TAG_TYPES and row["tag_value"] in known[row["tag_type"]], row
            assert history[row["audio_file_id"]], f"a tag without a tagging: {row}"
    of_runs = {row["file_id"] for row in before[_HISTORY].values()}
    for key, row in before["rpg_tags"].items():
        if key not in after["rpg_tags"]:
            modes = {json.loads(entry["tags_applied"])["mode"] for entry in history[row["audio_file_id"]]}
            replaced = "replace" in modes or (modes and row["audio_file_id"] in of_runs)
            assert row["tag_type"] in _TAG_TYPES and replaced, f"a person's tag is gone: {row}"


def _compare_mappings(before: Snapshot, after: Snapshot) -> None:
    """Uses are counted; a target changes only when it is no valid tag any more."""
    for key, row in after["tag_mapping_cache"].items():
        old = before["tag_mapping_cache"].get(key)
        valid = active(after, row["tag_type"].removesuffix("s")) | {"REMOVE"}
        assert old is not None or row["valid_tag"] in valid, row
        if old is not None:
            changed = {name for name, value in row.items() if value != old[name]}
            allowed = {"usage_count"} | ({"valid_tag"} if old["valid_tag"] not in valid else set())
            assert changed <= allowed and row["usage_count"] >= old["usage_count"], (old, row)
    assert before["tag_mapping_cache"].keys() <= after["tag_mapping_cache"].keys(), "a mapping is gone"
