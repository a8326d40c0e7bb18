"""All that is sent to Gemini, to the byte."""

import json

import pytest

from sidecar.contract import TagType
from sidecar.tagging.prompts import (
    MAX_FIELD_LENGTH,
    estimated_tokens,
    mapping_request,
    system_instruction,
    tagging_request,
)
from sidecar.tagging.tags import AudioFile
from sidecar.tagging.vocabulary import Vocabulary, VocabularyTag

TAGS = [
    VocabularyTag(TagType.MOOD, "eerie", "makes the neck hair stand"),
    VocabularyTag(TagType.GENRE, "ambient", "ambient"),
    VocabularyTag(TagType.KEYWORD, "biome:cave"),
    VocabularyTag(TagType.OCCASION, "dungeon-crawl"),
]


def test_the_instruction_is_the_same_for_the_same_tags_in_any_order() -> None:
    assert system_instruction(Vocabulary(TAGS)) == system_instruction(Vocabulary(reversed(TAGS)))


def test_the_instruction_lists_each_tag_under_its_heading_with_its_description() -> None:
    lists = system_instruction(Vocabulary(TAGS)).split("\nGENRES\n")[1]
    assert lists == (
        "ambient\n\nMOODS\neerie (makes the neck hair stand)\n\nOCCASIONS\ndungeon-crawl\n\nKEYWORDS\nbiome:cave\n"
    )


def test_a_tag_with_a_line_break_is_offered_as_one_tag_and_known_again() -> None:
    vocabulary = Vocabulary([VocabularyTag(TagType.MOOD, "boss\nfight"), VocabularyTag(TagType.MOOD, "a\r\nb")])
    offered = system_instruction(vocabulary).split("\nMOODS\n")[1].split("\n\n")[0].splitlines()
    assert offered == ["a b", "boss fight"]
    assert [vocabulary.find(TagType.MOOD, tag) for tag in offered] == ["a\r\nb", "boss\nfight"]


def test_hints_come_after_everything_that_stays_the_same() -> None:
    plain = system_instruction(Vocabulary(TAGS))
    hinted = system_instruction(Vocabulary(TAGS), "We say 'crypt' for any cellar.")
    assert hinted.startswith(plain)
    assert hinted.endswith("We say 'crypt' for any cellar.\n")


def test_a_request_numbers_its_files_and_leaves_empty_fields_out() -> None:
    files = [
        AudioFile(71, "/home/ann/Music/Dungeon/Drips.mp3", "Drips", " ", None, 93.456),
        AudioFile(12, "/home/ann/Music/Tavern/Lute.mp3"),
    ]
    assert json.loads(tagging_request(files, "/home/ann/Music/")) == {
        "files": [
            {"id": 1, "path": "Dungeon/Drips.mp3", "title": "Drips", "duration": 93.46},
            {"id": 2, "path": "Tavern/Lute.mp3"},
        ]
    }


def test_a_text_is_told_to_its_first_few_hundred_characters() -> None:
    lyrics = AudioFile(1, "/a/Lute.mp3", "  The Miller " + "🎲é\n" * 400_000, "é" * MAX_FIELD_LENGTH, "x" * 301)
    [told] = json.loads(tagging_request([lyrics], "/a/"))["files"]
    assert told["title"] == ("The Miller " + "🎲é\n" * 100)[:MAX_FIELD_LENGTH].rstrip()
    assert (told["artist"], told["album"]) == ("é" * MAX_FIELD_LENGTH, "x" * MAX_FIELD_LENGTH)


@pytest.mark.parametrize("duration", [None, 0.0, 0.004])
def test_no_sound_is_told_to_be_without_length_or_path(duration: float | None) -> None:
    assert json.loads(tagging_request([AudioFile(1, "", "Lute", duration=duration)], "/a/")) == {
        "files": [{"id": 1, "title": "Lute"}]
    }


def test_a_mapping_request_names_type_and_tag() -> None:
    assert json.loads(mapping_request([(TagType.KEYWORD, "cavern")])) == {
        "invalid_tags": [{"type": "keyword", "tag": "cavern"}]
    }


@pytest.mark.parametrize(
    ("text", "tokens"), [("", 0), ("a", 1), ("four", 1), ("fives", 2), ("\u00e9\u00e9\u00e9", 2)]
)
def test_a_token_is_about_four_bytes(text: str, tokens: int) -> None:
    assert estimated_tokens(text) == tokens
