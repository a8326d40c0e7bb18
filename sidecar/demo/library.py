"""A realistic Ligeia library: the SQLite file that the Tauri shell makes, full of sounds without tags.

The law of this module: the same arguments give the same rows, and no file on the disk but the database
is needed or touched – the sounds are rows only.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Final

from sidecar.demo.vocabulary import VOCABULARY

__all__ = ["SCHEMA", "VOCABULARY", "create_library", "schema"]

SCHEMA: Final = """
CREATE TABLE audio_files (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    file_path TEXT UNIQUE NOT NULL,
    title TEXT, artist TEXT, album TEXT, album_artist TEXT,
    duration REAL, genre TEXT, mood TEXT, bpm INTEGER, year INTEGER,
    track_number INTEGER, total_tracks INTEGER, disc_number INTEGER, total_discs INTEGER,
    composer TEXT, conductor TEXT, lyricist TEXT, original_artist TEXT, remixer TEXT, arranger TEXT,
    publisher TEXT, copyright TEXT, encoded_by TEXT, encoder_settings TEXT,
    comment TEXT, lyrics TEXT, language TEXT, initial_key TEXT, isrc TEXT, barcode TEXT,
    catalog_number TEXT, website TEXT, podcast_url TEXT, compilation BOOLEAN,
    file_size INTEGER, file_hash TEXT, file_mtime REAL, sample_rate INTEGER, bit_rate INTEGER,
    bit_depth INTEGER, channels INTEGER, codec TEXT, replay_gain REAL, peak_level REAL,
    cover_art BLOB, rating INTEGER, play_count INTEGER DEFAULT 0,
    bwf_description TEXT, bwf_originator TEXT, bwf_origination_date TEXT, bwf_time_reference INTEGER,
    bwf_umid TEXT, ixml_project TEXT, ixml_scene TEXT, ixml_take TEXT, ixml_note TEXT,
    auto_tagged BOOLEAN DEFAULT FALSE, auto_tag_date TEXT, auto_tag_version TEXT
);
CREATE INDEX idx_audio_files_title ON audio_files(title);
CREATE INDEX idx_audio_files_artist ON audio_files(artist);
CREATE INDEX idx_audio_files_genre ON audio_files(genre);
CREATE INDEX idx_audio_files_auto_tagged ON audio_files(auto_tagged);

CREATE TABLE rpg_tags (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    audio_file_id INTEGER NOT NULL,
    tag_type TEXT NOT NULL,
    tag_value TEXT NOT NULL,
    created_at DATETIME DEFAULT CURRENT_TIMESTAMP,
    FOREIGN KEY (audio_file_id) REFERENCES audio_files(id) ON DELETE CASCADE,
    UNIQUE(audio_file_id, tag_type, tag_value)
);
CREATE INDEX idx_rpg_tags_type_value ON rpg_tags(tag_type, tag_value);

CREATE TABLE tag_vocabulary (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tag_type TEXT NOT NULL,
    tag_value TEXT NOT NULL,
    description TEXT,
    parent_tag TEXT,
    is_active BOOLEAN DEFAULT TRUE,
    created_at DATETIME DEFAULT CURRENT_TIMESTAMP,
    UNIQUE(tag_type, tag_value)
);

CREATE TABLE tag_mapping_cache (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    invalid_tag TEXT NOT NULL,
    valid_tag TEXT NOT NULL,
    tag_type TEXT NOT NULL,
    created_at DATETIME DEFAULT CURRENT_TIMESTAMP,
    usage_count INTEGER DEFAULT 1,
    UNIQUE(invalid_tag, tag_type)
);

CREATE TABLE auto_tag_history (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    file_id INTEGER NOT NULL,
    tagged_at TEXT NOT NULL,
    tags_applied TEXT,
    api_version TEXT,
    FOREIGN KEY (file_id) REFERENCES audio_files(id) ON DELETE CASCADE
);
CREATE INDEX idx_auto_tag_history_file ON auto_tag_history(file_id);

CREATE TABLE soundboards (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    grid_columns INTEGER DEFAULT 4,
    created_at DATETIME DEFAULT CURRENT_TIMESTAMP
);
CREATE TABLE soundboard_pads (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    soundboard_id INTEGER NOT NULL REFERENCES soundboards(id) ON DELETE CASCADE,
    audio_file_id INTEGER NOT NULL REFERENCES audio_files(id) ON DELETE CASCADE,
    pad_index INTEGER NOT NULL,
    volume REAL DEFAULT 1.0,
    UNIQUE(soundboard_id, pad_index)
);
CREATE TABLE playlists (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE);
CREATE TABLE playlist_tracks (
    playlist_id INTEGER NOT NULL REFERENCES playlists(id) ON DELETE CASCADE,
    audio_file_id INTEGER NOT NULL REFERENCES audio_files(id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    PRIMARY KEY (playlist_id, position)
);
CREATE TABLE app_settings (key TEXT PRIMARY KEY, value TEXT);
"""
"""The shell's tables and indexes, as most real libraries have them: no dates in `audio_files`."""

_DATES: Final = "created_at DATETIME DEFAULT CURRENT_TIMESTAMP, updated_at DATETIME DEFAULT CURRENT_TIMESTAMP"

_FOLDERS: Final = {
    "Dungeon": "Water Drips|Torch Flicker|Stone Door|Chains Rattling|Distant Scream|Rats in the Walls",
    "Tavern": "Busy Evening|Lute by the Fire|Bar Brawl|Clinking Cups|Drunken Shanty|Rainy Night Inn",
    "Forest": "Dawn Birds|Wolf Howl|Wind in the Pines|River Crossing|Campfire Night|Owl at Midnight",
    "Battle": "War Drums|Sword Clash|Cavalry Charge|Arrow Volley|Siege Engine|Goblin Ambush|Last Stand",
    "City/Market": "Morning Crowd|Blacksmith Forge|Horse Cart|Street Musicians|Temple Bells",
    "City/Harbour": "Seagulls|Ship Creaking|Storm at Sea|Rowing Crew|Kraken Rising|Foggy Docks",
    "Magic": "Fireball|Healing Spell|Portal Opening|Arcane Ritual|Curse Whispers|Ice Shards|Summoning",
    "Creatures": "Dragon Roar|Zombie Horde|Giant Spider|Ghost Wail|Bear Growl|Griffin Cry|Slime Bubbling",
    "Music/Orchestral": "Throne Room|Coronation March|Heroes Return|Funeral of a King|The Final Battle",
    "Music/Ambient": "Desolate Plains|Underdark Drone|Frozen Lake|Sunken Temple|Drømmeland|夜の森",
    "Sci-Fi": "Airlock|Starship Engine|Laser Fight|Alien Jungle|Cryo Pod|Station Alarm|Robot Servo",
    "Horror": "Music Box|Attic Footsteps|Asylum Corridor|Heartbeat|Séance|Basement Door|Cult Chanting",
}
_ARTISTS: Final = ("Ann Halloway", "Sound & Fury", "Björk Þórsdóttir", "Field & Foley", "和田 音響", None, "")
_ALBUMS: Final = (
    "Dungeon Ambiences Vol. 2",
    "Old Roads",
    "Échos d'Ys",
    "Sound Library 2019",
    None,
    "Battle Pack",
)
_RAW_GENRES: Final = (None, "", "Unknown", "Soundtrack", "(24)", "Game", "Sound Clip", "Sound FX")
"""What rippers and editors wrote: no vocabulary value, so no run may take one for a person's choice."""
_RAW_MOODS: Final = (None, "", None, None)
_EXTENSIONS: Final = ("mp3", "wav", "flac", "ogg", "m4a")
_TEXTS: Final = (
    "Recorded near the old mill",
    "naïve façade – Übergröße",
    "雨の音、遠雷",
    "🎲 roll for initiative",
    'CC BY 4.0; see the "licence" file',
    "line one\nline two",
    "",
    None,
)
_STANDARD: Final = (
    "file_path", "title", "artist", "album", "album_artist", "duration", "genre", "mood", "bpm", "year",
)  # fmt: skip
_KEPT_AT_DEFAULT: Final = frozenset({"id", "auto_tagged", "auto_tag_date", "auto_tag_version"})
_FILLER_ROWS: Final = 211
"""How many different rows of further metadata there are: a prime, so that they meet all folders."""

Value = str | int | float | bytes | None


def schema(*, with_dates: bool = False) -> str:
    """The statements of SCHEMA; `with_dates` adds `created_at` and `updated_at` to `audio_files`."""
    last = "    auto_tagged BOOLEAN"
    return SCHEMA.replace(last, f"    {_DATES},\n{last}") if with_dates else SCHEMA


def create_library(
    path: Path,
    *,
    files: int = 400,
    seed: int = 7,
    root: str = "/home/ann/Music/Ligeia",
    with_dates: bool = False,
    fill_all_columns: bool = True,
) -> None:
    """Makes a library of `files` sounds at `path`, every one of them untagged by the contract's definition.

    The sounds have the ids 1 to `files` and lie below `root`. The rows depend on the arguments alone.
    `fill_all_columns=False` leaves the further metadata columns at NULL. From four files on a soundboard
    and a playlist refer to some; from twenty on a person has given file 5 a keyword and file 11 an occasion.

    Raises FileExistsError where `path` exists and sqlite3.OperationalError where it cannot be made.
    """
    if path.exists():
        raise FileExistsError(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        # A sample is made anew when the machine dies: its making need not be durable.
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.executescript(schema(with_dates=with_dates))
        with connection:
            _insert_vocabulary(connection)
            further = _further_columns(connection) if fill_all_columns else {}
            _insert_sounds(connection, files, Random(seed), root, further)
            _insert_boards(connection, files)


def _insert_vocabulary(connection: sqlite3.Connection) -> None:
    connection.executemany(
        "INSERT INTO tag_vocabulary (tag_type, tag_value, description, parent_tag) VALUES (?, ?, ?, ?)",
        VOCABULARY,
    )


def _insert_sounds(
    connection: sqlite3.Connection, files: int, random: Random, root: str, further: dict[str, str]
) -> None:
    columns = (*_STANDARD, *further)
    filler = [tuple(_value(name, kind, random) for name, kind in further.items()) for _ in range(_FILLER_ROWS)]
    connection.executemany(
        # The names are the schema's own; nothing here comes from outside.
        f"INSERT INTO audio_files ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",  # noqa: S608
        (
            sound + filler[number % _FILLER_ROWS]
            for number, sound in enumerate(_sounds(files, random, root.rstrip("/\\")))
        ),
    )


def _sounds(files: int, random: Random, root: str) -> Iterator[tuple[Value, ...]]:
    """The standard columns of each sound, in the order of _STANDARD. No path comes twice."""
    names = [(folder, name) for folder, joined in _FOLDERS.items() for name in joined.split("|")]
    random.shuffle(names)
    separator = "\\" if "\\" in root else "/"
    for number in range(files):
        folder, name = names[number % len(names)]
        take = number // len(names) + 1
        stem = f"{name} {take:02d}"
        file_name = f"{stem}.{_EXTENSIONS[number % len(_EXTENSIONS)]}"
        file_path = separator.join((root, *folder.split("/"), file_name))
        title = None if number % 13 == 0 else stem.replace(" ", "_") if number % 5 == 0 else name
        artist = random.choice(_ARTISTS)
        duration = None if number % 41 == 0 else round(random.uniform(0.4, 600), 3)
        album, genre = random.choice(_ALBUMS), random.choice(_RAW_GENRES)
        mood = _RAW_MOODS[number % len(_RAW_MOODS)]
        bpm, year = 60 + number % 120 if number % 3 == 0 else None, 1990 + number % 36
        yield file_path, title, artist, album, artist, duration, genre, mood, bpm, year


def _further_columns(connection: sqlite3.Connection) -> dict[str, str]:
    """Name → declared type of every column of `audio_files` that is neither standard nor the sidecar's."""
    columns = {name: kind for _, name, kind, *_ in connection.execute("PRAGMA table_info(audio_files)")}
    return {name: kind for name, kind in columns.items() if name not in _KEPT_AT_DEFAULT.union(_STANDARD)}


_MAKERS: Final[dict[str, Callable[[Random], Value]]] = {
    "INTEGER": lambda random: random.randrange(1, 100),
    "REAL": lambda random: random.uniform(-60, 60),
    "BOOLEAN": lambda random: random.randrange(2),
    "BLOB": lambda random: random.randbytes(24),
    "DATETIME": lambda random: f"20{random.randrange(10, 26)}-0{random.randrange(1, 10)}-17 08:30:00",
    "TEXT": lambda random: random.choice(_TEXTS),
}
_NAMED_MAKERS: Final[dict[str, Callable[[Random], Value]]] = {
    "codec": lambda random: random.choice(_EXTENSIONS),
    "file_hash": lambda random: random.randbytes(16).hex(),
    "isrc": lambda random: f"GBAYE{random.randrange(10**7):07d}",
    "initial_key": lambda random: random.choice(("Am", "C", "F#m", "8A")),
    "language": lambda random: random.choice(("eng", "deu", "jpn", None)),
    "file_size": lambda random: random.randrange(20_000, 3 * 2**30),
    "bit_rate": lambda random: random.choice((128_000, 192_000, 320_000, 1_411_200)),
    "bwf_time_reference": lambda random: random.randrange(2**40),
    "rating": lambda random: random.choice((None, 0, 1, 3, 5)),
    "sample_rate": lambda random: random.choice((44_100, 48_000, 96_000)),
    "channels": lambda random: random.choice((1, 2, 6)),
    "bwf_origination_date": lambda random: f"2019-10-{random.randrange(10, 31)}",
}


def _value(name: str, kind: str, random: Random) -> Value:
    return _NAMED_MAKERS.get(name, _MAKERS[kind])(random)


def _insert_boards(connection: sqlite3.Connection, files: int) -> None:
    """Rows of the shell's other tables that refer to sounds, and what a person has tagged by hand."""
    connection.execute("INSERT INTO app_settings VALUES ('theme', 'dark'), ('volume', '0.8')")
    if files >= 4:
        connection.execute("INSERT INTO soundboards (name) VALUES ('Session 12')")
        connection.execute("INSERT INTO playlists (name) VALUES ('Travel')")
        pads = [(1, number, number - 1) for number in range(1, 5)]
        connection.executemany(
            "INSERT INTO soundboard_pads (soundboard_id, audio_file_id, pad_index) VALUES (?, ?, ?)", pads
        )
        connection.executemany("INSERT INTO playlist_tracks VALUES (?, ?, ?)", pads)
    if files >= 20:
        by_hand = [(5, "keyword", "source:field-recording"), (11, "occasion", "wilderness-camp")]
        connection.executemany(
            "INSERT INTO rpg_tags (audio_file_id, tag_type, tag_value) VALUES (?, ?, ?)", by_hand
        )
