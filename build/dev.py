"""The one command for a bare machine with Python 3.11: makes .venv, installs what is needed, runs.

    python3 build/dev.py demo [args]     the demo, against the stand-in for Gemini
    python3 build/dev.py check           format, lint, types, imports, tests; stops at the first failure
    python3 build/dev.py test [args]     pytest with these arguments
    python3 build/dev.py bench [args]    the benchmark

Standard library only. Everything runs in the project's root, and exit codes are passed through.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")

USAGE = "usage: python3 build/dev.py demo [args] | check | test [pytest args] | bench [args]"
HAS_PIP = "import importlib.util as u, sys; sys.exit(u.find_spec('pip') is None)"
MODULES = {"demo": ["sidecar", "demo"], "test": ["pytest"], "bench": ["tests.bench"]}

CHECKS: list[list[str]] = [
    [str(PYTHON), "-m", "ruff", "format", "--check", "."],
    [str(PYTHON), "-m", "ruff", "check", "."],
    [str(PYTHON), "-m", "mypy"],
    [str(BIN / "lint-imports")],  # import-linter has no `-m` form
    [str(PYTHON), "-m", "pytest"],
]


class DevError(Exception):
    """What went wrong, in one line, and the exit code that tells it."""

    def __init__(self, sentence: str, code: int = 1) -> None:
        super().__init__(sentence)
        self.code = code


def main(argv: list[str]) -> int:
    """Runs one command and returns its exit code."""
    try:
        return dispatch(*argv)
    except DevError as error:
        print(f"dev.py: {error}", file=sys.stderr)
        return error.code
    except OSError as error:
        print(f"dev.py: {error}", file=sys.stderr)
        return 1


def dispatch(command: str = "", *args: str) -> int:
    """Prepares .venv for the command, and runs it."""
    if command in {"-h", "--help"}:
        print(USAGE)
        return 0
    if command not in {*MODULES, "check"} or (command == "check" and args):
        raise DevError(USAGE, 2)
    prepare(dev=command != "demo")
    if command == "check":
        return check()
    return run([str(PYTHON), "-m", *MODULES[command], *args])


def check() -> int:
    """Runs every check in order, up to the first that fails."""
    for command in CHECKS:
        name = " ".join(command[2:] if command[1:2] == ["-m"] else [Path(command[0]).name])
        print(f"== {name}", flush=True)
        code = run(command)
        if code:
            raise DevError(f"{name} failed with exit code {code}", code)
    print("== all checks passed", flush=True)
    return 0


def prepare(*, dev: bool) -> None:
    """Leaves .venv with the project installed as pyproject.toml says now; quick when it already is."""
    if sys.version_info < (3, 11):  # noqa: UP036 - run by whatever python3 the machine has
        raise DevError("Python 3.11 or newer is needed, this is " + sys.version.split()[0])
    wanted = fingerprint()
    # The dev install holds everything a plain one does, so its stamp serves both.
    stamps = [VENV / "installed-dev"] if dev else [VENV / "installed-dev", VENV / "installed"]
    if PYTHON.exists() and any(stamp.is_file() and stamp.read_text() == wanted for stamp in stamps):
        return
    make_venv()
    target = ".[dev]" if dev else "."
    print(f"Installing {target} into {VENV}", file=sys.stderr, flush=True)
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    code = run([*pip, "-e", target])
    if code:
        raise DevError(f"pip could not install {target}; its message is above", code)
    stamps[-1].write_text(wanted)


def make_venv() -> None:
    """Makes .venv where it is missing or was left half made."""
    if PYTHON.exists() and run([str(PYTHON), "-c", HAS_PIP]) == 0:
        return
    if importlib.util.find_spec("ensurepip") is None:
        raise DevError("this Python cannot make a virtual environment: install python3-venv")
    print(f"Making {VENV}", file=sys.stderr, flush=True)
    code = run([sys.executable, "-m", "venv", str(VENV)])
    if code:
        raise DevError(f"could not make {VENV}", code)


def fingerprint() -> str:
    """What an install depends on: pyproject.toml, and the root that an editable install points to."""
    return hashlib.sha256((ROOT / "pyproject.toml").read_bytes() + os.fsencode(ROOT)).hexdigest()


def run(command: list[str]) -> int:
    """Waits for a command in the project's root; Ctrl-C is the command's to answer."""
    with subprocess.Popen(command, cwd=ROOT) as process:
        while True:
            try:
                code = process.wait()
            except KeyboardInterrupt:  # the terminal sent it to the command too
                continue
            return code if code >= 0 else 128 - code  # a signal, told as a shell tells it


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
