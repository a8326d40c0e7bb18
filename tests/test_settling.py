"""batch: what an answer settles, and what is asked for next."""

import json
from collections.abc import Iterable, Sequence

import pytest

from sidecar.contract import Reason
from sidecar.gemini.verdicts import GiveUp, Halve
from sidecar.runs.batch import Part, Settled, settle
from sidecar.runs.outcomes import BLOCKED, LEFT_OUT, UNUSABLE, NotTagged
from sidecar.tagging.answers import Reply
from sidecar.tagging.records import Snapshot
from sidecar.tagging.tags import AudioFile, Before

IDS = [11, 12, 13, 14, 15]
REFUSED = NotTagged(Reason.REQUEST_REJECTED, "No.")


def files(ids: Iterable[int]) -> list[Snapshot]:
    return [Snapshot(AudioFile(file_id, f"{file_id}.mp3"), Before()) for file_id in ids]


def answer(*numbers: int, fault: Reason | None = None) -> Reply:
    """About these files of the request; after a fault the last one's tags are broken off."""
    tags = {"genre": "folk", "moods": ["calm"], "occasions": ["rest"], "keywords": []}
    text = json.dumps([{"id": number, **tags} for number in numbers])
    return Reply(text if fault is None else text[:-10], fault)


def asked_next(settled: Settled) -> list[tuple[list[int], bool]]:
    return [([snapshot.file.id for snapshot in part.files], part.again) for part in settled.parts]


@pytest.mark.parametrize(
    ("ids", "again", "reply", "tagged", "not_tagged", "parts"),
    [
        (IDS, False, answer(1, 2, 3, 4, 5), IDS, {}, []),
        (IDS, False, answer(5, 1), [11, 15], {}, [([12, 13, 14], True)]),
        ([12, 13], True, answer(1), [12], {13: LEFT_OUT}, []),
        ([12, 13], True, Reply("no JSON"), [], {}, [([12], True), ([13], True)]),
        (IDS, False, answer(1, 2, fault=Reason.BAD_RESPONSE), [11], {}, [([12, 13], False), ([14, 15], False)]),
        (IDS, False, answer(1, 2, 3, 4, 5, fault=Reason.BLOCKED), IDS[:4], {}, [([15], False)]),
        ([13], False, answer(1, fault=Reason.BLOCKED), [], {13: BLOCKED}, []),
        ([13], False, Reply("no JSON"), [], {13: UNUSABLE}, []),
        (IDS, False, Reply("no JSON"), [], {}, [([11, 12, 13], False), ([14, 15], False)]),
        (IDS, False, Halve(REFUSED.reason, REFUSED.message), [], {}, [([11, 12, 13], False), ([14, 15], False)]),
        (IDS, False, GiveUp(REFUSED.reason, REFUSED.message), [], dict.fromkeys(IDS, REFUSED), []),
        ([13], False, Halve(REFUSED.reason, REFUSED.message), [], {13: REFUSED}, []),
    ],
    ids=[
        "whole", "two left out", "left out twice", "left out and unusable", "broken off", "broken off at the last",
        "blocked alone", "unusable alone", "unusable", "too much together", "given up", "too much alone",
    ],
)  # fmt: skip
def test_what_an_answer_settles(
    ids: Sequence[int],
    again: bool,
    reply: Reply | Halve | GiveUp,
    tagged: list[int],
    not_tagged: dict[int, NotTagged],
    parts: list[tuple[list[int], bool]],
) -> None:
    settled = settle(Part(files(ids), again), reply)
    assert (sorted(settled.tags), settled.not_tagged, asked_next(settled)) == (tagged, not_tagged, parts)
