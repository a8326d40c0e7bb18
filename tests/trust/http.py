"""HTTP faults: each at the first, a middle, the last and at every request, with 1, 3 and 8 in parallel.

Nine of ten in virtual time (see `virtual`), the others over real HTTP against the real process. How a run
has to end stands beside each fault in `faults`. The long form, and a share of the short one, mixes them:
then what holds whatever the server answers is looked at, and that healthy answers are never in vain.
"""

import itertools
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final, Literal

from sidecar.demo import standin
from sidecar.demo.standin import Received, Reply
from tests import harness
from tests.trust.faults import COMPLETED, FAULTS, Fault, Outcome
from tests.trust.row import Case, Counts, Figure, Row, chance, each
from tests.trust.virtual import Server, Tagged, check, in_virtual_time, tag

Where = Literal["first", "middle", "last", "every"]
BATCHES, SIZE = 12, 3
POSITIONS: Final[dict[Where, int]] = {"first": 1, "middle": BATCHES // 2, "last": BATCHES}
PLACED: Final = [
    (fault, where, parallel)
    for fault, where, parallel in itertools.product(FAULTS, (*POSITIONS, "every"), (1, 3, 8))
]
REAL_SHARE: Final = 10
MIXES_SHARE: Final = 4
REAL_FASTER: Final = {**harness.FAST, "request_timeout_seconds": 2, "outage_max_seconds": 2.5}
TOO_SLOW: Final = ("429 with a delay of 2 s", "every")
"""Ten refusals for each batch, and each of them waited out: virtual time alone has that much."""


async def run(size: int, seed: int) -> Counts:
    """`size` cases: a tenth real, a quarter mixes, the others each fault in its place (drawn, where too many)."""
    real, mixes = size // REAL_SHARE, size // MIXES_SHARE
    placed = min(len(PLACED), size - real - mixes)
    chosen = chance(seed, "http").sample(PLACED, placed)
    possible = [(fault, where, at_once) for fault, where, at_once in PLACED if (fault.name, where) != TOO_SLOW]
    drawn = chance(seed, "http", "real").sample(possible, min(real, len(possible)))
    counts = await each(_placed_cases(chosen))
    counts.add(await each(_mixed_cases(size - placed - len(drawn), seed)))
    with tempfile.TemporaryDirectory() as folder:
        counts.add(await each(_real_cases(drawn, Path(folder)), at_once=2))
    counts.figures.append(Figure("over real HTTP", len(drawn)))
    return counts


def script(fault: Fault, where: Where, received: Received) -> Reply | None:
    """The fault in its place, the normal answer elsewhere."""
    if received.kind == "tagging" and (where == "every" or received.number == POSITIONS[where]):
        return fault.reply(received)
    return None


# --- in virtual time ------------------------------------------------------------------------------


def _placed_cases(chosen: list[tuple[Fault, Where, int]]) -> Iterator[Case]:
    for fault, where, parallel in chosen:
        case = partial(_placed, fault, where, parallel)
        yield f"{fault.name}, {where}, {parallel} in parallel", partial(in_virtual_time, case)


async def _placed(fault: Fault, where: Where, parallel: int) -> None:
    server = Server(partial(script, fault, where))
    done = await tag(server, batches=BATCHES, size=SIZE, parallel=parallel)
    check(server, done, files=BATCHES * SIZE, parallel=parallel)
    _check_outcome(fault.always if where == "every" else fault.once, done)


def _check_outcome(wanted: Outcome, done: Tagged) -> None:
    reasons = {reason for reason, _ in done.failed.values()}
    assert done.status == wanted.status, done
    if wanted.status != COMPLETED:
        assert done.message.endswith(".") and reasons <= {wanted.reason}, done
    elif wanted.reason is None:
        assert len(done.tagged) == BATCHES * SIZE, done
    else:
        assert bool(done.tagged) == wanted.partly and reasons == {wanted.reason}, done


def _mixed_cases(count: int, seed: int) -> Iterator[Case]:
    for number in range(count):
        yield f"mix {number}", partial(in_virtual_time, partial(_mixed, number, seed))


async def _mixed(number: int, seed: int) -> None:
    random = chance(seed, "mix", number)
    parallel, share = random.choice((1, 3, 8)), random.choice((0.05, 0.2, 0.5))
    passing = [fault for fault in FAULTS if fault.once.status == COMPLETED]
    faults = random.sample(passing if random.random() < 0.8 else FAULTS, 6)

    def mixed(received: Received) -> Reply | None:
        return random.choice(faults).reply(received) if random.random() < share else None

    server = Server(mixed)
    done = await tag(server, batches=BATCHES, size=SIZE, parallel=parallel)
    check(server, done, files=BATCHES * SIZE, parallel=parallel)
    allowed = {f.once.status for f in faults} | {f.always.status for f in faults}
    assert done.status in allowed, done


# --- over real HTTP -------------------------------------------------------------------------------


def _real_cases(drawn: list[tuple[Fault, Where, int]], folder: Path) -> Iterator[Case]:
    for number, (fault, where, parallel) in enumerate(drawn):
        name = f"{fault.name}, {where}, {parallel} in parallel, real"
        yield name, partial(_real, fault, where, parallel, folder / str(number))


async def _real(fault: Fault, where: Where, parallel: int, folder: Path) -> None:
    folder.mkdir()
    library = harness.library(folder, BATCHES * SIZE)
    async with (
        standin.running(latency_seconds=0.02, script=partial(script, fault, where)) as gemini,
        harness.start(library, gemini) as subject,
    ):
        await subject.result("configure", **REAL_FASTER)
        done = await subject.tag(batch_size=SIZE, max_parallel=parallel)
        failures = (await subject.result("get_run"))["failures"]
        assert gemini.peak_open_requests <= parallel
        assert done["usage"]["requests"] >= gemini.arrived
        tagged = Tagged(
            status=done["status"],
            message=done["message"],
            tagged={row["id"] for row in library.query("SELECT id FROM audio_files WHERE auto_tagged = 1")},
            failed={f["file_id"]: (f["reason"], f["message"]) for f in failures},
            requests=done["usage"]["requests"],
            retries=done["usage"]["retries"],
            seconds=done["elapsed_seconds"],
        )
        _check_outcome(fault.always if where == "every" else fault.once, tagged)


ROW = Row("http", "HTTP faults, in all places, at 1, 3 and 8 in parallel", (300, 50_000), run)
