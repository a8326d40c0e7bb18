"""What others change between a batch's read and its commit: it is decided anew, and nothing is overwritten."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sidecar.contract import RunStatus
from sidecar.demo import standin
from sidecar.demo.standin import Received, Reply
from sidecar.library.store import Library
from sidecar.redaction import Redactor
from sidecar.rpc.methods import running_app
from sidecar.runs.writing import commit
from sidecar.settings import Settings
from tests import harness
from tests.meanwhile.scenes import Runs

Change = Callable[[Runs, harness.Library], Awaitable[object]]


def says_pub(received: Received) -> Reply | None:
    """Of every file; what a pub is, is the stand-in's own."""
    if received.kind != "tagging":
        return None
    tags = {"genre": "folk:tavern", "moods": ["calm"], "occasions": ["inn-rest"], "keywords": ["pub"]}
    return standin.ok([{**tags, "id": file["id"]} for file in received.files])


@contextmanager
def before_the_commit(change: Callable[[], Awaitable[object]]) -> Iterator[None]:
    """Once: when a batch's rows are worked out and its transaction has not begun."""
    write, is_due = Library.write, True

    async def late(self: Library, run: Any, **options: bool) -> Any:
        nonlocal is_due
        if is_due and isinstance(run, partial) and run.func is commit:
            is_due = False
            await change()
        return await write(self, run, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Library, "write", late)
        yield


async def changed_before_the_commit(library: harness.Library, change: Change) -> Runs:
    """File 1 is tagged, then file 2, and that happens just before the latter is written."""
    runs = Runs()
    async with standin.running(script=says_pub) as gemini:
        settings = Settings(database=library.path, api_key="a-key", base_url=gemini.base_url)
        async with running_app(settings, runs.emit, Redactor()) as runs.app:
            await runs.tag(1)
            with before_the_commit(partial(change, runs, library)):
                await runs.tag(2)
    return runs


async def test_another_sound_in_the_files_place_is_not_tagged(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 10)

    async def change(_: Runs, library: harness.Library) -> None:
        library.execute("UPDATE audio_files SET file_path = ? WHERE id = 2", f"{harness.HOME}/Other/Else.wav")

    runs = await changed_before_the_commit(library, change)
    assert (runs.completed.processed_files, runs.completed.skipped_files) == (0, 1)
    assert not library.file(2)["auto_tagged"] and not library.tags(2)


async def test_a_mapping_that_a_person_has_corrected_holds_for_what_is_not_written_yet(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 10)
    pub = {"tag_type": "keyword", "invalid_tag": "pub"}

    async def change(runs: Runs, _: harness.Library) -> None:
        await runs.call("set_tag_mapping", **pub, valid_tag="biome:cave")

    await changed_before_the_commit(library, change)
    assert ("keyword", "biome:cave") in library.tags(2)
    assert ("keyword", "biome:cave") not in library.tags(1), "written before"


async def test_a_vocabulary_that_is_empty_at_the_commit_ends_the_run_and_fails_no_file(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 10)

    async def change(_: Runs, library: harness.Library) -> None:
        library.execute("UPDATE tag_vocabulary SET is_active = 0")

    runs = await changed_before_the_commit(library, change)
    library.execute("UPDATE tag_vocabulary SET is_active = 1")
    assert runs.completed.status is RunStatus.FAILED and "vocabulary is empty" in runs.completed.message
    assert not library.file(2)["auto_tagged"]


async def test_what_the_shell_changes_right_behind_the_read_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer hears of it before the reader's result has reached its task."""
    library, runs, read = harness.library(tmp_path, 10), Runs(), Library.read

    async def read_late(self: Library, query: Any) -> Any:
        found = await read(self, query)
        if isinstance(query, partial) and query.keywords == {"ids": [2]}:
            library.execute("UPDATE audio_files SET genre = 'folk:tavern' WHERE id = 2")
            await self.write(lambda _: None)
        return found

    async with standin.running() as gemini:
        settings = Settings(database=library.path, api_key="a-key", base_url=gemini.base_url)
        async with running_app(settings, runs.emit, Redactor()) as runs.app:
            await runs.tag(1)
            monkeypatch.setattr(Library, "read", read_late)
            await runs.tag(2)
    assert (runs.completed.processed_files, runs.completed.skipped_files) == (0, 1)
    assert (library.file(2)["genre"], library.file(2)["auto_tagged"]) == ("folk:tavern", 0)
