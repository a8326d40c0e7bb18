"""The demo, the tests and the freeze by CPython for Windows, under Wine, on Linux (x86-64).

    python3 build/windows.py check          demo, the tests that do not ask for more than Python, freeze
    python3 build/windows.py test [args]    pytest with these arguments
    python3 build/windows.py run [args]     Python of the copy's .venv (-m sidecar …, say)

Needs Wine 8 or newer and MinGW: apt-get install wine gcc-mingw-w64-x86-64 (and xvfb where there is no screen).
No Windows and no installer of Python's: the libraries of CPython for Windows come out of the wheel of Panda3D,
which brings them for what is frozen with it; the standard library is that of the Python that runs this, so both
have to be of one version (3.11, say). Everything lies in build/work/windows: that Python, Wine's `C:`, and a copy
of the project, as a clone would be, in which `build/dev.py` makes its own `.venv`.

Wine is not Windows: it starts processes slowly, knows no Ctrl-Break without a console, and lacks one call of
Winsock that trio asks for (see `mend_trio`). What passes here may still fail there; what fails here is looked at.

Standard library only.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "work" / "windows"
PYTHON, PREFIX, COPY, WHEELS = (WORK / name for name in ("python", "wine", "copy", "wheels"))
SYSTEM = PREFIX / "drive_c" / "windows" / "system32"
MINGW = "x86_64-w64-mingw32-"
PANDA3D = "panda3d==1.10.16"
VERSION = f"3{sys.version_info.minor}"

USAGE = "usage: python3 build/windows.py check | test [args] | run [args]"
MAIN = (
    "#include <wchar.h>\nint Py_Main(int, wchar_t **);\nint wmain(int n, wchar_t **a) { return Py_Main(n, a); }\n"
)
RANDOM = """#include <windows.h>
BOOLEAN NTAPI SystemFunction036(PVOID, ULONG);
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE to, SIZE_T size) { return SystemFunction036(to, (ULONG)size); }
"""
"""bcryptprimitives.dll, which Wine 8 lacks and Rust's standard library asks for (in pydantic, say)."""
TESTS = [
    "tests",
    "--ignore=tests/bench",
    "--ignore=tests/tauri",
    "--deselect=tests/test_histories.py",
    "--deselect=tests/standin/test_replies.py::test_a_reset_is_a_real_reset",
]
"""Histories open thousands of databases, which takes Wine an hour; and Wine resets no connection."""
AT_ONCE = ["-n", "8", "--dist", "loadfile", "--no-loadscope-reorder"]
"""Tests wait for Wine more than for a core: half an hour, which one after the other are many."""


class WindowsError(Exception):
    """What went wrong, in one line."""


def main(argv: list[str]) -> int:
    """Prepares what is missing, then runs one command; its exit code."""
    command, *args = argv or [""]
    if command not in {"check", "test", "run"} or (command == "check" and args):
        print(USAGE, file=sys.stderr)
        return 2
    try:
        prepare()
        if command == "run":
            return wine(*args, python=COPY / ".venv" / "Scripts" / "python.exe")
        if command == "test":
            return wine("build/dev.py", "test", *args)
        return check()
    except WindowsError as error:
        print(f"windows.py: {error}", file=sys.stderr)
        return 1


def check() -> int:
    """Everything, up to the first step that fails."""
    steps = [
        ["build/dev.py", "demo", "--files", "60"],
        ["build/dev.py", "test", "-m", "not system", *AT_ONCE, *TESTS],
        ["build/freeze.py"],
    ]
    for step in steps:
        print("==", *step, flush=True)
        if code := wine(*step):
            return code
    return 0


def prepare() -> None:
    """Leaves that Python, Wine's folder, an up-to-date copy of the project and its two environments."""
    for program in ("wine", "wineboot", f"{MINGW}gcc", f"{MINGW}objdump"):
        if shutil.which(program) is None:
            raise WindowsError(f"{program} is missing: apt-get install wine gcc-mingw-w64-x86-64")
    if not (PYTHON / "python.exe").exists():
        make_python()
    if not (SYSTEM / f"python{VERSION}.dll").exists():
        make_prefix()
    copy_project()
    for setup in (["build/dev.py", "test", "--version"], ["-c", "import freeze; freeze.prepare_venv()"]):
        if wine(*setup, PYTHONPATH="build"):
            raise WindowsError("an environment could not be made; the message is above")
    mend_trio()


def make_python() -> None:
    """A folder as the installer of python.org would leave it."""
    shutil.rmtree(WORK, ignore_errors=True)
    (PYTHON / "DLLs").mkdir(parents=True)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    run([*pip, "--platform", "win_amd64", "--python-version", VERSION, "--dest", str(WHEELS), PANDA3D])
    with zipfile.ZipFile(next(WHEELS.glob("*.whl"))) as wheel:
        for name in wheel.namelist():
            folder, _, file = name.rpartition("/")
            if folder != "deploy_libs" or file.startswith("api-ms-win"):  # Wine has its own of those
                continue
            is_of_the_interpreter = file.lower().startswith(("python", "vcruntime"))
            (PYTHON / ("" if is_of_the_interpreter else "DLLs") / file).write_bytes(wheel.read(name))
    left_out = shutil.ignore_patterns("site-packages", "lib-dynload", "test", "config-*", "__pycache__")
    shutil.copytree(sysconfig.get_path("stdlib"), PYTHON / "Lib", ignore=left_out)
    compile_parts()
    launchers = PYTHON / "Lib" / "venv" / "scripts" / "nt"
    launchers.mkdir(exist_ok=True)
    shutil.copy(PYTHON / "python.exe", launchers)  # in the place of the one that starts the other


def compile_parts() -> None:
    """python.exe, the DLL of the stable ABI that hands on to the interpreter's, and what Wine lacks."""
    library = PYTHON / f"python{VERSION}.dll"
    (WORK / "main.c").write_text(MAIN)
    run([f"{MINGW}gcc", "-municode", "-O1", str(WORK / "main.c"), str(library), "-o", str(PYTHON / "python.exe")])
    listed = subprocess.run([f"{MINGW}objdump", "-p", str(library)], capture_output=True, text=True, check=True)
    exports = listed.stdout.partition("[Ordinal/Name Pointer] Table")[2].split("\n\n")[0]
    names = [line.split()[-1] for line in exports.splitlines()[1:] if line.strip()]
    forwards = [f"  {name} = python{VERSION}.{name}" for name in names if name.lstrip("_").startswith("Py")]
    (WORK / "python3.def").write_text("\n".join(["LIBRARY python3", "EXPORTS", *forwards, ""]))
    entry = ["-shared", "-nostartfiles", "-Wl,--entry=0"]
    run([f"{MINGW}gcc", *entry, str(WORK / "python3.def"), "-o", str(PYTHON / "python3.dll")])
    (WORK / "random.c").write_text(RANDOM)
    made = PYTHON / "bcryptprimitives.dll"
    run([f"{MINGW}gcc", "-shared", "-O1", str(WORK / "random.c"), "-o", str(made), "-ladvapi32"])


def make_prefix() -> None:
    """Wine's `C:`, with the libraries where an installation for all users puts them."""
    run(["wineboot", "--init"])
    for library in PYTHON.glob("*.dll"):
        shutil.copy(library, SYSTEM)


def copy_project() -> None:
    """What git would take of the working tree; what is gone here goes there."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    wanted = {name for name in names if name and (ROOT / name).is_file()}
    for folder in ("sidecar", "tests", "build/freeze"):
        for path in (COPY / folder).rglob("*.py"):
            if path.relative_to(COPY).as_posix() not in wanted:
                path.unlink()
    for name in wanted:
        (COPY / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, COPY / name)


def mend_trio() -> None:
    """Wine does not know SIO_BASE_HANDLE (WSAEOPNOTSUPP); without layered providers it is the socket itself."""
    asked = '        sock = sock.fileno()\n    base_ptr = ffi.new("HANDLE *")\n'
    known = '        sock = sock.fileno()\n    return Handle(ffi.cast("HANDLE", sock))\n'
    for path in COPY.rglob("trio/_core/_io_windows.py"):
        text = path.read_text(encoding="utf-8")
        if asked in text:
            path.write_text(text.replace(asked, known), encoding="utf-8")
        elif known not in text:
            raise WindowsError(f"{path.relative_to(COPY)} is not the trio that is known here")


def wine(*args: str, python: Path = PYTHON / "python.exe", **env: str) -> int:
    """A Python with these arguments in the copy of the project; its exit code."""
    # Through pipes: Wine gives a program no handle for a file or a null device that a shell has opened.
    with subprocess.Popen(
        ["wine", str(python), *args],
        cwd=COPY,
        env=environment() | env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdout is not None
        while chunk := os.read(process.stdout.fileno(), 65_536):
            sys.stdout.buffer.write(chunk)
            sys.stdout.flush()
        return process.wait()


def environment() -> dict[str, str]:
    """Wine's, without this Python's own variables."""
    mine = ("PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV")
    inherited = {name: value for name, value in os.environ.items() if name not in mine}
    return inherited | {
        "WINEPREFIX": str(PREFIX),
        "WINEARCH": "win64",
        "WINEDEBUG": "-all",
        "PYTHONUNBUFFERED": "1",
    }


def run(command: list[str]) -> None:
    """Waits for a command; raises WindowsError where it fails."""
    if subprocess.run(command, env=environment(), check=False).returncode:
        raise WindowsError(f"{command[0]} failed; its message is above")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
