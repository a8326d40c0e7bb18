"""The one command for a bare machine with Python 3.11: makes .venv, installs what is needed, runs.

    python3 build/dev.py demo [args]     the demo, against the stand-in for Gemini
    python3 build/dev.py check           format, lint, types, imports, tests; stops at the first failure
    python3 build/dev.py check --everything   also what needs programs beside Python, see .ci/run: browsers,
                                         Rust, npm, a real Tauri window, the frozen file
    python3 build/dev.py test [args]     pytest with these arguments
    python3 build/dev.py bench [args]    the benchmark
    python3 build/dev.py trust [args]    the figures of faults and kills
    python3 build/dev.py freeze          the executable that a shell bundles
    python3 build/dev.py figures [--long]   freeze, trust and bench: fills README's tables, and writes all of
                                         it into build/out/figures.json (10 to 30 minutes; --long: hours)

Standard library only. Everything runs in the project's root, and exit codes are passed through.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")

USAGE = (
    "usage: python3 build/dev.py demo|test|bench|trust [args] | check [--everything] | freeze | figures [--long]"
)
HAS_PIP = "import importlib.util as u, sys; sys.exit(u.find_spec('pip') is None)"
MODULES = {
    "demo": ["-m", "sidecar", "demo"],
    "test": ["-m", "pytest"],
    "bench": ["-m", "tests.bench"],
    "trust": ["-m", "tests.trust"],
    "freeze": [str(ROOT / "build" / "freeze.py")],
}

SUITE = [str(PYTHON), "-m", "pytest", "-n", "logical", "--dist", "loadfile", "--no-loadscope-reorder"]
"""All tests, a process for each core, in the order of tests/conftest: most of them wait for another process now
and then."""
WINDOW = "tests/tauri/window"
FROZEN_TOO = [
    "tests/contract/test_process.py",
    "tests/contract/test_protocol.py",
    "tests/terminal/test_tag_and_demo.py",
    WINDOW,
]
"""Tests that the frozen file has to pass as well; the window is tested with it only."""


class Check(NamedTuple):
    """One step: what it is called, what it runs, and what it adds to the environment."""

    name: str
    command: list[str]
    environment: dict[str, str] | None = None


def checks(*, everything: bool) -> Iterator[Check]:
    """All steps in order; made one by one, since a later one may need what an earlier one has built."""
    yield Check("ruff format", [str(PYTHON), "-m", "ruff", "format", "--check", "."])
    yield Check("ruff", [str(PYTHON), "-m", "ruff", "check", "."])
    yield Check("mypy", [str(PYTHON), "-m", "mypy"])
    for platform in ("win32", "darwin"):  # what stands behind `sys.platform` is looked at for that platform only
        yield Check(f"mypy for {platform}", [str(PYTHON), "-m", "mypy", "--platform", platform, "sidecar"])
    yield Check("import-linter", [str(BIN / "lint-imports")])  # it has no `-m` form
    if not everything:
        yield Check("pytest", [*SUITE, "-m", "not system"])
        return
    yield Check("pytest", [*SUITE, f"--ignore={WINDOW}"])
    yield Check("freeze", [str(PYTHON), *MODULES["freeze"]])
    frozen = frozen_file()
    program = {"LIGEIA_FROZEN": frozen, "LIGEIA_SIDECAR_COMMAND": json.dumps([frozen])}
    yield Check("pytest with the frozen file", [*SUITE, "tests/frozen", *FROZEN_TOO], program)
    yield Check("trust", [str(PYTHON), *MODULES["trust"], "--frozen", frozen])


def frozen_file() -> str:
    """The onefile that `freeze` has just left."""
    found = [path for path in (ROOT / "build" / "out").glob("ligeia-sidecar-*") if path.suffix in {"", ".exe"}]
    files = [path for path in found if path.is_file()]
    if len(files) != 1:
        raise DevError("build/out holds not one frozen file but " + (", ".join(map(str, files)) or "none"))
    return str(files[0])


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
    everything = command == "check" and args == ("--everything",)
    allowed = {"check": [(), ("--everything",)], "figures": [(), ("--long",)]}
    if command not in {*MODULES, *allowed} or (command in allowed and args not in allowed[command]):
        raise DevError(USAGE, 2)
    prepare("" if command == "demo" else "[dev,window]" if everything else "[dev]")
    if command == "check":
        return check(everything=everything)
    if command == "figures":
        return figures(long=bool(args))
    return run([str(PYTHON), *MODULES[command], *args])


def check(*, everything: bool) -> int:
    """Runs the checks in order, up to the first that fails."""
    for name, command, environment in checks(everything=everything):
        print(f"== {name}", flush=True)
        began = time.monotonic()
        code = run(command, environment)
        if code:
            raise DevError(f"{name} failed with exit code {code}", code)
        print(f"== {name}: {time.monotonic() - began:.0f} s", flush=True)
    print("== all checks passed", flush=True)
    if not everything:
        print("Not run: what needs programs beside Python (check --everything; .ci/run installs them).")
    return 0


def figures(*, long: bool) -> int:
    """Measures and counts everything with the file that it freezes first; the trust rows' exit code."""
    if code := run([str(PYTHON), *MODULES["freeze"]]):
        return code
    frozen, out = frozen_file(), ROOT / "build" / "out"
    trust, bench = out / "trust.json", out / "bench.json"
    for path in (trust, bench):
        path.unlink(missing_ok=True)  # an old one would pass for this run's
    shared = ["--frozen", frozen, "--readme"]
    trusted = run([str(PYTHON), *MODULES["trust"], *shared, *["--long"] * long])
    code = run([str(PYTHON), *MODULES["bench"], *shared, *["--million"] * long, "--json", str(bench)])
    if not (trust.exists() and bench.exists()):
        raise DevError("one of the two left no figures; its message is above", code or trusted or 1)
    parts = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in (trust, bench)}
    (out / "figures.json").write_text(json.dumps(parts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return code or trusted


def prepare(extras: str) -> None:
    """Leaves .venv with the project installed as pyproject.toml says now; quick when it already is."""
    if sys.version_info < (3, 11):  # noqa: UP036 - run by whatever python3 the machine has
        raise DevError("Python 3.11 or newer is needed, this is " + sys.version.split()[0])
    wanted = fingerprint()
    # An install with more extras holds everything that one with fewer does.
    ordered = ["[dev,window]", "[dev]", ""]
    stamps = [VENV / f"installed{name}" for name in ordered[: ordered.index(extras) + 1]]
    if PYTHON.exists() and any(stamp.is_file() and stamp.read_text() == wanted for stamp in stamps):
        return
    make_venv()
    target = f".{extras}"
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


def run(command: list[str], environment: dict[str, str] | None = None) -> int:
    """Waits for a command in the project's root; Ctrl-C is the command's to answer."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    # That variable would have each of the thousands of processes that the tests start compile the sidecar anew.
    with subprocess.Popen(command, cwd=ROOT, env=inherited | (environment or {})) as process:
        while True:
            try:
                code = process.wait()
            except KeyboardInterrupt:  # the terminal sent it to the command too
                continue
            return code if code >= 0 else 128 - code  # a signal, told as a shell tells it


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
