"""Whether the program's database and answers are what the model says."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tests.model.library import Model
from tests.model.rules import moods
from tests.model.state import SKIPS, key
from tests.model.world import Rows, World

RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00")
_OURS: Final = frozenset({"audio_files", "rpg_tags", "auto_tag_history", "tag_mapping_cache", "sqlite_sequence"})
_OF_FILES: Final = ("soundboard_pads", "playlist_tracks")
"""Tables whose rows go with their file."""


def shell_tables(world: World) -> dict[str, Rows]:
    """All that nobody but the shell may change: its schema, and its tables but those that are written."""
    schema = (
        "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE tbl_name NOT GLOB 'auto_tag_*' ORDER BY name"
    )
    tables = world.rows("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT GLOB 'auto_tag_*'")
    names = [row["name"] for row in tables if row["name"] not in _OURS]
    return {"schema": world.rows(schema)} | {name: world.rows(f"SELECT * FROM {name}") for name in names}


def compare(world: World, model: Model, shell: dict[str, Rows], turn: int) -> None:
    """Fails at the first difference. `turn` says which file and run are asked for, one of each."""
    compare_tables(world, model, shell)
    runs = [model.runs[-1], model.runs[turn % len(model.runs)]] if model.runs else []
    files = [sorted(model.files)[turn % len(model.files)]] if model.files else []
    arrived = world.gemini.arrived
    told, explained, run_details = world.ask(
        {name: {} for name in ("status", "count_untagged_files", "get_untagged_files", "find_stale")}
        | {
            "estimate": {"batch_size": 2},
            "list_exclusions": {},
            "list_tag_mappings": {},
            "list_runs": {"limit": 99},
        },
        {name: {"file_id": file_id} for file_id in files for name in ("explain", "get_tagging_history")},
        {("get_run", run["run_id"]): {"run_id": run["run_id"]} for run in runs},
    )
    assert world.gemini.arrived == arrived, "a question about the library made a request"
    assert _cache(world, told["list_tag_mappings"]) == model.cache
    _compare_files(told, model)
    _compare_runs(told["list_runs"], model)
    for run in runs:
        _compare_run(run_details["get_run", run["run_id"]], run)
    for file_id in files:
        _compare_explained(explained, model, file_id)
    assert _stale(told["find_stale"]) == model.stale(told["status"]["model"])


def compare_tables(world: World, model: Model, shell: dict[str, Rows]) -> None:
    """The tables of the shell, row by row."""
    assert world.rows("PRAGMA integrity_check") == [{"integrity_check": "ok"}]
    assert world.rows("PRAGMA foreign_key_check") == []
    rows = {row["id"]: row for row in world.rows("SELECT * FROM audio_files")}
    for file_id, row in rows.items():
        assert row == model.files.get(file_id), _difference(file_id, model.files.get(file_id), row)
    assert rows.keys() == model.files.keys()
    _compare_tags(world, model)
    assert _history(world) == {f: entries for f, entries in model.history.items() if entries}
    for name, before in shell.items():
        now = world.rows(f"SELECT * FROM {name}") if name != "schema" else shell_tables(world)["schema"]
        there = before if name not in _OF_FILES else [row for row in before if row["audio_file_id"] in rows]
        assert now == there, f"{name} changed"


def _difference(file_id: int, expected: dict[str, Any] | None, row: dict[str, Any]) -> str:
    if expected is None:
        return f"file {file_id} should not be there"
    wrong = {n: (expected[n], row[n]) for n in row if row[n] != expected[n]}
    return f"file {file_id}, (expected, found): {wrong}"


def _compare_tags(world: World, model: Model) -> None:
    """Rows that stay or come back keep all that they hold; new ones have ids that no row ever had."""
    used = max((entry[0] for entry in model.tags.values() if entry[0]), default=0)
    used = max(used, model.highest_tag_id)
    found = {}
    for row in world.rows("SELECT * FROM rpg_tags"):
        where = (row["audio_file_id"], row["tag_type"], row["tag_value"])
        expected = model.tags.get(where)
        if expected is not None and expected[0] is None:
            assert row["id"] > used, f"{where} has an id that was there before"
            expected[0], expected[2] = row["id"], row["luck"]
        found[where] = [row["id"], row["created_at"], row["luck"]]
    assert found == model.tags
    model.highest_tag_id = max([used, *(entry[0] for entry in found.values())])


def _history(world: World) -> dict[int, Rows]:
    found: dict[int, Rows] = {}
    for row in world.rows("SELECT * FROM auto_tag_history ORDER BY id"):
        record = json.loads(row["tags_applied"])
        after = record["applied"]
        entry = {
            "run_id": record["run_id"],
            "tagged_at": row["tagged_at"],
            "api_version": row["api_version"],
            "after": {
                "genre": after["genre"],
                "mood": after["mood"],
                "occasion": set(after["occasions"]),
                "keyword": set(after["keywords"]),
            },
        }
        assert "before" in record
        found.setdefault(row["file_id"], []).append(entry)
    return found


def _cache(world: World, listed: Rows) -> dict[tuple[str, str], dict[str, Any]]:
    rows = world.rows("SELECT tag_type, invalid_tag, valid_tag, usage_count FROM tag_mapping_cache")
    assert sorted(map(str, listed)) == sorted(map(str, rows))
    found = {
        key((row["tag_type"], row["invalid_tag"])): {name: row[name] for name in ("valid_tag", "usage_count")}
        for row in rows
    }
    assert len(found) == len(rows), "an unknown tag stands in the cache twice"
    return found


def _compare_files(told: dict[str, Any], model: Model) -> None:
    waiting = model.untagged()
    assert told["count_untagged_files"] == {"count": len(waiting)}
    assert [entry["id"] for entry in told["get_untagged_files"]] == waiting
    estimate = told["estimate"]
    assert (estimate["total_files"], estimate["total_batches"]) == (len(waiting), len(model.batches(None, 2)))
    known = [(entry["glob"], entry["file_id"]) for entry in told["list_exclusions"]]
    assert {*known} == {(g, None) for g in model.globs} | {(None, f) for f in model.excluded_ids}


def _compare_runs(listed: Rows, model: Model) -> None:
    assert [row["run_id"] for row in listed] == [run["run_id"] for run in reversed(model.runs)]
    for row, run in zip(listed, reversed(model.runs), strict=True):
        counted = {name: row[name] for name in _counters(run)}
        assert counted == _counters(run), (counted, _counters(run))
        assert row["usage"]["requests"] == run["requests"]
        names = ("mode", "dry_run", "model", "status")
        assert {name: row[name] for name in names} == {name: run[name] for name in names}
        assert row["ended_at"] and row["message"]


def _compare_run(details: dict[str, Any], run: dict[str, Any]) -> None:
    assert {name: details[name] for name in _counters(run)} == _counters(run)
    assert details["status"] == run["status"]
    assert {entry["file_id"]: entry["reason"] for entry in details["failures"]} == run["failures"]
    assert all(entry["message"].endswith(".") for entry in details["failures"])
    if not run["dry_run"]:
        assert "proposals" not in details
        return
    assert {entry["file_id"]: entry for entry in details["proposals"]} == {
        file_id: {
            "file_id": file_id,
            "file_path": entry["path"],
            "genre": entry["after"]["genre"],
            "moods": moods(entry["after"]["mood"]),
            "occasions": sorted(entry["after"]["occasion"]),
            "keywords": sorted(entry["after"]["keyword"]),
        }
        for file_id, entry in run["proposals"].items()
    }


def _counters(run: dict[str, Any]) -> dict[str, int]:
    skipped = sum(reason in SKIPS for reason in run["failures"].values())
    failed = len(run["failures"]) - skipped
    return {
        "total_files": run["total_files"],
        "processed_files": len(run["tagged"]),
        "failed_files": failed,
        "skipped_files": skipped,
        "remaining_files": run["total_files"] - len(run["tagged"]) - failed - skipped,
        "total_batches": run["total_batches"],
        "current_batch": run["closed_batches"],
    }


def _compare_explained(told: dict[Any, Any], model: Model, file_id: int) -> None:
    names = ("run_id", "model", "tagged_at", "mapped_from")
    assert {
        (entry["tag_type"], entry["tag_value"]): tuple(entry[name] for name in names)
        if entry["set_by"] == "run"
        else ()
        for entry in told["explain"]
    } == model.explained(file_id)
    entries = told["get_tagging_history"]
    known = [(entry["tagged_at"], entry["api_version"]) for entry in model.history.get(file_id, [])]
    assert [(entry["tagged_at"], entry["api_version"]) for entry in entries] == known[::-1]


def _stale(told: dict[str, Any]) -> dict[str, Any]:
    return told | {
        "added_tags": {(tag["tag_type"], tag["tag_value"]) for tag in told["added_tags"]},
        "retired_tags": {(tag["tag_type"], tag["tag_value"]): tag["files"] for tag in told["retired_tags"]},
    }


def dates_of(world: World, run_id: str, since: datetime) -> dict[int, str]:
    """When a run tagged each of its files, all of it in the time that the step took."""
    found = {}
    for row in world.rows("SELECT file_id, tagged_at, tags_applied FROM auto_tag_history"):
        if json.loads(row["tags_applied"])["run_id"] == run_id:
            date = row["tagged_at"]
            assert RFC3339.fullmatch(date)
            assert since - timedelta(seconds=1) <= datetime.fromisoformat(date) <= datetime.now(UTC), date
            found[row["file_id"]] = date
    return found
