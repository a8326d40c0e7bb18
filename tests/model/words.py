"""The words of all histories: so few that everything meets everything."""

from typing import Final

Pair = tuple[str, str]
"""The type of a tag (`genre`, `mood`, `occasion`, `keyword`) and its value."""

KINDS: Final = ("genre", "mood", "occasion", "keyword")
ROW_KINDS: Final = ("occasion", "keyword")

POOL: Final[dict[str, tuple[str, ...]]] = {
    "genre": ("ambient", "ambient:drone", "orchestral"),
    "mood": ("eerie", "calm", "tense"),
    "occasion": ("dungeon-crawl", "tavern", "travel"),
    "keyword": ("biome:cave", "biome:forest", "source:field"),
}
"""What is active at first."""
NEW: Final[tuple[Pair, ...]] = (("genre", "ambient:dark"), ("mood", "spooky"), ("keyword", "cavern"))
"""What the shell may add: a child of a genre, and what Gemini calls things anyway."""
PAIRS: Final[tuple[Pair, ...]] = (*((kind, value) for kind in KINDS for value in POOL[kind]), *NEW)
TABLE_KIND: Final = {"keyword": "keywords"}
"""How `tag_vocabulary` spells the type."""

SPELLED: Final[dict[str, tuple[str, ...]]] = {
    "genre": ("Ambient / Drone", "dark wave"),
    "mood": ("EERIE", "spooky", "Spooky", "gothic"),
    "occasion": ("Dungeon Crawl", "boss fight"),
    "keyword": ("Biome: Cave", "cavern", "Cavern"),
}
"""What Gemini writes besides the tags of POOL."""
SAID: Final[dict[str, tuple[str, ...]]] = {kind: (*POOL[kind], *SPELLED[kind]) for kind in KINDS}
UNKNOWN: Final[tuple[Pair, ...]] = (
    ("genre", "dark wave"),
    ("mood", "spooky"),
    ("mood", "gothic"),
    ("occasion", "boss fight"),
    ("keyword", "cavern"),
    ("mood", "eerie"),
)
"""What a settings page maps: all but the last are unknown at first."""
MEANT: Final = {
    "Ambient / Drone": "ambient:drone",
    "EERIE": "eerie",
    "Dungeon Crawl": "dungeon-crawl",
    "Biome: Cave": "biome:cave",
    "Spooky": "spooky",
    "Cavern": "cavern",
}
"""Spelling → the one that it is another spelling of."""

GENRES: Final = (None, "", "Unknown", "Soundtrack", "ambient", "ambient:drone")
MOODS: Final = (None, "", "eerie", "calm;eerie", "eerie; gloomy", "gloomy")
"""What the shell writes into the two columns: nothing, a person's choice, what a ripper left, a mixture."""

HOME: Final = "/home/user-4711/"
ROOT: Final = HOME + "Music/Ligeia/"
FOLDERS: Final = ("Dungeon", "Dungeon/Deep", "Tavern")
GLOBS: Final = ("Dungeon", "*/Deep", "tavern/*.WAV", ROOT + "Tavern/*", "*3.*")


def path(number: int) -> str:
    """The path of the sound with that id; no two have the same file name."""
    return f"{ROOT}{FOLDERS[number % len(FOLDERS)]}/sound-{number}.{'wav' if number % 2 else 'mp3'}"


def name(text: str) -> str:
    """The file name at the end of a path."""
    return text.rpartition("/")[2]
