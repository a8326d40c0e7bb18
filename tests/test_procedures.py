"""All rows of a batch in one statement: what each table holds afterwards, in libraries of every shape.

The rows are made by `changes.rows_of`, written by `procedures.write_rows` and, where the database refuses
some, by `refusals.refused`, into a real database.
"""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import msgspec
import pytest

from sidecar.contract import FileFailure, Mode, Reason, Sources, TagType, Usage
from sidecar.library.changes import FileChange, Stamp, rows_of
from sidecar.library.connections import judge
from sidecar.library.own_tables import create_tables
from sidecar.library.procedures import Rows, create_procedures, write_rows
from sidecar.library.proposals import StoredProposal, encoded_proposal
from sidecar.library.refusals import refused
from sidecar.library.run_rows import BatchCount
from sidecar.tagging.mappings import REMOVE, Mapping
from sidecar.tagging.records import Dropped, Mapped, Record, Snapshot
from sidecar.tagging.tags import AudioFile, Before, Change, Kept, Suggestion, Tags

STAMP = Stamp("run-1", 7, "gemini-x", Mode.MERGE, "1.0", "2026-01-02T03:04:05Z", "2026-01-02 03:04:05")
REPLACE = msgspec.structs.replace(STAMP, mode=Mode.REPLACE)

SHELL = """
CREATE TABLE audio_files (
    id INTEGER PRIMARY KEY AUTOINCREMENT, file_path TEXT UNIQUE NOT NULL, title TEXT, artist TEXT, album TEXT,
    genre TEXT, mood TEXT, auto_tagged BOOLEAN DEFAULT FALSE, auto_tag_date TEXT, auto_tag_version TEXT
);
CREATE TABLE rpg_tags (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    audio_file_id INTEGER NOT NULL REFERENCES audio_files(id) ON DELETE CASCADE,
    tag_type TEXT, tag_value TEXT, created_at DATETIME DEFAULT 'by the shell',
    UNIQUE (audio_file_id, tag_type, tag_value)
);
CREATE TABLE tag_vocabulary (tag_type TEXT, tag_value TEXT, is_active BOOLEAN);
CREATE TABLE tag_mapping_cache (
    id INTEGER PRIMARY KEY AUTOINCREMENT, invalid_tag TEXT NOT NULL, valid_tag TEXT NOT NULL,
    tag_type TEXT NOT NULL, created_at DATETIME DEFAULT 'by the shell', usage_count INTEGER DEFAULT 1,
    UNIQUE (invalid_tag, tag_type)
);
CREATE TABLE auto_tag_history (
    id INTEGER PRIMARY KEY AUTOINCREMENT, file_id INTEGER NOT NULL REFERENCES audio_files(id) ON DELETE CASCADE,
    tagged_at TEXT NOT NULL, tags_applied TEXT, api_version TEXT
);
"""
TAGS_WITHOUT_ID = "CREATE TABLE rpg_tags (audio_file_id INTEGER, tag_type TEXT, tag_value TEXT, created_at)"
TAGS_WITHOUT_DATE = "CREATE TABLE rpg_tags (id INTEGER PRIMARY KEY, audio_file_id INTEGER, tag_type, tag_value)"
BARE_CACHE = "CREATE TABLE tag_mapping_cache (invalid_tag, valid_tag, tag_type, usage_count)"
DATED_FILES = "ALTER TABLE audio_files ADD COLUMN updated_at DATETIME"

OLD = Tags("old")
NEW = Tags("new", "eerie", (), ("biome:cave",))
NOTHING_KEPT = Kept()

Opened = Callable[..., sqlite3.Connection]


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Opens a library of nine files; `setup` are statements after those that make the shell's tables."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:

        def library(*setup: str) -> sqlite3.Connection:
            connection.executescript(SHELL)
            for table in ("rpg_tags", "tag_mapping_cache"):
                if any(statement.startswith(f"CREATE TABLE {table} ") for statement in setup):
                    connection.execute(f"DROP TABLE {table}")
            for number in range(1, 10):
                connection.execute(
                    "INSERT INTO audio_files (file_path, title, genre) VALUES (?, 'a title', 'old')",
                    (f"/s/{number}",),
                )
            for statement in setup:
                connection.execute(statement)
            connection.execute("PRAGMA foreign_keys=ON")
            create_tables(connection)
            create_procedures(connection, judge(connection))
            return connection

        yield library


def rows(connection: sqlite3.Connection, query: str) -> list[tuple[Any, ...]]:
    """`query` after SELECT."""
    return connection.execute(f"SELECT {query}").fetchall()


def tagged(
    file_id: int,
    before: Tags = OLD,
    after: Tags = NEW,
    *,
    record_id: int | None = None,
    mapped: tuple[Mapped, ...] = (),
    dropped: tuple[Dropped, ...] = (),
    person: Kept = NOTHING_KEPT,
) -> FileChange:
    """A file that had these tags and gets those."""
    held = Before(before.genre, before.mood, before.occasions, before.keywords)
    snapshot = Snapshot(AudioFile(file_id, f"/s/{file_id}"), held, record_id=record_id)
    return FileChange(snapshot, Change(after, person), Suggestion(), mapped, dropped)


def contents(connection: sqlite3.Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table."""
    names = [name for (name,) in rows(connection, "name FROM sqlite_master WHERE type = 'table'")]
    return {name: rows(connection, f"* FROM {name}") for name in names}


# --- the files' own rows --------------------------------------------------------------------------


@pytest.mark.parametrize(("setup", "date"), [((), None), ((DATED_FILES,), STAMP.updated_at)])
def test_a_file_gets_its_tags_and_the_others_keep_their_rows(
    opened: Opened, setup: tuple[str, ...], date: str | None
) -> None:
    library = opened(*setup)
    before = rows(library, "* FROM audio_files")
    write_rows(library, rows_of(STAMP, [tagged(3), tagged(5, after=Tags("other", None, ("rest",), ()))]))
    after = rows(library, "* FROM audio_files")
    end = () if date is None else (date,)
    assert after[2] == (3, "/s/3", "a title", None, None, "new", "eerie", 1, STAMP.date, "1.0", *end)
    assert after[4] == (5, "/s/5", "a title", None, None, "other", None, 1, STAMP.date, "1.0", *end)
    assert [row for row in after if row[0] not in (3, 5)] == [row for row in before if row[0] not in (3, 5)]


@pytest.mark.parametrize("dated", [False, True])
def test_the_very_values_that_are_written_over_are_kept_for_an_undo(opened: Opened, dated: bool) -> None:
    library = opened(*([DATED_FILES, "UPDATE audio_files SET updated_at = 'then' WHERE id = 3"] if dated else []))
    library.execute(
        """UPDATE audio_files SET genre = x'ff', mood = 'a' || char(0), auto_tagged = 1, auto_tag_date = 'd',
            auto_tag_version = 'v' WHERE id = 3"""
    )
    write_rows(library, rows_of(STAMP, [tagged(3)]))
    then = "then" if dated else None
    assert rows(library, "* FROM auto_tag_before") == [(7, 3, b"\xff", "a\0", 1, "d", "v", then)]


def test_ids_of_64_bits_and_texts_of_every_kind_arrive_as_they_are(opened: Opened) -> None:
    library = opened()
    ids = [-7, 2**53 + 1, 2**63 - 10]
    texts = ("", "\"quo'te\\", "\U0001f600\u2028", "tab\tand\x7f", "{}", "17")
    library.executemany("INSERT INTO audio_files (id, file_path) VALUES (?, ?)", [(n, f"/{n}") for n in ids])
    failures = [FileFailure(n, f"/{n}", Reason.CHANGED, 'it\'s "so"') for n in ids]
    changes = [tagged(n, Tags(), Tags('a "b"', "c\\; d", (), texts)) for n in ids]
    write_rows(library, rows_of(STAMP, changes, failures=failures))
    assert rows(library, "id, genre, mood FROM audio_files WHERE auto_tagged") == [
        (n, 'a "b"', "c\\; d") for n in ids
    ]
    assert rows(library, "audio_file_id, tag_value FROM rpg_tags ORDER BY id") == [
        (n, text) for n in ids for text in texts
    ]
    assert rows(library, "file_id, message FROM auto_tag_failures") == [(n, 'it\'s "so"') for n in ids]
    assert {n for (n,) in rows(library, "file_id FROM auto_tag_latest")} == {*ids}


# --- occasions and keywords -----------------------------------------------------------------------

BEFORE = Tags("old", None, ("camp", "rest"), ("cave", "wet"))
AFTER = Tags("new", "eerie", ("rest",), ("cave", "dark"))
EDITED = (
    "INSERT INTO rpg_tags (audio_file_id, tag_type, tag_value, created_at) VALUES "
    "(3, 'occasion', 'camp', 'd1'), (3, 'occasion', 'rest', 'd2'), (3, 'keyword', 'cave', 'd3'), "
    "(3, 'keyword', 'wet', 'd4'), (3, 'genre', 'wet', 'd5'), (4, 'keyword', 'wet', 'd6')"
)


@pytest.mark.parametrize("stamp", [STAMP, REPLACE])
def test_a_tag_that_stays_keeps_its_row_the_others_go_and_come(opened: Opened, stamp: Stamp) -> None:
    library = opened(EDITED)
    write_rows(library, rows_of(stamp, [tagged(3, BEFORE, AFTER)]))
    assert rows(library, "* FROM rpg_tags") == [
        (2, 3, "occasion", "rest", "d2"),
        (3, 3, "keyword", "cave", "d3"),
        (5, 3, "genre", "wet", "d5"),
        (6, 4, "keyword", "wet", "d6"),
        (7, 3, "keyword", "dark", STAMP.updated_at),
    ]
    assert rows(library, "* FROM auto_tag_removed ORDER BY row_id") == [
        (7, 1, 3, "occasion", "camp", "d1"),
        (7, 4, 3, "keyword", "wet", "d4"),
    ]


def test_a_library_may_lack_the_ids_of_tags(opened: Opened) -> None:
    library = opened(TAGS_WITHOUT_ID, EDITED)
    write_rows(library, rows_of(STAMP, [tagged(3, BEFORE, AFTER)]))
    assert rows(library, "* FROM rpg_tags WHERE created_at NOT LIKE 'd%'") == [
        (3, "keyword", "dark", STAMP.updated_at)
    ]
    assert rows(library, "* FROM auto_tag_removed ORDER BY created_at") == [
        (7, None, 3, "occasion", "camp", "d1"),
        (7, None, 3, "keyword", "wet", "d4"),
    ]


def test_a_library_may_lack_the_dates_of_tags(opened: Opened) -> None:
    library = opened(
        TAGS_WITHOUT_DATE,
        "INSERT INTO rpg_tags VALUES (1, 3, 'keyword', 'cave'), (2, 3, 'keyword', 'wet')",
    )
    write_rows(library, rows_of(STAMP, [tagged(3, Tags(keywords=("cave", "wet")), AFTER)]))
    assert rows(library, "* FROM rpg_tags") == [
        (1, 3, "keyword", "cave"),
        (2, 3, "occasion", "rest"),
        (3, 3, "keyword", "dark"),
    ]
    assert rows(library, "* FROM auto_tag_removed") == [(7, 2, 3, "keyword", "wet", None)]


ODD = (
    "INSERT INTO rpg_tags (audio_file_id, tag_type, tag_value) VALUES (3, 'keyword', 'cave'), "
    "(3, 'keyword', NULL), (3, 'keyword', x'ff'), (3, 'keyword', 'n' || char(0)), (3, 'occasion', NULL), "
    "(3, 'genre', NULL), (4, 'keyword', NULL)"
)


@pytest.mark.parametrize(("stamp", "left"), [(STAMP, 7), (REPLACE, 3)])
def test_replace_takes_every_occasion_and_keyword_row_merge_those_that_were_ours(
    opened: Opened, stamp: Stamp, left: int
) -> None:
    library = opened(ODD)
    write_rows(library, rows_of(stamp, [tagged(3, Tags(keywords=("cave",)), Tags("g", "m", (), ("cave",)))]))
    assert len(rows(library, "* FROM rpg_tags")) == left
    assert len(rows(library, "* FROM auto_tag_removed")) == 7 - left
    assert {row[:3] for row in rows(library, "audio_file_id, tag_type, tag_value FROM rpg_tags")} >= {
        (3, "keyword", "cave"),
        (3, "genre", None),
        (4, "keyword", None),
    }


# --- history --------------------------------------------------------------------------------------


def test_each_file_gets_a_history_row_which_is_its_latest(opened: Opened) -> None:
    library = opened()
    write_rows(library, rows_of(STAMP, [tagged(3), tagged(4), tagged(5)]))
    later = msgspec.structs.replace(STAMP, row=8, run_id="run-2")
    mapped, dropped = (Mapped(TagType.MOOD, "eerie", "odd"),), (Dropped(TagType.KEYWORD, "what"),)
    person = Kept(genre=True, keywords=("biome:cave",))
    entry = tagged(4, NEW, record_id=2, mapped=mapped, dropped=dropped, person=person)
    write_rows(library, rows_of(later, [entry]))
    history = rows(library, "id, file_id, tagged_at, api_version FROM auto_tag_history")
    assert history == [(n, n + 2, STAMP.date, "gemini-x") for n in (1, 2, 3)] + [(4, 4, STAMP.date, "gemini-x")]
    assert rows(library, "* FROM auto_tag_latest") == [(3, 1, 7), (4, 4, 8), (5, 3, 7)]
    texts = [text for (text,) in rows(library, "tags_applied FROM auto_tag_history")]
    assert msgspec.json.decode(texts[0], type=Record) == Record(
        run_id="run-1",
        model="gemini-x",
        mode=Mode.MERGE,
        before=Before("old"),
        applied=NEW,
    )
    assert msgspec.json.decode(texts[3], type=Record) == Record(
        run_id="run-2",
        model="gemini-x",
        mode=Mode.MERGE,
        before=Before(NEW.genre, NEW.mood, NEW.occasions, NEW.keywords),
        applied=NEW,
        person=person,
        previous=2,
        mapped=mapped,
        dropped=dropped,
    )


# --- mappings -------------------------------------------------------------------------------------

SAVED = Mapping(TagType.KEYWORD, "cavern", "biome:cave", "keywords")
LEARNT = Mapping(TagType.MOOD, "odd", "eerie", "mood", saved=False)
RENEWED = Mapping(TagType.KEYWORD, "cavern", "biome:hole", "keywords", saved=False, stale="biome:cave")
NEW_ROW = ("odd", "eerie", "mood", 2, STAMP.updated_at)
CACHED = "INSERT INTO tag_mapping_cache (invalid_tag, valid_tag, tag_type, usage_count) VALUES "


@pytest.mark.parametrize(
    ("cached", "used", "found"),
    [
        ("", {LEARNT: 2}, [NEW_ROW]),
        ("", {LEARNT: 1, msgspec.structs.replace(LEARNT, saved=True): 1}, [NEW_ROW]),
        ("", {msgspec.structs.replace(LEARNT, saved=True): 1, LEARNT: 1}, [NEW_ROW]),
        ("('cavern', 'biome:cave', 'keywords', 3)", {SAVED: 4}, [("cavern", "biome:cave", "keywords", 7)]),
        ("('cavern', 'biome:cave', 'keywords', NULL)", {SAVED: 4}, [("cavern", "biome:cave", "keywords", 4)]),
        ("('cavern', 'biome:cave', 'keyword', 3)", {SAVED: 4}, [("cavern", "biome:cave", "keyword", 3)]),
        ("('cavern', 'by hand', 'keywords', 3)", {SAVED: 4}, [("cavern", "by hand", "keywords", 7)]),
        ("", {SAVED: 4}, []),
        ("('odd', 'by hand', 'mood', 3)", {LEARNT: 2}, [("odd", "by hand", "mood", 5)]),
        ("('cavern', 'biome:cave', 'keywords', 3)", {RENEWED: 1}, [("cavern", "biome:hole", "keywords", 4)]),
        ("('cavern', 'by hand', 'keywords', 3)", {RENEWED: 1}, [("cavern", "by hand", "keywords", 4)]),
        ("", {RENEWED: 1}, [("cavern", "biome:hole", "keywords", 1, STAMP.updated_at)]),
        (
            "('cavern', 'biome:cave', 'keywords', 3)",
            {SAVED: 1, RENEWED: 1, LEARNT: 2},
            [("cavern", "biome:hole", "keywords", 5), NEW_ROW],
        ),
    ],
)
@pytest.mark.parametrize("bare", [False, True])
def test_uses_are_counted_and_what_gemini_said_is_added_unless_the_shell_knows_better(
    opened: Opened,
    cached: str,
    used: dict[Mapping, int],
    found: list[tuple[object, ...]],
    bare: bool,
) -> None:
    library = opened(*([BARE_CACHE] if bare else []), *([CACHED + cached] if cached else []))
    write_rows(library, rows_of(STAMP, used=Counter(used)))
    columns = "invalid_tag, valid_tag, tag_type, usage_count"
    dates = "" if bare else ", created_at"
    expected = [row[:4] if bare else (*row, "by the shell")[:5] for row in found]
    assert rows(library, f"{columns}{dates} FROM tag_mapping_cache") == expected


def test_a_tag_that_stands_for_nothing_is_remembered_too(opened: Opened) -> None:
    library = opened()
    entry = Mapping(TagType.MOOD, "loud", REMOVE, "mood", saved=False)
    write_rows(library, rows_of(STAMP, [tagged(3)], used=Counter({entry: 1})))
    assert rows(library, "invalid_tag, valid_tag, usage_count FROM tag_mapping_cache") == [("loud", REMOVE, 1)]
    assert rows(library, "genre FROM audio_files WHERE id = 3") == [("new",)]


# --- the batch itself -----------------------------------------------------------------------------

COUNT = BatchCount(
    batch=2,
    ended_at=STAMP.date,
    elapsed_seconds=1.25,
    seconds=0.5,
    tagged=3,
    failed=4,
    skipped=5,
    usage=Usage(11, 12, 13, 14, 15, 16),
    sources=Sources(21, 22, 23, 24, 25),
)
FAILURE = FileFailure(4, "/s/4", Reason.CHANGED, "It was changed.")


def proposal(file_id: int) -> StoredProposal:
    return StoredProposal(
        file_id=file_id,
        file_path=f"/s/{file_id}",
        before=Tags(),
        record_id=None,
        suggestion=Suggestion("g"),
        after=Tags("g"),
    )


@pytest.mark.parametrize("changes", [[], [tagged(3)]])
def test_the_batch_leaves_its_own_row_its_failures_and_its_proposals(
    opened: Opened, changes: list[FileChange]
) -> None:
    library = opened()
    proposals = [proposal(1), proposal(2)]
    batch = rows_of(STAMP, changes, proposals=proposals, failures=[FAILURE], batch=COUNT)
    write_rows(library, batch)
    assert rows(library, "* FROM auto_tag_batches") == [
        (7, 2, STAMP.date, 1.25, 0.5, 3, 4, 5, 11, 12, 13, 14, 15, 16, 21, 22, 23, 24, 25)
    ]
    assert rows(library, "* FROM auto_tag_failures") == [(7, 4, "/s/4", "changed", "It was changed.")]
    assert rows(library, "* FROM auto_tag_proposals") == [
        (7, entry.file_id, encoded_proposal(entry)) for entry in proposals
    ]
    assert rows(library, "genre FROM audio_files WHERE id = 3") == [("new" if changes else "old",)]


def test_a_file_has_one_failure_and_one_proposal_in_a_run_the_last(opened: Opened) -> None:
    library = opened()
    again = msgspec.structs.replace(FAILURE, message="Again.")
    for failure, path in ((FAILURE, "/s/1"), (again, "/other")):
        entry = msgspec.structs.replace(proposal(1), file_path=path)
        write_rows(library, rows_of(STAMP, proposals=[entry], failures=[failure]))
    assert rows(library, "message FROM auto_tag_failures") == [("Again.",)]
    assert rows(library, "proposal ->> 'file_path' FROM auto_tag_proposals") == [("/other",)]


def test_rows_about_nothing_change_nothing_not_even_the_marks_of_autoincrement(opened: Opened) -> None:
    library = opened()
    before = contents(library)
    write_rows(library, Rows(run=7))
    write_rows(library, rows_of(STAMP))
    write_rows(library, rows_of(REPLACE, used=Counter()))
    assert contents(library) == before
    write_rows(library, rows_of(STAMP, failures=[FAILURE], batch=COUNT))
    assert contents(library)["sqlite_sequence"] == before["sqlite_sequence"] == [("audio_files", 9)]


def test_the_procedures_stand_in_no_file(opened: Opened) -> None:
    library = opened()
    assert rows(library, "name FROM main.sqlite_master WHERE type IN ('view', 'trigger')") == []


# --- triggers, constraints, refusals --------------------------------------------------------------


def test_triggers_of_the_shell_do_their_work_and_disturb_nothing(opened: Opened) -> None:
    library = opened(
        "CREATE TABLE log (id INTEGER PRIMARY KEY, what TEXT UNIQUE)",
        DATED_FILES,
        """CREATE TRIGGER touch AFTER UPDATE ON audio_files BEGIN
            UPDATE audio_files SET updated_at = 'touched' WHERE id = NEW.id;
            INSERT OR REPLACE INTO log (what) VALUES ('all'), ('file ' || NEW.id);
            DELETE FROM log WHERE what = 'all';
        END""",
        """CREATE TRIGGER history AFTER INSERT ON auto_tag_history BEGIN
            INSERT INTO log (what) VALUES ('history ' || NEW.file_id), ('odd ' || NEW.id);
        END""",
        """CREATE TRIGGER tags AFTER INSERT ON rpg_tags BEGIN
            UPDATE audio_files SET title = 'changed' WHERE id = NEW.audio_file_id;
        END""",
    )
    write_rows(library, rows_of(STAMP, [tagged(3), tagged(5)]))
    assert (
        rows(library, "genre, title, updated_at FROM audio_files WHERE id IN (3, 5)")
        == [("new", "changed", "touched")] * 2
    )
    assert rows(library, "* FROM auto_tag_latest") == [(3, 1, 7), (5, 2, 7)]
    assert {what for (what,) in rows(library, "what FROM log")} == {
        *("file 3", "file 5", "history 3", "history 5", "odd 1", "odd 2")
    }


NOT_FOUR = {
    "update": "BEFORE UPDATE ON audio_files WHEN OLD.id = 4",
    "history": "BEFORE INSERT ON auto_tag_history WHEN NEW.file_id = 4",
    "tag": "BEFORE INSERT ON rpg_tags WHEN NEW.audio_file_id = 4",
}


def trigger(when: str, action: str) -> str:
    return f"CREATE TRIGGER not_four {NOT_FOUR[when]} BEGIN SELECT RAISE({action}); END"


REFUSALS = [
    trigger("update", "IGNORE"),
    trigger("history", "IGNORE"),
    *(trigger(when, f"{how}, 'no'") for when in NOT_FOUR for how in ("ABORT", "FAIL")),
    "DELETE FROM audio_files WHERE id = 4",
    "CREATE UNIQUE INDEX one_of_each ON audio_files (genre) WHERE id IN (2, 4) AND genre != 'old'",
]


@pytest.mark.parametrize("refusal", REFUSALS)
def test_what_a_trigger_or_constraint_refuses_is_an_integrity_error(opened: Opened, refusal: str) -> None:
    library = opened(refusal)
    write_rows(library, rows_of(STAMP, [tagged(2), tagged(8)]))
    before = contents(library)
    library.execute("BEGIN")
    with pytest.raises(sqlite3.IntegrityError):
        write_rows(library, rows_of(STAMP, [tagged(3), tagged(4), tagged(5)], batch=COUNT))
    library.execute("ROLLBACK")
    assert contents(library) == before


@pytest.mark.parametrize("refusal", REFUSALS)
def test_only_the_refused_are_left_out_when_each_is_written_on_its_own(opened: Opened, refusal: str) -> None:
    library = opened(refusal)
    write_rows(library, rows_of(STAMP, [tagged(2), tagged(8)]))
    library.execute("BEGIN")
    changes = [tagged(n) for n in (3, 4, 5)]
    stopped = refused(library, changes, lambda entry: write_rows(library, rows_of(STAMP, [entry])))
    assert stopped == [changes[1]]
    with pytest.raises(sqlite3.OperationalError, match="no such savepoint"):
        library.execute("RELEASE entry")
    library.execute("COMMIT")
    assert rows(library, "id FROM audio_files WHERE auto_tagged") == [(2,), (3,), (5,), (8,)]
    assert rows(library, "file_id, run FROM auto_tag_latest") == [(2, 7), (3, 7), (5, 7), (8, 7)]
    assert rows(library, "file_id FROM auto_tag_history ORDER BY id") == [(2,), (8,), (3,), (5,)]
    assert rows(library, "audio_file_id FROM rpg_tags ORDER BY id") == [(2,), (8,), (3,), (5,)]
    assert rows(library, "file_id FROM auto_tag_before") == [(2,), (3,), (5,), (8,)]


def test_a_row_that_is_refused_last_takes_the_whole_statement_back(opened: Opened) -> None:
    library = opened()
    write_rows(library, rows_of(STAMP, [tagged(2)], batch=COUNT))
    before = contents(library)
    with pytest.raises(sqlite3.IntegrityError):
        write_rows(library, rows_of(STAMP, [tagged(3)], batch=COUNT))
    assert contents(library) == before


def write(library: sqlite3.Connection) -> Callable[[FileChange], None]:
    return lambda entry: write_rows(library, rows_of(STAMP, [entry]))


def test_a_refusal_that_ends_the_transaction_itself_is_told_as_it_is(opened: Opened) -> None:
    library = opened(trigger("update", "ROLLBACK, 'not this one'"))
    before = contents(library)
    library.execute("BEGIN")
    with pytest.raises(sqlite3.IntegrityError, match="not this one"):
        refused(library, [tagged(n) for n in (3, 4, 5)], write(library))
    assert not library.in_transaction
    assert contents(library) == before


def test_what_is_no_refusal_keeps_its_name_though_it_ends_the_transaction(opened: Opened) -> None:
    library = opened("CREATE TRIGGER stop BEFORE INSERT ON rpg_tags BEGIN SELECT stop(); END")
    library.create_function("stop", 0, library.interrupt)
    before = contents(library)
    library.execute("BEGIN")
    with pytest.raises(sqlite3.OperationalError, match="interrupted"):
        refused(library, [tagged(3), tagged(4)], write(library))
    assert not library.in_transaction, "SQLite has rolled back by itself"
    assert contents(library) == before


def test_other_columns_of_the_shell_may_have_any_name(opened: Opened) -> None:
    names = (
        "key",
        "value",
        "type",
        "atom",
        "parent",
        "fullkey",
        "path",
        "json",
        "root",
        "file_id",
        "tags",
        "uses",
    )
    tables = ("audio_files", "rpg_tags", "tag_mapping_cache", "auto_tag_history")
    library = opened(
        CACHED + "('odd', 'by hand', 'mood', 3)",
        *(f"ALTER TABLE {table} ADD COLUMN {name}" for table in tables for name in names if name != "file_id"),
        *(f"ALTER TABLE {table} ADD COLUMN file_id" for table in tables if table != "auto_tag_history"),
        EDITED,
    )
    write_rows(library, rows_of(REPLACE, [tagged(3, BEFORE, AFTER)], used=Counter({LEARNT: 2, SAVED: 1})))
    assert rows(library, "genre, mood, key, value FROM audio_files WHERE id = 3") == [("new", "eerie", None, None)]
    assert len(rows(library, "* FROM rpg_tags WHERE audio_file_id = 3")) == 4
    assert rows(library, "valid_tag, usage_count, value FROM tag_mapping_cache") == [("by hand", 5, None)]


# --- how much work it is --------------------------------------------------------------------------


@pytest.mark.parametrize(("stamp", "statistics"), [(STAMP, False), (STAMP, True), (REPLACE, False)])
def test_the_work_under_the_lock_does_not_grow_with_the_library_nor_do_old_statistics_mislead_it(
    opened: Opened, stamp: Stamp, statistics: bool
) -> None:
    library = opened(
        "CREATE INDEX by_type ON rpg_tags (tag_type, tag_value)", "CREATE INDEX by_genre ON audio_files (genre)"
    )
    batch = rows_of(stamp, [tagged(n, BEFORE, AFTER) for n in range(1, 10)], used=Counter({SAVED: 1}), batch=COUNT)

    def steps() -> int:
        """What SQLite's virtual machine does for the batch."""
        count = 0

        def step() -> int:
            nonlocal count
            count += 1
            return 0

        library.execute("BEGIN")
        library.set_progress_handler(step, 1)
        write_rows(library, batch)
        library.set_progress_handler(None, 1)
        library.execute("ROLLBACK")
        return count

    library.execute(
        f"{CACHED} ('cavern', 'biome:cave', 'keywords', 1), ('a', 'x', 'mood', 1), ('b', 'x', 'mood', 1)"
    )
    if statistics:
        library.execute("ANALYZE")
    small = steps()
    library.execute(
        """WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
            INSERT INTO audio_files (id, file_path, genre) SELECT i, '/s/' || i, 'old' FROM n"""
    )
    library.execute(
        """INSERT INTO rpg_tags (audio_file_id, tag_type, tag_value)
            SELECT id, 'keyword', 'wet' FROM audio_files WHERE id >= 100"""
    )
    library.execute(
        """INSERT INTO auto_tag_history (file_id, tagged_at, tags_applied)
            SELECT id, 'd', '{}' FROM audio_files WHERE id >= 100"""
    )
    library.execute(f"{CACHED.removesuffix('VALUES ')} SELECT 'bad' || id, 'x', 'mood', 1 FROM audio_files")
    assert steps() < 1.1 * small
