"""The mutator itself: what it changes, what it leaves, and that a change is noticed."""

from pathlib import Path

from tests.mutation.mutants import mutants
from tests.mutation.trial import Outcome, tried

SOURCE = '''
"""Docstring 1."""

LIMIT: int = 10


def is_few(count: int) -> bool:
    """Docstring 2."""
    if count < LIMIT and not count == 3:
        return True
    raise ValueError(f"There are {count} of them.")
'''


def test_each_mutant_is_one_change_and_docstrings_types_and_sentences_stay() -> None:
    assert [str(mutant) for mutant in mutants(SOURCE)] == [
        ": LIMIT: int = 10 → LIMIT: int = 11",
        "is_few(): raise ValueError(f'There are {count} of them.') → pass",
        "is_few(): if count < LIMIT and (not count == 3): → if not (count < LIMIT and (not count == 3)):",
        "is_few(): if count < LIMIT and (not count == 3): → if count < LIMIT or not count == 3:",
        "is_few(): if count < LIMIT and (not count == 3): → if not count == 3:",
        "is_few(): if count < LIMIT and (not count == 3): → if count < LIMIT:",
        "is_few(): if count < LIMIT and (not count == 3): → if count <= LIMIT and (not count == 3):",
        "is_few(): if count < LIMIT and (not count == 3): → if count >= LIMIT and (not count == 3):",
        "is_few(): if count < LIMIT and (not count == 3): → if count < LIMIT and count == 3:",
        "is_few(): if count < LIMIT and (not count == 3): → if count < LIMIT and (not count != 3):",
        "is_few(): if count < LIMIT and (not count == 3): → if count < LIMIT and (not count == 4):",
        "is_few(): return True → return False",
        "is_few(): raise ValueError(f'There are {count} of them.') → raise ValueError(f'There are … of them.')",
    ]


def test_a_mutant_is_killed_by_a_test_that_fails_and_lives_where_none_does(tmp_path: Path) -> None:
    module = tmp_path / "counting.py"
    tests = tmp_path / "test_counting.py"
    tests.write_text(
        f"import sys\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        f"from counting import is_few\n\n"
        f"def test_nine_are_few():\n"
        f"    assert is_few(9)\n"
    )
    outcomes = {
        str(mutant): tried("counting", module, mutant.source, [str(tests)], 60) for mutant in mutants(SOURCE)
    }
    assert outcomes["is_few(): return True → return False"] is Outcome.KILLED
    assert outcomes[": LIMIT: int = 10 → LIMIT: int = 11"] is Outcome.SURVIVED
