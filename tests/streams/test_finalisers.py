"""A finaliser that fails is logged where it runs, also in a thread that is busy with the log's own queue."""

import subprocess
import sys

from tests.streams.scenes import ROOT

SETTING = """
import logging, sys, threading
from sidecar.process import logs, stdio

class Fails:
    def __del__(self):
        raise LookupError

take, logs.Waiting.take = logs.Waiting.take, lambda waiting: on_take(waiting)
begun, going_on, log = threading.Event(), threading.Event(), logging.getLogger("sidecar.test")
"""
FAILED = "CRITICAL sidecar.process.logs: unhandled (LookupError)"


def logged(code: str) -> list[str]:
    """What stands on stderr at the end of a process that did that; a deadlock is a TimeoutExpired."""
    done = subprocess.run(
        [sys.executable, "-c", SETTING + code], capture_output=True, timeout=30, cwd=ROOT, check=True
    )
    return done.stderr.decode().splitlines()


def test_in_the_thread_that_writes_while_another_one_logs() -> None:
    code = """
def on_take(self):
    if threading.current_thread().name == "logs" and not begun.is_set():
        begun.set()
        going_on.wait()
        Fails()
    return take(self)

class Word:
    def __str__(self):  # from here on this thread is on its way to the queue
        going_on.set()
        return "word"

logs.configure("INFO", stdio.claim().stderr_fd)
begun.wait()
log.info("%s", Word())
"""
    assert logged(code) == [FAILED, "INFO sidecar.test: word"]


def test_in_a_thread_that_hands_over_its_line() -> None:
    code = """
def on_take(self):
    data = take(self)
    if b"word" in data:
        Fails()
    return data

log_of_process = logs.configure("INFO", stdio.claim().stderr_fd)
assert log_of_process.flush(10)
log.info("word")
"""
    assert logged(code) == ["INFO sidecar.test: word", FAILED]
