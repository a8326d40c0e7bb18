"""The tests' own eyes: each kind of damage that `check_invariants` has to see is done, and seen."""

import copy
import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import trio

from sidecar.demo import standin
from tests import harness
from tests.harness import Client, Library

Case = tuple[Library, Client]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    """A library of which 30 of 40 files were tagged and one failed, and the process that did it."""
    folder = tmp_path_factory.mktemp("finished")

    async def tag() -> Case:
        library = harness.library(folder, 40, with_dates=True)
        blocked = library.name(3)

        def script(received: standin.Received) -> standin.Reply | None:
            return standin.blocked_prompt() if any(f["path"].endswith(blocked) for f in received.files) else None

        async with standin.running(script=script, hallucinate=0.5) as gemini:
            async with harness.start(library, gemini) as subject:
                await subject.tag(batch_size=10, max_parallel=1, file_ids=list(range(1, 31)))
            return library, subject

    yield trio.run(tag)


@pytest.fixture
def case(finished: Case, tmp_path: Path) -> Case:
    """The same, to be damaged: a copy of the file, and of what the client has seen."""
    library, client = finished
    damaged = copy.copy(library)
    damaged.path = tmp_path / "ligeia.db"
    shutil.copy(library.path, damaged.path)
    listened = copy.copy(client)
    listened.seen, listened.raw = copy.deepcopy(client.seen), list(client.raw)
    return damaged, listened


def test_without_damage_all_is_well(case: Case) -> None:
    library, client = case
    harness.check_invariants(library, [client])
    assert library.tagged == 29


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE audio_files SET title = 'other' WHERE id = 2",
        "UPDATE audio_files SET cover_art = x'00' WHERE id = 40",
        "UPDATE audio_files SET genre = 'no such genre' WHERE id = 2",
        "UPDATE audio_files SET mood = mood || '; no such mood' WHERE id = 2",
        "UPDATE audio_files SET mood = 'somber' WHERE id = 35",
        "UPDATE audio_files SET auto_tagged = 0 WHERE id = 2",
        "UPDATE audio_files SET auto_tag_date = 'yesterday' WHERE id = 2",
        "UPDATE audio_files SET auto_tag_version = NULL WHERE id = 2",
        "UPDATE audio_files SET updated_at = '2026-01-01T00:00:00Z' WHERE id = 2",
        "UPDATE rpg_tags SET created_at = '2000-01-01 00:00:00' WHERE audio_file_id = 5 AND id = 1",
        "UPDATE rpg_tags SET tag_value = 'no such tag' WHERE id = (SELECT max(id) FROM rpg_tags)",
        "UPDATE tag_vocabulary SET is_active = 0 WHERE tag_value = (SELECT genre FROM audio_files WHERE id = 2)",
        "UPDATE tag_mapping_cache SET valid_tag = 'no such tag'",
        "UPDATE app_settings SET value = 'light' WHERE key = 'theme'",
        "UPDATE sqlite_sequence SET seq = 1000 WHERE name = 'tag_vocabulary'",
        "UPDATE auto_tag_runs SET processed_files = processed_files + 1",
        "UPDATE auto_tag_failures SET file_id = 4",
        "DELETE FROM auto_tag_failures",
        "DELETE FROM rpg_tags WHERE audio_file_id = 5 AND id = 1",
        "DELETE FROM rpg_tags WHERE audio_file_id = 2",
        "DELETE FROM playlist_tracks WHERE position = 1",
        "DELETE FROM audio_files WHERE id = 2",
        "DELETE FROM auto_tag_history WHERE file_id = 2",
        "INSERT INTO auto_tag_history (file_id, tagged_at, tags_applied, api_version)"
        " SELECT file_id, tagged_at, tags_applied, api_version FROM auto_tag_history WHERE file_id = 2",
        "INSERT INTO rpg_tags (audio_file_id, tag_type, tag_value) VALUES (35, 'occasion', 'heist')",
        "INSERT INTO soundboard_pads (soundboard_id, audio_file_id, pad_index) VALUES (1, 4711, 30)",
        "CREATE INDEX idx_of_ours ON audio_files (mood)",
        "DROP INDEX idx_audio_files_title",
        "CREATE TABLE ours (x)",
    ],
)
def test_damage_to_the_library_is_seen(case: Case, damage: str) -> None:
    library, client = case
    with closing(library.connect()) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        before = connection.total_changes
        connection.execute(damage)
        assert connection.total_changes > before or damage.startswith(("CREATE", "DROP"))
    with pytest.raises(AssertionError):
        harness.check_invariants(library, [client])


def _take_back(library: Library, file_ids: range, counts: str) -> None:
    """Undoes taggings to the byte, in the run's row too."""
    columns = ("genre", "mood", "auto_tagged", "auto_tag_date", "auto_tag_version", "updated_at")
    update = f"UPDATE audio_files SET {', '.join(f'{name} = ?' for name in columns)} WHERE id = ?"
    with closing(library.connect()) as connection:
        for file_id in file_ids:
            row = library.baseline["audio_files"][file_id]
            connection.execute(update, [*(row[name] for name in columns), file_id])
            connection.execute("DELETE FROM auto_tag_history WHERE file_id = ?", (file_id,))
            connection.execute("DELETE FROM auto_tag_failures WHERE file_id = ?", (file_id,))
            connection.execute("DELETE FROM rpg_tags WHERE audio_file_id = ? AND id > 2", (file_id,))
        connection.execute(f"UPDATE auto_tag_runs SET {counts}")


def test_half_a_batch_is_seen_by_the_runs_row(case: Case) -> None:
    library, _ = case
    _take_back(library, range(2, 3), "processed_files = 28")
    with pytest.raises(AssertionError, match="no whole batches"):
        harness.check_invariants(library, [])


def test_half_a_batch_is_seen_by_the_journal(case: Case) -> None:
    library, client = case
    _take_back(library, range(2, 3), "processed_files = 28, total_files = 29")
    with pytest.raises(AssertionError, match="half of a batch"):
        harness.check_invariants(library, [client])


def test_a_batch_that_was_announced_and_is_not_there_is_seen(case: Case) -> None:
    library, client = case
    _take_back(library, range(1, 11), "processed_files = 20, failed_files = 0")
    with pytest.raises(AssertionError, match="announced before it was durable"):
        harness.check_invariants(library, [client])


def _of(client: Client, method: str) -> int:
    return next(i for i, (_, message) in enumerate(client.seen) if message.get("method") == method)


def _complete_twice(client: Client) -> None:
    client.seen.append(client.seen[_of(client, harness.COMPLETE)])


def _complete_never(client: Client) -> None:
    del client.seen[_of(client, harness.COMPLETE)]


def _complete_too_early(client: Client) -> None:
    client.seen.append(client.seen.pop(_of(client, "tagging-progress")))


def _notification_before_the_answer(client: Client) -> None:
    client.seen.insert(0, client.seen.pop(_of(client, "tagging-batch")))


def _sums_wrong(client: Client) -> None:
    client.seen[_of(client, "tagging-progress")].message["params"]["remaining_files"] += 1


def _batch_lost(client: Client) -> None:
    client.seen[_of(client, "tagging-batch")].message["params"]["tagged"] -= 1


def _answer_missing(client: Client) -> None:
    del client.seen[next(i for i, (_, message) in enumerate(client.seen) if "id" in message)]


def _answer_twice(client: Client) -> None:
    client.seen.append(client.seen[next(i for i, (_, message) in enumerate(client.seen) if "id" in message)])


def _not_allowed_by_the_document(client: Client) -> None:
    client.objections = ["a field too many"]


def _carriage_return(client: Client) -> None:
    client.raw.append(b"{}\r")


def _cut_line(client: Client) -> None:
    client.rest = b'{"json'


def _key_on_stdout(client: Client) -> None:
    client.raw.append(json.dumps(harness.KEY).encode())


def _key_in_the_log(client: Client) -> None:
    client.log = client.log + harness.KEY.encode()


def _user_in_a_message(client: Client) -> None:
    client.seen[_of(client, harness.COMPLETE)].message["params"]["message"] += harness.HOME


def _path_in_the_log(client: Client) -> None:
    client.log = client.log + b"cannot read Desolate Plains 01.mp3 " + harness.HOME.encode()


@pytest.mark.parametrize(
    "damage",
    [
        _complete_twice, _complete_never, _complete_too_early, _notification_before_the_answer, _sums_wrong,
        _batch_lost, _answer_missing, _answer_twice, _not_allowed_by_the_document, _carriage_return, _cut_line,
        _key_on_stdout, _key_in_the_log, _user_in_a_message, _path_in_the_log,
    ],
)  # fmt: skip
def test_damage_to_what_was_said_is_seen(case: Case, damage: Callable[[Client], None]) -> None:
    library, client = case
    damage(client)
    with pytest.raises(AssertionError):
        harness.check_invariants(library, [client])


@pytest.mark.parametrize("word", [harness.KEY, harness.USER])
def test_a_secret_in_a_request_is_seen(case: Case, word: str) -> None:
    library, client = case
    assert client.gemini is not None
    [first, *rest] = client.gemini.journal
    journal = [dataclasses.replace(first, body=first.body + word.encode()), *rest]
    client.gemini = copy.copy(client.gemini)
    client.gemini.journal = journal
    with pytest.raises(AssertionError, match="was sent"):
        harness.check_invariants(library, [client])
