"""What is in a library, and what the sidecar's process knows of unknown tags."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from tests.model import rules
from tests.model.gemini import Answer, Said, learnt
from tests.model.rules import Tags
from tests.model.words import MEANT, ROW_KINDS, Pair

Row = dict[str, Any]
TagKey = tuple[int, str, str]

CONTENT = frozenset({"blocked", "bad_response", "request_rejected"})
SKIPS = frozenset({"changed", "deleted"})


def key(pair: Pair) -> Pair:
    """What an unknown tag is remembered by, however it is spelled."""
    return pair[0], MEANT.get(pair[1], pair[1])


class State:
    """What the library holds and what the sidecar's process knows.

    files: id → row. tags: the rows of `rpg_tags`, (file, type, value) → [id, created_at, luck]. history: file →
    its rows, oldest first. taggings: file → those that were not undone, oldest first. cache: unknown tag →
    its row. learnt, given_up: what the process knows of unknown tags besides. runs: oldest first.
    """

    def __init__(self, files: dict[int, Row], tags: dict[TagKey, list[Any]], vocabulary: dict[Pair, Any]) -> None:
        self.files = files
        self.tags = tags
        self.vocabulary = vocabulary
        self.history: dict[int, list[Row]] = {}
        self.taggings: dict[int, list[Row]] = {}
        self.cache: dict[Pair, Row] = {}
        self.learnt: dict[Pair, str] = {}
        self.given_up: set[Pair] = set()
        self.unsure: set[Pair] = set()
        self.runs: list[Row] = []
        self.globs: list[str] = []
        self.excluded_ids: list[int] = []
        self.highest_tag_id = 0

    # --- what is there ---

    def tags_of(self, file_id: int) -> Tags:
        """A file's tags."""
        row = self.files[file_id]
        of_kind = {kind: {v for f, k, v in self.tags if f == file_id and k == kind} for kind in ROW_KINDS}
        return {"genre": row["genre"], "mood": row["mood"], **of_kind}

    def latest(self, file_id: int) -> Row | None:
        """The file's latest tagging that was not undone."""
        return next(reversed(self.taggings.get(file_id, [])), None)

    def excluded(self, file_id: int) -> bool:
        """Whether an exclusion covers it."""
        paths = [row["file_path"] for row in self.files.values()]
        here = self.files[file_id]["file_path"]
        return file_id in self.excluded_ids or any(rules.is_covered(glob, here, paths) for glob in self.globs)

    def untagged(self) -> list[int]:
        """The files that wait for tags."""
        waiting = (f for f, row in self.files.items() if rules.is_untagged(row, self.tags_of(f)))
        return sorted(f for f in waiting if not self.excluded(f))

    def batches(self, file_ids: Sequence[int] | None, size: int) -> list[list[int]]:
        """The batches of a run over these files, or over all that are untagged."""
        named = (
            self.untagged() if file_ids is None else [f for f in dict.fromkeys(file_ids) if not self.excluded(f)]
        )
        failed = {f for f in named if self._is_suspect(f)}
        parts = ([f for f in named if f not in failed], [f for f in named if f in failed])
        return [part[at : at + size] for part in parts for at in range(0, len(part), size)]

    def _is_suspect(self, file_id: int) -> bool:
        """Whether it failed for what it holds itself, and no run has tagged it since."""
        latest = self.latest(file_id)
        since = self.runs.index(self.run(latest["run_id"])) + 1 if latest else 0
        return any(run["failures"].get(file_id) in CONTENT for run in self.runs[since:])

    def run(self, run_id: str) -> Row:
        """A run's row."""
        return next(run for run in self.runs if run["run_id"] == run_id)

    def retried(self, run_id: str) -> list[int]:
        """The files of a run that `retry_failed` takes: failed, not skipped, and still untagged."""
        failed = [f for f, reason in self.run(run_id)["failures"].items() if reason not in SKIPS]
        return [f for f in sorted(failed) if f in self.files and rules.is_untagged(self.files[f], self.tags_of(f))]

    # --- unknown tags ---

    def meaning(self, pair: Pair) -> str | None:
        """What an unknown tag stands for: a tag, REMOVE, or None where nobody knows."""
        known = self.learnt.get(key(pair)) or self.cache.get(key(pair), {}).get("valid_tag")
        return known if known == "REMOVE" or (pair[0], known) in self.vocabulary else None

    def unknown(self, answers: Iterable[Answer]) -> set[Pair]:
        """The unknown tags in answers of which Gemini has to be asked."""
        said = {pair for answer in answers if isinstance(answer, Said) for pair in answer.pairs()}
        outside = {pair for pair in said if rules.look_up(self.vocabulary, *pair) is None}
        return {key(pair) for pair in outside if self.meaning(pair) is None} - self.given_up

    def hear(self, pair: Pair, valid: str | None) -> None:
        """Gemini's word on an unknown tag that it was asked for."""
        word = learnt(valid, pair[0], self.vocabulary)
        self.learnt.pop(key(pair), None)
        self.given_up.discard(key(pair))
        if word is None:
            self.given_up.add(key(pair))
        else:
            self.learnt[key(pair)] = word

    def resolve(self, said: Said) -> Row:
        """The valid tags that an answer stands for, by type, and how each came about."""
        found: Row = {
            "genre": [],
            "mood": [],
            "occasion": [],
            "keyword": [],
            "mapped": {},
            "dropped": [],
            "uses": [],
        }
        for kind, word in said.pairs():
            tag = rules.look_up(self.vocabulary, kind, word)
            if tag is None:
                tag = self.meaning((kind, word))
                if tag is not None:
                    found["uses"].append((kind, word))
                if tag in (None, "REMOVE"):
                    found["dropped"].append((kind, word))
                    continue
                if tag not in found[kind]:
                    found["mapped"][kind, tag] = word
            else:
                found["mapped"].pop((kind, tag), None)
            if tag not in found[kind]:
                found[kind].append(tag)
        return found

    def use(self, pairs: Iterable[Pair]) -> None:
        """Counts uses of mappings in the cache, and adds those that are not in it yet."""
        for pair, times in Counter(map(key, pairs)).items():
            row = self.cache.setdefault(pair, {"valid_tag": None, "usage_count": 0})
            row["usage_count"] += times
            if pair in self.learnt:
                row["valid_tag"] = self.learnt.pop(pair)

    def restart(self) -> None:
        """Another process, which knows what is in the database."""
        self.learnt.clear()
        self.given_up.clear()
        self.unsure.clear()

    def delete(self, file_id: int) -> None:
        """The shell deletes a file, and with it all that refers to it."""
        del self.files[file_id]
        self.tags = {where: entry for where, entry in self.tags.items() if where[0] != file_id}
        self.history.pop(file_id, None)
        self.taggings.pop(file_id, None)
