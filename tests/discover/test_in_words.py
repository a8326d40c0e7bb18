"""README and the shell's guide name calls, params, notifications and errors as the contract does."""

import re
from typing import Final

import msgspec
import pytest

from sidecar.contract import Code, Completion, DatabaseKind, Progress
from sidecar.rpc.methods import METHODS
from tests.discover.document import DOCUMENT
from tests.harness import ROOT

README: Final = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDE: Final = (ROOT / "build" / "tauri" / "README.md").read_text(encoding="utf-8")
EVENTS: Final = {event["name"] for event in DOCUMENT["x-notifications"]}


def rows(text: str, heading: str) -> list[list[str]]:
    """The cells of the first table whose first heading that is."""
    [_, table] = text.split(f"\n| {heading} |", 1)
    lines = table.split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def names(kind: type[msgspec.Struct]) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(kind)}


def test_readme_names_every_method_once_and_its_params_and_no_others() -> None:
    told = []
    for methods, params, _ in rows(README, "method"):
        spelled = " ".join(re.findall(r"`(.+?)`", params))
        words = set(re.findall(r"[a-z_]+", re.sub(r"\(.*?\)|\{.*?\}", "", spelled)))
        called = re.findall(r"`(.+?)`", methods)
        assert words == set().union(*(names(METHODS[method].params) for method in called)), called
        told += called
    assert sorted(told) == sorted(METHODS)


def test_notifications_are_the_contracts() -> None:
    in_readme, in_guide = (set(re.findall(r"\btagging-\w+", text)) for text in (README, GUIDE))
    assert in_readme == EVENTS
    assert in_guide and in_guide <= EVENTS


@pytest.mark.parametrize("text", [README, GUIDE], ids=["README", "guide"])
def test_errors_are_the_contracts(text: str) -> None:
    assert {int(code) for code in re.findall(r"`(-32\d{3})`", text)} <= set(Code)
    [kinds] = re.findall(r"`data\.kind`: ((?:`\w+`(?:, )?)+)", text)
    assert re.findall(r"`(\w+)`", kinds) == list(DatabaseKind)


def test_readme_tells_every_error_of_our_own() -> None:
    own = {code for code in Code if -32099 <= code <= -32000}  # what JSON-RPC 2.0 leaves to a server
    assert own <= {int(code) for code in re.findall(r"`(-32\d{3})`", README)}


def test_what_the_guide_puts_in_the_place_of_old_calls_is_there() -> None:
    requested = set(re.findall(r'\brequest(?:<.+?>)?\("(.+?)"', GUIDE))
    assert requested and requested <= set(METHODS)
    table = rows(GUIDE, "in the dialog")
    calls = [re.search(r'request\("(\w+)"', instead) for _, instead, _ in table]
    assert {call[1] for call in calls if call} == {"check_gemini_api_key", "get_untagged_files", "auto_tag_files"}
    for old, _, comes in table:
        for name, kind in (("tagging-progress", Progress), ("tagging-complete", Completion)):
            if name in old:
                fields = set(re.findall(r"`(\w+)`", comes))
                assert fields and fields <= names(kind)
