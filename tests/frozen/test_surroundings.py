"""The frozen file works whatever surrounds it: an AppImage, variables for other Pythons, no variables at all."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import trio

from sidecar.demo import standin
from tests import harness

TITLE = "Глухой шум – ☂"
LIBRARIES = ("libpython3.11.so.1.0", "libssl.so.3", "libcrypto.so.3", "libsqlite3.so.0", "libffi.so.8")
"""What the file brings along. Not libz: the bootloader itself asks the system for that."""
SURROUNDINGS: dict[str, dict[str, str]] = {
    "nothing special": {},
    "PYTHONHOME": {"PYTHONHOME": "/nowhere", "PYTHONPATH": "/nowhere"},
    "LD_LIBRARY_PATH": {"LD_LIBRARY_PATH": "{foreign}"},
    "LC_ALL=C": {"LC_ALL": "C"},
    "a locale of before UTF-8": {"LOCPATH": "{locales}", "LC_ALL": "ja_JP.EUC-JP"},
    "PYTHONIOENCODING": {"PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"},
    "all at once": {
        "PYTHONHOME": "/nowhere",
        "LD_LIBRARY_PATH": "{foreign}",
        "LC_ALL": "C",
        "PYTHONIOENCODING": "cp1252",
    },
}
LOCALEDEF = ("localedef", "-i", "ja_JP", "-f", "EUC-JP")
NOEXEC = 'mount -t tmpfs -o noexec tmpfs "$0" && TMPDIR="$0" exec "$@"'


@pytest.mark.parametrize("surroundings", SURROUNDINGS)
@pytest.mark.parametrize("binary", ["onefile", "in_appimage"])
async def test_it_tags_a_library(
    binary: str,
    surroundings: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LIGEIA_SIDECAR_COMMAND", json.dumps([str(request.getfixturevalue(binary))]))
    foreign = tmp_path / "foreign"  # as an AppImage's folder of libraries, but none that could be loaded
    foreign.mkdir()
    for name in LIBRARIES:
        (foreign / name).write_bytes(b"not a library")
    locales = tmp_path / "locales"
    locales.mkdir()
    if "LOCPATH" in SURROUNDINGS[surroundings]:
        await trio.run_process([*LOCALEDEF, str(locales / "ja_JP.EUC-JP")])
    places = {"foreign": foreign, "locales": locales}
    env = {name: value.format(**places) for name, value in SURROUNDINGS[surroundings].items()}
    await tag_with_foreign_letters(tmp_path, env=env)


async def test_it_tags_a_library_without_any_variable(tmp_path: Path) -> None:
    async with standin.running() as gemini:
        needed = [f"GEMINI_API_KEY={harness.KEY}", f"GOOGLE_GEMINI_BASE_URL={gemini.base_url}"]
        wrapper = ["env", "-i", *needed]
        library = harness.library(tmp_path)
        async with harness.start(library, gemini, wrapper=wrapper) as subject:
            done = await subject.tag()
            assert done["processed_files"] == 60
            pid = subject.process.pid
            [unpacked] = folders_of(pid, Path("/tmp"))  # noqa: S108 - where it goes without a variable
            await subject.close_stdin()
            assert await subject.exit_code() == 0
        assert not unpacked.exists()


async def test_the_folder_works_where_a_temp_folder_is_noexec(
    onedir: Path, tmp_path: Path, temp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIGEIA_SIDECAR_COMMAND", json.dumps([str(onedir)]))
    await tag_with_foreign_letters(tmp_path, wrapper=noexec(temp))


async def test_the_file_says_that_it_cannot_be_unpacked_into_a_noexec_temp_folder(
    onefile: Path, temp: Path
) -> None:
    ended = await trio.run_process(
        [*noexec(temp), str(onefile)],
        stdin=subprocess.DEVNULL,
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )
    assert ended.returncode not in (0, None) and ended.stdout == b""
    assert b"failed to map segment from shared object" in ended.stderr


def noexec(folder: Path) -> list[str]:
    """A prefix for commands: in a mount namespace of their own, their temp folder is mounted noexec."""
    prefix = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    wrapper = [*prefix, "sh", "-c", NOEXEC, str(folder)]
    tried = subprocess.run([*wrapper, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.fail(f"a noexec temp folder cannot be tried here, mounting is not allowed: {tried.stderr}")
    return wrapper


def folders_of(bootloader_pid: int, temp: Path) -> list[Path]:
    """What this process has unpacked."""
    return list(temp.glob(f"_MEI{bootloader_pid:08x}*"))


async def tag_with_foreign_letters(
    tmp_path: Path, env: dict[str, str] | None = None, wrapper: tuple[str, ...] | list[str] = ()
) -> None:
    """A run over a library whose path and titles no code page holds."""
    folder = tmp_path / "Mächtige Bücher ☂"
    folder.mkdir()
    library = harness.library(folder)
    with library.edited() as connection:
        connection.execute("UPDATE audio_files SET title = ? WHERE id = 1", (TITLE,))
    async with standin.running() as gemini, harness.start(library, gemini, env=env, wrapper=wrapper) as subject:
        status = await subject.result("status")
        assert status["database"] == {"path": str(library.path), "ok": True, "error": None}
        done = await subject.tag()
        assert done["processed_files"] == 60
        assert TITLE in {file.get("title") for received in gemini.journal for file in received.files}
    assert library.tagged == 60
