"""CONTRACT section 8: the failed files of a run once more, and what failed by its content last and apart."""

from collections.abc import Collection, Iterable
from pathlib import Path

import trio

from sidecar.demo import standin
from sidecar.demo.standin import Received, Reply, Script
from tests import harness
from tests.harness import Library, Message

NOTHING = {
    "run_id": None, "status": "nothing_to_do", "message": "No untagged files found",
    "total_files": 0, "total_batches": 0,
}  # fmt: skip
BLOCKED, LEFT_OUT, NONSENSE = 3, 8, 13
"""Files that fail in the first run below, each for a reason of its own."""


def asked_ids(library: Library, journal: Iterable[Received]) -> list[list[int]]:
    """The files of each tagging request, in the order of arrival."""
    ids = {library.name(file_id): file_id for file_id in library.ids}
    return [[ids[file["path"].rpartition("/")[2]] for file in received.files] for received in journal]


def blocking(library: Library, *file_ids: int) -> Script:
    """Gemini refuses every request that holds one of these files."""
    names = tuple(library.name(file_id) for file_id in file_ids)

    def script(received: Received) -> Reply | None:
        bad = any(str(file["path"]).endswith(names) for file in received.files)
        return standin.finish("PROHIBITED_CONTENT") if bad else None

    return script


def three_failures(library: Library) -> Script:
    """One file is blocked, one left out of every answer, one gets tags that stand for nothing."""
    block = blocking(library, BLOCKED)
    left_out, nonsense = library.name(LEFT_OUT), library.name(NONSENSE)

    def script(received: Received) -> Reply | None:
        if (reply := block(received)) is not None or received.kind != "tagging":
            return reply
        items = harness.answers(received)
        for file, item in zip(received.files, list(items), strict=True):
            if file["path"].endswith(left_out):
                items.remove(item)
            if file["path"].endswith(nonsense):
                item["moods"] = []
        return standin.ok(items)

    return script


def reasons(failures: Collection[Message]) -> dict[int, str]:
    return {failure["file_id"]: failure["reason"] for failure in failures}


async def test_what_failed_is_asked_for_again_by_reason_and_by_another_process(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    async with standin.running(script=three_failures(library)) as gemini:
        async with harness.start(library, gemini) as subject:
            done = await subject.tag(batch_size=10)
            assert (done["processed_files"], done["failed_files"]) == (17, 3)
            failures = (await subject.result("get_run"))["failures"]
            assert reasons(failures) == {
                BLOCKED: "blocked", LEFT_OUT: "missing_in_response", NONSENSE: "invalid_tags",
            }  # fmt: skip
        gemini.script, since = None, len(gemini.journal)
        async with harness.start(library, gemini) as subject:
            assert (await subject.result("get_run"))["failures"] == failures, "said again by another process"
            started = await subject.result("retry_failed", run_id=done["run_id"], reasons=["missing_in_response"])
            assert started == {
                "run_id": started["run_id"],
                "status": "started", "message": "Auto-tagging started",
                "total_files": 1, "total_batches": 1,
            }  # fmt: skip
            assert (await subject.complete(started["run_id"]))["processed_files"] == 1
            assert asked_ids(library, gemini.journal[since:]) == [[LEFT_OUT]]
            # The latest run has no failures; the first has two that are still untagged.
            assert await subject.result("retry_failed") == NOTHING
            started = await subject.result("retry_failed", run_id=done["run_id"])
            assert started["total_files"] == 2
            assert (await subject.complete(started["run_id"]))["processed_files"] == 2
            assert {id_ for ids in asked_ids(library, gemini.journal[since + 1 :]) for id_ in ids} == {
                BLOCKED,
                NONSENSE,
            }
            assert await subject.result("retry_failed", run_id=done["run_id"]) == NOTHING
            assert (await subject.result("count_untagged_files"))["count"] == 0
            assert (await subject.result("get_run", run_id=done["run_id"]))["failures"] == failures
    assert library.tagged == 20


async def test_there_may_be_nothing_to_retry(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        assert (await subject.error("retry_failed"))["code"] == -32002, "there is no run yet"
        assert (await subject.error("retry_failed", run_id="nope"))["code"] == -32002
        await subject.tag()
        assert await subject.result("retry_failed") == NOTHING
        assert (await subject.error("retry_failed", run_id="nope"))["code"] == -32002
        error = await subject.error("retry_failed", reasons=["bad luck"])
        assert error["code"] == -32602 and "reasons" in error["message"]
        assert await subject.result("retry_failed", reasons=[]) == NOTHING
        assert await subject.result("retry_failed", reasons=["blocked", "timeout"]) == NOTHING
        assert len(await subject.result("list_runs")) == 1


async def test_a_file_that_was_skipped_has_not_failed(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)

    def script(received: Received) -> None:
        if received.number == 1:  # a person begins to tag one while Gemini is asked for it
            library.execute("UPDATE audio_files SET mood = 'calm' WHERE id = 4")

    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        done = await subject.tag()
        assert (done["processed_files"], done["failed_files"], done["skipped_files"]) == (19, 0, 1)
        assert (await subject.result("count_untagged_files"))["count"] == 1
        assert await subject.result("retry_failed") == NOTHING
        started = await subject.result("retry_failed", reasons=["changed"])
        assert (await subject.complete(started["run_id"]))["processed_files"] == 1


async def test_files_tagged_deleted_or_excluded_since_are_left_alone(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    async with standin.running(script=blocking(library, 3, 4, 5, 6, 7)) as gemini:
        async with harness.start(library, gemini) as subject:
            done = await subject.tag(batch_size=20)
            assert done["failed_files"] == 5
        genre, mood, keyword = (harness.vocabulary(kind)[0] for kind in ("genre", "mood", "keyword"))
        with library.edited() as shell:
            shell.execute("DELETE FROM audio_files WHERE id = 3")
            shell.execute("UPDATE audio_files SET genre = ?, mood = ? WHERE id = 4", (genre, mood))
            shell.execute(
                "INSERT INTO rpg_tags (audio_file_id, tag_type, tag_value) VALUES (4, 'keyword', ?)", (keyword,)
            )
        gemini.script, since = None, len(gemini.journal)
        async with harness.start(library, gemini) as subject:
            await subject.tag(file_ids=[5])
            await subject.result("add_exclusion", file_id=6)
            started = await subject.result("retry_failed", run_id=done["run_id"])
            assert (await subject.complete(started["run_id"]))["processed_files"] == 1
        assert asked_ids(library, gemini.journal[since:]) == [[5], [7]]


async def test_skipped_files_did_not_fail(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    gate = trio.Event()
    async with (
        standin.running(script=lambda _: Reply(gate=gate)) as gemini,
        harness.start(library, gemini) as subject,
    ):
        run_id = (await subject.result("auto_tag_files", batch_size=20))["run_id"]
        with trio.fail_after(20):
            await gemini.wait_for(1)
        library.execute("UPDATE audio_files SET mood = 'no mood at all' WHERE id = 5")
        gate.set()
        assert (await subject.complete(run_id))["skipped_files"] == 1
        assert await subject.result("retry_failed") == NOTHING


async def test_a_dry_run_is_retried_as_a_dry_run_and_replace_as_replace(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)  # file 5 has a person's keyword
    before = library.shell_rows()
    async with standin.running(script=blocking(library, 5)) as gemini, harness.start(library, gemini) as subject:
        dry = await subject.tag(dry_run=True, mode="replace", batch_size=20)
        assert (dry["processed_files"], dry["failed_files"]) == (19, 1)
        gemini.script = None
        started = await subject.result("retry_failed")
        assert (await subject.complete(started["run_id"]))["processed_files"] == 1
        assert library.shell_rows() == before
        assert [(run["dry_run"], run["mode"]) for run in await subject.result("list_runs")] == [
            (True, "replace"),
            (True, "replace"),
        ]
        [proposal] = (await subject.result("get_run"))["proposals"]
        assert proposal["file_id"] == 5 and "source:field-recording" not in proposal["keywords"]
        for run_id in (dry["run_id"], started["run_id"]):
            await subject.result("apply_proposals", run_id=run_id)
        assert library.tagged == 20 and ("keyword", "source:field-recording") not in library.tags(5)


async def test_an_undone_file_that_never_failed_is_not_retried(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    async with standin.running(script=blocking(library, 5)) as gemini, harness.start(library, gemini) as subject:
        done = await subject.tag(batch_size=20)
        await subject.result("undo_run", run_id=done["run_id"])
        gemini.script, since = None, len(gemini.journal)
        started = await subject.result("retry_failed")
        await subject.complete(started["run_id"])
        assert asked_ids(library, gemini.journal[since:]) == [[5]]


async def test_a_retry_is_refused_while_a_run_is_active_and_without_a_key(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    gate = trio.Event()
    async with standin.running(script=blocking(library, 5)) as gemini, harness.start(library, gemini) as subject:
        done = await subject.tag(batch_size=20)
        async with harness.start(library, gemini, env=harness.NO_KEY) as keyless:
            assert (await keyless.error("retry_failed"))["code"] == -32011
            gemini.script = lambda _: Reply(gate=gate)
            run_id = (await subject.result("auto_tag_files", file_ids=[1]))["run_id"]
            error = await subject.error("retry_failed", run_id=done["run_id"])
            assert (error["code"], error["data"]) == (-32001, {"run_id": run_id})
            gate.set()
            await subject.complete(run_id)


async def test_a_blocked_file_stands_alone_at_the_end_of_the_next_run(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 40)
    everything = list(range(1, 41))
    async with standin.running(script=blocking(library, 13)) as gemini:
        async with harness.start(library, gemini) as subject:
            first = await subject.tag(batch_size=10, max_parallel=1)
            assert (first["processed_files"], first["failed_files"]) == (39, 1)
            halved = asked_ids(library, gemini.journal)
            assert [13] in halved and len(halved) > 4, "the healthy neighbours were asked for by halves"
        since = len(gemini.journal)
        async with harness.start(library, gemini) as subject:  # the next process knows
            estimate = await subject.result("estimate", batch_size=10, file_ids=everything)
            previewed = await subject.result("preview_request", batch_size=10, file_ids=everything)
            again = await subject.tag(batch_size=10, max_parallel=1, file_ids=everything)
            assert (again["processed_files"], again["failed_files"], again["total_batches"]) == (39, 1, 5)
            healthy = [file_id for file_id in everything if file_id != 13]
            whole = [healthy[start : start + 10] for start in range(0, 39, 10)]
            assert asked_ids(library, gemini.journal[since:]) == [*whole, [13]]
            assert estimate["requests"] == estimate["total_batches"] == again["usage"]["requests"] == 5
            texts = [received.json["contents"][0]["parts"][0]["text"] for received in gemini.journal[since:]]
            assert [request["contents"] for request in previewed["requests"]] == texts


async def test_several_that_failed_by_their_content_share_the_last_batches(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 30)
    bad = (2, 9, 16, 23)
    async with (
        standin.running(script=blocking(library, *bad)) as gemini,
        harness.start(library, gemini) as subject,
    ):
        await subject.tag(batch_size=10)
        since = len(gemini.journal)
        done = await subject.tag(batch_size=13, max_parallel=1, file_ids=list(range(30, 0, -1)))
        assert (done["total_batches"], done["failed_files"]) == (3, 4)
        asked = asked_ids(library, gemini.journal[since:])
        healthy = [file_id for file_id in range(30, 0, -1) if file_id not in bad]
        assert asked[:2] == [healthy[:13], healthy[13:]]
        assert asked[2] == [23, 16, 9, 2] and all({*ids} <= {*bad} for ids in asked[2:])


async def test_what_a_dry_run_found_blocked_stands_apart_too(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    async with standin.running(script=blocking(library, 7)) as gemini, harness.start(library, gemini) as subject:
        await subject.tag(batch_size=20, dry_run=True)
        since = len(gemini.journal)
        await subject.tag(batch_size=20, max_parallel=1)
        healthy = [file_id for file_id in range(1, 21) if file_id != 7]
        assert asked_ids(library, gemini.journal[since:]) == [healthy, [7]]


async def test_once_it_was_tagged_a_file_is_healthy_again(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    async with standin.running(script=blocking(library, 7)) as gemini, harness.start(library, gemini) as subject:
        await subject.tag(batch_size=20)
        gemini.script = None
        started = await subject.result("retry_failed")
        assert (await subject.complete(started["run_id"]))["processed_files"] == 1
        since = len(gemini.journal)
        done = await subject.tag(batch_size=20, file_ids=list(range(1, 21)))
        assert (done["total_batches"], done["processed_files"]) == (1, 20)
        assert asked_ids(library, gemini.journal[since:]) == [list(range(1, 21))]


async def test_what_the_service_was_to_blame_for_is_batched_with_the_others(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    first = library.name(1)

    def script(received: Received) -> Reply | None:
        return standin.unavailable() if any(file["path"].endswith(first) for file in received.files) else None

    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        await subject.result("configure", **harness.FAST, max_attempts=2)
        done = await subject.tag(batch_size=5, max_parallel=1)
        assert (done["processed_files"], done["failed_files"]) == (15, 5)
        assert {*reasons((await subject.result("get_run"))["failures"]).values()} == {"service_unavailable"}
        gemini.script, since = None, len(gemini.journal)
        done = await subject.tag(batch_size=20, file_ids=list(range(1, 21)))
        assert done["total_batches"] == len(gemini.journal) - since == 1
