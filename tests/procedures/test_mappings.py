"""procedures: uses are counted, what Gemini said is added, the shell's word stays."""

from collections import Counter

import msgspec
import pytest

from sidecar.contract import TagType
from sidecar.library.changes import rows_of
from sidecar.library.procedures import write_rows
from sidecar.tagging.mappings import REMOVE, Mapping
from tests.procedures.scenes import BARE_CACHE, CACHED, LEARNT, SAVED, STAMP, Opened, rows, tagged

RENEWED = Mapping(TagType.KEYWORD, "cavern", "biome:hole", "keywords", saved=False, stale="biome:cave")
NEW_ROW = ("odd", "eerie", "mood", 2, STAMP.updated_at)


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
        ("('odd', '', 'mood', 3)", {LEARNT: 2}, [("odd", "eerie", "mood", 5)]),
        ("('odd', x'', 'mood', 3)", {LEARNT: 2}, [("odd", "eerie", "mood", 5)]),
        ("('cavern', '', 'keywords', 3)", {SAVED: 4}, [("cavern", "", "keywords", 7)]),
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
