"""library.faults: what sqlite3's errors are called."""

import sqlite3
from pathlib import Path

from sidecar.library.faults import Fault, translated


def test_who_has_lost_the_race_for_a_transaction_too_often_is_told_of_a_lock(tmp_path: Path) -> None:
    error = sqlite3.OperationalError("locking protocol")
    error.sqlite_errorcode = sqlite3.SQLITE_PROTOCOL
    assert translated(error, tmp_path / "library.db").fault is Fault.LOCKED
