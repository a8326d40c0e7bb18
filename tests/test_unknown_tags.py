"""Unknown tags: one request for each in the whole process, whoever meets it and whoever is cut off."""

import json

import pytest
import trio
import trio.testing

from sidecar.contract import Reason, RunStatus, TagType
from sidecar.gemini.calls import Stop
from sidecar.gemini.mapping import MOST_TAGS_A_REQUEST, UnknownTags
from sidecar.gemini.policy import End, GiveUp, Halve
from sidecar.tagging.answers import RawTags, Reply
from sidecar.tagging.mappings import REMOVE, Mappings
from sidecar.tagging.vocabulary import Vocabulary, VocabularyTag

VOCABULARY = Vocabulary([VocabularyTag(TagType.KEYWORD, "biome:cave"), VocabularyTag(TagType.MOOD, "eerie")])
CAVERN = (TagType.KEYWORD, "cavern")


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
            nursery.start_soon(unknown.learn, raw("cavern"), VOCABULARY, gemini.ask)
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
                await unknown.learn(raw("cavern"), VOCABULARY, gemini.ask)

        nursery.start_soon(cut_off)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(unknown.learn, raw("cavern"), VOCABULARY, gemini.ask)
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
    assert await unknown.learn(raw("cavern", "forgotten"), VOCABULARY, gemini.ask) is None
    assert await unknown.learn(raw("cavern", "forgotten"), VOCABULARY, gemini.ask) is None
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
    await unknown.learn(raw("cavern", "other"), VOCABULARY, gemini.ask)
    assert unknown.mappings.find(CAVERN, VOCABULARY) is None
    assert unknown.mappings.unknown(raw("cavern", "other"), VOCABULARY) == {}


async def test_a_valid_tag_may_be_spelt_in_another_way() -> None:
    unknown, gemini = UnknownTags(Mappings()), Gemini(answer(("CAVERN", " Biome / Cave ")))
    gemini.gate.set()
    await unknown.learn(raw("Cavern"), VOCABULARY, gemini.ask)
    found = unknown.mappings.find(CAVERN, VOCABULARY)
    assert found is not None and (found.invalid, found.valid) == ("Cavern", "biome:cave")


async def test_many_tags_go_in_several_requests() -> None:
    tags = [f"tag {number}" for number in range(2 * MOST_TAGS_A_REQUEST + 1)]
    unknown, gemini = UnknownTags(Mappings()), Gemini(Reply("[]"), Reply("[]"), Reply("[]"))
    gemini.gate.set()
    await unknown.learn(raw(*tags), VOCABULARY, gemini.ask)
    assert [len(asked) for asked in gemini.asked] == [MOST_TAGS_A_REQUEST, MOST_TAGS_A_REQUEST, 1]


async def test_a_refusal_for_its_content_is_not_repeated_and_a_failure_is() -> None:
    refused, failed = Halve(Reason.BLOCKED, "Blocked."), GiveUp(Reason.TIMEOUT, "Too late.")
    unknown, gemini = UnknownTags(Mappings()), Gemini(failed, refused)
    gemini.gate.set()
    assert await unknown.learn(raw("cavern"), VOCABULARY, gemini.ask) is failed
    assert await unknown.learn(raw("cavern"), VOCABULARY, gemini.ask) is None
    assert await unknown.learn(raw("cavern"), VOCABULARY, gemini.ask) is None
    assert len(gemini.asked) == 2


async def test_what_ends_the_run_is_told() -> None:
    end = End(RunStatus.QUOTA_EXHAUSTED, "Used up.")
    unknown, gemini = UnknownTags(Mappings()), Gemini(end)
    gemini.gate.set()
    assert await unknown.learn(raw("cavern"), VOCABULARY, gemini.ask) is end


class Refusing:
    """Answers no request that holds one of its words: in `manner`, else as a model that knows every tag."""

    def __init__(self, words: set[str], manner: Reply | Stop) -> None:
        self.asked: list[list[str]] = []
        self._words = words
        self._manner = manner

    async def ask(self, unknown: list[tuple[TagType, str]]) -> Reply | Stop:
        tags = [tag for _, tag in unknown]
        self.asked.append(tags)
        return self._manner if self._words & {*tags} else answer(*((tag, "biome:cave") for tag in tags))


TAGS = [f"tag-{number}" for number in range(8)]


@pytest.mark.parametrize(
    "manner",
    [
        Halve(Reason.REQUEST_REJECTED, "Rejected."),
        Reply("", Reason.BLOCKED),
        Reply("[", Reason.BAD_RESPONSE),
        Reply("no json"),
        Reply('[{"type": "keyword", "invalid": 1, "valid": 1}]'),
    ],
)
async def test_tags_that_cannot_be_answered_together_are_halved_until_the_one_at_fault_stands_alone(
    manner: Reply | Stop,
) -> None:
    unknown, gemini = UnknownTags(Mappings()), Refusing({"tag-5"}, manner)
    assert await unknown.learn(raw(*TAGS), VOCABULARY, gemini.ask) is None
    found = {tag for tag in TAGS if unknown.mappings.find((TagType.KEYWORD, tag), VOCABULARY)}
    assert found == {*TAGS} - {"tag-5"}
    assert gemini.asked == [TAGS, TAGS[:4], TAGS[4:], TAGS[4:6], ["tag-4"], ["tag-5"], TAGS[6:]]
    assert await unknown.learn(raw(*TAGS), VOCABULARY, gemini.ask) is None
    assert len(gemini.asked) == 7, "what was given up is not asked for again"


async def test_of_an_answer_that_breaks_off_what_is_whole_is_used_and_only_the_rest_is_asked_again() -> None:
    said = json.loads(answer(("tag-0", "biome:cave"), ("tag-1", "biome:gone"), ("tag-2", None)).text)
    gemini = Gemini(Reply(json.dumps(said)[:-1], Reason.BAD_RESPONSE), Reply("[]"), Reply("[]"))
    unknown = UnknownTags(Mappings())
    gemini.gate.set()
    assert await unknown.learn(raw(*TAGS[:5]), VOCABULARY, gemini.ask) is None
    assert gemini.asked == [TAGS[:5], ["tag-3"], ["tag-4"]]
    assert unknown.mappings.unknown(raw(*TAGS[:5]), VOCABULARY) == {}


async def test_a_failure_between_halves_leaves_what_is_learnt_and_gives_nothing_up() -> None:
    failed = GiveUp(Reason.TIMEOUT, "Too late.")
    unknown = UnknownTags(Mappings())
    gemini = Gemini(Reply("", Reason.BLOCKED), answer(("tag-0", "biome:cave")), failed)
    gemini.gate.set()
    assert await unknown.learn(raw("tag-0", "tag-1"), VOCABULARY, gemini.ask) is failed
    assert list(unknown.mappings.unknown(raw("tag-0", "tag-1"), VOCABULARY)) == [(TagType.KEYWORD, "tag-1")]


async def test_while_halves_are_asked_for_another_batch_waits_for_all_of_them() -> None:
    unknown = UnknownTags(Mappings())
    gemini = Gemini(Reply("", Reason.BLOCKED), answer(("tag-0", "biome:cave")), answer(("tag-1", "biome:cave")))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(unknown.learn, raw("tag-0", "tag-1"), VOCABULARY, gemini.ask)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(unknown.learn, raw("tag-1"), VOCABULARY, gemini.ask)
        await trio.testing.wait_all_tasks_blocked()
        gemini.gate.set()
    assert gemini.asked == [["tag-0", "tag-1"], ["tag-0"], ["tag-1"]]
