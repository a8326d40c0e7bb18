"""Writes README's recipes by running them: each a request to the real process, and what it answered.

python build/recipes.py            writes them between the markers in README.md
python build/recipes.py --check    exit code 1 if README's differ in more than ids, times and counts
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from sidecar.contract import COMPLETE  # noqa: E402
from sidecar.demo import standin  # noqa: E402
from sidecar.demo.client import Client, open_client  # noqa: E402
from sidecar.demo.library import create_library  # noqa: E402
from sidecar.settings import BASE_URL_VARIABLE, KEY_VARIABLES  # noqa: E402

BEGIN, END = "<!-- recipes:begin -->", "<!-- recipes:end -->"
FILES = 120
STATUS = ("api_key_present", "model", "active_run_id")
BUSY = standin.error(503, "The model is overloaded. Please try again later.", "UNAVAILABLE")
LONGEST_TEXT = 64
LONGEST_LINE = 118
MOST_ENTRIES = 2
MORE = "…"
"""Stands for list entries and members that are left out."""
_RUN_ID = re.compile(r"([0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f-]{22}")
_VARYING = re.compile(r"[0-9a-f]{8}…|\d{4}-\d\d-\d\dT[0-9:+.Z-]+|\d+(?:\.\d+)?")


class Book:
    """The recipes so far, and the process that they are tried on."""

    def __init__(self, client: Client) -> None:
        self.text = ""
        self._client = client

    def chapter(self, title: str, sentence: str) -> None:
        """Begins a recipe."""
        self.text += f"\n**{title}** {sentence}\n\n```\n"

    def close(self) -> None:
        """Ends it."""
        self.text += "```\n"

    async def ask(self, method: str, /, *, only: tuple[str, ...] = (), **params: Any) -> Any:
        """One request with its answer, of which `only` these members are shown; runs are waited for."""
        result = await self._client.request(method, **params)
        shown = {name: result[name] for name in only} | {MORE: MORE} if only else result
        self.text += _elided(f"→ {method} {_folded(_short(params))}\n← {_folded(_short(shown))}\n")
        if isinstance(result, dict) and result.get("status") == "started":
            await self._ended()
        return result

    async def _ended(self) -> None:
        async for event in self._client.notifications:
            if event.method == COMPLETE:
                self.text += f"← {COMPLETE} … {json.dumps(event.params['message'], ensure_ascii=False)}\n"
                return


async def recipes() -> str:
    """All of them, in the order in which a person would meet them."""
    async with _client() as (client, server):
        book = Book(client)
        book.chapter("Know the cost before.", "No request goes out; the prices are yours, per million tokens.")
        await book.ask("count_untagged_files")
        await book.ask("estimate_cost", prices={"input": 0.3, "cached": 0.03, "output": 2.5, "currency": "USD"})
        book.close()
        book.chapter("See exactly what would be sent.", "To the byte; `bytes` is the size of the request's body.")
        await book.ask("preview_request", file_ids=[1, 2])
        book.close()
        book.chapter(
            "Leave folders out.",
            "An excluded file is in no request, estimate or count, also when the library grows.",
        )
        await book.ask("add_exclusion", glob="City/Harbour/*")
        await book.ask("count_untagged_files")
        book.close()
        book.chapter("Give Gemini your house words.", "They are sent after the instruction; `flex` costs half.")
        await book.ask("configure", only=STATUS, hints="We say crypt for any cellar.", service_tier="flex")
        book.close()
        book.chapter("See it before it writes.", "A dry run stores proposals; what you accept is written later.")
        dry = await book.ask("auto_tag_files", dry_run=True)
        await book.ask("get_run", only=("status", "processed_files", "proposals"), run_id=dry["run_id"])
        applied = await book.ask("apply_proposals", run_id=dry["run_id"], accept="all", reject=[1, 2])
        book.close()
        book.chapter("Look at the doubtful ones first.", "How the answers came out, and which files to check.")
        await book.ask("report", only=("sources", "tags", "worries", "worrying_files"), run_id=applied["run_id"])
        await book.ask("explain", file_id=3)
        book.close()
        book.chapter("Correct a mapping for good.", "From then on the invalid tag stands for yours.")
        await book.ask("list_tag_mappings")
        await book.ask("set_tag_mapping", tag_type="mood", invalid_tag="vibey", valid_tag="eerie")
        book.close()
        book.chapter("Take the whole thing back.", "To the byte, but for what someone has changed since.")
        await book.ask("undo_run", run_id=applied["run_id"])
        book.close()
        book.chapter("Stay within a budget.", "The run ends at a batch's end; the next one goes on.")
        await book.ask("set_budget", max_requests=2, per="run")
        await book.ask("auto_tag_files", batch_size=20)
        await book.ask("set_budget")
        book.close()
        book.chapter("Retry only what failed.", "Of the latest run or any other, all reasons or some.")
        server.script = lambda request: BUSY if request.kind == "tagging" else None
        await book.ask("configure", only=STATUS, max_attempts=1)
        await book.ask("auto_tag_files", batch_size=200)
        server.script = None
        await book.ask("retry_failed", reasons=["timeout", "service_unavailable"])
        book.close()
        book.chapter("Redo only what a change touches.", "After a change of vocabulary, rules or model.")
        await book.ask("configure", only=STATUS, model="gemini-3.8-flash")
        await book.ask("find_stale")
        book.close()
        return book.text


@asynccontextmanager
async def _client() -> AsyncIterator[tuple[Client, standin.StandIn]]:
    with tempfile.TemporaryDirectory(prefix="recipes-", ignore_cleanup_errors=True) as folder:
        library = Path(folder) / "library.db"
        create_library(library, files=FILES)
        async with standin.running(hallucinate=0.1) as server:
            env = {**os.environ, KEY_VARIABLES[0]: "recipes-key", BASE_URL_VARIABLE: server.base_url}
            command = [sys.executable, "-m", "sidecar", "--database", str(library)]
            async with open_client(command, env) as client:
                yield client, server


def _short(value: Any) -> Any:
    """A value as a page can show it: long texts and lists are cut."""
    if isinstance(value, str):
        return _RUN_ID.sub(r"\1…", _cut(value, LONGEST_TEXT))
    if isinstance(value, list):
        more = [MORE] if len(value) > MOST_ENTRIES else []
        return [*map(_short, value[:MOST_ENTRIES]), *more]
    if isinstance(value, dict):
        return {name: _short(entry) for name, entry in value.items()}
    return value


def _folded(value: Any, indent: str = "", used: int = 2) -> str:
    """JSON, with a line for each member where one line would be too long; `used`: what stands before it there."""
    line = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or used + len(line) <= LONGEST_LINE:
        return line
    inner = indent + "  "
    if isinstance(value, dict):
        heads = [f"{json.dumps(name, ensure_ascii=False)}: " for name in value]
        entries = list(value.values())
    else:
        heads, entries = [""] * len(value), value
    members = [
        head + _folded(entry, inner, len(inner) + len(head)) for head, entry in zip(heads, entries, strict=True)
    ]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return opening + "\n" + inner + f",\n{inner}".join(members) + f"\n{indent}{closing}"


def _elided(text: str) -> str:
    """What stands for more, without its quotes."""
    mark = json.dumps(MORE, ensure_ascii=False)
    return text.replace(f"{mark}: {mark}", MORE).replace(mark, MORE)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def main(argv: list[str]) -> int:
    """Returns the exit code."""
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    old, tail = rest.split(END)
    new = "\n" + trio.run(recipes) + "\n"
    if argv == ["--check"]:
        same = _VARYING.sub("0", old) == _VARYING.sub("0", new)
        if not same:
            print("README's recipes are not what the sidecar answers: run build/recipes.py", file=sys.stderr)
        return 0 if same else 1
    readme.write_text(head + BEGIN + new + END + tail, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
