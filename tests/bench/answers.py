"""How soon the process answers: `status` idle and at full speed, pipelined, and `cancel`."""

import subprocess
import sys
import threading
import time
from statistics import median

from tests.bench.figures import Figure, against, at_most, percentile
from tests.bench.sidecar import BATCH, Sidecar, library, request, sidecar

_LOOP = "import sys\nfor line in sys.stdin.buffer: sys.stdout.buffer.write(line); sys.stdout.buffer.flush()"


def idle() -> list[Figure]:
    """Round trips one by one against a loop that reads and prints, then as many as go."""
    with library(100) as path, sidecar(path) as subject:
        line = request(1, "check_gemini_api_key")
        mine = [_round_trip(subject.process, line) for _ in range(2000)][200:]
        with subprocess.Popen(
            [sys.executable, "-c", _LOOP], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as loop:
            floor = [_round_trip(loop, line) for _ in range(2000)][200:]
            loop.kill()
        rate = _pipelined(subject, 60_000)
    return [
        against(
            "an answer when idle, p50",
            f"{median(mine) * 1e6:.0f} µs",
            f"{median(floor) * 1e6:.0f} µs (a loop that reads and prints)",
            median(mine) / median(floor),
            most=3,
        ),
        Figure(
            name="requests a second, pipelined", measured=f"{rate:,.0f}", wanted="≥ 15,000", met=rate >= 15_000
        ),
    ]


def busy(files: int) -> list[Figure]:
    """`status` every 5 ms while a run goes at full speed."""
    with library(files) as path, sidecar(path) as subject:
        subject.warm()
        sent: dict[int, float] = {}
        over = threading.Event()

        def ask() -> None:
            number = 0
            while not over.wait(0.005):
                number += 1
                sent[number] = time.perf_counter()
                subject.write(request(number, "status"))

        asking = threading.Thread(target=ask)
        subject.send("auto_tag_files", batch_size=BATCH, max_parallel=8)
        asking.start()
        waits = []
        for message in subject.messages():
            if message.get("id") in sent:
                waits.append(time.perf_counter() - sent[message["id"]])
            if message.get("method") == "tagging-complete":
                break
        over.set()
        asking.join()
    return [at_most("`status` during a run at full speed, p99", percentile(waits, 0.99) * 1000, 20, "ms", 1)]


def cancel(rounds: int = 30) -> list[Figure]:
    """From `cancel` to its answer, with calls in flight to a server that takes 5 s."""
    waits = []
    with library(2000) as path, sidecar(path, 5) as subject:
        ids = list(range(1, 1601))
        for _ in range(rounds):
            subject.send("auto_tag_files", batch_size=BATCH, max_parallel=32, file_ids=ids)
            subject.until("auto_tag_files")
            _wait_for_connections(subject, 32)
            began = time.perf_counter()
            subject.send("cancel")
            subject.until("cancel")
            waits.append(time.perf_counter() - began)
    return [at_most("`cancel` with 32 calls in flight, p99", percentile(waits, 0.99) * 1000, 50, "ms", 1)]


def _wait_for_connections(subject: Sidecar, count: int) -> None:
    deadline = time.monotonic() + 20
    while len(subject.usage.net_connections("tcp")) < count:
        assert time.monotonic() < deadline, "the calls did not get under way"
        time.sleep(0.005)


def _round_trip(process: "subprocess.Popen[bytes]", line: bytes) -> float:
    assert process.stdin is not None and process.stdout is not None
    began = time.perf_counter()
    process.stdin.write(line)
    process.stdin.flush()
    process.stdout.readline()
    return time.perf_counter() - began


def _pipelined(subject: Sidecar, count: int) -> float:
    """Answers a second when nobody waits for one before sending the next."""
    lines = b"".join(request(number, "check_gemini_api_key") for number in range(count))
    writing = threading.Thread(target=subject.write, args=(lines,))
    assert subject.process.stdout is not None
    began = time.perf_counter()
    writing.start()
    for _ in range(count):
        subject.process.stdout.readline()
    seconds = time.perf_counter() - began
    writing.join()
    return count / seconds


def started() -> list[Figure]:
    """From launch to the answer of `status`, unfrozen; `tests.bench.frozen` has the frozen file's."""
    waits = []
    with library(100) as path:
        for _ in range(9):
            began = time.perf_counter()
            subject = Sidecar(path)
            subject.ask("status")
            waits.append(time.perf_counter() - began)
            subject.end()
    return [Figure(name="launch to the answer of `status`, not frozen", measured=f"{median(waits) * 1000:.0f} ms")]
