"""procedures: the files' own rows, and what is kept of them for an undo."""

import pytest

from sidecar.contract import FileFailure, Reason
from sidecar.library.changes import rows_of
from sidecar.library.procedures import write_rows
from sidecar.tagging.tags import Tags
from tests.procedures.scenes import DATED_FILES, STAMP, Opened, rows, tagged


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
