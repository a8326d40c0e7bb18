"""Which files a report tells a person to look at first."""

import pytest

from sidecar.contract import TagType, Worry, WorryingFile
from sidecar.tagging.worries import JudgedFile, RunTags, ucs_category


def look(number: int, path: str, genre: str, tags: int = 6, mapped: int = 0) -> JudgedFile:
    rest = [(TagType.KEYWORD, f"sfx:{index}") for index in range(tags - 1)]
    return JudgedFile(number, path, [(TagType.GENRE, genre), *rest], mapped, tags)


def folder(*genres: str) -> list[JudgedFile]:
    return [look(number, f"/lib/Dungeon/{number}.mp3", genre) for number, genre in enumerate(genres, 1)]


def worrying(files: list[JudgedFile], most: int = 200) -> list[WorryingFile]:
    tags = RunTags()
    for file in files:
        tags.count(file)
    first, total = tags.worrying(files, most)
    assert total >= len(first)
    return first


def test_a_file_like_its_neighbours_worries_nobody() -> None:
    assert worrying(folder("ambient:drone", "ambient:dark", "ambient", "ambient")) == []
    assert worrying([]) == []


def test_another_genre_than_most_of_the_folder() -> None:
    [found] = worrying(folder("ambient", "ambient:dark", "ambient", "metal:doom"))
    assert (found.file_id, found.worries) == (4, [Worry.UNLIKE_FOLDER])
    assert "metal:doom" in found.messages[0] and "ambient" in found.messages[0]


def test_a_folder_without_a_usual_genre_or_of_few_files_says_nothing() -> None:
    assert worrying(folder("ambient", "ambient", "metal", "metal")) == []
    assert worrying(folder("ambient", "ambient", "metal")) == []


@pytest.mark.parametrize("kind", [TagType.MOOD, TagType.OCCASION, TagType.KEYWORD])
def test_no_tag_of_a_type_that_most_of_the_folder_has(kind: TagType) -> None:
    usual, other = (kind, "usual"), (kind, "other")
    files = folder("ambient", "ambient", "ambient", "ambient", "ambient")
    looks = [JudgedFile(file.file_id, file.file_path, [file.tags[0], usual, other], 0, 5) for file in files[:4]]
    strange = JudgedFile(5, files[4].file_path, [files[4].tags[0], (kind, "strange")], 0, 5)
    [found] = worrying([*looks, strange])
    assert (found.file_id, found.worries) == (5, [Worry.UNLIKE_FOLDER])
    assert found.messages == [f"It has no {kind} that is usual in its folder (other, usual)."]
    alike = JudgedFile(5, files[4].file_path, [files[4].tags[0], other, (kind, "more")], 0, 5)
    assert worrying([*looks, alike]) == []


def test_only_mapped_tags() -> None:
    files = [*folder("ambient", "ambient", "ambient"), look(9, "/lib/Dungeon/9.mp3", "ambient", 6, 6)]
    [found] = worrying(files)
    assert (found.file_id, found.worries) == (9, [Worry.ONLY_MAPPED])


def test_half_as_many_tags_as_usual_are_few() -> None:
    files = [*folder("ambient", "ambient", "ambient"), look(9, "/lib/Dungeon/9.mp3", "ambient", 3)]
    [found] = worrying(files)
    assert (found.file_id, found.worries) == (9, [Worry.FEW_TAGS])


def test_as_few_tags_as_a_file_can_have_are_few_where_most_have_more() -> None:
    usual = [look(number, f"/lib/{number}.mp3", "ambient", tags=5) for number in range(1, 6)]
    [found] = worrying([*usual, look(9, "/lib/9.mp3", "ambient", tags=3)])
    assert (found.file_id, found.messages) == (9, ["It has only 3 tags."])
    assert worrying([look(8, "/lib/8.mp3", "ambient", 3), look(9, "/lib/9.mp3", "ambient", 3)]) == []


def test_tags_that_a_person_had_set_count_as_the_files_own() -> None:
    files = [look(number, f"/lib/{number}.mp3", "ambient") for number in range(1, 6)]
    keyword = (TagType.KEYWORD, "sfx:1")
    files += [JudgedFile(7, "/lib/7.mp3", [], 0, held=6), JudgedFile(8, "/lib/8.mp3", [keyword], 1, held=6)]
    assert worrying(files) == []


def test_the_ucs_category_of_a_name_is_compared_across_folders() -> None:
    files = [look(n, f"/lib/{n}/AMBForst_Birds {n}_ANN.wav", "ambient") for n in range(1, 5)]
    files.append(look(5, "/lib/5/AMBForst_Battle_ANN.wav", "metal"))
    [found] = worrying(files)
    assert (found.file_id, found.worries) == (5, [Worry.UNLIKE_UCS_CATEGORY])
    assert "AMBForst" in found.messages[0]


def test_the_most_worrying_come_first() -> None:
    files = [*folder("ambient", "ambient", "ambient", "metal"), look(9, "/lib/Dungeon/9.mp3", "metal", 3, 3)]
    files += [look(n, f"/lib/Dungeon/{n}.mp3", "ambient") for n in range(20, 26)]
    assert [(found.file_id, len(found.worries)) for found in worrying(files)] == [(9, 3), (4, 1)]


def test_of_many_the_first_are_told_and_all_are_counted() -> None:
    files = [*folder(*["ambient"] * 20), *(look(n, f"/lib/Dungeon/{n}.mp3", "ambient", 3) for n in (99, 98, 97))]
    tags = RunTags()
    for file in files:
        tags.count(file)
    first, total = tags.worrying(files, 2)
    assert ([found.file_id for found in first], total) == ([97, 98], 3)


@pytest.mark.parametrize(
    ("held", "few"), [((4, 4, 8, 8), 3), ((4, 5, 9, 9), 3), ((2, 8, 8, 9), 4), ((5, 5, 5), 3)]
)
def test_the_usual_number_of_tags_is_the_median(held: tuple[int, ...], few: int) -> None:
    def worries_about(tags: int) -> bool:
        files = [look(n, f"/{n}/a.mp3", "ambient", count) for n, count in enumerate((*held, *held), 1)]
        counted = RunTags()
        for file in files:
            counted.count(file)
        return bool(counted.worrying([look(99, "/99/a.mp3", "ambient", tags)], 1)[0])

    assert worries_about(few) and not worries_about(few + 1)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/lib/AMBForst_Dawn.wav", "AMBForst"),
        (r"C:\lib\WEAPSwrd_Clash_ANN.wav", "WEAPSwrd"),
        ("UIClick-Soft.wav", "UIClick"),
        ("/lib/AMBForst Dawn.wav", None),
        ("/lib/Ambience_Forest.wav", None),
        ("/AMBForst_/Dawn.wav", None),
        ("", None),
    ],
)
def test_a_ucs_code_stands_at_the_start_of_the_name(path: str, code: str | None) -> None:
    assert ucs_category(path) == code
