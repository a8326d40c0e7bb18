"""The sample vocabulary of about 900 tags, and plausible tags for a sound by the words of its path.

The law of this module: nothing here is random. The same path gets the same tags in every process on
every machine (crc32, never `hash`), so that a test may compare two runs byte for byte.
"""

import re
from functools import lru_cache
from itertools import chain
from typing import Final
from zlib import crc32

from msgspec import Struct

_GENRES: Final = {
    "orchestral": """
        cinematic epic chamber strings brass choral romantic minimalist baroque heroic tragic waltz
    """,
    "ambient": "drone dark space nature industrial ethereal melodic textural sacred underwater arctic",
    "electronic": "synthwave cyberpunk techno downtempo glitch idm chiptune trance breakbeat dub",
    "folk": "celtic nordic balkan slavic american irish sea-shanty tavern ballad harvest bardic",
    "medieval": "court troubadour gregorian march dance festival lute minstrel plainchant",
    "world": """
        arabic indian chinese japanese african andean mongolian persian polynesian gamelan taiko klezmer
    """,
    "rock": "progressive psychedelic western stoner surf post garage acoustic",
    "metal": "symphonic doom power folk black industrial viking",
    "jazz": "noir swing lounge bebop smoky-bar fusion big-band",
    "classical": "piano quartet opera organ harpsichord requiem sonata symphony",
    "horror": "suspense gothic slasher cosmic psychological body folk survival music-box",
    "soundscape": "city forest ocean cave battlefield village desert swamp mountain starship dungeon weather",
    "sound-effect": """
        impact foley creature magic weapon door vehicle ui footsteps explosion fire water gore crowd
    """,
    "percussion": "war-drums tribal frame-drum hybrid tension rolls",
    "vocal": "chant choir lament throat-singing whispers overtone spoken",
    "blues": "delta swamp-blues slide",
    "steampunk": "clockwork airship salon",
    "western": "saloon standoff trail spaghetti",
}
_MOODS: Final = """
    adventurous aggressive agitated alien alluring ancient angry anguished anticipating anxious arcane
    awe-inspiring barren bittersweet bleak bold bouncy brooding calm celebratory chaotic cheerful chilling
    claustrophobic cold comforting comical confident contemplative cozy creepy curious dangerous dark
    defiant dejected desolate desperate determined devout dreamy driving eerie elegant energetic enigmatic
    epic ethereal euphoric exotic fearful festive fierce foreboding forlorn frantic friendly frightening
    furious gentle gloomy grand grief-stricken grim haunting heroic hopeful hopeless hostile humorous
    hypnotic idyllic intense intimate joyful lonely longing lush magical majestic malevolent melancholic
    menacing merry mournful mysterious mystical nervous noble nostalgic oppressive ominous otherworldly
    passionate peaceful playful proud quirky rebellious regal relaxed relentless resolute reverent romantic
    sacred serene sinister solemn somber sorrowful suspenseful tender tense tragic tranquil triumphant
    uneasy unsettling uplifting urgent vengeful victorious warm whimsical wistful wondrous
"""
_OCCASIONS: Final = """
    ambush arena-duel arrival assassination audience-with-the-king bar-brawl battle boss-fight camp-at-night
    campfire-tale capture caravan-journey carnival castle-siege cavalry-charge character-death chase
    city-exploration coronation council court-intrigue credits crafting cult-ritual cursed-object
    dark-bargain dawn death-of-a-friend desert-crossing divine-vision downtime dragon-encounter
    dream-sequence duel dungeon-crawl dungeon-entrance escape execution exorcism exploration fairground
    fey-crossing final-battle flashback forest-travel funeral gambling ghost-encounter goblin-raid
    graveyard-visit guild-meeting harbour-arrival healing heist homecoming hunting infiltration inn-rest
    interrogation investigation jailbreak journey-by-sea last-stand library-research looting market-day
    marching-to-war masquerade-ball meditation monster-reveal montage mountain-pass mystery naval-battle
    negotiation night-watch oath-swearing parley pirate-raid planar-travel plot-twist prayer prologue
    prophecy puzzle-solving quest-briefing recap recovery resurrection revelation revolt riddle
    royal-banquet ruins-exploration sacrifice sailing scouting seance sewer-crawl shipwreck shopping siege
    skirmish sneaking space-travel spellcasting stakeout storm-at-sea summoning swamp-travel tavern
    tavern-night temple-visit the-morning-after tomb-raid torture-chamber tournament training trap trial
    underwater-exploration victory village-life wedding wilderness-camp wilderness-travel wizard-duel
    zombie-horde
"""
_KEYWORDS: Final = {
    "biome": """
        cave forest jungle desert swamp mountain tundra coast ocean river lake island plains moor volcano
        underdark glacier canyon savanna steppe marsh reef sky wasteland meadow cliff
    """,
    "place": """
        tavern castle dungeon temple market village city harbour sewer crypt graveyard library forge mine
        prison throne-room laboratory mansion ruins tower bridge camp arena stable inn monastery shrine
        lighthouse windmill kitchen theatre courtroom hospital school factory warehouse spaceport station
        bunker subway casino circus tomb attic cellar rooftop alley guildhall barracks observatory
    """,
    "creature": """
        dragon goblin orc troll wolf bear rat bat spider snake horse raven owl crow ghost zombie skeleton
        vampire werewolf demon angel giant ogre kraken griffin phoenix unicorn fairy golem elemental slime
        mimic beholder lich wraith banshee insect bees frog cat dog cow sheep pig chicken whale seagull
        eagle lion dinosaur alien robot mermaid centaur minotaur hydra treant imp
    """,
    "weather": """
        rain storm thunder wind snow blizzard hail fog drizzle heatwave sandstorm breeze lightning clear
        hurricane
    """,
    "element": """
        fire water ice earth air lightning acid poison lava steam smoke mud sand crystal shadow light void
    """,
    "instrument": """
        violin cello viola bass flute oboe clarinet bassoon horn trumpet trombone tuba harp piano organ
        harpsichord lute guitar banjo mandolin fiddle bagpipes hurdy-gurdy accordion drums timpani taiko
        bodhran bells chimes gong xylophone marimba celesta choir synthesizer theremin didgeridoo kalimba
        sitar koto shakuhachi erhu oud duduk ocarina recorder whistle dulcimer nyckelharpa music-box
        glass-harmonica waterphone
    """,
    "action": """
        walking running fighting sneaking climbing swimming riding sailing flying casting digging cooking
        eating drinking sleeping dancing singing laughing crying screaming whispering praying breathing
        falling opening closing breaking building burning hammering writing reading rowing shooting throwing
        clapping chanting snoring knocking dripping
    """,
    "object": """
        door chest sword shield bow arrow axe dagger staff wand book scroll coin potion lock key chain torch
        candle lantern bell clock gate lever trap cart wagon ship boat anchor rope barrel bottle cup plate
        dice cards anvil hammer bellows armour helmet gem crown ring mirror lamp gear engine elevator
    """,
    "magic": """
        spell heal curse portal summon teleport ward illusion enchantment necromancy divination evocation
        abjuration transmutation ritual rune aura blast buff debuff levitation invisibility charm
        shield-spell dispel fireball ice-shard thunderbolt resurrect familiar
    """,
    "combat": """
        sword-clash arrow-volley shield-block punch kick gunshot cannon explosion battle-cry charge retreat
        parry critical-hit death-blow siege-engine catapult volley stab slash
    """,
    "people": """
        crowd soldiers children monks nobles merchants pirates bandits guards villagers priests wizards
        elves dwarves halflings gnomes knights sailors thieves bards cultists scientists crew rebels
        gladiators
    """,
    "era": """
        prehistoric bronze-age antiquity dark-ages medieval renaissance colonial victorian wild-west
        twenties wartime cold-war modern near-future far-future post-apocalyptic
    """,
    "setting": """
        high-fantasy low-fantasy dark-fantasy sword-and-sorcery science-fiction space-opera cyberpunk
        steampunk cosmic-horror gothic-horror urban-fantasy superhero espionage noir pirate-age wuxia
        fairytale post-apocalypse mythic-greece norse-saga arabian-nights feudal-japan
    """,
    "tempo": "static very-slow slow moderate brisk fast very-fast accelerating rubato pulsing",
    "texture": """
        sparse dense layered airy gritty metallic wooden glassy watery rumbling shimmering distorted muffled
        hollow resonant granular
    """,
    "structure": "loop one-shot stinger intro outro transition bed riser drop build-up full-track seamless",
    "time": "dawn morning noon afternoon dusk evening night midnight spring summer autumn winter",
    "distance": "close near medium far distant overhead underground next-room outside passing",
    "intensity": "silent subtle low mid high overwhelming rising fading",
    "vocals": "none male female children mixed choir solo wordless latin invented-language whispered spoken",
    "key": "major minor modal dorian phrygian lydian mixolydian atonal chromatic",
    "technology": """
        starship-engine airlock computer laser hologram scanner warp-drive hydraulics alarm drone servo
        terminal cryo-pod generator radio tesla-coil
    """,
    "source": """
        field-recording studio synthesized foley live remastered lo-fi vintage binaural mono stereo surround
    """,
}

Entry = tuple[str, str, str | None, str | None]


def _genre_entries() -> list[Entry]:
    roots: list[Entry] = [("genre", root, f"Any kind of {root}", None) for root in _GENRES]
    leaves: list[Entry] = [
        ("genre", f"{root}:{leaf}", f"{root.capitalize()}, {leaf.replace('-', ' ')}", root)
        for root, words in _GENRES.items()
        for leaf in words.split()
    ]
    return roots + leaves


VOCABULARY: Final[tuple[Entry, ...]] = (
    *_genre_entries(),
    *(("mood", mood, f"It feels {mood.replace('-', ' ')}", None) for mood in _MOODS.split()),
    *(("occasion", word, f"For a scene of {word.replace('-', ' ')}", None) for word in _OCCASIONS.split()),
    *(("keywords", f"{facet}:{word}", None, None) for facet, words in _KEYWORDS.items() for word in words.split()),
)
"""Rows (tag_type, tag_value, description, parent_tag) of the shell's `tag_vocabulary`, no pair twice.
The keyword type is spelled `keywords`, as the shell spells it."""

INVENTED: Final[dict[tuple[str, str], str | None]] = {
    ("keyword", "cavern"): "biome:cave",
    ("keyword", "spooky noises"): None,
    ("mood", "spine-tingling"): "chilling",
    ("mood", "vibey"): None,
    ("occasion", "delving"): "dungeon-crawl",
    ("occasion", "session zero"): None,
    ("keyword", "pub"): "place:tavern",
    ("genre", "movie score"): "orchestral:cinematic",
    ("keyword", "material:unobtainium"): None,
}
"""Tags outside the vocabulary that a model invents, by (type, tag); what a mapping answer says of each."""


class SoundTags(Struct, frozen=True):
    """The tags of one sound as an answer carries them: one genre, 1–3 moods, 1–2 occasions, 3–6 keywords."""

    genre: str
    moods: tuple[str, ...]
    occasions: tuple[str, ...]
    keywords: tuple[str, ...]


def _of_type(tag_type: str) -> tuple[str, ...]:
    return tuple(value for kind, value, _, _ in VOCABULARY if kind == tag_type)


def _words(text: str) -> list[str]:
    """The lower-case words of a text, each also without its plural s."""
    words = re.findall(r"[a-z]{3,}", text.lower())
    return list(chain.from_iterable((word, word.removesuffix("s")) for word in words))


def _by_word(tags: tuple[str, ...]) -> dict[str, list[str]]:
    """Which tags speak of a word: by the last segment of the tag, so a facet's own name draws nothing."""
    index: dict[str, list[str]] = {}
    for tag in tags:
        for word in dict.fromkeys(_words(tag.rpartition(":")[2])):
            index.setdefault(word, []).append(tag)
    return index


_TAGS: Final = {kind: _of_type(kind) for kind in ("genre", "mood", "occasion", "keywords")}
_INDEX: Final = {kind: _by_word(tags) for kind, tags in _TAGS.items()}


def _pick(kind: str, words: list[str], count: int, seed: int) -> tuple[str, ...]:
    """`count` different tags of a type: those that the words name first, the rest by the seed."""
    index, tags = _INDEX[kind], _TAGS[kind]
    named = [index[word][seed % len(index[word])] for word in words if word in index]
    picked = dict.fromkeys(named[:count])
    step = 0
    while len(picked) < count:
        picked[tags[crc32(b"%d" % step, seed) % len(tags)]] = None
        step += 1
    return tuple(picked)


@lru_cache(maxsize=200_000)
def plausible_tags(path: str) -> SoundTags:
    """Tags that a careful listener might give the sound of this path. Never fails, whatever the text."""
    seed = crc32(path.encode("utf-8", "surrogatepass"))
    # The name says more of a sound than its folder, so its words come first.
    folder, _, name = path.rpartition("/")
    words = _words(name) + _words(folder)
    return SoundTags(
        genre=_pick("genre", words, 1, seed)[0],
        moods=_pick("mood", words, 1 + seed % 3, seed),
        occasions=_pick("occasion", words, 1 + seed // 3 % 2, seed),
        keywords=_pick("keywords", words, 3 + seed // 7 % 4, seed),
    )


def invented_tag(path: str, share: float) -> tuple[str, str] | None:
    """The (type, tag) outside the vocabulary that this path's sound gets; None for all but `share`."""
    # Another start value than `plausible_tags` has, so that the choices do not go together.
    draw = crc32(path.encode("utf-8", "surrogatepass"), 0x11EE1A)
    if draw % 10_000 >= share * 10_000:
        return None
    return list(INVENTED)[draw // 10_000 % len(INVENTED)]
