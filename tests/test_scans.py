"""Reads of a whole large library wait for each other; a run and everything short go on beside them."""

import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from sidecar.demo.library import create_library
from sidecar.library.connections import Shape
from sidecar.redaction import Redactor
from sidecar.rpc.methods import App, call, running_app
from sidecar.settings import Settings

PATIENCE_SECONDS = 20.0
MANY = 8


@asynccontextmanager
async def library_being_scanned(tmp_path: Path) -> AsyncIterator[tuple[App, threading.Event]]:
    """More scans than there may be at once stand still until the event is set."""
    path = tmp_path / "library.db"
    create_library(path, files=10)
    gate = threading.Event()

    def stands_still(_connection: sqlite3.Connection, _shape: Shape) -> None:
        assert gate.wait(PATIENCE_SECONDS)

    with trio.fail_after(PATIENCE_SECONDS):
        async with (
            running_app(Settings(database=path, api_key="k" * 20), lambda _: None, Redactor()) as app,
            trio.open_nursery() as nursery,
        ):
            for _ in range(MANY):
                nursery.start_soon(app.library.scan, stands_still)
            await trio.testing.wait_all_tasks_blocked(0.01)
            try:
                yield app, gate
            finally:
                gate.set()


async def test_short_reads_find_a_place_beside_any_number_of_scans(tmp_path: Path) -> None:
    async with library_being_scanned(tmp_path) as (app, _):
        for method, params in {
            "list_runs": b"{}",
            "get_tagging_history": b'{"file_id": 1}',
            "explain": b'{"file_id": 1}',
            "get_untagged_files": b'{"limit": 100}',
            "list_tag_mappings": b"{}",
            "auto_tag_files": b'{"file_ids": []}',
        }.items():
            await call(app, method, params)


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("count_untagged_files", b"{}"),
        ("estimate", b"{}"),
        ("estimate_cost", b'{"prices": {"input": 1, "output": 1, "currency": "EUR"}}'),
        ("find_stale", b"{}"),
        ("get_untagged_files", b"{}"),
        ("get_untagged_files", b'{"limit": 100000}'),
    ],
)
async def test_reads_of_the_whole_library_take_no_place_from_short_ones(
    tmp_path: Path, method: str, params: bytes
) -> None:
    answered = []

    async def asks() -> None:
        answered.append((await call(app, method, params)).result)

    async with library_being_scanned(tmp_path) as (app, gate), trio.open_nursery() as nursery:
        for _ in range(MANY):
            nursery.start_soon(asks)
        await call(app, "list_runs", b"{}")
        assert not answered
        gate.set()
    assert len(answered) == MANY
