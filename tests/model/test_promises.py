"""What the second storey promises, each for any library: undo, dry runs, previews, exclusions, silence."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from tests.model import words
from tests.model.gemini import Answer, Script
from tests.model.strategies import WHOLE, answers, found_files, modes, picks, sizes
from tests.model.world import Rows, World, make_library

USER: Final = words.HOME.split("/")[2]
ROOTS: Final = (
    words.ROOT,
    f"/home/{USER}/",
    f"/Users/{USER}/Sounds/",
    f"/media/{USER}/Disk/",
    f"C:\\Users\\{USER}\\Music\\",
    f"D:\\Users\\{USER}\\",
    "D:\\Sounds\\",
    f"\\\\nas\\users\\{USER}\\Sfx\\",
    f"\\\\?\\C:\\Users\\{USER}\\Sfx\\",
    "\\\\studio\\sounds\\",
)
several = settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))

texts = st.none() | st.text(st.characters(codec="utf-8"), max_size=6)
odd_files = st.tuples(
    texts, texts, st.lists(st.tuples(st.sampled_from(words.ROW_KINDS), texts.filter(bool)), unique=True)
)
libraries = st.lists(found_files | odd_files, min_size=1, max_size=5)
places = st.lists(st.tuples(st.sampled_from(ROOTS), st.sampled_from(words.FOLDERS)), min_size=1, max_size=6)


@contextmanager
def world(files: Sequence[Any], *, with_dates: bool = False) -> Iterator[World]:
    """A library of such files, and a sidecar on it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ligeia.db"
        make_library(path, list(files), with_dates=with_dates)
        opened = World(path, backoff_base_seconds=0)
        try:
            yield opened
        finally:
            opened.close()


def tag(opened: World, said: Sequence[Answer], method: str = "auto_tag_files", **how: Any) -> str:
    """Tags every file, in one batch at a time; the run."""
    names = [
        words.name(row["file_path"].replace("\\", "/")) for row in opened.rows("SELECT file_path FROM audio_files")
    ]
    script = Script({name: said[at % len(said)] for at, name in enumerate(sorted(names))}, "first")
    return str(opened.run(method, script, **how)[0]["run_id"])


def everything(opened: World) -> list[int]:
    """The ids of all files."""
    return [row["id"] for row in opened.rows("SELECT id FROM audio_files ORDER BY id")]


def dump(opened: World, *, without: Sequence[str] = ()) -> dict[str, Rows]:
    """Every table of the shell with the bytes of every text, and other values as SQLite writes them."""
    found = {}
    for table in opened.rows("SELECT name FROM sqlite_master WHERE type = 'table'"):
        name = table["name"]
        if name in without or (name.startswith("auto_tag_") and name != "auto_tag_history"):
            continue
        columns = [row["name"] for row in opened.rows(f"SELECT name FROM pragma_table_info('{name}')")]
        exact = "CASE typeof({0}) WHEN 'text' THEN hex({0}) ELSE quote({0}) END AS {0}"
        values = ", ".join(map(exact.format, columns))
        found[name] = opened.rows(f"SELECT {values} FROM {name} ORDER BY 1")
    return found


NOT_UNDONE: Final = ("auto_tag_history", "sqlite_sequence", "tag_mapping_cache")
"""History tells what has been; a row id is never given twice; what Gemini said of a tag stays true."""


MAPPINGS: Final = "SELECT tag_type, invalid_tag, valid_tag FROM tag_mapping_cache"


@several
@given(files=libraries, before=answers, said=answers, modes=st.tuples(modes, modes), with_dates=st.booleans())
def test_an_undo_gives_every_byte_back(
    files: list[Any], before: list[Answer], said: list[Answer], modes: tuple[str, str], with_dates: bool
) -> None:
    with world(files, with_dates=with_dates) as opened:
        ids = everything(opened)
        found = dump(opened, without=NOT_UNDONE)
        first = tag(opened, before, file_ids=ids, mode=modes[0])
        opened.shell.execute("UPDATE rpg_tags SET created_at = '2001-01-01 00:00:00' WHERE id % 2")
        dated = dump(opened, without=NOT_UNDONE)
        second = tag(opened, said, file_ids=ids, mode=modes[1])
        opened.call("undo_run", run_id=second)
        assert dump(opened, without=NOT_UNDONE) == dated
        opened.shell.execute("UPDATE rpg_tags SET created_at = '1999-12-31 23:59:59'")
        opened.call("undo_run", run_id=first)
        assert dump(opened, without=NOT_UNDONE) == found


ODD: Final = (
    "UPDATE audio_files SET genre = x'c3a9ff', mood = CAST(x'426cfc74656e' AS TEXT)",
    "UPDATE audio_files SET mood = 'Dark' || char(0) || 'Calm'",  # how ID3v2.4 joins several values
    "UPDATE audio_files SET auto_tagged = 'false', auto_tag_date = CAST(x'fc' AS TEXT), auto_tag_version = 1",
    "UPDATE audio_files SET updated_at = 2460000.12345678912",
    "UPDATE audio_files SET updated_at = 1700000000",
    "INSERT INTO rpg_tags (audio_file_id, tag_type, tag_value) VALUES (1, 'keyword', CAST(x'426cfc' AS TEXT))",
    "INSERT INTO rpg_tags (audio_file_id, tag_type, tag_value) VALUES (1, 'occasion', 'one' || char(0) || 'two')",
    "INSERT INTO rpg_tags (audio_file_id, tag_type, tag_value) VALUES (1, 'keyword', x'00ff')",
)


@pytest.mark.parametrize("mode", ["merge", "replace"])
@pytest.mark.parametrize("statement", ODD)
def test_an_undo_gives_back_what_no_json_can_hold(statement: str, mode: str) -> None:
    with world([(None, None, [])], with_dates=True) as opened:
        opened.shell.execute(statement)
        before = dump(opened, without=NOT_UNDONE)
        run = tag(opened, [WHOLE], file_ids=[1], mode=mode)
        assert dump(opened, without=NOT_UNDONE) != before
        assert opened.rows("SELECT count(*) AS n FROM rpg_tags WHERE tag_type IN ('occasion', 'keyword')") == [
            {"n": 2 if mode == "replace" or "rpg_tags" not in statement else 3}
        ]
        assert opened.call("undo_run", run_id=run)["restored_files"] == 1
        assert dump(opened, without=NOT_UNDONE) == before


@several
@given(files=libraries, said=answers, mode=modes, size=sizes)
def test_a_dry_run_changes_no_table_of_the_shell(
    files: list[Any], said: list[Answer], mode: str, size: int
) -> None:
    with world(files) as opened:
        before = dump(opened)
        tag(opened, said, file_ids=everything(opened), mode=mode, batch_size=size, dry_run=True)
        assert dump(opened) == before


@several
@given(files=libraries, before=answers, said=answers, mode=modes, size=sizes)
def test_proposals_that_are_applied_are_what_the_run_would_have_written(
    files: list[Any], before: list[Answer], said: list[Answer], mode: str, size: int
) -> None:
    dumps, known = [], []
    for dry_run in (False, True):
        with world(files) as opened:
            ids = everything(opened)
            tag(opened, before, file_ids=ids)
            run = tag(opened, said, file_ids=ids, mode=mode, batch_size=size, max_parallel=1, dry_run=dry_run)
            if dry_run:
                arrived = opened.gemini.arrived
                opened.call("apply_proposals", run_id=run)
                assert opened.gemini.arrived == arrived, "applying made a request"
            found = dump(opened, without=NOT_UNDONE)
            dumps.append({name: _undated(rows) for name, rows in found.items()})
            known.append({tuple(row.values()) for row in opened.rows(MAPPINGS)})
    assert dumps[0] == dumps[1]
    assert known[1] <= known[0], "applying wrote a mapping that the run would not have written"


def _undated(rows: Rows) -> list[str]:
    """Rows without what depends on when and in which order they were written."""
    untimed = {"auto_tag_date", "updated_at", "created_at", "id", "luck"}
    return sorted(str({name: value for name, value in row.items() if name not in untimed}) for row in rows)


def move(opened: World, where: Sequence[tuple[str, str]]) -> list[int]:
    """Puts the files into these folders; their ids."""
    ids = everything(opened)
    for file_id, (root, folder) in zip(ids, where, strict=True):
        path = f"{root}{folder}/sound-{file_id}.wav"
        path = path.replace("/", "\\") if "\\" in root else path
        opened.shell.execute("UPDATE audio_files SET file_path = ? WHERE id = ?", (path, file_id))
    return ids


@several
@given(
    where=places,
    hints=st.sampled_from(("", "Say it in Danish: « dyster »")),
    flex=st.booleans(),
    size=sizes,
    said=answers,
)
def test_a_preview_is_what_the_next_run_sends(
    where: list[tuple[str, str]], hints: str, flex: bool, size: int, said: list[Answer]
) -> None:
    with world([(None, None, [])] * len(where)) as opened:
        ids = move(opened, where)
        opened.call("configure", hints=hints, service_tier="flex" if flex else "standard", batch_size=size)
        wanted = [answer if isinstance(answer, tuple) else WHOLE for answer in said]
        shown = opened.call("preview_request", file_ids=ids[::-1], batch_size=size)["requests"]
        opened.call("estimate", file_ids=ids)
        opened.call("estimate_cost", file_ids=ids, prices={"input": 0.1, "output": 0.4})
        assert opened.gemini.arrived == 0, "a look at what would be sent made a request"
        tag(opened, [answer._replace(late=False) for answer in wanted], file_ids=ids[::-1], max_parallel=1)
        sent = [received for received in opened.gemini.journal if received.kind == "tagging"]
        assert [request["bytes"] for request in shown] == [len(received.body) for received in sent]
        for request, received in zip(shown, sent, strict=True):
            assert request["system_instruction"] == received.system
            assert request["contents"] == received.json["contents"][0]["parts"][0]["text"]
        assert all(hints in received.system for received in sent)


@several
@given(where=places, globs=picks, said=answers)
def test_neither_users_nor_excluded_files_are_in_any_byte_that_is_sent(
    where: list[tuple[str, str]], globs: tuple[int, ...], said: list[Answer]
) -> None:
    with world([(None, None, [])] * len(where)) as opened:
        ids = move(opened, where)
        excluded = {ids[at % len(ids)] for at in globs[:1]}
        for file_id in excluded:
            opened.call("add_exclusion", file_id=file_id)
        opened.call("add_exclusion", glob="*/Deep")
        tag(opened, said)
        tag(opened, said, file_ids=ids, mode="replace")
        paths = {row["id"]: row["file_path"] for row in opened.rows("SELECT id, file_path FROM audio_files")}
        secret = {f"sound-{f}." for f, path in paths.items() if f in excluded or "Deep" in path}
        for received in opened.gemini.journal:
            whole = received.body.decode() + received.path + str(received.headers)
            assert not [text for text in (USER, "Users", "users", *secret) if text in whole]
        open_ids = [f for f in ids if f"sound-{f}." not in secret]
        assert opened.call("estimate", file_ids=ids)["total_files"] == len(open_ids)
