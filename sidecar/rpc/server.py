"""Reads calls, runs each in a task of its own, answers; and the order in which the process ends.

The reading task waits for no call and no reader of stdout; where too many calls are open, or too many
answers wait, no more lines are read. Calls begin in the order in which they came, the members of a batch too, so
that a `cancel` sent behind an `auto_tag_files` finds its run. The one boundary where an exception becomes a
line of the protocol is `_answered`.
"""

import logging
import math
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar, TypeVarTuple, assert_never

import trio
from msgspec import Struct

from sidecar.contract import OWN_ERROR, BatchReport, Code, Completion, Event, Progress, RpcError, event_name
from sidecar.process import parent, reading, signals, stdio, unpacked
from sidecar.process.lines import MAX_LINE_BYTES, Line, TooLong
from sidecar.process.logs import Logs
from sidecar.rpc import jsonrpc
from sidecar.rpc.methods import Answer, App, call, running_app
from sidecar.rpc.outbox import Outbox
from sidecar.settings import Settings

log = logging.getLogger(__name__)

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

END_SECONDS = 0.7
"""For the run to stop and calls under way to be answered; an exit has 2 s in all (CONTRACT section 1)."""
MOST_OPEN_CALLS = 10_000
"""A call that waits takes some 8 KB. While more are under way, the members of batches too, no line is read."""
MOST_OPEN_BYTES = MAX_LINE_BYTES
"""Of their lines; decoded, a list of ids takes six times as much. While there are more, no line is read."""
LARGE_LINE_BYTES = 1024 * 1024
"""Answers beyond leave by a thread: a library's list of files is much larger, others are much smaller."""
CLOSE_SECONDS = 0.2
FLUSH_SECONDS = 0.25


async def serve(settings: Settings, streams: stdio.Streams, logs: Logs, parent_pid: int) -> None:
    """Serves until the input ends, a signal arrives, the parent dies or `shutdown` is called.

    `parent_pid` is what this process had for a parent when it began.
    Does not return: leaves by `os._exit`, because a thread may be parked in a read of stdin, which a
    normal exit would wait for or abort on (cpython#129536).
    """
    outbox = Outbox(streams.stdout_fd)
    emit = partial(_send_event, outbox)
    async with running_app(settings, emit, logs.redactor) as app, trio.open_nursery() as nursery:
        server = Server(app, outbox)
        nursery.start_soon(_stop_when, partial(parent.wait_for_death, parent_pid), app.stop)
        nursery.start_soon(_stop_at_signals, app.stop)
        nursery.start_soon(server.read, streams.stdin_fd)
        nursery.start_soon(partial(trio.to_thread.run_sync, unpacked.sweep, abandon_on_cancel=True))
        await app.stop.wait()
        with trio.move_on_after(END_SECONDS):
            await app.runs.stop()
            await server.calls_done.wait()
        with trio.move_on_after(CLOSE_SECONDS):
            await app.library.aclose()
        outbox.flush(FLUSH_SECONDS)
        logs.flush(FLUSH_SECONDS)
        unpacked.leave(0)


class _Arrival(Struct, frozen=True):
    """A line that was read, and what it adds to what is under way."""

    message: jsonrpc.Message
    line_bytes: int

    @property
    def calls(self) -> int:
        """At least one: what is refused gets an answer too."""
        return len(self.message.items)


def _arrival(line: Line) -> _Arrival:
    if isinstance(line, TooLong):
        return _Arrival(jsonrpc.Message([jsonrpc.TOO_LONG], is_batch=False), 0)
    return _Arrival(jsonrpc.read(line), len(line))


class Server:
    """The protocol's end of one process."""

    def __init__(self, app: App, outbox: Outbox) -> None:
        self._app = app
        self._outbox = outbox
        self._open_calls = 0
        self._open_bytes = 0
        self._large_answers = trio.CapacityLimiter(1)  # each may take 200 MB
        self._room = threading.Event()
        self._room.set()
        self.calls_done = trio.Event()
        self.calls_done.set()

    async def read(self, fd: int) -> None:
        """Serves line by line; sets `stop` at the end of the input."""
        send, receive = trio.open_memory_channel[_Arrival | None](math.inf)

        def deliver(lines: list[Line]) -> None:
            for line in lines:
                arrival = _arrival(line)
                self._count(arrival.calls, arrival.line_bytes)
                send.send_nowait(arrival)

        async def feed() -> None:
            await reading.read_lines(fd, deliver, (self._room, self._outbox.room))
            send.send_nowait(None)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed)
            while (arrival := await receive.receive()) is not None:
                if arrival.message.is_batch:
                    await nursery.start(self._serve, arrival)
                else:
                    nursery.start_soon(self._serve, arrival)
                    # One scheduling round each: trio starts tasks of the same round in random order.
                    await trio.lowlevel.checkpoint()
            self._app.stop.set()

    async def _serve(
        self, arrival: _Arrival, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        try:
            if arrival.message.is_batch:
                await self._serve_batch(arrival.message.items, task_status)
            else:
                answer, then = await self._answered(arrival.message.items[0])
                await self._send(answer)
                then()
        finally:
            self._count(-arrival.calls, -arrival.line_bytes)

    async def _serve_batch(self, items: list[jsonrpc.Item], task_status: trio.TaskStatus[None]) -> None:
        """Has started when all members have begun."""
        answers: list[tuple[bytes, Callable[[], None]]] = [(b"", _nothing)] * len(items)

        async def one(index: int) -> None:
            line, then = await self._answered(items[index])
            if line:
                answers[index] = line, then
            else:  # a notification: its run waits for no answer
                then()

        async with trio.open_nursery() as nursery:
            for index in range(len(items)):
                nursery.start_soon(one, index)
                await trio.lowlevel.checkpoint()
            task_status.started()
        await self._send(jsonrpc.batch_line([line for line, _ in answers if line]))
        for _, then in answers:
            then()

    async def _answered(self, item: jsonrpc.Item) -> tuple[bytes, Callable[[], None]]:
        """The line that answers a call (empty for a notification), and what to do once it is sent."""
        if isinstance(item, jsonrpc.Refusal):
            return _refused(item), _nothing
        answer = Answer(None)
        try:
            answer = await call(self._app, item.method, item.params)
            line = await self._line(item, answer)
            if answer.is_over is not None and answer.is_over():
                line = await self._line(item, await call(self._app, item.method, item.params))
        except RpcError as error:
            text = self._app.redactor.redact(error.message)
            line = jsonrpc.error_line(item.id or jsonrpc.NULL_ID, error.code, text, error.data)
            _let_go(error)
        except Exception:
            log.exception("a call failed")
            line = jsonrpc.error_line(item.id or jsonrpc.NULL_ID, Code.INTERNAL_ERROR, OWN_ERROR)
        return (line if item.id is not None else b""), answer.then or _nothing

    async def _line(self, item: jsonrpc.Call, answer: Answer[Any]) -> bytes:
        if jsonrpc.is_large(answer.result):
            return await self._in_thread(jsonrpc.large_result_line, item.id or jsonrpc.NULL_ID, answer.result)
        return jsonrpc.result_line(item.id or jsonrpc.NULL_ID, answer.result)

    async def _send(self, line: bytes) -> None:
        """Puts it on its way to the shell."""
        if len(line) > LARGE_LINE_BYTES:
            await self._in_thread(self._outbox.large_answer, line)
        else:
            self._outbox.answer(line)

    async def _in_thread(self, work: Callable[[*Ts], T], *args: *Ts) -> T:
        return await trio.to_thread.run_sync(work, *args, limiter=self._large_answers, abandon_on_cancel=True)

    def _count(self, calls: int, line_bytes: int) -> None:
        self._open_calls += calls
        self._open_bytes += line_bytes
        if self._open_calls > MOST_OPEN_CALLS or self._open_bytes > MOST_OPEN_BYTES:
            self._room.clear()
        elif not self._room.is_set():
            self._room.set()
        if self._open_calls == 0:
            self.calls_done.set()
        elif self.calls_done.is_set():
            self.calls_done = trio.Event()


def _send_event(outbox: Outbox, event: Event) -> None:
    """Sends a notification; never waits."""
    line = jsonrpc.notification_line(event_name(event), event)
    match event:
        case Completion():
            outbox.complete(line)
        case BatchReport():
            outbox.batch(line)
        case Progress():
            outbox.progress(event.run_id, line)
        case _:
            assert_never(event)


def _let_go(error: BaseException | None) -> None:
    """Frees what was worked with where it was raised, a million ids perhaps.

    An error that came from a thread and the frames that it has passed hold each other, until Python's garbage
    collector looks through all there is: rarely in a process that makes so little garbage.
    """
    while error is not None:
        error.__traceback__ = None
        error = error.__context__


def _refused(refusal: jsonrpc.Refusal) -> bytes:
    return jsonrpc.error_line(refusal.id, refusal.code, refusal.message)


def _nothing() -> None:
    pass


async def _stop_when(happens: Callable[[], Awaitable[object]], stop: trio.Event) -> None:
    await happens()
    stop.set()


async def _stop_at_signals(stop: trio.Event) -> None:
    with suppress(ValueError), trio.open_signal_receiver(*signals.ending()) as caught:
        async for _ in caught:
            stop.set()
