"""One history but for its runs: the library as it is found, and what a person does to it and around it."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sidecar.contract import Code, RpcError
from tests.model import rules, words
from tests.model.comparison import compare, shell_tables
from tests.model.library import Model
from tests.model.state import key
from tests.model.strategies import MODELS, Edit, edits, found_files, indexes
from tests.model.words import Pair
from tests.model.world import World, add_file, make_library


class History(RuleBasedStateMachine):
    """One history: a library as it is found, then steps; each is done to the program and to the model."""

    world: World
    model: Model

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.default_model = MODELS[0]
        self.steps = 0

    @initialize(files=st.lists(found_files, min_size=3, max_size=7), with_dates=st.booleans())
    def found(self, files: list[tuple[Any, ...]], with_dates: bool) -> None:
        path = Path(self.folder.name) / "ligeia.db"
        make_library(path, files, with_dates=with_dates)
        self.world = World(path, backoff_base_seconds=0)
        rows = {row["id"]: row for row in self.world.rows("SELECT * FROM audio_files")}
        tags = {
            (row["audio_file_id"], row["tag_type"], row["tag_value"]): [row["id"], row["created_at"], row["luck"]]
            for row in self.world.rows("SELECT * FROM rpg_tags")
        }
        self.model = Model(rows, tags, {(kind, tag): None for kind in words.KINDS for tag in words.POOL[kind]})
        self.shell = shell_tables(self.world)

    def teardown(self) -> None:
        try:
            if hasattr(self, "world"):
                self.world.close()
        finally:
            self.folder.cleanup()

    @invariant()
    def the_library_is_as_the_model_says(self) -> None:
        self.steps += 1
        compare(self.world, self.model, self.shell, self.steps)

    # --- words for all steps ---

    def file(self, at: int) -> int:
        """One of the files that are there."""
        return sorted(self.model.files)[at % len(self.model.files)]

    def files(self, picks: Sequence[int]) -> list[int]:
        """Some of the files that are there, as they were picked: unsorted, and twice if need be."""
        return [self.file(at) for at in picks] if self.model.files else []

    def past(self, which: int, better: str = "") -> dict[str, Any]:
        """One of the runs, 0 the latest; for the most part one that has what would be better."""
        runs = self.model.runs[::-1]
        wanted = [run for run in runs if better and run[better]] or runs
        return (wanted + runs)[which % (len(wanted) + len(runs))]

    def _refused(self, code: Code, method: str, **params: Any) -> None:
        with pytest.raises(RpcError) as refused:
            self.world.call(method, **params)
        assert refused.value.code is code and refused.value.message.endswith(".")

    # --- what the person does in the shell ---

    @precondition(lambda self: self.model.files)
    @rule(edit=edits)
    def edit_in_the_shell(self, edit: Edit) -> None:
        self._edit(edit[0], self.file(edit[1]), edit[1])
        self.shell = shell_tables(self.world)

    def _edited_meanwhile(self, edit: Edit, there: list[str]) -> None:
        """An edit of one of the files that are being asked for."""
        ids = [f for f, row in self.model.files.items() if words.name(row["file_path"]) in there]
        self._edit(edit[0], ids[edit[1] % len(ids)], edit[1])

    def _edit(self, what: str, file_id: int, choice: int) -> None:
        row, execute = self.model.files[file_id], self.world.shell.execute
        if what == "delete":
            execute("DELETE FROM audio_files WHERE id = ?", (file_id,))
            self.model.delete(file_id)
        elif what == "row":
            kind, value = words.PAIRS[6 + choice % 6]
            where = (file_id, kind, value)
            if where in self.model.tags:
                execute("DELETE FROM rpg_tags WHERE id = ?", (self.model.tags.pop(where)[0],))
                return
            values = (*where, f"2001-01-01 00:00:0{choice}")
            added = execute(
                "INSERT INTO rpg_tags (audio_file_id, tag_type, tag_value, created_at) VALUES (?, ?, ?, ?)", values
            )
            [row] = self.world.rows("SELECT luck FROM rpg_tags WHERE id = ?", added.lastrowid)
            self.model.tags[where] = [added.lastrowid, values[-1], row["luck"]]
        else:
            changes: dict[str, dict[str, Any]] = {
                "genre": {"genre": words.GENRES[choice % len(words.GENRES)]},
                "mood": {"mood": words.MOODS[choice % len(words.MOODS)]},
                "title": {"title": f"Take {choice}", "rating": choice},
                "again": {"auto_tagged": 0},
                "date": {"updated_at": f"2001-01-01 00:00:0{choice}"} if "updated_at" in row else {"bpm": choice},
            }
            changed = changes[what]
            for column, value in changed.items():
                execute(f"UPDATE audio_files SET {column} = ? WHERE id = ?", (value, file_id))
            row |= changed

    @rule(file=found_files)
    def add_a_file(self, file: tuple[Any, ...]) -> None:
        number = add_file(self.world.shell, file)
        [row] = self.world.rows("SELECT * FROM audio_files WHERE id = ?", number)
        self.model.files[number] = row
        for tag in self.world.rows("SELECT * FROM rpg_tags WHERE audio_file_id = ?", number):
            self.model.tags[number, tag["tag_type"], tag["tag_value"]] = [
                tag["id"],
                tag["created_at"],
                tag["luck"],
            ]
        self.shell = shell_tables(self.world)

    @rule(pair=st.sampled_from(words.PAIRS), note=st.none() | st.just("as in the old house rules"))
    def turn_a_tag_on_or_off(self, pair: Pair, note: str | None) -> None:
        kind = words.TABLE_KIND.get(pair[0], pair[0])
        if pair in self.model.vocabulary:
            del self.model.vocabulary[pair]
            statement = "UPDATE tag_vocabulary SET is_active = 0 WHERE tag_type = ? AND tag_value = ?"
            self.world.shell.execute(statement, (kind, pair[1]))
        else:
            self.model.vocabulary[pair] = note
            self.world.shell.execute(
                "INSERT OR REPLACE INTO tag_vocabulary (tag_type, tag_value, description) VALUES (?, ?, ?)",
                (kind, pair[1], note),
            )
        self.shell = shell_tables(self.world)

    @rule(old=st.sampled_from(words.PAIRS), new=st.sampled_from(words.PAIRS))
    def rename_a_tag(self, old: Pair, new: Pair) -> None:
        if old[0] != new[0] or old not in self.model.vocabulary or new in self.model.vocabulary:
            return
        kind = words.TABLE_KIND.get(old[0], old[0])
        self.world.shell.execute("DELETE FROM tag_vocabulary WHERE tag_type = ? AND tag_value = ?", (kind, new[1]))
        statement = "UPDATE tag_vocabulary SET tag_value = ? WHERE tag_type = ? AND tag_value = ?"
        self.world.shell.execute(statement, (new[1], kind, old[1]))
        self.model.vocabulary[new] = self.model.vocabulary.pop(old)
        self.shell = shell_tables(self.world)

    # --- what the person sets up ---

    @rule(invalid=st.sampled_from(words.UNKNOWN), valid=indexes)
    def set_tag_mapping(self, invalid: Pair, valid: int) -> None:
        model, kind = self.model, invalid[0]
        targets = ("REMOVE", *words.POOL[kind])
        target = targets[valid % len(targets)]
        params = {"tag_type": kind, "invalid_tag": invalid[1], "valid_tag": target}
        known = rules.look_up(model.vocabulary, *invalid) is not None
        if known or (target != "REMOVE" and (kind, target) not in model.vocabulary):
            return self._refused(Code.INVALID_PARAMS, "set_tag_mapping", **params)
        row = model.cache.setdefault(key(invalid), {"usage_count": 0})
        row["valid_tag"] = target
        model.learnt.pop(key(invalid), None)
        model.given_up.discard(key(invalid))
        set_to = self.world.call("set_tag_mapping", **params)
        assert (set_to["valid_tag"], set_to["usage_count"]) == (target, row["usage_count"])
        return None

    @rule(invalid=st.sampled_from(words.UNKNOWN))
    def delete_tag_mapping(self, invalid: Pair) -> None:
        was = self.model.cache.pop(key(invalid), None) is not None
        self.model.learnt.pop(key(invalid), None)
        self.model.given_up.discard(key(invalid))
        params = {"tag_type": invalid[0], "invalid_tag": invalid[1]}
        assert self.world.call("delete_tag_mapping", **params) == {"removed": was}

    @rule(glob=st.sampled_from(words.GLOBS), away=st.booleans())
    def exclude_a_glob(self, glob: str, away: bool) -> None:
        self._exclude("glob", glob, self.model.globs, away)

    @precondition(lambda self: self.model.files)
    @rule(at=indexes, away=st.booleans())
    def exclude_a_file(self, at: int, away: bool) -> None:
        self._exclude("file_id", self.file(at), self.model.excluded_ids, away)

    def _exclude(self, name: str, value: Any, known: list[Any], away: bool) -> None:
        there = value in known
        if away:
            assert self.world.call("remove_exclusion", **{name: value}) == {"removed": there}
            known[:] = [other for other in known if other != value]
        else:
            assert self.world.call("add_exclusion", **{name: value})[name] == value
            known += [] if there else [value]

    @rule(model=st.sampled_from(MODELS))
    def configure(self, model: str) -> None:
        self.default_model = model
        assert self.world.call("configure", model=model)["model"] == model

    @rule()
    def restart(self) -> None:
        self.world.restart()
        self.model.restart()
        self.default_model = MODELS[0]
