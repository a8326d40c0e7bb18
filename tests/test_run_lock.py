"""Where the run lock cannot be taken at all, a run is refused with the reason."""

import errno
import os
from pathlib import Path

import pytest
import trio

from sidecar.contract import Code, DatabaseErrorData, DatabaseKind, RpcError
from sidecar.demo.library import create_library
from sidecar.library.lock import RunLock
from sidecar.redaction import Redactor
from sidecar.rpc.methods import call, running_app
from sidecar.settings import Settings

fcntl = pytest.importorskip("fcntl", reason="locks as POSIX systems do")


async def refusal(path: Path) -> RpcError:
    """What a run is refused with."""
    settings = Settings(database=path, api_key="k" * 20)
    with trio.fail_after(20):
        async with running_app(settings, lambda _: None, Redactor()) as app:
            with pytest.raises(RpcError) as caught:
                await call(app, "auto_tag_files", b"{}")
    assert caught.value.code == Code.DATABASE_UNAVAILABLE
    return caught.value


@pytest.mark.parametrize("name", ["EOPNOTSUPP", "ENOLCK", "EIO"])
async def test_a_disk_that_locks_no_files_is_told_as_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def refuse(_fd: int, _operation: int) -> None:
        number = getattr(errno, name)
        raise OSError(number, os.strerror(number))

    create_library(tmp_path / "library.db", files=3)
    monkeypatch.setattr("fcntl.flock", refuse)
    error = await refusal(tmp_path / "library.db")
    assert "does not lock files" in error.message and "Move the library" in error.message
    assert error.data == DatabaseErrorData(DatabaseKind.READ_ONLY)


@pytest.mark.parametrize("obstacle", ["a folder", "a link", "a long name"])
async def test_what_stands_in_the_place_of_the_locks_file_is_not_put_down_to_the_disk(
    tmp_path: Path, obstacle: str
) -> None:
    path = tmp_path / ("x" * 245 if obstacle == "a long name" else "library.db")
    create_library(path, files=3)
    lock, elsewhere = path.with_name(path.name + ".auto-tag-lock"), tmp_path / "elsewhere"
    elsewhere.write_text("of somebody else")
    if obstacle == "a folder":
        lock.mkdir()
    elif obstacle == "a link":
        lock.symlink_to(elsewhere)
    error = await refusal(path)
    assert (
        "`.auto-tag-lock`" in error.message and "cannot be made" in error.message and "disk" not in error.message
    )
    assert error.data == DatabaseErrorData(DatabaseKind.READ_ONLY)
    assert elsewhere.read_text() == "of somebody else"


@pytest.mark.parametrize(
    ("name", "words"), [("EROFS", "read-only"), ("EACCES", "read-only"), ("ENOSPC", "disk is full")]
)
async def test_a_lock_whose_file_cannot_be_made_is_told_by_what_is_in_its_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, words: str
) -> None:
    make = os.open

    def refuse(path: "os.PathLike[str] | str", *args: int, **named: int) -> int:
        if os.fspath(path).endswith(".auto-tag-lock"):
            number = getattr(errno, name)
            raise OSError(number, os.strerror(number))
        return make(path, *args, **named)

    create_library(tmp_path / "library.db", files=3)
    monkeypatch.setattr(os, "open", refuse)
    assert words in (await refusal(tmp_path / "library.db")).message


def test_a_lock_that_the_disk_does_not_give_back_is_in_nobodys_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock = fcntl.flock

    def refuse(fd: int, operation: int) -> None:
        if operation == fcntl.LOCK_UN:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        flock(fd, operation)

    monkeypatch.setattr("fcntl.flock", refuse)
    first, second = RunLock(tmp_path / "library.db"), RunLock(tmp_path / "library.db")
    assert first.take()
    assert not second.take()
    first.release()
    assert second.take()


@pytest.mark.parametrize("mode", [0o664, 0o600])
def test_whoever_may_write_the_database_may_take_the_lock_of_one_who_was_killed(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "library.db"
    create_library(path, files=1)
    path.chmod(mode)
    lock = RunLock(path)
    assert lock.take()
    try:
        left = path.with_name(path.name + ".auto-tag-lock")
        assert left.stat().st_mode & 0o777 == mode
    finally:
        lock.release()


@pytest.mark.parametrize("tried", [True, False])
def test_who_does_not_hold_the_lock_takes_it_from_nobody(tmp_path: Path, tried: bool) -> None:
    path = tmp_path / "library.db"
    create_library(path, files=1)
    holder, lock = RunLock(path), RunLock(path)
    assert holder.take()
    assert not tried or not lock.take()
    lock.release()
    assert not RunLock(path).take()
    holder.release()
