"""Which files a glob or an id keeps out of every request."""

import fnmatch
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.tagging.exclusions import Exclusions
from sidecar.tagging.paths import common_root, relative_path

ROOT = "/home/ann/Music/"


@pytest.mark.parametrize(
    ("glob", "path"),
    [
        ("Private/*", "/home/ann/Music/Private/Diary.mp3"),
        ("Private", "/home/ann/Music/Private/deep/down/Diary.mp3"),
        ("Private/", "/home/ann/Music/Private/Diary.mp3"),
        ("*.wav", "/home/ann/Music/Dungeon/Drips.WAV"),
        ("private/*", "/home/ann/Music/Private/Diary.mp3"),
        ("/home/ann/Music/Private/*", "/home/ann/Music/Private/Diary.mp3"),
        ("*/ann/*", "/home/ann/Music/Dungeon/Drips.mp3"),
        (r"D:\Sounds\Private", r"D:\Sounds\Private\Diary.mp3"),
        ("D:/Sounds/Private", r"d:\sounds\private\Diary.mp3"),
        ("Take [12].mp3", "/home/ann/Music/Take 2.mp3"),
        ("Take ?.mp3", "/home/ann/Music/Take 2.mp3"),
        ("Caf\u00e9*", "/home/ann/Music/Caf\u00e9/Cups.mp3"),
        ("Caf\u00e9/*", "/home/ann/Music/Cafe\u0301/Cups.mp3"),
        ("**/Drips.mp3", "/home/ann/Music/Drips.mp3"),
        ("Dungeon/**/*.mp3", "/home/ann/Music/Dungeon/Drips.mp3"),
        ("Dungeon/**/*.mp3", "/home/ann/Music/Dungeon/Deep/Hall.mp3"),
        ("/home/ann/**/Hall/**/x.mp3", "/home/ann/Hall/x.mp3"),
        ("./Dungeon/*", "/home/ann/Music/Dungeon/Drips.mp3"),
        ("Crowd [loop].mp3", "/home/ann/Music/Crowd [loop].mp3"),
        ("Crowds [loop]", "/home/ann/Music/Crowds [loop]/One.mp3"),
        ("Dungeon/Private/*", "/home/ann/Music/Dungeon/Rain/../Private/Diary.mp3"),
        ("Music/Private/*", "asset://localhost/%2Fhome%2Fann%2FMusic%2FPrivate%2FDiary.mp3"),
    ],
)
def test_a_glob_covers_a_path(glob: str, path: str) -> None:
    assert Exclusions([glob]).cover(1, path, ROOT)


@pytest.mark.parametrize(
    ("glob", "path"),
    [
        ("Private", "/home/ann/Music/Private Eye/Case.mp3"),
        ("Private/*", "/home/ann/Music/Not Private/Case.mp3"),
        ("Drips", "/home/ann/Music/Dungeon/Drips.mp3"),
        ("*.wav", "/home/ann/Music/Dungeon/wav.mp3"),
        ("Take [12].mp3", "/home/ann/Music/Take 3.mp3"),
        ("a.b", "/home/ann/Music/axb"),
        ("Dungeon/**/*.mp3", "/home/ann/Music/Dungeons/Drips.mp3"),
        ("**/Drips.mp3", "/home/ann/Music/NoDrips.mp3"),
    ],
)
def test_a_glob_covers_nothing_else(glob: str, path: str) -> None:
    assert not Exclusions([glob]).cover(1, path, ROOT)


@given(
    st.lists(st.text("aAb/*?[]!.", max_size=8), min_size=1, max_size=3),
    st.text("aAb/[]!.", min_size=1, max_size=10),
)
def test_several_globs_cover_what_one_of_them_covers(globs: list[str], path: str) -> None:
    alone = [Exclusions([glob]).cover(1, path, "") for glob in globs]
    assert Exclusions(globs).cover(1, path, "") is any(alone)


def test_a_glob_still_covers_what_it_covered_below_an_earlier_root() -> None:
    exclusions = Exclusions(["Private/*"], roots=[("Private/*", "/data/lib/")])
    assert exclusions.cover(1, "/data/lib/Private/Diary.wav", "/data/")
    assert not exclusions.cover(2, "/data/lib/Public/Rain.wav", "/data/")
    assert not exclusions.cover(3, "/data/downloads/Private/Rain.wav", "/data/"), "was never below that root"


def test_an_earlier_root_is_that_of_its_own_globs_only() -> None:
    exclusions = Exclusions(["A/*", "B/*"], roots=[("A/*", "/data/lib/")])
    assert exclusions.cover(1, "/data/lib/A/x", "/data/")
    assert not exclusions.cover(2, "/data/lib/B/x", "/data/")


def test_a_glob_of_a_library_on_two_drives_covers_the_same_when_one_is_left() -> None:
    exclusions = Exclusions(["Sounds/Private"], roots=[("Sounds/Private", "")])
    assert exclusions.cover(1, r"D:\Sounds\Private\Diary.wav", "D:\\Sounds\\")
    assert not exclusions.cover(2, r"D:\Sounds\Public\Rain.wav", "D:\\Sounds\\")


def test_stars_in_a_row_are_not_tried_in_every_combination() -> None:
    exclusions = Exclusions(["**/" * 200 + "x.mp3"])
    assert not exclusions.cover(1, "/" + "folder/" * 60 + "y.mp3", "")
    assert exclusions.cover(1, "/" + "folder/" * 60 + "x.mp3", "")


def test_folders_at_any_depth_are_not_tried_in_every_combination() -> None:
    exclusions = Exclusions(["**/a/" * 40 + "x"])
    assert not exclusions.cover(1, "/" + "a/" * 60 + "y", "")
    assert exclusions.cover(1, "/" + "b/a/" * 40 + "x", "")


@given(
    st.lists(st.sampled_from(["**/", "a/", "a", "ab/", "?/", "?", "*", "[ab]", "/", ".-/"]), max_size=9),
    st.text("ab/.-", max_size=12),
)
def test_a_glob_covers_what_trying_every_combination_says(glob: list[str], path: str) -> None:
    plain = "".join(glob).rstrip("/")
    tried = [
        fnmatch.translate(text.replace("**/", "\0")).replace("\0", "(?:.*/)?") for text in (plain, f"{plain}/*")
    ]
    covered = any(
        text == plain or text.startswith(f"{plain}/") or any(re.match(pattern, text) for pattern in tried)
        for text in (path, relative_path(path, "/elsewhere/"))
    )
    assert Exclusions([plain]).cover(1, path, "/elsewhere/") == covered


TOPS = ("", "/home/ann/", "C:\\Users\\ann\\", "\\\\?\\D:\\", "\\\\nas\\", "file://", "asset://localhost/", "../")
FOLDERS = ["/", "\\", "//", "../", "./", ":", "home/", "ann/", "%2F", "%2E."]
LETTERS = ["a", "A", "b", "%61", "\u00e9", "\u00df", "\u0130", "e\u0301", "\u0301", "\u0338", "\0"]
PIECES = FOLDERS + LETTERS


@given(
    st.builds(str.__add__, st.sampled_from(TOPS), st.lists(st.sampled_from(PIECES), max_size=3).map("".join)),
    st.lists(st.lists(st.sampled_from(PIECES), min_size=1, max_size=8).map("".join), min_size=1, max_size=2),
    st.data(),
)
def test_a_glob_is_tried_on_the_path_as_sent_and_on_the_whole_path(
    folder: str, names: list[str], data: st.DataObject
) -> None:
    def plain(text: str) -> str:
        return unicodedata.normalize("NFC", text.replace("\\", "/").replace("\0", "").casefold())

    paths = [folder + name for name in names]
    root = common_root(min(paths), max(paths))
    tried = [plain(text) for text in (paths[0], relative_path(paths[0], root))]
    start = data.draw(st.integers(0, len(tried[1])))
    part = data.draw(st.just(tried[1][start:]) | st.sampled_from(PIECES).map(plain)).replace("?", "")
    assert Exclusions([f"*{part}*"]).cover(1, paths[0], root) == any(part in text for text in tried)


def test_a_file_is_excluded_by_its_id() -> None:
    exclusions = Exclusions(file_ids=[7])
    assert exclusions.cover(7, "/any/path.mp3", ROOT)
    assert not exclusions.cover(8, "/any/path.mp3", ROOT)


def test_several_globs_each_cover_their_own() -> None:
    exclusions = Exclusions(["A/*", "B/*"])
    assert exclusions.cover(1, f"{ROOT}A/x", ROOT)
    assert exclusions.cover(1, f"{ROOT}B/x", ROOT)
    assert not exclusions.cover(1, f"{ROOT}C/x", ROOT)


def test_no_exclusions_are_false_and_cover_nothing() -> None:
    assert not Exclusions()
    assert not Exclusions().cover(1, "", "")
    assert Exclusions(["x"])
    assert Exclusions(file_ids=[1])
