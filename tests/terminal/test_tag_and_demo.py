"""`tag` and `demo` as a person runs them: processes of their own, without a terminal on stdout."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import trio

from sidecar.demo.client import ClientError, open_client
from sidecar.demo.standin import Received, Reply, key_invalid, running
from tests import harness
from tests.harness import eventually
from tests.terminal.scenes import LIMIT_SECONDS, environment, run, tagged


async def test_the_demo_tags_its_sample_and_shows_it(tmp_path: Path) -> None:
    path = tmp_path / "demo.db"
    ended = await run("demo", "--files", "60", "--database", str(path), env=environment())
    text = ended.stdout.decode().replace(os.linesep, "\n")
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert tagged(path) == 60
    assert "Tagging 60 files in 3 batches\n" in text
    assert "60 files tagged." in text
    assert "Occasions" in text and "Tags: 60 genres, " in text and "429" in text and str(path) in text
    assert "\x1b" not in text


@pytest.mark.skipif(sys.platform == "win32", reason="the home folder of a process comes from USERPROFILE there")
async def test_the_demos_library_may_be_named_from_the_home_folder(tmp_path: Path) -> None:
    """A shell makes a path of it; Windows has none that does."""
    ended = await run(
        "demo", "--files", "1", "--database", "~/demo.db", env=environment() | {"HOME": str(tmp_path)}
    )
    assert ended.returncode == 0
    assert tagged(tmp_path / "demo.db") == 1


async def test_the_demo_counts_what_it_tagged_and_in_the_right_number(tmp_path: Path) -> None:
    one, some = tmp_path / "one.db", tmp_path / "some.db"
    ended = await run("demo", "--files", "1", "--database", str(one), env=environment())
    lines = ended.stdout.decode().splitlines()
    assert lines[0] == f"A sample library of 1 sound: {one}"
    assert any(line.startswith("Tags: 1 genre, ") for line in lines)
    assert any(re.match(r"(?:1 request|(?!1 )\d+ requests), \d+ refused with a 429, ", line) for line in lines)
    assert any(re.search(r", (?:1 invented tag|(?!1 )\d+ invented tags) mapped$", line) for line in lines)
    ended = await run("demo", "--files", "40", "--database", str(some), env=environment())
    with closing(sqlite3.connect(some)) as connection:
        rows = connection.execute(
            "SELECT tag_type, count(*) FROM rpg_tags WHERE (audio_file_id, tag_value) NOT IN"
            " (VALUES (5, 'source:field-recording'), (11, 'wilderness-camp')) GROUP BY tag_type"
        ).fetchall()
    [tags] = [line for line in ended.stdout.decode().splitlines() if line.startswith("Tags: 40 genres, ")]
    assert all(f"{count} {kind}s" in tags for kind, count in rows), "a person has set two of them"


async def test_a_demo_that_fails_shows_no_table_and_how_to_go_on(tmp_path: Path) -> None:
    path = tmp_path / "demo.db"
    async with running(script=lambda _: key_invalid()) as gemini:
        ended = await run("demo", "--real", "--files", "40", "--database", str(path), env=environment(gemini))
    lines = ended.stdout.decode().splitlines()
    assert (ended.returncode, ended.stderr) == (1, b"")
    assert not any(line.startswith(("What was tagged", "Tags:", "Look at it")) for line in lines)
    assert any(line.startswith("  ") and line.endswith(f" tag --database {path}") for line in lines)
    assert lines[-1] == f"Database: {path}"


async def test_the_demo_spares_a_file_that_exists(library: Path) -> None:
    before = library.read_bytes()
    ended = await run("demo", "--database", str(library), env=environment())
    assert ended.returncode == 2
    assert b"exists already" in ended.stderr
    assert library.read_bytes() == before


async def test_the_real_demo_needs_a_key(tmp_path: Path) -> None:
    ended = await run(
        "demo",
        "--real",
        "--env-file",
        str(tmp_path / "none"),
        "--database",
        str(tmp_path / "d.db"),
        env=environment(),
    )
    assert ended.returncode == 2
    assert b"GEMINI_API_KEY" in ended.stderr


async def test_tag_tags_the_library_in_plain_lines(library: Path) -> None:
    async with running() as standin:
        ended = await run("tag", "--database", str(library), "--batch-size", "20", env=environment(standin))
        assert (ended.returncode, ended.stderr) == (0, b"")
        lines = ended.stdout.decode().splitlines()
        assert lines[0] == "Tagging 60 files in 3 batches"
        assert lines[-1] == "60 files tagged."
        assert "Tagging: 60 of 60 files" in lines[-2]
        assert b"\x1b" not in ended.stdout
        assert tagged(library) == 60
        again = await run("tag", "--database", str(library), env=environment(standin))
        assert (again.returncode, again.stdout.decode().splitlines()) == (0, ["No untagged files found"])


@pytest.mark.parametrize("before", [True, False])
async def test_options_may_stand_before_and_behind_the_command(library: Path, before: bool) -> None:
    words = ["--database", str(library)]
    done = await run(*(words if before else []), "estimate", *([] if before else words), env=environment())
    assert done.returncode == 0, done.stderr
    assert b"Requests" in done.stdout or b"requests" in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_cancels_and_the_next_run_goes_on(library: Path, number: signal.Signals) -> None:
    def hold(received: Received) -> Reply | None:
        return Reply(gate=trio.Event()) if received.number > 1 else None

    async with running(script=hold) as standin:
        arguments = ["tag", "--database", str(library), "--batch-size", "20", "--max-parallel", "1"]
        with trio.fail_after(LIMIT_SECONDS):
            process = await trio.lowlevel.open_process(
                [*harness.command(), *arguments], env=environment(standin), stdout=subprocess.PIPE
            )
            assert process.stdout is not None
            await standin.wait_for(2)
            await eventually(lambda: tagged(library) == 20)
            process.send_signal(number)
            output = b"".join([data async for data in process.stdout])
            assert await process.wait() == 130
        assert output.splitlines()[-1].startswith(b"Cancelled: 20 files tagged, 40 remaining.")
        assert tagged(library) == 20
        standin.script = None
        ended = await run(*arguments, env=environment(standin))
        assert (ended.returncode, tagged(library)) == (0, 60)
        assert b"40 files tagged." in ended.stdout


async def test_failures_are_told_by_reason(library: Path) -> None:
    def refuse(received: Received) -> Reply | None:
        return Reply(body={"candidates": [{"finishReason": "SAFETY", "index": 0}]})

    async with running(script=refuse) as standin:
        ended = await run("tag", "--database", str(library), env=environment(standin))
    assert ended.returncode == 1, "no file was tagged"
    assert b"60  blocked: " in ended.stdout
    assert tagged(library) == 0


async def test_what_cannot_begin_is_a_sentence(tmp_path: Path) -> None:
    ended = await run("tag", "--database", str(tmp_path / "no.db"), env=environment())
    assert (ended.returncode, ended.stdout) == (1, b"")
    assert b"There is no library" in ended.stderr
    assert ended.stderr.count(b"\n") == 1


async def test_the_client_asks_and_ends_its_child(library: Path) -> None:
    with trio.fail_after(LIMIT_SECONDS):
        async with open_client([*harness.command(), "--database", str(library)], environment()) as client:
            assert await client.request("count_untagged_files") == {"count": 60}
            with pytest.raises(ClientError) as caught:
                await client.request("get_run", run_id="none")
            assert caught.value.code == -32002
        assert client.process.returncode == 0
        with pytest.raises(ClientError):
            await client.request("status")
