"""outbox: which lines wait for a slow reader, and which are dropped."""

import time

from hypothesis import given
from hypothesis import strategies as st

from sidecar.rpc.outbox import (
    LINE_COST_BYTES,
    MAX_WAITING_BATCH_BYTES,
    MAX_WAITING_BATCHES,
    MAX_WAITING_PROGRESS,
    Waiting,
)
from tests.streams.scenes import drain


def test_lines_leave_in_the_order_they_came() -> None:
    waiting = Waiting()
    waiting.put(b"a\n")
    waiting.put_progress("r", b"p\n")
    waiting.put_batch(b"b\n")
    waiting.put(b"c\n")
    assert waiting.take() == b"a\np\nb\nc\n"
    assert waiting.take() == b""


def test_what_waits_is_weighed_and_what_leaves_or_is_dropped_weighs_nothing() -> None:
    waiting = Waiting()
    waiting.put(b"ab\n")
    assert waiting.waiting_bytes == 3 + LINE_COST_BYTES
    for number in range(MAX_WAITING_PROGRESS + 5):
        waiting.put_progress("r", b"p%d\n" % number)
    for _ in range(MAX_WAITING_BATCHES + 5):
        waiting.put_batch(b"b\n")
    left = len(drain(waiting))
    assert left < MAX_WAITING_PROGRESS + MAX_WAITING_BATCHES
    assert waiting.waiting_bytes == 0


def test_up_to_64_waiting_progress_none_is_coalesced() -> None:
    waiting = Waiting()
    for number in range(MAX_WAITING_PROGRESS):
        waiting.put_progress("r", b"%d\n" % number)
    assert drain(waiting) == [b"%d" % number for number in range(MAX_WAITING_PROGRESS)]


def test_the_latest_progress_stands_for_its_run_and_where_it_came() -> None:
    waiting = Waiting()
    waiting.put_progress("other", b"o\n")
    for number in range(MAX_WAITING_PROGRESS):
        waiting.put_batch(b"b%d\n" % number)
        waiting.put_progress("r", b"p%d\n" % number)
    waiting.put(b"complete\n")
    last = MAX_WAITING_PROGRESS - 1
    batches = [b"b%d" % number for number in range(MAX_WAITING_PROGRESS)]
    assert drain(waiting) == [b"o", *batches, b"p%d" % last, b"complete"]


def test_a_thousand_runs_keep_their_last_progress_each() -> None:
    waiting = Waiting()
    for run in range(1000):
        waiting.put_progress(f"{run}", b"first\n")
        waiting.put_progress(f"{run}", b"last %d\n" % run)
        waiting.put(b"complete %d\n" % run)
    lines = drain(waiting)
    for run in range(1000):
        assert lines.index(b"last %d" % run) < lines.index(b"complete %d" % run)
    assert lines.count(b"first") <= MAX_WAITING_PROGRESS


def test_the_oldest_batches_beyond_the_count_are_dropped() -> None:
    waiting = Waiting()
    for number in range(MAX_WAITING_BATCHES + 3):
        waiting.put_batch(b"%d\n" % number)
    assert drain(waiting) == [b"%d" % number for number in range(3, MAX_WAITING_BATCHES + 3)]


def test_the_oldest_batches_beyond_the_bytes_are_dropped() -> None:
    waiting = Waiting()
    half = b"x" * (MAX_WAITING_BATCH_BYTES // 2)
    for number in range(3):
        waiting.put_batch(b"%d" % number + half[1:])
    assert waiting.take()[:1] == b"1"
    assert waiting.take()[:1] == b"2"
    assert waiting.take() == b""


def test_the_newest_batch_is_kept_however_large() -> None:
    waiting = Waiting()
    huge = b"x" * (2 * MAX_WAITING_BATCH_BYTES)
    waiting.put_batch(b"small\n")
    waiting.put_batch(huge)
    assert waiting.take() == huge


def test_what_was_taken_no_longer_counts() -> None:
    waiting = Waiting()
    for number in range(10 * MAX_WAITING_BATCHES):
        waiting.put_batch(b"b" * 1000)
        waiting.put_progress("r", b"p")
        assert waiting.take() == b"b" * 1000 + b"p", number


@given(
    st.lists(
        st.tuples(st.sampled_from("pbat"), st.sampled_from(["r", "", "q"]), st.integers(1, 5000)),
        max_size=400,
    )
)
def test_whatever_comes_answers_stay_and_each_run_ends_with_its_last_progress(
    steps: list[tuple[str, str, int]],
) -> None:
    waiting, sent, taken = Waiting(), [], []
    for number, (kind, run, size) in enumerate(steps):
        line = f"{kind},{run},{number},{'x' * size}".encode()
        if kind == "t":
            taken += waiting.take().split(b"\n")
        elif kind == "p":
            waiting.put_progress(run, line + b"\n")
        elif kind == "b":
            waiting.put_batch(line + b"\n")
        else:
            waiting.put(line + b"\n")
        sent += [line] * (kind != "t")
    taken = [line for line in [*taken, *drain(waiting)] if line]
    places = {line: place for place, line in enumerate(sent)}
    assert taken == sorted(set(taken), key=places.__getitem__)
    assert {line for line in sent if line.startswith(b"a")} <= set(taken)
    for start in (b"p,r,", b"p,,", b"p,q,"):
        assert [line for line in sent if line.startswith(start)][-1:] == [
            line for line in taken if line.startswith(start)
        ][-1:]


def test_a_hundred_thousand_coalesced_messages_take_no_time() -> None:
    waiting = Waiting()
    started = time.process_time()
    for _ in range(100_000):
        waiting.put_progress("r", b"p\n")
        waiting.put_batch(b"b\n")
    drain(waiting)
    assert time.process_time() - started < 3
