"""build/freeze/later.py: a module that is run when it is looked at, again where it could not be."""

import importlib.util
import sys
from pathlib import Path

import pytest

LATER = Path(__file__).resolve().parent.parent / "build" / "freeze" / "later.py"
NEEDY = """
from pathlib import Path
NUMBER = int(Path(__file__).with_name("number").read_text())
"""


def test_a_module_that_could_not_be_run_is_run_at_the_next_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "needy_module.py").write_text(NEEDY)
    monkeypatch.setattr(sys, "_MEIPASS", str(tmp_path), raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "needy_module", raising=False)
    spec = importlib.util.spec_from_file_location("later", LATER)
    assert spec is not None and spec.loader is not None
    later = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(later)
    later.run_at_first_look("needy_module")
    needy = sys.modules["needy_module"]
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            _ = needy.NUMBER
    (tmp_path / "number").write_text("7")
    assert (needy.NUMBER, type(needy)) == (7, type(sys))
