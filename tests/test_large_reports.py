"""A report goes through a run's files one by one: what it keeps does not grow with them."""

import tracemalloc
from contextlib import closing
from pathlib import Path

from sidecar.contract import Mode, Report
from sidecar.demo.library import create_library
from sidecar.library.changes import rows_of
from sidecar.library.opened import Opened
from sidecar.library.own_tables import create_tables
from sidecar.library.procedures import write_rows
from sidecar.library.run_writes import NewRun, RunKind, insert_run
from sidecar.redaction import Redactor
from sidecar.rpc.methods import call, running_app
from sidecar.settings import Settings
from sidecar.tagging.tags import Tags
from tests.procedures.scenes import OLD, STAMP, tagged

RUN = NewRun(
    run_id=STAMP.run_id, mode=Mode.MERGE, dry_run=False, model=STAMP.model, rules="", batch_size=50,
    kind=RunKind.UNTAGGED, started_at=STAMP.date, total_files=0, total_batches=0,
)  # fmt: skip


def tagged_library(path: Path, files: int) -> Path:
    """Whose files a run has tagged, every third one with few tags."""
    create_library(path, files=files)
    many, few = Tags("folk", "calm", ("rest",), tuple(f"k:{n}" for n in range(8))), Tags("folk", "calm", ("rest",))
    with closing(Opened(path)) as opened:
        opened.connection.execute("BEGIN")
        create_tables(opened.connection)
        insert_run(opened.connection, RUN, vocabulary="")
        write_rows(
            opened.connection,
            rows_of(STAMP, [tagged(n, OLD, few if n % 3 == 0 else many) for n in range(1, files)]),
        )
        opened.connection.execute("COMMIT")
    return path


async def peak_bytes(path: Path) -> int:
    """What a report takes at most."""
    async with running_app(Settings(database=path), lambda _: None, Redactor()) as app:
        await call(app, "list_runs", b"{}")
        tracemalloc.start()
        try:
            report = (await call(app, "report", b"{}")).result
            assert isinstance(report, Report) and report.worrying_files > 200
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()


async def test_a_report_of_a_large_run_takes_no_more_memory(tmp_path: Path) -> None:
    small = await peak_bytes(tagged_library(tmp_path / "small.db", 900))
    large = await peak_bytes(tagged_library(tmp_path / "large.db", 4500))
    assert large < 1.5 * small
