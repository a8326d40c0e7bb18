"""One mutant against tests, in a process of its own: nothing mutated is ever written to the disk."""

import gc
import importlib.machinery
import importlib.util
import multiprocessing
import os
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import hypothesis
import pytest

PRELOADED = [
    "google.genai",
    "httpx",
    "hypothesis",
    "msgspec",
    "pytest",
    "pytest_trio",
    "tests.mutation.trial",
    "trio",
]
"""What takes long to import, and nothing of `sidecar`: where processes can be forked, it is imported once."""

_UNREWRITTEN = "ignore::pytest.PytestAssertRewriteWarning"
_ARGUMENTS = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:anyio", "-W", _UNREWRITTEN]


class Outcome(StrEnum):
    """What tests made of a mutant."""

    KILLED = "killed"
    TIMED_OUT = "timed out"
    SURVIVED = "survived"


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads a module from this text instead of its file's."""

    def __init__(self, name: str, path: str, source: str) -> None:
        super().__init__(name, path)
        self._source = source

    def get_code(self, _fullname: str) -> CodeType:
        code: CodeType = compile(self._source, self.path, "exec", dont_inherit=True)
        return code


class _Finder:
    def __init__(self, module: str, path: Path, source: str) -> None:
        self._module = module
        self._path = str(path)
        self._source = source

    def find_spec(
        self, name: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self._module:
            return None
        return importlib.util.spec_from_file_location(
            name, self._path, loader=_Loader(name, self._path, self._source)
        )


def tried(module: str, path: Path, source: str, tests: Sequence[str], seconds: float) -> Outcome:
    """Runs the tests with this text as the module; after so many seconds they count as failed."""
    methods = multiprocessing.get_all_start_methods()
    context: Any = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if "forkserver" in methods:
        context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=_run, args=(module, path, source, tests), daemon=True)
    process.start()
    process.join(seconds)
    if process.is_alive():
        process.kill()
        process.join()
        return Outcome.TIMED_OUT
    return Outcome.SURVIVED if process.exitcode == 0 else Outcome.KILLED


def _run(module: str, path: Path, source: str, tests: Sequence[str]) -> None:
    gc.freeze()  # what was preloaded stays; pytest collects garbage around every test run
    assert module not in sys.modules
    sys.meta_path.insert(0, _Finder(module, path, source))
    hypothesis.settings.register_profile(
        "mutation",
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),  # a slow machine kills no mutant
    )
    hypothesis.settings.load_profile("mutation")
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    os._exit(int(pytest.main([*_ARGUMENTS, *tests])))
