"""tagging.paths: no home directory and no user's name leaves the machine, whatever wrote the path."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.tagging.paths import common_root, is_same_sound, relative_path

HOMES = [
    "/home/ann/",
    "/home//ann/",
    "/var/home/ann/",
    "/export/home/ann/",
    "/usr/home/ann/",
    "/Users/ann/",
    "/System/Volumes/Data/Users/ann/",
    "/media/ann/",
    "/run/media/ann/",
    "/root/",
    "file:///home/ann/",
    "C:\\Users\\ann\\",
    "c:\\users\\ann\\",
    "D:/Users/ann/",
    "C:\\Documents and Settings\\ann\\",
    "\\\\?\\C:\\Users\\ann\\",
    "//?/C:/Users/ann/",
    "\\\\.\\C:\\Users\\ann\\",
    "\\\\nas\\homes\\ann\\",
    "\\\\nas\\home\\ann\\",
    "\\\\nas\\users\\ann\\",
    "\\\\nas\\c$\\Users\\ann\\",
    "\\\\?\\UNC\\nas\\homes\\ann\\",
    "//nas/homes/ann/",
    "/mnt/c/Users/ann/",
    "/c/Users/ann/",
    "/cygdrive/c/Users/ann/",
    "/home2/ann/",
    "/homes/ann/",
    "/mnt/backup/home/ann/",
    "/mnt/backups/2024/laptop/home/ann/",
    "/srv/backup/home2/ann/",
    "/media/disk/home/ann/",
    "/media/ann/DISK/home/bob/",
    "/run/media/ann/DISK/home/ann/",
    "/Volumes/Backup/Macintosh/Users/ann/",
    "D:\\Backup\\Users\\ann\\",
    "D:\\Old\\Documents and Settings\\ann\\",
    "file:///%68ome/ann/",
    "file:///home/%61nn/",
    "file:///C:/Users/ann/",
    "file://nas/homes/ann/",
    "asset://localhost/home/ann/",
    "asset://localhost/%2Fhome%2Fann%2F",
    "http://asset.localhost/C%3A%5CUsers%5Cann%5C",
    "asset://localhost/mnt/backup/home/ann/",
    "/Users/ann/Library/CloudStorage/GoogleDrive-ann@example.org/",
    "/run/user/1000/gvfs/smb-share:server=nas,share=music,user=ann/",
    "../../home/ann/",
    "/srv/media/sounds/../../../home/ann/",
    "/srv/./media/../../home/ann/",
    "/../../home/ann/",
    "C:\\Sounds\\..\\Users\\ann\\",
    "D:/Sounds/Old/../../../Users/ann/",
    "file:///srv/%2E%2E/home/ann/",
    "sounds/../../../home/ann/",
    "/mnt/disk/home/ann/Library/CloudStorage/GoogleDrive-ann@example.org/",
    "/Volumes/Backup/Mac/Users/ann/Library/CloudStorage/GoogleDrive-ann@example.org/",
    "/var/run/user/1000/gvfs/smb-share:server=nas,share=music,user=ann/",
    "/home/local/CORP-2/ann/",
    "/home/likewise-open/CORP/ann/",
    "/afs/example.org/user/ann/",
    "/afs/cern.ch/user/a/ann/",
    "/afs/athena.mit.edu/user/a/n/ann/",
    "/afs/.example.org/usr/ann/",
    "/afs/example.org/home/ann/",
]


@pytest.mark.parametrize("home", HOMES)
def test_a_path_is_cut_below_its_home_directory(home: str) -> None:
    separator = "\\" if "\\" in home else "/"
    path = home + separator.join(("Music", "Dungeon", "Drips.mp3"))
    assert relative_path(path, "") == "Music/Dungeon/Drips.mp3"


@pytest.mark.parametrize("home", HOMES)
def test_a_file_right_in_the_home_directory_keeps_only_its_name(home: str) -> None:
    assert relative_path(home + "Drips.mp3", "") == "Drips.mp3"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/srv/sounds/Drips.mp3", "srv/sounds/Drips.mp3"),
        ("D:\\Sounds\\Drips.mp3", "Sounds/Drips.mp3"),
        ("D:Drips.mp3", "Drips.mp3"),
        ("\\\\?\\D:\\Sounds\\Drips.mp3", "Sounds/Drips.mp3"),
        ("\\\\nas\\sounds\\Drips.mp3", "nas/sounds/Drips.mp3"),
        ("Sounds/Drips.mp3", "Sounds/Drips.mp3"),
        ("/home/Drips.mp3", "home/Drips.mp3"),
        ("/home/ann/sounds/Drips.mp3", "sounds/Drips.mp3"),
        ("/home/ANN/sounds/Drips.mp3", "sounds/Drips.mp3"),
        ("/home/local/Sounds/Drips.mp3", "Sounds/Drips.mp3"),
        ("/Users/ANN/sounds/Drips.mp3", "sounds/Drips.mp3"),
        ("/afs/example.org/sounds/Drips.mp3", "afs/example.org/sounds/Drips.mp3"),
        ("/homework/ann/Drips.mp3", "homework/ann/Drips.mp3"),
        ("Drips.mp3", "Drips.mp3"),
        ("../Media/Birds/Wren.mp3", "../Media/Birds/Wren.mp3"),
        ("../Home/Kitchen/Pan.mp3", "../Home/Kitchen/Pan.mp3"),
        ("Sounds/home/Kitchen/Pan.mp3", "Sounds/home/Kitchen/Pan.mp3"),
        ("/srv/sounds/Home/Kitchen/Pan.mp3", "srv/sounds/Home/Kitchen/Pan.mp3"),
        ("file:///srv/My%20Sounds/Drips.mp3", "srv/My Sounds/Drips.mp3"),
        ("file:///D:/Sounds/Drips.mp3", "Sounds/Drips.mp3"),
        ("asset://localhost/Drips.mp3", "Drips.mp3"),
        ("http://", ""),
    ],
)
def test_outside_of_homes_and_roots_only_drive_and_leading_separators_go(path: str, expected: str) -> None:
    assert relative_path(path, "") == expected


def test_the_librarys_root_is_cut_off() -> None:
    assert relative_path("/srv/sounds/Dungeon/Drips.mp3", "/srv/sounds/") == "Dungeon/Drips.mp3"
    assert relative_path("D:\\Sounds\\Dungeon\\Drips.mp3", "D:\\Sounds\\") == "Dungeon/Drips.mp3"


def test_root_or_home_whichever_cuts_more() -> None:
    assert relative_path("/home/ann/Music/Drips.mp3", "/home/ann/Music/") == "Drips.mp3"
    assert relative_path("/home/ann/Music/Drips.mp3", "/home/") == "Music/Drips.mp3"
    assert relative_path("/home/ann/Music/Drips.mp3", "/") == "Music/Drips.mp3"


def test_with_the_homes_of_two_people_neither_name_is_left() -> None:
    paths = ["/home/ann/Music/a.mp3", "/home/bob/Sounds/b.mp3"]
    root = common_root(paths[0], paths[1])
    assert [relative_path(path, root) for path in paths] == ["Music/a.mp3", "Sounds/b.mp3"]


@pytest.mark.parametrize(
    ("ann", "bob"),
    [
        ("/mnt/backup/home/ann/", "/mnt/backup/home/bob/"),
        ("/srv/archive/2024/home/ann/", "/srv/archive/2024/home/bob/"),
        ("D:\\Backup\\Users\\ann\\", "D:\\Backup\\Users\\bob\\"),
        ("/mnt/one/deep/home/ann/", "/mnt/two/deep/home/bob/"),
        ("/media/x/Disk/home/ann/", "/media/x/Disk/Other/"),
        ("asset://localhost/home/ann/", "asset://localhost/home/bob/"),
        ("file:///%68ome/ann/", "file:///home/bob/"),
    ],
)
def test_of_two_homes_on_one_disk_neither_name_is_left(ann: str, bob: str) -> None:
    root = common_root(ann + "x.mp3", bob + "x.mp3")
    assert relative_path(ann + "x.mp3", root) == "x.mp3"
    assert "bob" not in relative_path(bob + "x.mp3", root)


@pytest.mark.parametrize(
    ("path", "root", "expected"),
    [
        ("/home/ann/.wine/drive_c/users/ann/RPG/a.mp3", "/home/ann/", "RPG/a.mp3"),
        ("/home/ann/.wine/drive_c/users/Ann/RPG/a.mp3", "/", "RPG/a.mp3"),
        ("/home/ann/backup/home/ann/Music/a.mp3", "/home/ann/", "Music/a.mp3"),
        ("/media/ann/Disk/backup/home/ann/Music/a.mp3", "/media/ann/Disk/", "Music/a.mp3"),
        ("/media/ann/Disk/backup/home/bob/Music/a.mp3", "/media/ann/Disk/", "Music/a.mp3"),
        ("/Volumes/Backup/2024/Macintosh HD/Users/ann/Music/a.mp3", "/Volumes/Backup/", "Music/a.mp3"),
        ("/Users/ann/Library/CloudStorage/Drive-ann@x.org/Old/Users/ann/a.mp3", "/Users/ann/", "a.mp3"),
        ("/mnt/x/y/home/ann/old/home/ann/a.mp3", "/mnt/x/y/home/ann/", "a.mp3"),
        ("/home/ann/Music/home/Kitchen/Pan.mp3", "/home/ann/Music/", "home/Kitchen/Pan.mp3"),
        ("/home/ann/Music/home/Music/Pan.mp3", "/home/ann/Music/", "home/Music/Pan.mp3"),
    ],
)
def test_below_a_root_the_home_of_who_is_named_above_is_cut_too(path: str, root: str, expected: str) -> None:
    assert relative_path(path, root) == expected


@pytest.mark.parametrize(
    ("path", "root", "expected"),
    [
        ("/home/ann/lib/../../bob/b.mp3", "/home/ann/lib/", "b.mp3"),
        ("/home/ann/lib/../../bob/b.mp3", "/home/ann/lib/../../bob/", "b.mp3"),
        ("/home/x/../bob/b.mp3", "", "b.mp3"),
        ("C:\\Users\\ann\\..\\bob\\b.mp3", "C:\\Users\\ann\\", "b.mp3"),
        ("file:///home/ann/%2E%2E/bob/b.mp3", "", "b.mp3"),
        ("/srv/sounds/Wind..Rain/../Drips.mp3", "/srv/sounds/", "Drips.mp3"),
        ("/srv/sounds/Wind../Drips.mp3", "/srv/sounds/", "Wind../Drips.mp3"),
    ],
)
def test_a_step_back_out_of_a_home_or_a_root_is_taken(path: str, root: str, expected: str) -> None:
    assert relative_path(path, root) == expected


def test_a_folder_that_is_left_again_counts_in_the_root_as_little_as_in_a_path() -> None:
    paths = ["/srv/sounds/new/../Dungeon/a.mp3", "/srv/sounds/new/../Town/b.mp3"]
    root = common_root(*paths)
    assert [relative_path(path, root) for path in paths] == ["Dungeon/a.mp3", "Town/b.mp3"]


@pytest.mark.parametrize(
    "root", ["/srv/sounds/", "/home/ann/Music/", "/mnt/music/sfx/", "D:\\Sounds\\", "file:///s/t/"]
)
@pytest.mark.parametrize("folder", ["Home", "home", "Users", "users"])
def test_inside_of_a_library_a_folder_of_that_name_is_an_ordinary_one(root: str, folder: str) -> None:
    assert relative_path(f"{root}{folder}/Kitchen/Pan.mp3", root) == f"{folder}/Kitchen/Pan.mp3"


def test_the_top_of_a_disk_may_have_a_folder_home_that_is_no_systems() -> None:
    assert relative_path("/mnt/music/Home/Kitchen/Pan.mp3", "/mnt/music/") == "Home/Kitchen/Pan.mp3"


def test_with_several_drives_each_path_is_cut_for_itself() -> None:
    paths = ["C:\\Users\\ann\\Music\\a.mp3", "D:\\Sounds\\b.mp3"]
    root = common_root(paths[0], paths[1])
    assert root == ""
    assert [relative_path(path, root) for path in paths] == ["Music/a.mp3", "Sounds/b.mp3"]


def test_a_backslash_in_a_name_on_linux_stays() -> None:
    assert relative_path("/srv/AC\\DC/a.mp3", "/srv/") == "AC\\DC/a.mp3"


@pytest.mark.parametrize(
    ("first", "last", "root"),
    [
        ("/srv/a/1.mp3", "/srv/b/2.mp3", "/srv/"),
        ("/srv/a/1.mp3", "/srv/a/1.mp3", "/srv/a/"),
        ("/srv/cave1/x.mp3", "/srv/cave2/x.mp3", "/srv/"),
        ("/srv/cave.mp3", "/srv/cave/x.mp3", "/srv/"),
        ("C:\\S\\a.mp3", "C:\\S\\b.mp3", "C:\\S\\"),
        ("C:\\a.mp3", "D:\\a.mp3", ""),
        ("a.mp3", "b.mp3", ""),
        ("", "", ""),
    ],
)
def test_the_common_root_is_a_whole_folder(first: str, last: str, root: str) -> None:
    assert common_root(first, last) == root


NAMES = st.text(
    st.characters(exclude_characters="/\\:", exclude_categories=["C", "Z"]), min_size=1, max_size=8
).filter(lambda name: name not in (".", ".."))


@given(st.sampled_from(HOMES), st.lists(NAMES, min_size=1, max_size=4))
def test_the_users_name_is_never_left_below_a_home(home: str, names: list[str]) -> None:
    separator = "\\" if "\\" in home else "/"
    written = [quote(name, safe="") for name in names] if "://" in home else names
    assert relative_path(home + separator.join(written), "") == "/".join(names)


@given(st.lists(st.lists(NAMES, min_size=1, max_size=4).map("/".join), min_size=1, max_size=5))
def test_what_smallest_and_largest_share_all_share(paths: list[str]) -> None:
    root = common_root(min(paths), max(paths))
    assert all(path.startswith(root) for path in paths)


@given(st.text(), st.text())
def test_any_path_can_be_cut(path: str, root: str) -> None:
    assert isinstance(relative_path(path, root), str)


@given(NAMES, st.lists(NAMES, max_size=3))
def test_a_path_that_ends_in_a_name_never_becomes_empty(name: str, folders: list[str]) -> None:
    path = "/" + "/".join([*folders, name])
    assert relative_path(path, path).endswith(name)


@pytest.mark.parametrize(
    ("path", "other", "same"),
    [
        ("/home/ann/Rain/01.wav", "/home/ann/Rain/01.wav", True),
        ("/home/ann/Rain/01.wav", "/media/disk/Sounds/Rain/01.wav", True),
        (r"D:\Rain\01.wav", "/mnt/d/Rain/01.wav", True),
        ("/home/ann/Rain//01.wav", "/home/ann/Rain/01.wav", True),
        ("/home/ann/Rain/01.wav", "/home/ann/War/01.wav", False),
        ("/home/ann/Rain/01.wav", "/home/ann/Rain/02.wav", False),
        ("01.wav", "01.wav", True),
    ],
)
def test_a_sound_is_known_by_its_name_and_its_folders(path: str, other: str, same: bool) -> None:
    assert is_same_sound(path, other) == is_same_sound(other, path) == same
