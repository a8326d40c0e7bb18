"""Freezes ligeia-sidecar for Tauri: builds, drives what was built through a smoke test, only then calls it done.

    python3 build/freeze.py      (what `python3 build/dev.py freeze` runs)

Into build/out: `ligeia-sidecar-TARGET_TRIPLE[.exe]`, its SHA-256 beside it, and a folder
`ligeia-sidecar-TARGET_TRIPLE-onedir` of the same parts. Everything between lies in build/work: a venv with the
releases of build/freeze/requirements.txt, kept for the next time, PyInstaller's cache and its logs.

Standard library only: any Python that can be frozen (3.11 or newer, with its shared library) runs it.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK, OUT = ROOT / "build" / "work", ROOT / "build" / "out"
FREEZE = ROOT / "build" / "freeze"
VENV = WORK / "venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
NAME = "ligeia-sidecar"
SUFFIX = ".exe" if os.name == "nt" else ""

SYSTEMS = {"linux": "unknown-linux", "macosx": "apple-darwin", "win": "pc-windows-msvc"}
MACHINES = {"amd64": "x86_64", "arm64": "aarch64", "armv7l": "armv7", "win32": "i686"}

ENVIRONMENT = {  # of PyInstaller; the first two make two builds of the same sources the same file
    "PYTHONHASHSEED": "0",  # the order of sets in code objects
    "SOURCE_DATE_EPOCH": "315532800",  # the date in Windows executables; 1980, where zip begins too
    "PYTHONNOUSERSITE": "1",
    "PYTHONNODEBUGRANGES": "1",  # columns for tracebacks in code objects: a MB to unpack, more in memory
}


class FreezeError(Exception):
    """What went wrong, in a sentence for whoever builds."""


def target_triple() -> str:
    """Rust's name for the platform that this Python was built for; Tauri looks for it in the file's name."""
    system, _, machine = sysconfig.get_platform().partition("-")  # linux-x86_64, macosx-11.0-arm64, win-amd64
    machine = (machine or system).rpartition("-")[2].lower()
    if machine == "universal2":  # python.org's for macOS; PyInstaller builds for what it runs on
        machine = platform.machine()
    vendor = SYSTEMS[system if machine != "win32" else "win"]
    if system == "linux":
        libc = "gnu" if platform.libc_ver()[0] == "glibc" else "musl"
        vendor += f"-{libc}eabihf" if machine == "armv7l" else f"-{libc}"
    return f"{MACHINES.get(machine, machine)}-{vendor}"


def main() -> int:
    """Builds, tests, moves into place; returns the exit code."""
    try:
        freeze()
    except FreezeError as error:
        print(f"freeze.py: {error}", file=sys.stderr)
        return 1
    return 0


def freeze() -> None:
    """Leaves tested files in build/out, or raises FreezeError and leaves what was there."""
    if sys.platform == "linux" and not all(map(shutil.which, ("objcopy", "objdump", "strip"))):
        raise FreezeError("PyInstaller needs objcopy, objdump and strip: install binutils")
    if sys.platform == "linux" and not has_shared_library():
        raise FreezeError("PyInstaller needs Python as a shared library: install libpython3-dev")
    prepare_venv()
    dist = WORK / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    command = [str(PYTHON), "-m", "PyInstaller", "--clean", "--noconfirm", "--log-level", "ERROR"]
    command += ["--distpath", str(dist), "--workpath", str(WORK), str(ROOT / f"{NAME}.spec")]
    run(command, "PyInstaller could not freeze it", PYINSTALLER_CONFIG_DIR=str(WORK / "cache"), **ENVIRONMENT)
    onefile, onedir = dist / f"{NAME}{SUFFIX}", dist / f"{NAME}-onedir"
    for binary in (onefile, onedir / f"{NAME}{SUFFIX}"):
        smoke = [str(PYTHON), str(FREEZE / "smoke.py"), str(binary)]
        run(smoke, f"{binary.relative_to(ROOT)} does not pass its smoke test", PYTHONPATH=str(ROOT))
    publish(onefile, onedir)


def has_shared_library() -> bool:
    """Debian's `python3` needs none itself, so the library is a package of its own."""
    folder, library = map(sysconfig.get_config_var, ("LIBDIR", "INSTSONAME"))
    return Path(folder, library).exists()


def prepare_venv() -> None:
    """Leaves a venv that holds the required releases and nothing else; quick when it already does."""
    requirements = FREEZE / "requirements.txt"
    wanted = hashlib.sha256(requirements.read_bytes() + f"{sys.version} {sys.base_prefix} {ROOT}".encode())
    stamp = VENV / "installed"
    if stamp.is_file() and stamp.read_text() == wanted.hexdigest():
        return
    print(
        f"Installing {requirements.relative_to(ROOT)} into {VENV.relative_to(ROOT)}", file=sys.stderr, flush=True
    )
    run([sys.executable, "-m", "venv", "--clear", str(VENV)], "no venv can be made: install python3-venv")
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    pip += ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--requirement", str(requirements)]
    run(pip, "pip could not install the requirements; its message is above")
    stamp.write_text(wanted.hexdigest())


def publish(onefile: Path, onedir: Path) -> None:
    """Moves both to their names in build/out and says what they are."""
    name = f"{NAME}-{target_triple()}"
    target, folder = OUT / f"{name}{SUFFIX}", OUT / f"{name}-onedir"
    OUT.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    onedir.replace(folder)
    onefile.replace(target)
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    # As sha256sum writes it and `sha256sum --check` reads it.
    target.with_name(f"{target.name}.sha256").write_text(f"{digest}  {target.name}\n", newline="\n")
    unpacked = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{target.relative_to(ROOT)}  {target.stat().st_size / 1e6:.1f} MB  sha256 {digest}")
    print(f"{folder.relative_to(ROOT)}  {unpacked / 1e6:.1f} MB")


def run(command: list[str], complaint: str, **env: str) -> None:
    """Waits for a command; raises FreezeError with the complaint when it fails."""
    if subprocess.run(command, cwd=ROOT, env={**os.environ, **env}, check=False).returncode:
        raise FreezeError(complaint)


if __name__ == "__main__":
    sys.exit(main())
