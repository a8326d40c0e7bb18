"""What several files of contract tests set up: what Gemini says, dry runs, undos, runs that stand still."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import trio

from sidecar.demo import standin
from sidecar.demo.standin import Received, Reply, Script
from tests import harness
from tests.harness import Client, Library, Message, Snapshot


def item(genre: str, moods: str, occasions: str, keywords: str) -> Message:
    """An answer's item but for its id; the lists as words apart, `_` for a space."""
    lists = {"moods": moods, "occasions": occasions, "keywords": keywords}
    words = {name: [word.replace("_", " ") for word in text.split()] for name, text in lists.items()}
    return {"genre": genre, **words}


PLAIN = item("ambient", "calm", "inn-rest", "biome:forest weather:rain time:night")


def said(library: Library, items: dict[int, Message]) -> Script:
    """Gemini says so of these files, and of all others what is plain; mappings are the stand-in's (`INVENTED`)."""
    names = {library.name(file_id): file_id for file_id in library.ids}

    def script(received: Received) -> Reply | None:
        if received.kind != "tagging":
            return None
        ids = [(file["id"], names[file["path"].rpartition("/")[2]]) for file in received.files]
        return standin.ok([{"id": number, **items.get(file_id, PLAIN)} for number, file_id in ids])

    return script


# Of the unknown tags all mean something to the stand-in, but for `vibey` and `material:unobtainium`.
ANSWERS = {
    1: item("folk:tavern", "calm", "inn-rest", "biome:forest time:night"),
    2: item("Orchestral / Cinematic", "CALM", "inn-rest", "cavern"),
    3: item("folk:tavern", "calm vibey", "inn-rest", "pub"),
    4: item("folk:tavern", "calm", "inn-rest", "pub time:night"),
    5: item("movie score", "", "inn-rest", "material:unobtainium"),
}


def answering(requests: int) -> Script:
    """Gemini answers so many requests; those after them wait for ever."""
    never = trio.Event()
    return lambda received: None if received.number <= requests else Reply(gate=never)


@asynccontextmanager
async def stopped_after(batches: int, library: Library, **params: Any) -> AsyncIterator[Client]:
    """A process in whose run, ten files a batch, so many batches are done and no further answer comes."""
    async with standin.running(script=answering(batches)) as gemini, harness.start(library, gemini) as subject:
        await subject.result("auto_tag_files", batch_size=10, max_parallel=1, **params)
        await subject.wait_until(lambda: len(subject.events("tagging-progress")) == batches)
        yield subject


async def propose(subject: Client, **params: Any) -> tuple[str, list[Message]]:
    """A whole dry run: its id and its proposals."""
    run_id = (await subject.tag(dry_run=True, **params))["run_id"]
    return run_id, (await subject.result("get_run", run_id=run_id))["proposals"]


def files_and_tags(library: Library) -> Snapshot:
    """All that an undo brings back: whole rows, with their ids and dates."""
    rows = library.shell_rows()
    return {table: rows[table] for table in ("audio_files", "rpg_tags")}


async def undo(subject: Client, run_id: str) -> tuple[int, int]:
    """How many files were restored and how many skipped."""
    undone = await subject.result("undo_run", run_id=run_id)
    assert undone.keys() == {"run_id", "restored_files", "skipped_files"} and undone["run_id"] == run_id
    return undone["restored_files"], undone["skipped_files"]


@contextmanager
def slowed(library: Library, rows: int) -> Iterator[None]:
    """A trigger of the shell's looks at so many rows (a million: some 30 ms) for each file that is tagged."""
    library.execute(
        f"""CREATE TRIGGER slow AFTER UPDATE OF genre ON audio_files BEGIN
            SELECT count(*) FROM (SELECT 1 FROM tag_vocabulary a, tag_vocabulary b LIMIT {rows}); END"""
    )
    yield
    library.execute("DROP TRIGGER slow")
