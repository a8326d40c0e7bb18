"""library.file: who may write a library, as the file system tells it."""

import os
import sys
from pathlib import Path

import pytest

from sidecar.library.file import is_writable, log_of

posix = pytest.mark.skipif(sys.platform == "win32", reason="modes of files, and links, as POSIX has them")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "library.db"
    found.touch()
    return found


@posix
@pytest.mark.parametrize(
    ("mode", "may"), [(0o644, True), (0o600, True), (0o060, True), (0o006, True), (0o444, False), (0o555, False)]
)
def test_what_nobody_may_write_is_not_writable_to_root_either(path: Path, mode: int, may: bool) -> None:
    path.chmod(mode)
    assert is_writable(path) == may


@pytest.mark.parametrize("refused", ["library.db", "."])
def test_the_file_and_its_folder_have_to_be_writable(
    path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    assert is_writable(path, beside=log_of(path))
    monkeypatch.setattr(os, "access", lambda at, _mode: Path(at) != path.parent / refused)
    assert not is_writable(path, beside=log_of(path))


@posix
def test_a_log_lies_beside_the_file_itself_whatever_link_leads_there(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(path)
    assert log_of(link) == tmp_path.resolve() / "library.db-wal"
