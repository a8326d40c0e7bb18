"""The model: a library in plain dicts, and what CONTRACT.md lets each call make of it."""

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

from sidecar import __version__
from tests.model import rules
from tests.model.gemini import FAULTS, Answer, Said
from tests.model.rules import Tags
from tests.model.state import Row, State, key
from tests.model.words import ROW_KINDS, Pair, name

WRITTEN = frozenset({"genre", "mood", "auto_tagged", "auto_tag_date", "auto_tag_version", "updated_at"})


class Order(NamedTuple):
    """What `auto_tag_files` is asked for."""

    mode: str = "merge"
    dry_run: bool = False
    batch_size: int = 50
    max_parallel: int = 3
    file_ids: list[int] | None = None
    model: str | None = None


class Model(State):
    """A library with its runs."""

    # --- what a run does ---

    def book(self, run_id: str, total: int, batches: int, model: str, how: Order) -> Row:
        """Adds a run, with nothing done and nothing asked."""
        run = {
            "run_id": run_id,
            "total_files": total,
            "total_batches": batches,
            "model": model,
            "vocabulary": dict(self.vocabulary),
            "failures": {},
            "tagged": [],
            "proposals": {},
            "closed_batches": 0,
            "status": "completed",
            "requests": 0,
            "mode": how.mode,
            "dry_run": how.dry_run,
            "batch_size": how.batch_size,
        }
        self.runs.append(run)
        return run

    def snapshots(self, ids: Iterable[int]) -> dict[int, Row]:
        """What a batch reads of its files."""
        return {
            f: {"path": self.files[f]["file_path"], "tags": self.tags_of(f), "latest": self.latest(f)} for f in ids
        }

    def close_batch(self, run: Row, batch: Mapping[int, Row], answers: Mapping[str, Answer], date: str) -> None:
        """What becomes of a batch's files, which it had read as they are in `batch`."""
        uses: list[Pair] = []
        for file_id, snapshot in batch.items():
            answer = answers[name(snapshot["path"])]
            if not isinstance(answer, Said):
                run["failures"][file_id] = FAULTS[answer]
                continue
            wanted = self.resolve(answer)
            uses += wanted["uses"]
            decided = rules.decide(snapshot["tags"], snapshot["latest"], wanted, run["mode"], self.vocabulary)
            if decided is None:
                run["failures"][file_id] = "invalid_tags"
            elif (skip := self._since(file_id, snapshot)) is not None:
                run["failures"][file_id] = skip
            elif run["dry_run"]:
                run["proposals"][file_id] = {**snapshot, "after": decided[0], "wanted": wanted}
                run["tagged"].append(file_id)
            else:
                self._tag(run, file_id, decided, wanted, date)
        run["closed_batches"] += 1
        if not run["dry_run"]:
            self.use(uses)

    def _since(self, file_id: int, snapshot: Row) -> str | None:
        """Why a file is skipped: somebody was at it since the snapshot."""
        if file_id not in self.files:
            return "deleted"
        return None if self.tags_of(file_id) == snapshot["tags"] else "changed"

    def _tag(self, run: Row, file_id: int, decided: tuple[Tags, Tags], wanted: Row, date: str) -> None:
        after, person = decided
        row, seconds = self.files[file_id], date[:19].replace("T", " ")
        before = {(file_id, kind, value) for kind, value in rules.pairs(self.tags_of(file_id))}
        rows = {(file_id, kind, value) for kind in ROW_KINDS for value in after[kind]}
        gone = {k: self.tags[k] for k in self.tags if k in before - rows and k[1] in ROW_KINDS}
        tagging = {
            "run_id": run["run_id"],
            "model": run["model"],
            "date": date,
            "after": after,
            "person": person,
            "wanted": wanted,
            "row": {n: row[n] for n in row if n in WRITTEN},
            "gone": gone,
            "new": {k for k in rows if k not in self.tags},
        }
        written = {"genre": after["genre"], "mood": after["mood"], "auto_tagged": 1, "auto_tag_date": date}
        row |= written | ({"updated_at": seconds} if "updated_at" in row else {})
        row["auto_tag_version"] = __version__
        for k in gone:
            del self.tags[k]
        self.tags |= {k: [None, seconds, None] for k in tagging["new"]}
        run["has_tagged"] = True
        self.taggings.setdefault(file_id, []).append(tagging)
        self.history.setdefault(file_id, []).append(
            {"run_id": run["run_id"], "tagged_at": date, "api_version": run["model"], "after": after}
        )
        run["tagged"].append(file_id)

    # --- what comes after a run ---

    def undo(self, run_id: str) -> int:
        """Takes a run back where nobody has been since; how many files."""
        undone = [
            f
            for f in self.files
            if (top := self.latest(f)) and top["run_id"] == run_id and self.tags_of(f) == top["after"]
        ]
        for file_id in undone:
            self._undo(file_id, self.taggings[file_id].pop())
        return len(undone)

    def _undo(self, file_id: int, tagging: Row) -> None:
        row, date = self.files[file_id], tagging["date"]
        left = {"auto_tagged": 1, "auto_tag_date": date, "auto_tag_version": row["auto_tag_version"]}
        left["updated_at"] = date[:19].replace("T", " ")
        same = {column for column, value in left.items() if row.get(column) == value}
        if "auto_tag_date" not in same:
            same.discard("auto_tag_version")
        row |= {column: value for column, value in tagging["row"].items() if column in same | {"genre", "mood"}}
        for k in tagging["new"]:
            del self.tags[k]
        self.tags |= deepcopy(tagging["gone"])

    def apply(self, run: Row, source: Row, ids: Sequence[int], dates: Mapping[int, str]) -> None:
        """Writes proposals of a dry run as a run of its own, which has chosen its tags when that one did."""
        run["vocabulary"] = source["vocabulary"]
        uses: list[Pair] = []
        for file_id in ids:
            proposal = source["proposals"][file_id]
            skip = self._since(file_id, proposal)
            if skip is None and (self.excluded(file_id) or self.latest(file_id) is not proposal["latest"]):
                skip = "changed"
            if skip is not None:
                run["failures"][file_id] = skip
                continue
            wanted = self._still_active(proposal["wanted"])
            decided = rules.decide(
                self.tags_of(file_id), self.latest(file_id), wanted, run["mode"], self.vocabulary
            )
            if decided is None:
                run["failures"][file_id] = "invalid_tags"
                continue
            self._tag(run, file_id, decided, wanted, dates.get(file_id, ""))
            uses += self._behind(wanted)
        self.use(uses)
        run["closed_batches"] = run["total_batches"]

    def _still_active(self, wanted: Row) -> Row:
        kept = {k: [v for v in wanted[k] if (k, v) in self.vocabulary] for k in ("genre", "mood", *ROW_KINDS)}
        mapped = {pair: said for pair, said in wanted["mapped"].items() if pair in self.vocabulary}
        return {**wanted, **kept, "mapped": mapped}

    def _behind(self, wanted: Row) -> list[Pair]:
        """The mappings through which a proposal's tags came, if they still say so."""
        found = []
        for (kind, tag), said in wanted["mapped"].items():
            pair = key((kind, said))
            if pair not in self.learnt and pair not in self.cache:
                self.learnt[pair] = tag
            if self.meaning(pair) == tag:
                found.append(pair)
        return found + [pair for pair in wanted["dropped"] if self.meaning(pair) == "REMOVE"]

    # --- what is stale ---

    def stale(self, model: str) -> Row:
        """The answer to `find_stale`."""
        tagged = [run for run in self.runs if run.get("has_tagged")]
        if not tagged:
            return {"changed_since_run": None, "added_tags": set(), "retired_tags": {}, "file_ids": []}
        last, now = tagged[-1], set(self.vocabulary)
        retired = dict.fromkeys(set(last["vocabulary"]) - now, 0)
        ids = []
        for file_id in sorted(self.files):
            tagging = self.latest(file_id)
            if tagging is None or self.excluded(file_id):
                continue
            gone = (rules.of_run(tagging) & rules.pairs(self.tags_of(file_id))) - now
            for pair in gone:
                retired[pair] = retired.get(pair, 0) + 1
            before = self.run(tagging["run_id"])["vocabulary"]
            added = now - set(before)
            redefined = {pair for pair in now & set(before) if self.vocabulary[pair] != before[pair]}
            other = rules.of_run(tagging) & rules.pairs(self.tags_of(file_id)) & redefined
            if gone or other or tagging["model"] != model or self._touches(added, tagging):
                ids.append(file_id)
        return {
            "changed_since_run": last["run_id"]
            if (self.vocabulary, model) != (last["vocabulary"], last["model"])
            else None,
            "added_tags": now - set(last["vocabulary"]),
            "retired_tags": retired,
            "file_ids": ids,
        }

    def _touches(self, added: set[Pair], tagging: Row) -> bool:
        """Whether Gemini meant one of these tags for that file, or chose the genre above one."""
        wanted = tagging["wanted"]
        meant = {key(pair) for pair in wanted["dropped"]}
        meant |= {key((kind, said)) for (kind, _), said in wanted["mapped"].items()}
        genre = None if tagging["person"]["genre"] else tagging["after"]["genre"]
        return bool(meant & added) or any(k == "genre" and v.startswith(f"{genre}:") for k, v in added)

    # --- where tags come from ---

    def explained(self, file_id: int) -> dict[Pair, tuple[Any, ...]]:
        """Each tag of a file with (run, model, date, what Gemini had called it), or () for a person's."""
        tags, tagging = self.tags_of(file_id), self.latest(file_id)
        found: dict[Pair, tuple[Any, ...]] = dict.fromkeys(rules.pairs(tags), ())
        if tagging is None:
            return found
        for pair in rules.of_run(tagging) & found.keys():
            if pair[0] != "mood" or tags["mood"] == tagging["after"]["mood"]:
                mapped = tagging["wanted"]["mapped"].get(pair)
                found[pair] = (tagging["run_id"], tagging["model"], tagging["date"], mapped)
        return found
