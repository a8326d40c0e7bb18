"""`tag --dry-run`, `apply`, `undo`, `retry`, `report` and `estimate` as a person runs them."""

import re
import shlex
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest
import trio

from sidecar.command_line import parse
from sidecar.demo import standin
from sidecar.demo.standin import Received, Reply
from sidecar.redaction import Redactor
from sidecar.settings import Settings
from sidecar.terminal.afterwards import apply
from tests import harness
from tests.contract.scenes import answering, slowed
from tests.harness import eventually
from tests.terminal.scenes import CREEPY, LIMIT_SECONDS, RUN_ID, Shell, environment, tagged


def refuse(word: bytes) -> Callable[[Received], Reply | None]:
    """A script: requests with that word in them are blocked."""
    blocked = Reply(body={"candidates": [{"finishReason": "SAFETY", "index": 0}]})
    return lambda received: blocked if word in received.body else None


async def test_from_a_dry_run_over_its_proposals_and_back(shell: Shell) -> None:
    before = shell.tags()
    lines = await shell("tag", "--dry-run", "--batch-size", "20")
    assert "60 files given proposals. Nothing has been written: look at the proposals and apply them." in lines
    assert "Proposals (12 of 60)" in lines
    assert lines[0] == "Dry run over 60 files in 3 batches" and lines[1].endswith("  Dry run: 20 of 60 files")
    assert not any("agging" in line for line in lines)
    assert sum(bool(re.match(r" +\d+  /home/ann/", line)) for line in lines) == 12
    assert shell.tags() == before
    shown = await shell("report")
    assert shown[shown.index("Tags by type") + 1].split() == ["Type", "Values", "Proposed", "Most", "used"]
    asked = shell.requests
    as_it_stands = f"{lines[-1].strip()} --reject 1 2 --reject 3"
    words = as_it_stands if sys.platform == "win32" else shlex.split(as_it_stands)
    ended = await trio.run_process(words, env=environment(shell.gemini), capture_stdout=True)
    applied = ended.stdout.decode().splitlines()
    assert applied[0] == "57 proposals written."
    assert tagged(shell.library) == 57
    [back] = re.findall(RUN_ID, applied[-1])
    assert await shell("apply", "--reject", "1", "2", "3") == [
        "0 proposals written.",
        "57 files left as found: written already, deleted, excluded, changed since the dry run, or without valid "
        "tags now.",
    ]
    lines = await shell("undo", "--run", back)
    assert re.fullmatch(rf"57 files restored to what they were before the run of .+ UTC \({back}\)\.", lines[0])
    assert shell.tags() == before
    lines = await shell("undo")
    assert lines[0].startswith("0 files restored") and lines[1].startswith("57 files left as found")
    assert shell.requests == asked, "no one but the dry run asks Gemini"


async def test_the_rarest_failure_stands_first_where_a_report_lists_some_of_many(shell: Shell) -> None:
    def script(received: Received) -> Reply | None:
        nonsense = any(file["path"].startswith(("City/", "Music/", "Creatures/")) for file in received.files)
        return refuse(b"Attic Footsteps 01")(received) or (standin.text_reply("nonsense") if nonsense else None)

    shell.gemini.script = script
    await shell("tag")
    lines = await shell("report")
    listed = lines[lines.index("Which they are (20 of 25)") + 2 :][:20]
    assert "Attic Footsteps 01" in listed[0] and listed[0].endswith("blocked this file.")
    assert all(line.endswith("could not be used.") for line in listed[1:])


async def test_the_runs_are_listed_so_that_an_earlier_one_can_be_taken_back_too(shell: Shell) -> None:
    before = shell.tags()
    await shell("tag", "--dry-run")
    await shell("apply", "--reject", *map(str, range(1, 31)))
    await shell("tag")
    lines = await shell("runs")
    told = [line.split(" UTC  ")[1] for line in lines]
    assert told[:2] == ["30 files tagged.", "30 files tagged."] and told[2].startswith("60 files given proposals.")
    for line in lines[:2]:
        assert (await shell("undo", "--run", line.split()[0]))[0].startswith("30 files restored")
    assert shell.tags() == before


async def test_apply_and_undo_take_the_latest_run_that_fits(shell: Shell) -> None:
    before = shell.tags()
    await shell("tag", "--dry-run")
    assert (await shell("apply", "--reject", "60"))[0] == "59 proposals written."
    await shell("tag", "--dry-run")
    assert (await shell("undo"))[0].startswith("59 files restored")
    assert shell.tags() == before


async def test_retry_takes_what_failed_for_the_reasons_named(shell: Shell) -> None:
    shell.gemini.script = refuse(b"Attic Footsteps")
    lines = await shell("tag", "--batch-size", "20")
    assert any(re.match(r" +\d+  blocked: ", line) for line in lines)
    failed = 60 - tagged(shell.library)
    assert failed > 0
    report = await shell("report")
    assert any(re.match(rf"  blocked +Blocked by Gemini +{failed}$", line) for line in report)
    listed = report[report.index(f"Which they are ({failed} of {failed})") + 2 :][:failed]
    assert all("Attic Footsteps" in line and line.endswith(" blocked this file.") for line in listed)
    shell.gemini.script = None
    [nothing] = await shell("retry", "--reason", "timeout", "bad_response")
    untagged = f"{failed} files are" if failed > 1 else "1 file is"
    assert nothing.startswith(f"Nothing failed in that run for such a reason. {untagged} untagged: `tag` goes on ")
    [run_id] = re.findall(RUN_ID, report[0])
    assert (await shell("retry", "--reason", "blocked"))[-1] == f"{failed} file{'s' * (failed > 1)} tagged."
    assert tagged(shell.library) == 60
    assert await shell("retry") == ["Nothing failed in that run."]
    assert await shell("retry", "--run", run_id) == ["Nothing that failed in that run is untagged any more."]


async def test_a_report_in_lines(shell: Shell) -> None:
    with closing(sqlite3.connect(shell.library)) as connection, connection:
        connection.execute("UPDATE audio_files SET file_path = file_path || ?", (CREEPY,))
    await shell("tag", "--batch-size", "10")
    lines = await shell("report")
    assert re.fullmatch(rf"Run {RUN_ID}: completed\. 60 files tagged\.", lines[0])
    assert re.fullmatch(
        r"6 requests, [\d,]+ prompt tokens \([\d,]+ from Gemini's cache\), [\d,]+ output tokens", lines[2]
    )
    assert any(re.match(r"  Valid at once +[\d,]+$", line) for line in lines)
    assert [line.split()[0] for line in lines[lines.index("Tags by type") + 2 :][:4]] == [
        "Genres", "Moods", "Occasions", "Keywords",
    ]  # fmt: skip
    assert any(line.startswith("To look at first (") for line in lines)
    assert any("\ufffd[31m\ufffdRats\ufffd" in line for line in lines)
    [run_id] = re.findall(RUN_ID, lines[0])
    assert await shell("report", "--run", run_id) == lines


async def test_a_report_of_a_run_that_has_not_ended_or_never_will(shell: Shell, tmp_path: Path) -> None:
    shell.gemini.script = answering(2)
    command = [*harness.command(), "tag", "--batch-size", "10", "--max-parallel", "1"]
    process = await trio.lowlevel.open_process(
        [*command, "--database", str(shell.library)], env=environment(shell.gemini), stdout=subprocess.DEVNULL
    )
    try:
        await eventually(lambda: tagged(shell.library) == 20)
        [first, *_] = await shell("report")
        assert re.fullmatch(rf"Run {RUN_ID}: running\. So far: 20 files tagged, 40 remaining\.", first)
    finally:
        process.kill()
        await process.wait()
    words = "nterrupted: 20 files tagged, 40 remaining. Start tagging again to go on."
    [first, *_] = await shell("report")
    assert re.fullmatch(rf"Run {RUN_ID}: i{re.escape(words)}", first)
    await shell("report", "--html", str(tmp_path / "page.html"))
    assert f"I{words}" in (tmp_path / "page.html").read_text(encoding="utf-8")


async def test_an_estimate_in_tokens_and_in_money(shell: Shell) -> None:
    lines = await shell("estimate", "--batch-size", "20")
    figures = dict(re.findall(r"^  (\w[\w ]*\w) {2,}([\d,]+)$", "\n".join(lines), re.MULTILINE))
    assert (figures["Untagged files"], figures["Batches"], figures["Requests"]) == ("60", "3", "3")
    lines = await shell("estimate", "--input-price", "100", "--output-price", "400", "--currency", "EUR")
    costs = dict(re.findall(r"^  (\w+) .* ([\d.,]+) EUR$", "\n".join(lines), re.MULTILINE))
    assert float(costs["Together"]) == pytest.approx(float(costs["Prompt"]) + float(costs["Output"]), abs=0.02)
    assert shell.requests == 0


async def test_a_page_is_written_over_a_page_only(shell: Shell, tmp_path: Path) -> None:
    await shell("tag")
    page = tmp_path / ("report & 1.html" if sys.platform == "win32" else "report <1>.html")
    for _ in range(2):
        assert await shell("report", "--html", str(page)) == [f"Report: {page}"]
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>\n<html")
    notes = page.with_name(f"{page.name}.part")
    notes.write_text("mine")
    page.write_bytes(b"")
    assert await shell("report", "--html", str(page)) == [f"Report: {page}"]
    before = shell.library.read_bytes()
    [complaint] = await shell("report", "--html", str(shell.library), code=2)
    assert complaint == f"{shell.library} exists and is no report; name another file."
    assert shell.library.read_bytes() == before
    missing = tmp_path / "missing" / "report.html"
    [complaint] = await shell("report", "--html", str(missing), code=1)
    assert complaint.startswith(f"The report cannot be written to {missing}: ")
    assert sorted(path.name for path in tmp_path.glob("*report*")) == [page.name, notes.name]
    assert notes.read_text() == "mine"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows lets only some users make links")
async def test_a_page_is_written_where_a_link_leads(shell: Shell, tmp_path: Path) -> None:
    await shell("tag")
    page, link = tmp_path / "report.html", tmp_path / "link.html"
    page.write_bytes(b"")
    link.symlink_to(page)
    assert await shell("report", "--html", str(link)) == [f"Report: {link}"]
    assert link.is_symlink() and page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>\n<html")


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of a file's size there")
async def test_a_page_that_has_no_room_leaves_the_one_before(shell: Shell, tmp_path: Path) -> None:
    await shell("tag")
    page = tmp_path / "report.html"
    await shell("report", "--html", str(page))
    written = page.read_bytes()
    assert len(written) > 65_536
    limited = ["sh", "-c", 'ulimit -f 128 && exec "$@"', "sh", *harness.command()]
    words = ["report", "--database", str(shell.library), "--html", str(page)]
    ended = await trio.run_process([*limited, *words], env=environment(), capture_stderr=True, check=False)
    assert ended.returncode == 1 and b"cannot be written" in ended.stderr
    assert page.read_bytes() == written
    assert sorted(path.name for path in tmp_path.glob("*report*")) == [page.name]


@pytest.mark.parametrize("command", ["apply", "undo", "retry", "report"])
async def test_an_empty_run_id_is_no_run_and_not_the_latest(shell: Shell, command: str) -> None:
    await shell("tag")
    await shell("tag", "--dry-run")
    before = shell.tags()
    assert await shell(command, "--run", "", code=1) == [
        "The run's id is empty. Choose one of the library's runs."
    ]
    assert shell.tags() == before


@pytest.mark.parametrize("command", ["apply", "undo", "retry", "report"])
async def test_a_run_id_that_is_no_text_is_no_run(shell: Shell, command: str) -> None:
    assert await shell(command, "--run", "\udcff", code=1) == ["There is no run `?` in this library."]


async def test_a_retry_of_a_dry_run_shows_its_proposals_too(shell: Shell) -> None:
    shell.gemini.script = refuse(b"Attic Footsteps")
    await shell("tag", "--dry-run", "--batch-size", "20")
    shell.gemini.script = None
    lines = await shell("retry")
    assert "Proposals" in lines
    [run] = re.findall(RUN_ID, lines[-1])
    assert (await shell("apply", "--run", run))[0].endswith("written.")


async def test_a_retry_while_another_process_tags_says_so(shell: Shell) -> None:
    gate = trio.Event()
    shell.gemini.script = lambda _: Reply(gate=gate)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shell, "tag")
        with trio.fail_after(20):
            await shell.gemini.wait_for(1)
        assert await shell("retry") == ["That run still goes on, in another process: try again when it has ended."]
        gate.set()


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("apply",), 1, "There is no dry run whose proposals could be applied: tag --dry-run makes one."),
        (("apply", "--run", "none"), 1, "no run"),
        (("undo",), 1, "There is no run that tagged files."),
        (("undo", "--run", "none"), 1, "no run"),
        (("retry",), 1, "no run"),
        (("report",), 1, "no run"),
        (("runs",), 1, "There is no run yet."),
        (("estimate", "--input-price", "1"), 2, "together"),
        (("estimate", "--currency", "EUR"), 2, "--input-price"),
    ],
)
async def test_what_cannot_be_done_is_a_sentence(
    shell: Shell, words: tuple[str, ...], code: int, sentence: str
) -> None:
    [complaint] = await shell(*words, code=code)
    assert sentence.lower() in complaint.lower()
    assert complaint.endswith(".")


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
@pytest.mark.parametrize("command", ["apply", "undo"])
async def test_a_signal_stops_what_waits_for_the_database(shell: Shell, command: str) -> None:
    shell.gemini.script = refuse(b"Attic Footsteps")
    await shell("tag", "--batch-size", "20")
    shell.gemini.script = None
    await shell("tag", "--dry-run")
    before = shell.tags()
    said = {"apply": "Nothing was written.", "undo": "The same command restores the rest."}
    assert await _interrupted(shell, command) == f"Stopped. {said[command]}\n"
    assert shell.tags() == before
    await shell(command)
    assert shell.tags() != before


async def test_a_signal_at_once_names_no_run_to_take_back(
    shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    await shell("tag")

    async def at_once() -> AsyncIterator[int]:
        yield signal.SIGINT

    options = parse(["apply", "--database", str(shell.library)])
    code = await apply(options, Settings(database=shell.library), Redactor(), at_once())
    assert (code, capsys.readouterr().out) == (130, "Stopped. Nothing was written.\n")


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
async def test_a_signal_in_the_midst_of_apply_leaves_a_cancelled_run(shell: Shell) -> None:
    await shell("tag", "--dry-run", "--batch-size", "1")
    library = harness.Library(shell.library)
    with slowed(library, 500_000):
        process = await trio.lowlevel.open_process(
            [*harness.command(), "apply", "--database", str(shell.library)],
            env=environment(shell.gemini),
            stdout=subprocess.PIPE,
        )
        await eventually(lambda: library.tagged > 0)
        process.send_signal(signal.SIGINT)
        with trio.fail_after(LIMIT_SECONDS):
            assert await process.wait() == 130
        assert process.stdout is not None
        said = (await process.stdout.receive_some()).decode()
        await process.stdout.aclose()
    run = library.query("SELECT * FROM auto_tag_runs ORDER BY id DESC")[0]
    assert run["status"] == "cancelled" and run["message"].startswith(f"Cancelled: {library.tagged} file")
    assert run["message"].endswith("remaining. Apply the proposals again to go on.")
    assert 0 < library.tagged < 60
    assert said.startswith("Stopped. What is written stays; to take it back: ")
    assert said.endswith(f" --run {run['run_id']}\n")


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
async def test_a_signal_stops_a_run_that_waits_to_begin(shell: Shell) -> None:
    before = shell.tags()
    assert await _interrupted(shell, "tag") == "Stopped before tagging had begun.\n"
    assert shell.tags() == before
    await shell("tag")
    assert shell.tags() != before


async def _interrupted(shell: Shell, command: str) -> str:
    """What a command says that waits for another program's transaction, with the run lock taken, at Ctrl-C."""
    lock = shell.library.with_name(f"{shell.library.name}.auto-tag-lock")
    with closing(sqlite3.connect(shell.library)) as other:
        other.execute("BEGIN IMMEDIATE")
        process = await trio.lowlevel.open_process(
            [*harness.command(), command, "--database", str(shell.library)],
            env=environment(shell.gemini),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        await eventually(lock.exists)
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None and process.stderr is not None
        with trio.fail_after(LIMIT_SECONDS):
            printed = b"".join([chunk async for chunk in process.stdout])
            errors = b"".join([chunk async for chunk in process.stderr])
            assert await process.wait() == 130
    assert errors == b"" and printed.count(b"\n") == 1
    assert not lock.exists()
    return printed.decode()
