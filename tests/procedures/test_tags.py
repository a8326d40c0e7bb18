"""procedures: rows of occasions and keywords stay, go and come."""

import pytest

from sidecar.library.changes import Stamp, rows_of
from sidecar.library.procedures import write_rows
from sidecar.tagging.tags import Tags
from tests.procedures.scenes import (
    AFTER,
    BEFORE,
    EDITED,
    REPLACE,
    STAMP,
    TAGS_WITHOUT_DATE,
    TAGS_WITHOUT_ID,
    Opened,
    rows,
    tagged,
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
