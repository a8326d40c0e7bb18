"""The shell's side of the three pipes: a client of one process, and a record of all that went through them."""

import json
import signal
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any, Final, NamedTuple

import msgspec
import trio

from sidecar.demo.standin import StandIn
from sidecar.rpc import discover, jsonrpc
from tests.harness.forks import Process
from tests.harness.lines import Message, decoded_line, id_key, is_answer
from tests.harness.waiting import DEADLINE_SECONDS, family, kill, none_left
from tests.openrpc import check_message

KEY: Final = "AIzaTest-Key-0123456789-abcdefghij"
FAST: Final[dict[str, Any]] = {"backoff_base_seconds": 0.01, "backoff_max_seconds": 0.05}
"""For `configure`: backoffs that a test can wait for."""
COMPLETE: Final = "tagging-complete"

_STARTING: Final = frozenset({"auto_tag_files", "retry_failed"})


class Seen(NamedTuple):
    """A message of the process's. `method`: the notification's, or that of the request it answers."""

    method: str | None
    message: Message


class Client:
    """One process, as `start` yields it.

    `transcript` holds every line of stdout, decoded, in order, and `raw` its bytes; `seen` the messages with
    batches taken apart; `log` every byte of stderr. `objections` says what the OpenRPC document does not allow.
    `expected` counts the ids under which an answer is due, `lines_due` the lines that hold them, `answers_due`
    the answers that have still to come (below 0: too many came), `silent_starts` the runs that a notification
    asked for, `called` the calls of each method. `runs` maps each run to the length of the stand-in's journal
    when it was asked for and when its start was answered; `starts` has the first of it for every attempt.
    """

    def __init__(self, process: Process, gemini: StandIn | None, *, quiet: bool) -> None:
        self.process = process
        self.gemini = gemini
        self.quiet = quiet
        self.transcript: list[Any] = []
        self.raw: list[bytes] = []
        self.rest = b""
        self.seen: list[Seen] = []
        self.objections: list[str] = []
        self.log = bytearray()
        self.ended = trio.Event()
        self.heard_all = False
        self.expected: Counter[str] = Counter()
        self.lines_due = 0
        self.answers_due = 0
        self.silent_starts = 0
        self.called: Counter[str] = Counter()
        self.secrets = {KEY}
        self.starts: list[int] = []
        self.runs: dict[str, tuple[int, int]] = {}
        self._asked: dict[str, tuple[str, int]] = {}
        self._changed = trio.lowlevel.ParkingLot()
        self._sending = trio.Lock()
        self._last_id = 0

    # --- to the process -------------------------------------------------------------------------

    async def send_line(self, line: bytes, *, bytewise: bool = False) -> None:
        """One line (or several) as it is, at once or byte by byte; its end is added."""
        assert self.process.stdin is not None
        for part in line.split(b"\n"):
            self._expect_line(part)
        whole = line + b"\n"
        with trio.fail_after(DEADLINE_SECONDS):
            async with self._sending:
                for piece in map(bytes, zip(whole, strict=True)) if bytewise else (whole,):
                    await self.process.stdin.send_all(piece)

    async def send(self, method: str, **params: Any) -> int:
        """A request whose answer nobody waits for; its id."""
        self._last_id += 1
        number = self._last_id
        call = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        await self.send_line(json.dumps(call).encode())
        return number

    async def notify(self, method: str, **params: Any) -> None:
        """A call that gets no answer."""
        await self.send_line(json.dumps({"jsonrpc": "2.0", "method": method, "params": params}).encode())

    async def request(self, method: str, **params: Any) -> Message:
        """The whole answer to a call."""
        start = len(self.transcript)
        number = await self.send(method, **params)
        return await self.wait_for(lambda message: is_answer(message, number), start=start)

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
        position = len(self.transcript)
        await self.send_line(line)
        await self.wait_until(lambda: len(self.transcript) > position)
        return self.transcript[position]

    async def tag(self, **params: Any) -> Message:
        """A whole run: the params of its `tagging-complete`."""
        started = await self.result("auto_tag_files", **params)
        assert started["status"] == "started" and started["message"] == "Auto-tagging started", started
        return await self.complete(started["run_id"])

    # --- from the process -----------------------------------------------------------------------

    async def wait_for(
        self, predicate: Callable[[Message], bool], seconds: float = DEADLINE_SECONDS, start: int = 0
    ) -> Message:
        """The first message (from line `start`) of which the predicate is true, however early it came."""
        found: list[Message] = []
        position = start

        def look() -> bool:
            nonlocal position
            while position < len(self.transcript) and not found:
                message = self.transcript[position]
                position += 1
                if isinstance(message, dict) and predicate(message):
                    found.append(message)
            return bool(found)

        await self.wait_until(look, seconds)
        return found[0]

    async def wait_until(self, condition: Callable[[], bool], seconds: float = DEADLINE_SECONDS) -> None:
        """Returns once the condition holds; looked at whenever something was read."""
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

    def events(self, method: str) -> list[Message]:
        """The params of all notifications of that name."""
        return [message["params"] for _, message in self.seen if message.get("method") == method]

    # --- its end --------------------------------------------------------------------------------

    async def exit_code(self, seconds: float = DEADLINE_SECONDS) -> int:
        """Waits for the process to end by itself, and for the rest of its output."""
        with trio.fail_after(seconds):
            code = await self.process.wait()
            await self.ended.wait()
            return code

    async def close_stdin(self) -> None:
        """The end of the input."""
        assert self.process.stdin is not None
        await self.process.stdin.aclose()
        self.heard_all = True

    def send_signal(self, name: str) -> None:
        """A signal by name, since not every system has each."""
        self.process.send_signal(getattr(signal, name))

    async def kill(self) -> None:
        """SIGKILL to the process and what descends from it; then what was still in the pipe is read."""
        processes = family(self.process.pid)
        kill(processes)
        await none_left(processes)
        await self.exit_code()

    async def end(self) -> None:
        """The end of the input, and the end that must follow. Nothing to do for a process that has ended."""
        if self.process.returncode is None:
            processes = family(self.process.pid)
            await self.close_stdin()
            assert await self.exit_code() == 0, self.log.decode(errors="replace")[-2000:]
            await none_left(processes)
        else:
            await self.exit_code()

    # --- the record -----------------------------------------------------------------------------

    async def read_stdout(self) -> None:
        """Until its end."""
        assert self.process.stdout is not None
        async for chunk in self.process.stdout:
            *lines, self.rest = (self.rest + chunk).split(b"\n")
            for line in lines:
                self.raw.append(line)
                decoded = json.loads(line.decode("ascii"))
                self.transcript.append(decoded)
                for message in decoded if isinstance(decoded, list) else [decoded]:
                    self._seen(message)
            self._changed.unpark_all()
        self.ended.set()
        self._changed.unpark_all()

    async def read_stderr(self) -> None:
        """Until its end."""
        assert self.process.stderr is not None
        async for chunk in self.process.stderr:
            self.log += chunk

    def _seen(self, message: Message) -> None:
        """The one place that every answer and notification passes."""
        asked, journal_length = self._asked.get(id_key(message), (None, 0))
        self.seen.append(Seen(message.get("method", asked), message))
        self.answers_due -= "method" not in message
        try:
            check_message(_document(), asked, message)
        except AssertionError as error:
            self.objections.append(str(error))
        result = message.get("result")
        if isinstance(result, dict) and result.get("status") == "started":
            self.runs[result["run_id"]] = (journal_length, self._journal_length)

    def _expect_line(self, line: bytes) -> None:
        """Counts what the line has to be answered with."""
        if not line.strip(b" \t\r"):
            return
        try:
            decoded = decoded_line(line)
        except (ValueError, RecursionError):
            decoded = None
        items = [decoded]
        if isinstance(decoded, list) and 0 < len(decoded) <= jsonrpc.MAX_BATCH_MEMBERS:
            items = decoded
        answered = [self._expect(item) for item in items]
        self.lines_due += any(answered)

    def _expect(self, item: Any) -> bool:
        """Counts what one call has to be answered with; false for a notification."""
        call = item if isinstance(item, dict) else {}
        method, params = call.get("method"), call.get("params", {})
        valid = call.get("jsonrpc") == "2.0" and isinstance(method, str) and isinstance(params, dict | list)
        key = id_key(call)
        if valid:
            self.called[str(method)] += 1
            self.secrets |= {params["api_key"]} if "api_key" in params and isinstance(params, dict) else set()
            self.starts += [self._journal_length] if method in _STARTING else []
            if "id" not in call:
                self.silent_starts += method in _STARTING
                return False
            self._asked[key] = (str(method), self._journal_length)
        self.expected[key] += 1
        self.answers_due += 1
        return True

    @property
    def _journal_length(self) -> int:
        return len(self.gemini.journal) if self.gemini else 0


@cache
def _document() -> Message:
    """What `rpc.discover` answers; the validators are made once for this object."""
    described: Message = json.loads(msgspec.json.encode(discover.document()))
    return described
