"""What is made once: the built page, the installed app with its sidecar, and a screen.

The app is installed as the shell plugin wants it: `ligeia-sidecar` beside the executable that runs. That
executable is a copy of Python, since Tauri looks at the real path of the process.
"""

import shlex
import shutil
import subprocess
import tempfile
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock

from tests import harness
from tests.tauri.workshop import TAURI, run, tool

HERE: Final = Path(__file__).resolve().parent
NPM: Final = harness.ROOT / "build" / "work" / "page"
SIDECAR: Final = "ligeia-sidecar"


@contextmanager
def built_page() -> Iterator[Path]:
    """The folder of the page as its own scripts check and bundle it."""
    _install_packages()
    with tempfile.TemporaryDirectory(prefix="session-", dir=NPM) as name:
        folder = Path(name)
        for source in ("client", "page"):
            shutil.copytree(TAURI / source, folder / source)
        shutil.copy(TAURI / "tsconfig.json", folder)
        for script in ("check", "build"):
            run([tool("npm"), "run", "--silent", script], folder / "page")
        yield folder / "page" / "dist"


def _install_packages() -> None:
    """`npm ci`, unless what is there came from the same lock file."""
    NPM.mkdir(parents=True, exist_ok=True)
    wanted, installed = TAURI / "page" / "package-lock.json", NPM / "installed-lock.json"
    with FileLock(NPM.with_suffix(".lock"), timeout=300):
        if installed.is_file() and installed.read_bytes() == wanted.read_bytes():
            return
        for name in ("package.json", "package-lock.json"):
            shutil.copy(TAURI / "page" / name, NPM)
        run([tool("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund"], NPM)
        shutil.copy(wanted, installed)


def install(folder: Path, page: Path) -> Path:
    """An installed app: its executable with the sidecar beside it, and what Tauri reads at its start."""
    venv.create(folder, symlinks=False)
    app = folder / "bin" / "ligeia"
    shutil.copy2(folder / "bin" / "python", app)
    _install_sidecar(folder / "bin" / SIDECAR)
    source = folder / "source"
    shutil.copytree(page, source / "dist")
    for script in (HERE / "probe.js", NPM / "node_modules" / "axe-core" / "axe.min.js"):
        shutil.copy(script, source)
    shutil.copytree(TAURI / "capabilities", source / "capabilities")
    shutil.copy(HERE / "capability.json", source / "capabilities")
    for config in (HERE / "tauri.conf.json", TAURI / "tauri.conf.part.json"):
        shutil.copy(config, source)
    return app


def _install_sidecar(target: Path) -> None:
    command = harness.command()
    if len(command) == 1:
        shutil.copy2(command[0], target)
        return
    root = shlex.quote(str(harness.ROOT))
    target.write_text(f'#!/bin/sh\nPYTHONPATH={root} exec {shlex.join(command)} "$@"\n')
    target.chmod(0o755)


@contextmanager
def screen() -> Iterator[str]:
    """An X display of its own, its name."""
    command = ["Xvfb", "-displayfd", "1", "-screen", "0", "1000x1000x24", "-nolisten", "tcp"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        try:
            number = server.stdout.readline().strip()
            assert number, "Xvfb could not open a display"
            yield f":{number}"
        finally:
            server.terminate()
