"""CONTRACT sections 8 and 9: excluded files are in no request, no estimate, no count."""

from pathlib import Path
from typing import Any

import pytest
import trio

from sidecar.demo import standin
from sidecar.demo.standin import Received, Reply, StandIn
from tests import harness
from tests.harness import Client, Library, Message


def below(library: Library, folder: str) -> set[int]:
    """The sounds whose path has that folder in it."""
    return {row["id"] for row in library.query("SELECT id FROM audio_files WHERE instr(file_path, ?)", folder)}


def check_absent(library: Library, gemini: StandIn, excluded: set[int], since: int = 0) -> None:
    """No request since then holds a word of these files: neither name, nor title where it is theirs alone."""
    assert excluded
    for received in gemini.journal[since:]:
        text = received.body.decode()
        for file_id in excluded:
            assert library.name(file_id) not in text and f"Secret {file_id}." not in text


async def test_excluded_files_are_in_no_request_estimate_count_or_list(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 80)
    with library.edited() as shell:
        shell.execute("UPDATE audio_files SET title = 'Secret ' || id || '.', album = title")
    excluded = below(library, "/Dungeon/") | below(library, "/City/Market/") | {1, 2}
    everything = set(range(1, 81))
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        added = [
            await subject.result("add_exclusion", glob="Dungeon"),
            await subject.result("add_exclusion", glob="City/Market/*"),
            await subject.result("add_exclusion", file_id=1),
            await subject.result("add_exclusion", file_id=2),
        ]
        assert [(entry["glob"], entry["file_id"]) for entry in added] == [
            ("Dungeon", None), ("City/Market/*", None), (None, 1), (None, 2),
        ]  # fmt: skip
        assert await subject.result("list_exclusions") == added
        left = sorted(everything - excluded)
        assert (await subject.result("count_untagged_files"))["count"] == len(left)
        files = await subject.result("get_untagged_files")
        assert [file["id"] for file in files] == left
        page = await subject.result("get_untagged_files", limit=3, after_id=left[4])
        assert [file["id"] for file in page] == left[5:8]
        for params in ({}, {"file_ids": sorted(everything)}):
            assert (await subject.result("estimate", **params))["total_files"] == len(left)
        preview = await subject.result("preview_request", file_ids=sorted(everything))
        for file_id in excluded:
            assert library.name(file_id) not in str(preview)
        done = await subject.tag(file_ids=sorted(everything), batch_size=10)
        assert (done["total_files"], done["processed_files"]) == (len(left), len(left))
        check_absent(library, gemini, excluded)
        assert (await subject.result("count_untagged_files"))["count"] == 0
        nothing = await subject.result("auto_tag_files", file_ids=sorted(excluded))
        assert (nothing["status"], nothing["run_id"]) == ("nothing_to_do", None)
        assert (await subject.result("auto_tag_files"))["status"] == "nothing_to_do"
        assert (await subject.result("estimate", file_ids=[1, 2]))["requests"] == 0
        assert (await subject.result("preview_request", file_ids=[1, 2]))["requests"] == []
    tagged = library.query("SELECT id FROM audio_files WHERE auto_tagged = 1")
    assert {row["id"] for row in tagged} == everything - excluded


async def test_exclusions_last_until_removed_and_are_seen_by_every_process(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 30)
    async with standin.running() as gemini, harness.start(library, gemini) as other:
        assert await other.result("list_exclusions") == []
        async with harness.start(library, gemini) as subject:
            added = await subject.result("add_exclusion", glob="Magic")
            again = await subject.result("add_exclusion", glob="Magic")
            assert again == added, "once is enough"
            await subject.result("add_exclusion", file_id=3)
        left = 30 - len(below(library, "/Magic/") | {3})
        assert (await other.result("count_untagged_files"))["count"] == left
        assert len(await other.result("list_exclusions")) == 2
        assert await other.result("remove_exclusion", file_id=4) == {"removed": False}
        assert await other.result("remove_exclusion", file_id=3) == {"removed": True}
        assert await other.result("remove_exclusion", file_id=3) == {"removed": False}
        assert await other.result("remove_exclusion", glob="magic/") == {"removed": False}
        assert await other.result("list_exclusions") == [added]
        assert await other.result("remove_exclusion", glob="Magic") == {"removed": True}
        assert (await other.result("count_untagged_files"))["count"] == 30
        assert (await other.tag())["processed_files"] == 30


async def test_an_exclusion_is_one_glob_or_one_file_that_there_is(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 10)
    before = library.snapshot()
    async with harness.start(library) as subject:
        both: dict[str, Any] = {"glob": "Magic", "file_id": 1}
        for method in ("add_exclusion", "remove_exclusion"):
            for params in ({}, both, {"glob": ""}, {"file_id": "1"}, {"path": "Magic"}, {"glob": "x" * 5000}):
                assert (await subject.error(method, **params))["code"] == -32602
        error = await subject.error("add_exclusion", file_id=4711)
        assert error["code"] == -32602 and "4711" in error["message"]
        assert await subject.result("remove_exclusion", file_id=1) == {"removed": False}
        assert await subject.result("list_exclusions") == []
    assert library.snapshot() == before


GLOBS = {
    "a folder as sent": ("Creatures", "/Creatures/"),
    "a folder with its slash": ("Creatures/", "/Creatures/"),
    "all in it": ("Creatures/*", "/Creatures/"),
    "in other letters": ("CREATURES", "/Creatures/"),
    "a folder in a folder": ("City/*bour", "/Harbour/"),
    "on the whole path": ("*/Music/Ligeia/Horror/*", "/Horror/"),
    "an ending": ("*.mp3", ".mp3"),
    "a sign for one letter": ("Sci?Fi", "/Sci-Fi/"),
}


@pytest.mark.parametrize(("glob", "part"), GLOBS.values(), ids=GLOBS.keys())
async def test_a_glob_is_tried_on_the_path_as_sent_and_on_the_whole_path(
    tmp_path: Path, glob: str, part: str
) -> None:
    library = harness.library(tmp_path, 70)
    excluded = below(library, part)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        await subject.result("add_exclusion", glob=glob)
        done = await subject.tag(batch_size=20)
        assert done["processed_files"] == 70 - len(excluded)
        check_absent(library, gemini, excluded)


def library_at(tmp_path: Path, *paths: str) -> Library:
    """A library of these sounds, whose ids count from 1."""
    library = harness.library(tmp_path, len(paths))
    with library.edited() as shell:
        shell.executemany(
            "UPDATE audio_files SET file_path = ? WHERE id = ?", [(p, n) for n, p in enumerate(paths, 1)]
        )
    return library


LIB = tuple(f"/data/lib/{name}.wav" for name in ("Private/diary", "Private/call", "Public/rain", "Public/wind"))
ADDED = "INSERT INTO audio_files (file_path) VALUES (?)"


async def test_a_glob_lasts_when_the_library_grows_a_folder_beside_its_own(tmp_path: Path) -> None:
    library = library_at(tmp_path, *LIB)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        await subject.result("add_exclusion", glob="Private/*")
        library.execute(ADDED, "/data/downloads/new.wav")
        assert (await subject.result("count_untagged_files"))["count"] == 3
        assert (await subject.tag())["processed_files"] == 3
        check_absent(library, gemini, {1, 2})
        assert await subject.result("remove_exclusion", glob="Private/*") == {"removed": True}
        assert (await subject.result("count_untagged_files"))["count"] == 2
        await subject.result("add_exclusion", glob="Private/*")
        assert (await subject.result("count_untagged_files"))["count"] == 2, "as one of today's paths"


@pytest.mark.parametrize("earlier", ["an empty library", "an older sidecar", "the library's earlier place"])
async def test_a_glob_lasts_from_the_first_run_that_it_kept_files_out_of(tmp_path: Path, earlier: str) -> None:
    library = library_at(tmp_path, *LIB)
    if earlier == "an empty library":
        library.execute("DELETE FROM audio_files")
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        await subject.result("add_exclusion", glob="Private/*")
        if earlier == "an empty library":
            for path in LIB:
                library.execute(ADDED, path)
        elif earlier == "an older sidecar":
            library.execute("DROP TABLE auto_tag_exclusion_roots")
        else:
            library.execute("UPDATE audio_files SET file_path = '/media/disk' || file_path")
        assert (await subject.tag())["processed_files"] == 2
        library.execute(ADDED, "/media/new.wav")
        library.execute(ADDED, "/data/new.wav")
        assert (await subject.tag())["processed_files"] == 2
        assert not any("Private" in received.body.decode() for received in gemini.journal)
        left = await subject.result("get_untagged_files")
        assert left == []


async def test_the_exclusions_of_an_older_sidecar_are_read_and_removed(tmp_path: Path) -> None:
    library = library_at(tmp_path, *LIB)
    async with harness.start(library) as subject:
        await subject.result("add_exclusion", glob="Private/*")
        library.execute("DROP TABLE auto_tag_exclusion_roots")
        assert (await subject.result("count_untagged_files"))["count"] == 2
        assert await subject.result("remove_exclusion", glob="Private/*") == {"removed": True}
        assert (await subject.result("count_untagged_files"))["count"] == 4


@pytest.mark.parametrize("root", [rf"C:\Users\{harness.USER}\Sounds", rf"\\nas\users\{harness.USER}\Sounds"])
@pytest.mark.parametrize(
    "glob", ["City/Market", r"city\market", "*/Sounds/City/Market/*", r"*\sounds\city\market"]
)
async def test_windows_paths_are_covered_with_either_slash(tmp_path: Path, root: str, glob: str) -> None:
    library = harness.library(tmp_path, 70, root=root)
    excluded = below(library, r"\City\Market")
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        await subject.result("add_exclusion", glob=glob)
        assert (await subject.tag())["processed_files"] == 70 - len(excluded)
        sent = {file["path"] for received in gemini.journal for file in received.files}
        assert not any("Market" in path for path in sent) and any("Harbour" in path for path in sent)


async def run_with_a_late_exclusion(subject: Client, gemini: StandIn, excluding: Client, glob: str) -> Message:
    """A run of eight batches of ten whose first answer waits until the exclusion is there: its completion."""
    gate = trio.Event()
    gemini.script = lambda _: Reply(gate=gate)
    started = await subject.result("auto_tag_files", batch_size=10, max_parallel=1, file_ids=list(range(1, 81)))
    with trio.fail_after(20):
        await gemini.wait_for(1)
    await excluding.result("add_exclusion", glob=glob)
    gate.set()
    return await subject.complete(started["run_id"])


@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "in another process"])
async def test_a_glob_added_in_the_middle_of_a_run_keeps_files_out_of_the_requests_to_come(
    tmp_path: Path, elsewhere: bool
) -> None:
    library = harness.library(tmp_path, 80)
    folder = below(library, "/Creatures/")
    async with (
        standin.running() as gemini,
        harness.start(library, gemini) as subject,
        harness.start(library, gemini) as other,
    ):
        excluding = other if elsewhere else subject
        done = await run_with_a_late_exclusion(subject, gemini, excluding, "Creatures")
        assert done["status"] == "completed" and done["failed_files"] == 0
        # One request was under way; another process's exclusion is not noticed by the one that was made ahead.
        unseen = 20 if elsewhere else 10
        check_absent(library, gemini, {file_id for file_id in folder if file_id > unseen}, since=unseen // 10)
        assert done["skipped_files"] == len(folder) and done["processed_files"] == 80 - len(folder)
        failures = (await subject.result("get_run"))["failures"]
        assert {failure["file_id"] for failure in failures} == folder
        assert {failure["reason"] for failure in failures} == {"changed"}
        assert "excluded" in failures[0]["message"]
        assert all("/Creatures/" in failure["file_path"] for failure in failures)
    for file_id in folder:
        assert library.file(file_id) == library.baseline["audio_files"][file_id]


@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "in another process"])
async def test_what_is_excluded_while_a_run_waits_is_not_asked_for_again(tmp_path: Path, elsewhere: bool) -> None:
    library = harness.library(tmp_path, 40)
    asked = trio.Event()

    def script(_: Received) -> Reply:
        asked.set()
        return standin.rate_limited("2s")

    async with (
        standin.running(script=script) as gemini,
        harness.start(library, gemini) as subject,
        harness.start(library, gemini) as other,
    ):
        run_id = (await subject.result("auto_tag_files", batch_size=20, max_parallel=1))["run_id"]
        with trio.fail_after(20):
            await asked.wait()
        await (other if elsewhere else subject).result("add_exclusion", glob="*")
        gemini.script = None
        done = await subject.complete(run_id)
        assert (done["status"], done["skipped_files"], gemini.arrived) == ("completed", 40, 1)


@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "in another process"])
async def test_what_is_excluded_while_the_first_half_of_its_batch_waits_is_not_sent_with_the_second(
    tmp_path: Path, elsewhere: bool
) -> None:
    library = harness.library(tmp_path, 4)
    waits = trio.Event()

    def script(received: Received) -> Reply | None:
        if received.number == 1:
            return standin.finish("SAFETY")
        if received.number == 2:
            waits.set()
            return standin.rate_limited("2s")
        return None

    async with (
        standin.running(script=script) as gemini,
        harness.start(library, gemini) as subject,
        harness.start(library, gemini) as other,
    ):
        run_id = (await subject.result("auto_tag_files", max_parallel=1))["run_id"]
        with trio.fail_after(20):
            await waits.wait()
        await (other if elsewhere else subject).result("add_exclusion", file_id=4)
        done = await subject.complete(run_id)
        assert (done["processed_files"], done["skipped_files"]) == (3, 1)
        check_absent(library, gemini, {4}, since=1)


async def test_an_exclusion_gives_a_request_no_attempts_back(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 10)
    failed = trio.Event()

    def script(received: Received) -> Reply:
        if received.number == 1:
            failed.set()
        return standin.unavailable()

    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        await subject.result("configure", max_attempts=2, backoff_base_seconds=2, backoff_max_seconds=2)
        run_id = (await subject.result("auto_tag_files", file_ids=[1, 2, 3]))["run_id"]
        with trio.fail_after(20):
            await failed.wait()
        await subject.result("add_exclusion", file_id=3)
        done = await subject.complete(run_id)
        assert (done["failed_files"], done["skipped_files"]) == (2, 1)
        assert gemini.arrived == 2 and done["usage"]["retries"] == 1


async def test_what_was_excluded_after_it_was_tagged_is_neither_stale_nor_touched(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        await subject.tag()
        await subject.result("configure", model=standin.MODELS[1])
        await subject.result("add_exclusion", file_id=7)
        stale = await subject.result("find_stale")
        assert stale["file_ids"] == [file_id for file_id in range(1, 21) if file_id != 7]
        before = library.file(7)
        assert (await subject.tag(file_ids=list(range(1, 21))))["processed_files"] == 19
        assert library.file(7) == before


async def test_what_was_excluded_after_a_dry_run_is_not_applied(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        run_id = (await subject.tag(dry_run=True))["run_id"]
        await subject.result("add_exclusion", file_id=7)
        applied = await subject.result("apply_proposals", run_id=run_id)
        assert (applied["applied_files"], applied["skipped_files"]) == (19, 1)
        [failure] = (await subject.result("get_run", run_id=applied["run_id"]))["failures"]
        assert (failure["file_id"], failure["reason"]) == (7, "changed") and "excluded" in failure["message"]
        assert library.file(7)["auto_tagged"] == 0
