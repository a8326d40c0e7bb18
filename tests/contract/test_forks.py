"""The other tests stand on forks that have their imports done: each has to be as a process started anew."""

import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest

from sidecar.demo import standin
from tests import harness
from tests.harness import forks, process

pytestmark = pytest.mark.skipif(
    not forks.AVAILABLE or process.COMMAND in os.environ, reason="where every process is started anew"
)

_VARYING = re.compile(r"0x[0-9a-f]+|[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{16,}|\d+([.:,-]\d+)*")


def plain(said: str) -> str:
    """Without ids, times and numbers."""
    return _VARYING.sub("#", said)


def open_files(pid: int) -> dict[str, int]:
    """How many descriptors of each kind it has, without the pipe by which a fork's end is noticed."""
    kinds = Counter(os.readlink(entry).partition(":")[0] for entry in Path(f"/proc/{pid}/fd").iterdir())
    ppid = psutil.Process(pid).ppid()
    kinds["pipe"] -= ppid != os.getpid()
    return dict(kinds)


async def heard(folder: Path, *, anew: bool) -> dict[str, Any]:
    """What a process says in a short life, and leaves in the library."""
    library = harness.library(folder, 30)
    async with (
        standin.running(hallucinate=0.2) as gemini,
        harness.start(library, gemini, anew=anew, arguments=["--log-level", "debug"]) as subject,
    ):
        ours = psutil.Process(subject.process.pid).ppid() == os.getpid()
        status = await subject.result("status")
        files = open_files(subject.process.pid)
        done = await subject.tag(batch_size=10, max_parallel=1)
        refused = await subject.error("get_run", run_id="none")
        await subject.close_stdin()
        code = await subject.exit_code()
    return {
        "ours": ours,
        "files": files,
        "status": {name: type(value) for name, value in status.items()},
        "model": status["model"],
        "done": [done[name] for name in ("status", "processed_files", "failed_files", "total_batches")],
        "requests": [plain(str(sorted(request.headers))) for request in gemini.journal],
        "refused": refused,
        "log": {plain(line) for line in subject.log.decode().replace(str(folder), "folder").splitlines()},
        "tags": library.query("SELECT genre, mood FROM audio_files ORDER BY id"),
        "code": code,
    }


async def test_it_says_and_does_what_a_process_started_anew_does(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("anew", "fork")]
    for folder in folders:
        folder.mkdir()
    anew, fork = [await heard(folder, anew=folder.name == "anew") for folder in folders]
    assert (anew.pop("ours"), fork.pop("ours")) == (True, False), "one of each kind"
    assert fork == anew


async def test_it_has_no_descriptor_of_another(tmp_path: Path) -> None:
    async with harness.start(None) as first, harness.start(None) as second, harness.start(None, anew=True) as anew:
        for subject in (first, second, anew):
            await subject.result("status")
        one, other, usual = (open_files(subject.process.pid) for subject in (first, second, anew))
        assert one == other == usual


async def test_it_takes_the_environment_and_the_folder_of_who_starts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("LIGEIA_MODEL=from-the-folder\n")
    monkeypatch.chdir(tmp_path)
    async with harness.start(None, env=harness.NO_KEY) as subject:
        status = await subject.result("status")
        assert status["model"] == "from-the-folder"
        assert status["api_key_present"] is False
    async with harness.start(None, env={"LIGEIA_MODEL": "from-the-environment"}) as subject:
        status = await subject.result("status")
        assert status["model"] == "from-the-environment"
        assert status["api_key_present"] is True


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 0), ("SIGINT", 0), ("SIGKILL", -9)])
async def test_a_signal_reaches_it_and_its_exit_code_is_told(name: str, code: int) -> None:
    async with harness.start(None) as subject:
        await subject.result("status")
        assert subject.process.returncode is None
        subject.send_signal(name)
        assert await subject.exit_code() == code
        assert not harness.alive(subject.process.pid)


async def test_each_is_a_process_of_its_own() -> None:
    async with harness.start(None) as one, harness.start(None) as other:
        assert one.process.pid != other.process.pid
        await other.kill()
        assert (await one.result("status"))["name"] == "ligeia-sidecar"
