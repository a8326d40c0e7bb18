"""Where the TypeScript of build/tauri/ is compiled and run: beside what it needs from npm, in build/work/npm.

What npm installs stays there between sessions; a session's own folder in it is removed at its end.
"""

import hashlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock

ROOT: Final = Path(__file__).resolve().parent.parent.parent
TAURI: Final = ROOT / "build" / "tauri"
_NPM: Final = ROOT / "build" / "work" / "npm"
_MINUTES: Final = 60.0


def tool(name: str) -> str:
    """The path of a program. Fails, instead of skipping, where it is missing."""
    found = shutil.which(name)
    assert found, f"{name} is not installed; .ci/run installs it"
    return found


def run(command: Sequence[str], folder: Path) -> str:
    """A command's output; fails with it when the command does."""
    done = subprocess.run(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        timeout=5 * _MINUTES,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-8000:]}"
    return done.stdout


def examples(language: str) -> list[str]:
    """The README's blocks of code in that language."""
    text = (TAURI / "README.md").read_text(encoding="utf-8")
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert found, f"the README has no example in {language}"
    return found


@contextmanager
def workshop() -> Iterator[Path]:
    """A folder with `client/`, `page/` and the tests of both in `tests/`, from which npm's packages are found."""
    _install()
    with tempfile.TemporaryDirectory(prefix="session-", dir=_NPM) as name:
        folder = Path(name)
        for source in ("client", "page"):
            shutil.copytree(TAURI / source, folder / source)
        shutil.copytree(Path(__file__).parent / "client", folder / "tests")
        shutil.copy(TAURI / "tsconfig.json", folder)
        yield folder


def compile_typescript(folder: Path, project: str) -> None:
    """Type-checks and compiles; a type error fails with tsc's words."""
    run([tool("node"), str(_NPM / "node_modules" / "typescript" / "bin" / "tsc"), "--project", project], folder)


def _install() -> None:
    """`npm ci`, unless what is there came from the same lock file."""
    _NPM.mkdir(parents=True, exist_ok=True)
    wanted = hashlib.sha256((TAURI / "package-lock.json").read_bytes()).hexdigest()
    stamp = _NPM / "installed"
    with FileLock(_NPM.with_suffix(".lock"), timeout=5 * _MINUTES):
        if stamp.is_file() and stamp.read_text() == wanted:
            return
        for name in ("package.json", "package-lock.json"):
            shutil.copy(TAURI / name, _NPM)
        run([tool("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund"], _NPM)
        stamp.write_text(wanted)
