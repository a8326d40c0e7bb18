"""What Hypothesis draws histories from."""

from typing import Final

import hypothesis.strategies as st

from tests.model import words
from tests.model.gemini import FAULTS, Said

Edit = tuple[str, int]
"""What the shell does, to which file and with which of the values for it."""
MODELS: Final = ("gemini-3.5-flash-lite", "gemini-3.8-flash")


def words_of(kind: str) -> st.SearchStrategy[tuple[str, ...]]:
    """Some of what Gemini may say of a type."""
    return st.lists(st.sampled_from(words.SAID[kind]), max_size=2, unique=True).map(tuple)


def sure_words_of(kind: str) -> st.SearchStrategy[tuple[str, ...]]:
    """A tag that is active at first, and some of what Gemini may say besides."""
    return st.tuples(st.sampled_from(words.POOL[kind]), words_of(kind)).map(lambda pair: (pair[0], *pair[1]))


late = st.sampled_from((False, False, False, True))
usable = st.builds(
    Said,
    genre=st.sampled_from((*words.POOL["genre"], *words.SAID["genre"])),
    mood=sure_words_of("mood"),
    occasion=sure_words_of("occasion"),
    keyword=words_of("keyword"),
    late=late,
)
doubtful = st.builds(
    Said,
    genre=st.sampled_from((None, *words.SPELLED["genre"])),
    mood=words_of("mood"),
    occasion=words_of("occasion"),
    keyword=words_of("keyword"),
    late=late,
)
faults = st.sampled_from(sorted(FAULTS))
answers = st.lists(usable, min_size=1, max_size=3) | st.lists(
    usable | usable | doubtful | faults, min_size=2, max_size=4
)
meanings = st.sampled_from(("first", "last", "first", "last", "nothing", "unsaid", "invented"))
indexes = st.integers(0, 7)
recent = st.integers(0, 3)
sizes = st.integers(1, 8)
modes = st.sampled_from(("merge", "replace"))
several = st.lists(indexes, min_size=1, max_size=5).map(tuple)
picks = st.just(tuple(range(8))) | several
edits = st.tuples(st.sampled_from(("genre", "mood", "row", "row", "title", "date", "again", "delete")), indexes)
found_files = st.tuples(
    st.sampled_from(words.GENRES),
    st.sampled_from(words.MOODS),
    st.lists(
        st.sampled_from([pair for pair in words.PAIRS if pair[0] in words.ROW_KINDS]), max_size=3, unique=True
    ),
)

WHOLE: Final = Said("ambient", ("eerie",), ("tavern",), ("biome:cave",))
"""An answer that tags any file."""
