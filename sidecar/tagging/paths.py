"""Paths as Gemini may see them: relative, without the home directory or the user's name.

Text only: the library's paths may come from another machine or operating system than this one.
Checked on literal paths of Linux, macOS, Windows (drives, UNC, `\\\\?\\`), WSL and MSYS.
"""

import re
from urllib.parse import unquote

_NAME = r"[^\\/]+[\\/]+"
_DOMAIN = "(?:local|likewise-open)/+(?-i:[A-Z][A-Z0-9-]{1,14})/+"
"""Of a Windows domain, as PBIS makes homes: `/home/local/CORP/ann`. Of `/home/CORP/ann` it cannot be told whether
`ann` is the person or a folder of one who is called CORP."""
_HOME = re.compile(
    r"""^(?:
        /*(?:[\\/]{2}[?.][\\/]|\\\?\?\\)?[a-z]:[\\/]*(?:users|documents\ and\ settings)[\\/]+NAME
      | [\\/]{2}(?:\?[\\/]unc[\\/])?NAME(?:NAME)?(?:homes?|users)[\\/]+NAME
      | [\\/]+(?:(?:var|export|usr|srv|data|nfs|mnt|net/[^/]+|mnt/wsl/[^/]+|volumes/[^/]+|system/volumes/data)/+)?
        (?:\./+)?(?:homes?[0-9]?/+(?:\./+)?DOMAIN|(?:homes?[0-9]?|users)[\\/]+(?:\./+)?)NAME   # /home/ann
      | /+afs/+NAME(?:users?|usr|homes?)/+(?:[a-z]/+){0,2}NAME                    # /afs/example.org/user/a/ann
      | (?:\.\.[\\/]+){2,}(?-i:home|Users)[\\/]+NAME                              # ../../home/ann
      | /+(?:var/+)?run/+user/+[0-9]+/+gvfs/+NAME                 # smb-share:server=nas,share=music,user=ann
      | /+(?:mnt/[^/]+|(?:run/)?media/[^/]+(?:/[^/]+)?)/+(?-i:homes?[0-9]?)/+NAME     # /mnt/disk/home/ann
      | /+(?:(?:mnt|cygdrive)/)?[a-z]/(?:users|documents\ and\ settings)/+NAME       # /mnt/c/Users/ann
      | /+(?:run/)?media/+NAME                                                     # /media/ann
      | /+root/+
    )(?P<cloud>library/+cloudstorage/+NAME)?                                   # GoogleDrive-ann@example.org
    """.replace("DOMAIN", _DOMAIN).replace("NAME", _NAME),
    re.IGNORECASE | re.VERBOSE,
)
_DEEP_HOME = re.compile(
    r"(?<=[\\/])(?:homes?[0-9]?|[Uu]sers|Documents and Settings)[\\/]+(?P<name>[^\\/]+)[\\/]+"
    rf"(?:Library/+CloudStorage/+{_NAME})?"
)
"""Spelled as systems do it: a sound library's own folders are called `Home` as well."""
_OVER_LIBRARIES = re.compile(
    r"(?:[\\/]{2}[?.][\\/])?/*(?:[a-z]:)?[\\/]*"
    r"(?:(?:mnt|volumes|net)/+(?:[^/]+/+)?|(?:run/+)?media/+(?:[^/]+/+){0,2}|srv/+)?",
    re.IGNORECASE,
)
"""A root that is no library's folder, but a disk's, or what disks and several libraries have in common."""
_PIECE = re.compile(r"[^\\/]*[\\/]+|[^\\/]+")
"""A folder with its separator, or the file's name."""
_URL = re.compile(r"[a-z][a-z0-9+.-]+://[^/]*", re.IGNORECASE)
_ANCHOR = re.compile(r"^(?:[\\/]{2}[?.][\\/])?(?:/*[A-Za-z]:)?[\\/]*")
_WINDOWS = re.compile(r"^(?:/*[A-Za-z]:|\\)")


def common_root(first: str, last: str) -> str:
    """The folder that all paths share, given the smallest and the largest of them in sort order.

    Ends with its separator; empty when they share none. (What the two share, all between share.)
    """
    length = 0
    for one, other in zip(first, last, strict=False):
        if one != other:
            break
        length += 1
    return split(first[:length])[0]


def split(path: str) -> tuple[str, str]:
    """The folder, with its separator at the end, and the name; empty where there is none."""
    cut = max(path.rfind("/"), path.rfind("\\")) + 1
    return path[:cut], path[cut:]


def is_same_sound(path: str, other: str) -> bool:
    """Whether a file at one place may be the one that was at the other: moved with its folder, but no other sound.

    An id alone does not tell: a library that is scanned anew gives the old ones to other files. A name alone does
    not either: each folder of a sound pack may have its `01.wav`.
    """
    return _last_two(path) == _last_two(other)


def _last_two(path: str) -> tuple[str, str]:
    """The names of its folder and of the file itself."""
    folder, name = split(path)
    return split(folder.rstrip("\\/"))[1], name


def relative_path(path: str, root: str) -> str:
    """`path` below `root` or below its home directory, whichever cuts more; separators are `/`.

    Outside both, without URL scheme, host, drive and leading separators. Never empty for a path that ends in
    a name.
    """
    local, root = map(_straight, _local(path, root))
    shared = len(root) if local.startswith(root) else 0
    home = _HOME.match(local)
    cut = max(home.end() if home else 0, shared, _below_deep_home(local, shared, home))
    rest = local[cut:] if cut else _ANCHOR.sub("", local)
    rest = rest.lstrip("/") if not _WINDOWS.match(local) else rest.replace("\\", "/").lstrip("/")
    return rest or re.split(r"[\\/]", path)[-1]


def _local(path: str, root: str) -> tuple[str, str]:
    """Both without percent escapes, scheme and host, where the path is a URL (`file:`, Tauri's `asset:`)."""
    if _URL.match(path) is None:
        return path, root
    path, root = unquote(path), unquote(root)
    host = _URL.match(path)
    cut = host.end() if host else 0
    return path[cut:], root[cut:] if root.startswith(path[:cut]) else ""


def _straight(path: str) -> str:
    """Without the folders that a `..` leaves again: the one that it leads to may be a home."""
    if ".." not in path:
        return path
    kept: list[str] = []
    for piece in _PIECE.findall(path):
        name, above = (part.rstrip("\\/") for part in (piece, kept[-1] if kept else ".."))
        is_top = not above or above.endswith(":")
        if name == ".." and not is_top and above != "..":
            kept.pop()
        elif name != "." and not (name == ".." and is_top):
            kept.append(piece)
    return "".join(kept)


def _below_deep_home(path: str, shared: int, top: re.Match[str] | None) -> int:
    """Where a home ends that lies far from the top, as in a backup; 0 where there is none.

    Below the root of a library no folder is taken for one, but for that of a person who is named above (Wine makes
    such): by the home at the `top`, or by one of these. A root that ends in one is above people's names.
    """
    end = 0
    names: set[str] = set()
    for home in _DEEP_HOME.finditer(path):
        if top and not names:
            names.add(_named_by(top))
        name = home["name"].casefold()
        is_below = home.start() >= shared and (end or not _is_over_libraries(path, shared))
        if not is_below or name in names:
            end = home.end()
            names.add(name)
    return end


def _named_by(home: re.Match[str]) -> str:
    """The name at its end."""
    folder = home[0].removesuffix(home["cloud"] or "")
    return split(folder.rstrip("\\/"))[1].casefold()


def _is_over_libraries(path: str, shared: int) -> bool:
    """Whether the root, which ends at `shared`, is what disks have in common, and the path is no relative one."""
    return _OVER_LIBRARIES.fullmatch(path, 0, shared) is not None and _ANCHOR.sub("", path) != path
