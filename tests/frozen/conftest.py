"""The frozen file in the place of `python -m sidecar`; these tests exist only where `LIGEIA_FROZEN` names it."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

FROZEN = os.environ.get("LIGEIA_FROZEN", "")

if not FROZEN:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def onefile() -> Path:
    """The file under test."""
    return Path(FROZEN).resolve(strict=True)


@pytest.fixture(scope="session")
def onedir(onefile: Path) -> Path:
    """The executable of the folder that is built beside it."""
    return (
        onefile.with_name(f"{onefile.stem}-onedir")
        .joinpath(f"ligeia-sidecar{onefile.suffix}")
        .resolve(strict=True)
    )


@pytest.fixture(scope="session")
def in_appimage(onefile: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file after what linuxdeploy does to every binary of an AppImage, in its order (src/core/appdir.cpp).

    Stripped after its rpath was set by a patchelf before 0.18, no onefile of PyInstaller's runs; linuxdeploy
    never strips a file whose rpath begins with `$`.
    """
    path = tmp_path_factory.mktemp("usr") / "ligeia-sidecar"
    shutil.copy2(onefile, path)
    for command in (["strip"], ["patchelf", "--set-rpath", "$ORIGIN/../lib"]):
        assert shutil.which(command[0]), f"these tests need {command[0]}: install Debian's patchelf and binutils"
        subprocess.run([*command, str(path)], check=True)
    return path


@pytest.fixture(autouse=True)
def temp(onefile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The temp folder of the processes of a test, and what the harness starts; nothing is left in it."""
    folder = tmp_path / "temp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setenv("LIGEIA_SIDECAR_COMMAND", json.dumps([str(onefile)]))
    yield folder
    assert list(folder.iterdir()) == []
