"""What a process knows of the library's tags is read again where others have changed them, and only there."""

import itertools
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sidecar.contract import TagType
from sidecar.demo.library import create_library
from sidecar.library.opened import Opened
from sidecar.library.writer import Transaction
from sidecar.runs.knowledge import Knowledge, Tables
from sidecar.tagging.mappings import Mapping

CAVERN = (TagType.KEYWORD, "cavern")
ROW = "('cavern', 'biome:cave', 'keyword')"
INSERT = f"INSERT INTO tag_mapping_cache (invalid_tag, valid_tag, tag_type) VALUES {ROW}"


class Process:
    """A process's knowledge, which looks at the library after each change of another program's."""

    def __init__(self, opened: Opened) -> None:
        self.knowledge = Knowledge()
        self._opened = opened
        self._generations = itertools.count(1)
        self.look()

    def look(self, *statements: str) -> int:
        """How many mappings it has read again, once these have been executed by another program."""
        transaction, tables = self.seen(*statements)
        self.knowledge.adopt(tables)
        assert self.knowledge.newer(transaction) is None
        return len(tables.mappings)

    def seen(self, *statements: str) -> tuple[Transaction, Tables]:
        """What a transaction finds once these have been executed; not adopted yet."""
        for statement in statements:
            self._opened.connection.execute(statement)
        transaction = Transaction(
            self._opened.connection, self._opened.shape, next(self._generations), careful=False
        )
        tables = self.knowledge.newer(transaction)
        assert tables is not None
        return transaction, tables

    @property
    def cavern(self) -> str | None:
        """What stands for it, as far as is known."""
        found = self.knowledge.mappings.find(CAVERN, self.knowledge.vocabulary)
        return None if found is None else found.valid


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    create_library(tmp_path / "library.db", files=2)
    with sqlite3.connect(tmp_path / "library.db") as shell:
        shell.execute(
            "INSERT INTO tag_mapping_cache (invalid_tag, valid_tag, tag_type) VALUES ('x', 'calm', 'mood')"
        )
    with closing(Opened(tmp_path / "library.db")) as opened:
        yield Process(opened)


def test_where_others_have_changed_something_else_nothing_is_read_again(process: Process) -> None:
    vocabulary = process.knowledge.vocabulary
    assert process.look("UPDATE audio_files SET rating = 5", "UPDATE tag_mapping_cache SET usage_count = 9") == 0
    assert process.knowledge.vocabulary is vocabulary
    assert process.knowledge.mappings.find((TagType.MOOD, "x"), vocabulary) is not None


def test_a_mapping_that_comes_changes_or_goes_is_heard_of(process: Process) -> None:
    assert process.look(INSERT) == 2
    assert process.cavern == "biome:cave"
    assert (
        process.look("UPDATE tag_mapping_cache SET valid_tag = 'biome:forest' WHERE invalid_tag = 'cavern'") == 2
    )
    assert process.cavern == "biome:forest"
    assert process.look("DELETE FROM tag_mapping_cache WHERE invalid_tag = 'cavern'") == 1
    assert process.cavern is None


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE tag_vocabulary SET is_active = 0 WHERE tag_value = 'calm'",
        "UPDATE tag_vocabulary SET description = 'other' WHERE tag_value = 'calm'",
        "UPDATE tag_vocabulary SET tag_value = 'calmer' WHERE tag_value = 'calm'",
        "UPDATE tag_vocabulary SET tag_type = 'occasion' WHERE tag_value = 'calm'",
    ],
)
def test_a_change_of_the_vocabulary_is_heard_of(process: Process, statement: str) -> None:
    before = process.knowledge.vocabulary.fingerprint
    process.look(statement)
    assert process.knowledge.vocabulary.fingerprint != before


def test_a_change_that_is_taken_back_before_anybody_has_heard_of_it_is_taken_back_here_too(
    process: Process,
) -> None:
    _, changed = process.seen(INSERT)
    transaction, as_before = process.seen("DELETE FROM tag_mapping_cache WHERE invalid_tag = 'cavern'")
    process.knowledge.adopt(changed)
    process.knowledge.adopt(as_before)
    process.knowledge.adopt(process.knowledge.newer(transaction))
    assert process.cavern is None


def test_a_mapping_of_ours_that_others_take_back_at_once_is_known_no_more(process: Process) -> None:
    ours = Mapping(*CAVERN, "biome:cave", "keyword")
    process.knowledge.hear(None, CAVERN, ours)
    assert process.cavern == "biome:cave"
    process.look(INSERT, "DELETE FROM tag_mapping_cache WHERE invalid_tag = 'cavern'")
    assert process.cavern is None


def test_a_mapping_that_a_batch_has_saved_and_others_take_back_is_known_no_more(
    process: Process,
) -> None:
    process.knowledge.mappings.learn(*CAVERN, "biome:cave")
    learnt = process.knowledge.mappings.find(CAVERN, process.knowledge.vocabulary)
    assert learnt is not None
    process.knowledge.adopt(None, [learnt])
    process.look(INSERT, "DELETE FROM tag_mapping_cache WHERE invalid_tag = 'cavern'")
    assert process.cavern is None
