"""Runtime hook of the onefile on Linux: what only calls to Gemini need is unpacked and imported when they begin.

The bootloader unpacks at every start, before Python runs, 6 ms for each MB: the libraries of TLS and the core
of pydantic are half of it. The spec packs them into one zip, which the bootloader unpacks as it is; their
first import unpacks them to where the bootloader would have put them. trio imports `ssl`, but looks at it only
for TLS: it gets a module that is run when it is looked at.
"""

import importlib
import importlib.util
import os
import sys
import threading
import types
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import zipfile

FOLDER = Path(sys._MEIPASS)  # type: ignore[attr-defined]
ARCHIVE = FOLDER / "later.zip"
PACKED = {"_asyncio", "_csv", "_ssl", "_zoneinfo", "pydantic_core", "websockets.speedups"}


def unpack(archive: "zipfile.ZipFile", member: str) -> None:
    """Puts a file into its place in one step, and leaves one that is there alone.

    A process that a onefile starts from itself shares its folder, and may have loaded the file already.
    """
    path = FOLDER / member
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{os.getpid()}")
        part.write_bytes(archive.read(member))
        part.replace(path)


class Later:
    """A finder of modules that finds nothing, but unpacks before the others look; then it is gone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> None:
        """Called for every import, by any thread."""
        if name not in PACKED:
            return
        import zipfile  # noqa: PLC0415 - not at every start

        with self._lock:
            if self in sys.meta_path:
                with zipfile.ZipFile(ARCHIVE) as archive:
                    for member in archive.namelist():
                        unpack(archive, member)
                importlib.invalidate_caches()
                sys.meta_path.remove(self)


class RunAtFirstLook(types.ModuleType):
    """A module whose code runs when the first of its names is asked for, in whatever thread.

    importlib's LazyLoader cannot be used: a second `import` of the module counts as a look (Python 3.11).
    """

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):  # what the import system asks for
            raise AttributeError(name)
        with self.__dict__["_lock"]:
            if self.__dict__.pop("_is_waiting", False):
                assert self.__spec__ is not None and self.__spec__.loader is not None
                try:
                    self.__spec__.loader.exec_module(self)
                except BaseException:  # there may be room for what it imports when it is looked at again
                    self.__dict__["_is_waiting"] = True
                    raise
                self.__class__ = types.ModuleType  # type: ignore[assignment]
        return types.ModuleType.__getattribute__(self, name)


def run_at_first_look(name: str) -> None:
    """Puts such a module into `sys.modules`."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    module.__class__ = RunAtFirstLook
    module.__dict__.update(_lock=threading.RLock(), _is_waiting=True)
    sys.modules[name] = module


if ARCHIVE.exists():  # a onedir is unpacked already
    sys.meta_path.insert(0, Later())
    run_at_first_look("ssl")
