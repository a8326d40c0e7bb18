"""Unknown tags: one request for each in the whole process, whoever meets it and whoever is cut off."""

import json

import pytest
import trio
import trio.testing

from sidecar.contract import Reason, RunStatus, TagType
from sidecar.gemini.calls import Stop
from sidecar.gemini.mapping import MOST_TAGS_A_REQUEST, UnknownTags
from sidecar.gemini.verdicts import End, GiveUp, Halve
from sidecar.tagging.answers import RawTags, Reply
from sidecar.tagging.mappings import REMOVE, Mappings
from sidecar.tagging.vocabulary import Vocabulary, VocabularyTag

VOCABULARY = Vocabulary([VocabularyTag(TagType.KEYWORD, "biome:cave"), VocabularyTag(TagType.MOOD, "eerie")])
CAVERN = (TagType.KEYWORD, "cavern")


def vocabulary() -> Vocabulary:
    return VOCABULARY


def raw(*keywords: str) -> list[RawTags]:
    return [RawTags(keywords=keywords)]


def answer(*pairs: tuple[str, str | None]) -> Reply:
    return Reply(json.dumps([{"type": "keyword", "invalid": tag, "valid": valid} for tag, valid in pairs]))


class Gemini:
    """Answers each question with the next of its answers, once its gate is open."""

    def __init__(self, *answers: Reply | Stop) -> None:
        self.asked: list[list[str]] = []
        self.gate = trio.Event()
        self._answers = list(answers)

    async def ask(self, unknown: list[tuple[TagType, str]]) -> Reply | Stop:
        self.asked.append([tag for _, tag in unknown])
        await self.gate.wait()
        return self._answers.pop(0)


async def test_batches_that_meet_a_tag_at_once_share_one_request() -> None:
    unknown, gemini = UnknownTags(Mappings()), Gemini(answer(("cavern", "biome:cave")))
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(unknown.learn, raw("cavern"), vocabulary, gemini.ask)
        await trio.testing.wait_all_tasks_blocked()
        gemini.gate.set()
    assert gemini.asked == [["cavern"]]
    found = unknown.mappings.find(CAVERN, VOCABULARY)
    assert found is not None and found.valid == "biome:cave"


async def test_when_the_batch_that_asks_is_cut_off_one_that_waits_takes_over() -> None:
    unknown, gemini = UnknownTags(Mappings()), Gemini(answer(("cavern", "biome:cave")))
    async with trio.open_nursery() as nursery:
        first = trio.CancelScope()

        async def cut_off() -> None:
            with first:
                await unknown.learn(raw("cavern"), vocabulary, gemini.ask)

        nursery.start_soon(cut_off)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(unknown.learn, raw("cavern"), vocabulary, gemini.ask)
        await trio.testing.wait_all_tasks_blocked()
        assert gemini.asked == [["cavern"]]
        first.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert gemini.asked == [["cavern"], ["cavern"]]
        gemini.gate.set()
    assert unknown.mappings.find(CAVERN, VOCABULARY) is not None


async def test_what_fits_nothing_is_remembered_and_what_is_left_out_is_not_asked_again() -> None:
    unknown, gemini = UnknownTags(Mappings()), Gemini(answer(("cavern", None), ("other", "biome:cave")))
    gemini.gate.set()
    assert await unknown.learn(raw("cavern", "forgotten"), vocabulary, gemini.ask) is None
    assert await unknown.learn(raw("cavern", "forgotten"), vocabulary, gemini.ask) is None
    assert gemini.asked == [["cavern", "forgotten"]]
    found = unknown.mappings.find(CAVERN, VOCABULARY)
    assert found is not None and found.valid == REMOVE


async def test_an_answer_outside_of_the_vocabulary_or_of_another_type_does_not_count() -> None:
    reply = Reply(
        json.dumps(
            [
                {"type": "keyword", "invalid": "cavern", "valid": "biome:grotto"},
                {"type": "mood", "invalid": "other", "valid": "eerie"},
            ]
        )
    )
    unknown, gemini = UnknownTags(Mappings()), Gemini(reply)
    gemini.gate.set()
    await unknown.learn(raw("cavern", "other"), vocabulary, gemini.ask)
    assert unknown.mappings.find(CAVERN, VOCABULARY) is None
    assert unknown.mappings.unknown(raw("cavern", "other"), VOCABULARY) == {}


async def test_a_valid_tag_may_be_spelt_in_another_way() -> None:
    unknown, gemini = UnknownTags(Mappings()), Gemini(answer(("CAVERN", " Biome / Cave ")))
    gemini.gate.set()
    await unknown.learn(raw("Cavern"), vocabulary, gemini.ask)
    found = unknown.mappings.find(CAVERN, VOCABULARY)
    assert found is not None and (found.invalid, found.valid) == ("Cavern", "biome:cave")


async def test_many_tags_go_in_several_requests() -> None:
    tags = [f"tag {number}" for number in range(2 * MOST_TAGS_A_REQUEST + 1)]
    unknown, gemini = UnknownTags(Mappings()), Gemini(Reply("[]"), Reply("[]"), Reply("[]"))
    gemini.gate.set()
    await unknown.learn(raw(*tags), vocabulary, gemini.ask)
    assert [len(asked) for asked in gemini.asked] == [MOST_TAGS_A_REQUEST, MOST_TAGS_A_REQUEST, 1]


async def test_a_tag_beyond_the_first_request_is_asked_for_by_whoever_is_free_and_by_nobody_else() -> None:
    tags = [f"tag {number}" for number in range(MOST_TAGS_A_REQUEST + 2)]
    unknown, gemini = UnknownTags(Mappings()), Gemini(Reply("[]"), Reply("[]"), Reply("[]"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(unknown.learn, raw(*tags), vocabulary, gemini.ask)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(unknown.learn, raw(tags[-1]), vocabulary, gemini.ask)
        await trio.testing.wait_all_tasks_blocked()
        gemini.gate.set()
    assert gemini.asked == [tags[:MOST_TAGS_A_REQUEST], [tags[-1]], [tags[-2]]]
    assert await unknown.learn(raw(*tags), vocabulary, gemini.ask) is None
    assert len(gemini.asked) == 3


@pytest.mark.parametrize(
    "refused",
    [
        Reply("", Reason.BLOCKED),
        Halve(Reason.BLOCKED, "Blocked."),
        Halve(Reason.REQUEST_REJECTED, "No."),
        Reply("[", Reason.BAD_RESPONSE),
        Halve(Reason.BAD_RESPONSE, "Unusable."),
    ],
    ids=["blocked", "blocked before", "rejected", "too long", "empty"],
)
async def test_tags_that_are_refused_together_are_halved_until_the_one_at_fault_stands_alone(
    refused: Reply | Stop,
) -> None:
    unknown, asked = UnknownTags(Mappings()), list[list[str]]()

    async def ask(open_tags: list[tuple[TagType, str]]) -> Reply | Stop:
        asked.append([tag for _, tag in open_tags])
        return refused if "x" in asked[-1] else answer(*((tag, "biome:cave") for tag in asked[-1]))

    assert await unknown.learn(raw("a", "c", "x"), vocabulary, ask) is None
    assert asked == [["a", "c", "x"], ["a", "c"], ["x"]]
    assert unknown.mappings.find((TagType.KEYWORD, "c"), VOCABULARY) is not None
    assert unknown.mappings.unknown(raw("a", "c", "x"), VOCABULARY) == {}


async def test_a_refusal_for_its_content_is_not_repeated_and_a_failure_is() -> None:
    refused, failed = Halve(Reason.BLOCKED, "Blocked."), GiveUp(Reason.TIMEOUT, "Too late.")
    unknown, gemini = UnknownTags(Mappings()), Gemini(failed, refused)
    gemini.gate.set()
    assert await unknown.learn(raw("cavern"), vocabulary, gemini.ask) is failed
    assert await unknown.learn(raw("cavern"), vocabulary, gemini.ask) is None
    assert await unknown.learn(raw("cavern"), vocabulary, gemini.ask) is None
    assert len(gemini.asked) == 2


async def test_where_every_answer_is_unusable_it_is_not_halved_to_the_last_tag() -> None:
    asked = list[int]()

    async def ask(open_tags: list[tuple[TagType, str]]) -> Reply | Stop:
        asked.append(len(open_tags))
        return Halve(Reason.BAD_RESPONSE, "Unusable.")

    unknown, tags = UnknownTags(Mappings()), [f"unknown {number}" for number in range(MOST_TAGS_A_REQUEST)]
    assert await unknown.learn(raw(*tags), vocabulary, ask) is None
    assert asked[:8] == [100, 50, 25, 13, 7, 4, 2, 1] and len(asked) < 20
    assert unknown.mappings.unknown(raw(*tags), VOCABULARY) == {}


async def test_what_something_other_than_gemini_said_is_no_answer() -> None:
    page = Halve(Reason.BAD_RESPONSE, "Check whether the network asks for a sign-in.", foreign=True)
    unknown, gemini = UnknownTags(Mappings()), Gemini(page, answer(("cavern", "biome:cave")))
    gemini.gate.set()
    assert await unknown.learn(raw("cavern", "vale"), vocabulary, gemini.ask) is page
    assert await unknown.learn(raw("cavern"), vocabulary, gemini.ask) is None
    assert gemini.asked == [["cavern", "vale"], ["cavern"]]


async def test_what_ends_the_run_is_told() -> None:
    end = End(RunStatus.QUOTA_EXHAUSTED, "Used up.")
    unknown, gemini = UnknownTags(Mappings()), Gemini(end)
    gemini.gate.set()
    assert await unknown.learn(raw("cavern"), vocabulary, gemini.ask) is end
