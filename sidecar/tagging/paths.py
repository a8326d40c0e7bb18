"""Paths as Gemini may see them: relative, without the home directory or the user's name.

Text only: the library's paths may come from another machine or operating system than this one.
Checked on literal paths of Linux, macOS, Windows (drives, UNC, `\\\\?\\`), WSL and MSYS.
"""

import re

_NAME = r"[^\\/]+[\\/]+"
_HOME = re.compile(
    r"""^(?:file://(?:localhost)?)?(?:
        /*(?:[\\/]{2}[?.][\\/]|\\\?\?\\)?[a-z]:[\\/]*(?:users|documents\ and\ settings)[\\/]+NAME
      | [\\/]{2}(?:\?[\\/]unc[\\/])?NAME(?:NAME)?(?:homes?|users)[\\/]+NAME
      | [\\/]+(?:(?:var|export|usr|srv|data|nfs|mnt|net/[^/]+|mnt/wsl/[^/]+|volumes/[^/]+|system/volumes/data)/+)?
        (?:\./+)?(?:home|users)[\\/]+(?:\./+)?NAME                                   # /home/ann
      | /+(?:(?:mnt|cygdrive)/)?[a-z]/(?:users|documents\ and\ settings)/+NAME       # /mnt/c/Users/ann
      | /+(?:run/)?media/+NAME                                                     # /media/ann
      | /+root/+
    )""".replace("NAME", _NAME),
    re.IGNORECASE | re.VERBOSE,
)
_ANCHOR = re.compile(r"^(?:file://)?(?:[\\/]{2}[?.][\\/])?(?:[A-Za-z]:)?[\\/]*")
_WINDOWS = re.compile(r"^(?:[A-Za-z]:|\\)")


def common_root(first: str, last: str) -> str:
    """The folder that all paths share, given the smallest and the largest of them in sort order.

    Ends with its separator; empty when they share none. (What the two share, all between share.)
    """
    length = 0
    for one, other in zip(first, last, strict=False):
        if one != other:
            break
        length += 1
    shared = first[:length]
    return shared[: max(shared.rfind("/"), shared.rfind("\\")) + 1]


def relative_path(path: str, root: str) -> str:
    """`path` below `root` or below its home directory, whichever cuts more; separators are `/`.

    Outside both, without drive and leading separators. Never empty for a path that ends in a name.
    """
    home = _HOME.match(path)
    cut = max(home.end() if home else 0, len(root) if path.startswith(root) else 0)
    rest = path[cut:] if cut else _ANCHOR.sub("", path)
    rest = rest.lstrip("/") if not _WINDOWS.match(path) else rest.replace("\\", "/").lstrip("/")
    return rest or re.split(r"[\\/]", path)[-1]
