"""procedures: the work under the lock does not grow with the library."""

from collections import Counter

import pytest

from sidecar.library.changes import Stamp, rows_of
from sidecar.library.procedures import write_rows
from tests.procedures.scenes import AFTER, BEFORE, CACHED, COUNT, REPLACE, SAVED, STAMP, Opened, tagged, work


@pytest.mark.parametrize(("stamp", "statistics"), [(STAMP, False), (STAMP, True), (REPLACE, False)])
def test_the_work_under_the_lock_does_not_grow_with_the_library_nor_do_old_statistics_mislead_it(
    opened: Opened, stamp: Stamp, statistics: bool
) -> None:
    library = opened(
        "CREATE INDEX by_type ON rpg_tags (tag_type, tag_value)", "CREATE INDEX by_genre ON audio_files (genre)"
    )
    batch = rows_of(stamp, [tagged(n, BEFORE, AFTER) for n in range(1, 10)], used=Counter({SAVED: 1}), batch=COUNT)

    def steps() -> int:
        return work(library, lambda: write_rows(library, batch))

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
