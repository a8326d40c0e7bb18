"""What `find_stale` asks of the database of a library with a long history."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from sidecar.demo import standin
from sidecar.library.store import Library, open_library
from sidecar.runs.stale import find_stale
from sidecar.settings import Settings
from tests import harness

AGAIN = """INSERT INTO auto_tag_runs (run_id, status, mode, dry_run, model, vocabulary, rules, batch_size,
        started_at, total_files, total_batches, first_history_id)
    SELECT ? || run_id, status, mode, dry_run, model, vocabulary, rules, batch_size,
        started_at, total_files, total_batches, first_history_id FROM auto_tag_runs WHERE id = 1"""


async def statements(library: Library) -> list[str]:
    """All that `find_stale` runs on the one reading connection, which is idle in between."""
    ran: list[str] = []
    await library.read(lambda connection, _: connection.set_trace_callback(ran.append))
    assert (await find_stale(library, Settings())).file_ids == []
    await library.read(lambda connection, _: connection.set_trace_callback(None))
    return ran


def tagged_by_runs_of_their_own(ids: list[int]) -> Iterator[tuple[str, tuple[int, ...]]]:
    for file_id in ids:
        yield AGAIN, (file_id,)
        yield (
            "UPDATE auto_tag_latest SET run = (SELECT max(id) FROM auto_tag_runs) WHERE file_id = ?",
            (file_id,),
        )


async def test_many_runs_by_one_vocabulary_cost_no_more_statements_than_one(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 60)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        await subject.tag()
    async with open_library(library.path) as opened:
        of_one_run = await statements(opened)
        with closing(library.connect()) as connection:
            for statement, values in tagged_by_runs_of_their_own(library.ids):
                connection.execute(statement, values)
        assert len(await statements(opened)) == len(of_one_run)
        read = [text for text in of_one_run if "auto_tag_vocabularies" in text and "sqlite_master" not in text]
        assert len(read) == 2, "the last run's, and the files'"
