"""The sidecar as the shell has it: a process, three pipes, a record of every line; and what must always hold.

`LIGEIA_SIDECAR_COMMAND` names the program to test (a frozen file, say); without it `python -m sidecar`.
Every wait in here has a deadline: a test that hangs fails instead.
"""

import json
import os
import shlex
import signal
import sqlite3
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, Final

import trio

from sidecar.demo.library import create_library
from sidecar.demo.standin import Received, StandIn
from sidecar.demo.vocabulary import VOCABULARY, plausible_tags

ROOT: Final = Path(__file__).resolve().parent.parent
DEADLINE_SECONDS: Final = 30.0
KEY: Final = "AIzaTest-Key-0123456789-abcdefghij"
FAST: Final[dict[str, Any]] = {"backoff_base_seconds": 0.01, "backoff_max_seconds": 0.05}
"""For `configure`: backoffs that a test can wait for."""
COMPLETE: Final = "tagging-complete"

_COUNTERS: Final = ("processed_files", "failed_files", "skipped_files")
_WRITABLE: Final = frozenset({"genre", "mood", "auto_tagged", "auto_tag_date", "auto_tag_version", "updated_at"})
_WRITABLE_TABLES: Final = frozenset({"audio_files", "rpg_tags", "tag_mapping_cache", "sqlite_sequence"})

Message = dict[str, Any]
Row = dict[str, Any]
Snapshot = dict[str, list[Row]]


def command() -> list[str]:
    """The program under test."""
    named = os.environ.get("LIGEIA_SIDECAR_COMMAND")
    return shlex.split(named) if named else [sys.executable, "-m", "sidecar"]


class Sidecar:
    """A client. `transcript` holds every line of stdout, parsed, in order; `log` every byte of stderr."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.transcript: list[Any] = []
        self.raw: list[bytes] = []
        self.log = b""
        self.ended = trio.Event()
        self._changed = trio.lowlevel.ParkingLot()
        self._last_id = 0

    async def send_line(self, line: bytes) -> None:
        """One line as it is; its end is added."""
        assert self.process.stdin is not None
        with trio.fail_after(DEADLINE_SECONDS):
            await self.process.stdin.send_all(line + b"\n")

    async def send(self, method: str, **params: Any) -> int:
        """A request whose answer nobody waits for; its id."""
        self._last_id += 1
        call = {"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params}
        await self.send_line(json.dumps(call).encode())
        return self._last_id

    async def notify(self, method: str, **params: Any) -> None:
        """A call that gets no answer."""
        await self.send_line(json.dumps({"jsonrpc": "2.0", "method": method, "params": params}).encode())

    async def request(self, method: str, **params: Any) -> Message:
        """The whole answer to a call."""
        number = await self.send(method, **params)
        return await self.wait_for(lambda message: is_answer(message, number))

    async def result(self, method: str, **params: Any) -> Any:
        """The result of a call that must not fail."""
        answer = await self.request(method, **params)
        assert "result" in answer, answer
        return answer["result"]

    async def error(self, method: str, **params: Any) -> Message:
        """The error of a call that must fail."""
        answer = await self.request(method, **params)
        assert "error" in answer, answer
        error: Message = answer["error"]
        return error

    async def exchange(self, line: bytes) -> Any:
        """The next line of stdout after this raw line is sent; for quiet moments without a run."""
        seen = len(self.transcript)
        await self.send_line(line)
        await self.wait_until(lambda: len(self.transcript) > seen)
        return self.transcript[seen]

    async def wait_for(
        self, predicate: Callable[[Message], bool], seconds: float = DEADLINE_SECONDS, start: int = 0
    ) -> Message:
        """The first message (from index `start`) of which the predicate is true, however early it came."""
        found: list[Message] = []
        position = start

        def look() -> bool:
            nonlocal position
            while position < len(self.transcript):
                message = self.transcript[position]
                position += 1
                if isinstance(message, dict) and predicate(message):
                    found.append(message)
                    return True
            return False

        await self.wait_until(look, seconds)
        return found[0]

    async def wait_until(self, condition: Callable[[], bool], seconds: float = DEADLINE_SECONDS) -> None:
        """Returns once the condition holds; looked at after each line."""
        with trio.fail_after(seconds):
            while not condition():
                if self.ended.is_set():
                    raise AssertionError(f"stdout ended; log: {self.log.decode(errors='replace')[-2000:]}")
                await self._changed.park()

    async def complete(self, run_id: str) -> Message:
        """The params of the run's `tagging-complete`."""
        message = await self.wait_for(lambda m: m.get("method") == COMPLETE and m["params"]["run_id"] == run_id)
        params: Message = message["params"]
        return params

    async def tag(self, **params: Any) -> Message:
        """A whole run: the params of its `tagging-complete`."""
        started = await self.result("auto_tag_files", **params)
        assert started["status"] == "started", started
        return await self.complete(started["run_id"])

    async def exit_code(self, seconds: float = DEADLINE_SECONDS) -> int:
        """Waits for the process to end by itself, and for the rest of its output."""
        with trio.fail_after(seconds):
            code = await self.process.wait()
            await self.ended.wait()
            return code

    async def kill(self) -> None:
        """SIGKILL, and what was still in the pipe."""
        self.process.kill()
        await self.exit_code()

    async def close_stdin(self) -> None:
        """The end of the input."""
        assert self.process.stdin is not None
        await self.process.stdin.aclose()

    def index(self, predicate: Callable[[Message], bool]) -> int:
        """Where in the transcript the first such message stands."""
        return next(i for i, m in enumerate(self.transcript) if isinstance(m, dict) and predicate(m))

    def events(self, method: str) -> list[Message]:
        """The params of all notifications of that name."""
        return [m["params"] for m in self.transcript if isinstance(m, dict) and m.get("method") == method]

    async def _read_stdout(self) -> None:
        assert self.process.stdout is not None
        buffer = b""
        async for chunk in self.process.stdout:
            *lines, buffer = (buffer + chunk).split(b"\n")
            for line in lines:
                self.raw.append(line)
                self.transcript.append(json.loads(line.decode("ascii")))
            self._changed.unpark_all()
        assert not buffer or self.process.returncode, "stdout ended inside of a line"
        self.ended.set()
        self._changed.unpark_all()

    async def _read_stderr(self) -> None:
        assert self.process.stderr is not None
        async for chunk in self.process.stderr:
            self.log += chunk


def is_answer(message: Message, number: int) -> bool:
    """Whether the message answers the request of that id."""
    return "method" not in message and message.get("id") == number


@asynccontextmanager
async def start(
    database: Path | None,
    gemini: StandIn | None,
    env: Mapping[str, str | None] | None = None,
    arguments: Sequence[str] = (),
    wrapper: Sequence[str] = (),
    reading: trio.Event | None = None,
) -> AsyncIterator[Sidecar]:
    """A running sidecar; killed, if need be, when the block ends. `env` adds variables, None removes one.

    `wrapper` is put before the command. Nothing is read from stdout and stderr before `reading` is set.
    """
    options = [] if database is None else ["--database", str(database)]
    process: trio.Process = await trio.lowlevel.open_process(
        [*wrapper, *command(), *options, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_environment(gemini, env or {}),
    )
    subject = Sidecar(process)
    failure: Exception | None = None

    async def read(reader: Callable[[], Any]) -> None:
        if reading is not None:
            await reading.wait()
        await reader()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read, subject._read_stdout)
        nursery.start_soon(read, subject._read_stderr)
        try:
            yield subject
        except Exception as raised:  # noqa: BLE001 - raised again below, outside the nursery that would wrap it
            failure = raised
        finally:
            with trio.CancelScope(shield=True):
                if process.returncode is None:
                    process.kill()
                await process.wait()
        nursery.cancel_scope.cancel()
    for pipe in (process.stdin, process.stdout, process.stderr):
        assert pipe is not None
        await pipe.aclose()
    if failure is not None:
        raise failure


def _environment(gemini: StandIn | None, changes: Mapping[str, str | None]) -> dict[str, str]:
    prefixes = ("GEMINI_", "GOOGLE_", "LIGEIA_")
    plain: dict[str, str | None] = {k: v for k, v in os.environ.items() if not k.startswith(prefixes)}
    plain |= {"GEMINI_API_KEY": KEY, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": None}
    # Without a stand-in, a port that nobody listens on: no test ever reaches the real API.
    plain["GOOGLE_GEMINI_BASE_URL"] = gemini.base_url if gemini else "http://127.0.0.1:9"
    return {name: value for name, value in (plain | dict(changes)).items() if value is not None}


async def eventually(condition: Callable[[], bool], seconds: float = DEADLINE_SECONDS) -> None:
    """Polls, for what tells nobody when it changes: another process's database, a process's death."""
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - see above
            await trio.sleep(0.01)


async def never(condition: Callable[[], bool], seconds: float) -> None:
    """Fails when the condition comes true within that time."""
    with trio.move_on_after(seconds) as scope:
        await eventually(condition, seconds + 1)
    assert scope.cancelled_caught, "what must not happen has happened"


def alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and waits to be reaped does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    try:
        return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def send_signal(subject: Sidecar, name: str) -> None:
    """A signal by name, since not every system has each."""
    subject.process.send_signal(getattr(signal, name))


# --- the library --------------------------------------------------------------------------------


def library(folder: Path, files: int = 60, *, with_dates: bool = False) -> Path:
    """A fresh library in the folder."""
    path = folder / "ligeia.db"
    create_library(path, files=files, with_dates=with_dates)
    return path


def execute(database: Path, statement: str, *values: Any) -> None:
    """A write of the shell's."""
    with closing(sqlite3.connect(database, timeout=10)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(statement, values)


def query(database: Path, statement: str, *values: Any) -> list[Row]:
    """Rows as dicts."""
    with closing(sqlite3.connect(database, timeout=10)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(statement, values)]


def scalar(database: Path, statement: str, *values: Any) -> Any:
    """The one value of the one row."""
    [row] = query(database, statement, *values)
    [value] = row.values()
    return value


def snapshot(database: Path) -> Snapshot:
    """Every row of every table, whole, and the schema as the table `sqlite_master`; one transaction."""
    with closing(sqlite3.connect(database, timeout=10)) as connection:
        connection.row_factory = sqlite3.Row
        connection.execute("BEGIN")
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = "type, name, tbl_name, sql"
        found = {"sqlite_master": connection.execute(f"SELECT {columns} FROM sqlite_master ORDER BY name")}
        found |= {table: connection.execute(f'SELECT * FROM "{table}"') for table in sorted(tables)}
        return {table: [dict(row) for row in rows] for table, rows in found.items()}


def by_id(rows: list[Row], key: str = "id") -> dict[int, Row]:
    """Rows by their id."""
    return {row[key]: row for row in rows}


def tags_of(database: Path, file_id: int) -> set[tuple[str, str]]:
    """The occasions and keywords of a file."""
    found = query(database, "SELECT tag_type, tag_value FROM rpg_tags WHERE audio_file_id = ?", file_id)
    return {(row["tag_type"], row["tag_value"]) for row in found}


def vocabulary(kind: str) -> list[str]:
    """The sample library's tags of a type: `genre`, `mood`, `occasion`, `keyword`."""
    return [row[1] for row in VOCABULARY if row[0].removesuffix("s") == kind]


# --- what Gemini says ---------------------------------------------------------------------------


def answers(received: Received) -> list[Message]:
    """The items of a right answer to a tagging request."""
    items = []
    for file in received.files:
        tags = plausible_tags(str(file["path"]))
        items.append(
            {
                "id": file["id"],
                "genre": tags.genre,
                "moods": tags.moods,
                "occasions": tags.occasions,
                "keywords": tags.keywords,
            }
        )
    return items


# --- what always holds --------------------------------------------------------------------------


def check(database: Path, before: Snapshot, subject: Sidecar | None = None, *, tagged: int | None = None) -> None:
    """The library is whole, only what may change has changed, and the transcript keeps its promises."""
    check_database(database, before)
    if tagged is not None:
        assert scalar(database, "SELECT count(*) FROM audio_files WHERE auto_tagged = 1") == tagged
    if subject is not None:
        check_transcript(subject)


def check_database(database: Path, before: Snapshot) -> None:
    """CONTRACT section 5, whole rows compared."""
    assert query(database, "PRAGMA integrity_check") == [{"integrity_check": "ok"}]
    assert query(database, "PRAGMA foreign_key_check") == []
    after = snapshot(database)
    schema = [row for row in after["sqlite_master"] if not _ours(row["tbl_name"], before)]
    assert schema == before["sqlite_master"], "the schema of the shell's tables changed"
    for table, rows in before.items():
        if table in _WRITABLE_TABLES or table.startswith("auto_tag_") or table == "sqlite_master":
            continue
        assert after[table] == rows, f"{table} changed"
    files, were = by_id(after["audio_files"]), by_id(before["audio_files"])
    assert files.keys() == were.keys()
    histories = defaultdict(list)
    for row in after["auto_tag_history"]:
        histories[row["file_id"]].append(row)
    for file_id, row in files.items():
        changed = {name for name, value in row.items() if value != were[file_id][name]}
        assert changed <= _WRITABLE, f"file {file_id}: {changed - _WRITABLE} changed"
        if row["auto_tagged"]:
            check_tagged_file(row, after)
            assert histories[file_id]
        else:
            assert not changed and not histories[file_id], f"file {file_id} was touched"


def check_tagged_file(row: Row, after: Snapshot) -> None:
    """A tagged file has a genre, a mood and a tag, all of the vocabulary, and a date and version."""
    assert row["genre"] in _active(after, "genre"), row["genre"]
    moods = row["mood"].split("; ")
    assert moods and set(moods) <= _active(after, "mood"), moods
    tags = [tag for tag in after["rpg_tags"] if tag["audio_file_id"] == row["id"]]
    assert tags
    for tag in tags:
        assert tag["tag_value"] in _active(after, tag["tag_type"]), tag
    assert row["auto_tag_date"] and row["auto_tag_version"]


def _active(after: Snapshot, kind: str) -> set[str]:
    rows = after["tag_vocabulary"]
    return {row["tag_value"] for row in rows if row["is_active"] and row["tag_type"].removesuffix("s") == kind}


def _ours(table: str, before: Snapshot) -> bool:
    return table.startswith("auto_tag_") and table not in before


def check_transcript(subject: Sidecar) -> None:
    """CONTRACT section 3: order and sums, in every run of the transcript that has ended."""
    assert all(b"\r" not in line and line.isascii() for line in subject.raw)
    events = defaultdict(list)
    answered: set[str] = set()
    for message in subject.transcript:
        if isinstance(message, dict) and "method" in message:
            events[message["params"]["run_id"]].append(message)
            assert message["params"]["run_id"] in answered, "a notification before the answer"
        elif isinstance(message, dict) and isinstance(message.get("result"), dict):
            answered.add(message["result"].get("run_id") or "")
    for messages in events.values():
        check_run(messages)


def check_run(messages: list[Message]) -> None:
    """One run's notifications, of which `tagging-complete` is the one last."""
    methods = [message["method"] for message in messages]
    assert methods.count(COMPLETE) == 1 and methods[-1] == COMPLETE, methods[-3:]
    last = dict.fromkeys((*_COUNTERS, "current_batch"), 0)
    for message in messages:
        params = message["params"]
        if "total_files" not in params:
            continue
        counted = sum(params[name] for name in _COUNTERS) + params["remaining_files"]
        assert counted == params["total_files"], params
        assert all(params[name] >= value for name, value in last.items()), "a counter went back"
        last = {name: params[name] for name in last}
    complete = messages[-1]["params"]
    if complete["status"] == "completed":
        assert complete["remaining_files"] == 0
        assert messages[-2]["method"] == "tagging-progress"
        assert messages[-2]["params"]["current_batch"] == complete["total_batches"]
