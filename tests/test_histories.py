"""Any history of runs, edits by the shell, undo and restarts: after every step the library is as the model says.

The sidecar's methods run in process over a real SQLite file and ask a stand-in for Gemini over real HTTP.
`HISTORIES=5000 pytest tests/test_histories.py` tries that many, other ones each time.
"""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import precondition, rule

from sidecar.contract import Code
from tests.model import rules, words
from tests.model.comparison import dates_of
from tests.model.gemini import Answer, Meaning, Script
from tests.model.history import History
from tests.model.library import Order
from tests.model.state import key
from tests.model.strategies import MODELS, Edit, answers, edits, indexes, meanings, modes, picks, recent, sizes
from tests.model.words import Pair


class Histories(History):
    """The runs of a history, and what comes after them."""

    @rule(answers=answers, meaning=meanings)
    def run(self, answers: list[Answer], meaning: Meaning) -> None:
        self._tag("auto_tag_files", Order(), answers, meaning)

    @rule(files=picks, mode=modes, size=sizes, parallel=st.integers(1, 3), answers=answers, meaning=meanings)
    def run_over(
        self,
        files: tuple[int, ...],
        mode: str,
        size: int,
        parallel: int,
        answers: list[Answer],
        meaning: Meaning,
    ) -> None:
        how = Order(mode=mode, batch_size=size, max_parallel=parallel, file_ids=self.files(files))
        self._tag("auto_tag_files", how, answers, meaning)

    @rule(files=st.none() | picks, mode=modes, size=sizes, answers=answers, meaning=meanings)
    def dry_run(
        self, files: tuple[int, ...] | None, mode: str, size: int, answers: list[Answer], meaning: Meaning
    ) -> None:
        ids = None if files is None else self.files(files)
        how = Order(mode=mode, dry_run=True, batch_size=size, file_ids=ids)
        self._tag("auto_tag_files", how, answers, meaning)

    @rule(files=picks, edit=edits, model=st.sampled_from(MODELS), dry_run=st.booleans(), answers=answers)
    def run_while_the_shell_edits(
        self, files: tuple[int, ...], edit: Edit, model: str, dry_run: bool, answers: list[Answer]
    ) -> None:
        how = Order(model=model, dry_run=dry_run, file_ids=self.files(files))
        self._tag("auto_tag_files", how, answers, "first", meanwhile=edit)

    @rule(
        files=picks, size=sizes, end=st.sampled_from(("quota_exhausted", "cancelled")), at=indexes, answers=answers
    )
    def run_cut_off(self, files: tuple[int, ...], size: int, end: str, at: int, answers: list[Answer]) -> None:
        how = Order(batch_size=size, max_parallel=1, file_ids=self.files(files))
        self._tag("auto_tag_files", how, answers, "last", ended=(end, at))

    @precondition(lambda self: self.model.runs)
    @rule(which=recent, answers=answers, meaning=meanings)
    def retry_failed(self, which: int, answers: list[Answer], meaning: Meaning) -> None:
        run = self.past(which)
        again = self.model.retried(run["run_id"])
        how = Order(mode=run["mode"], dry_run=run["dry_run"], file_ids=again, batch_size=50)
        self._tag("retry_failed", how, answers, meaning, run_id=run["run_id"])

    def _tag(
        self,
        method: str,
        how: Order,
        answers: list[Answer],
        meaning: Meaning,
        *,
        meanwhile: Edit | None = None,
        ended: tuple[str, int] | None = None,
        **params: Any,
    ) -> None:
        """Any run: what the model expects of it, the run itself, then what the model makes of it."""
        model, since, arrived = self.model, datetime.now(UTC), self.world.gemini.arrived
        params = params or how._asdict()
        batches = model.batches(how.file_ids, how.batch_size)
        asked = [file_id for batch in batches for file_id in batch]
        if asked and not rules.can_tag(model.vocabulary):
            return self._refused(Code.DATABASE_UNAVAILABLE, method, **params)
        snapshots = [model.snapshots(batch) for batch in batches]
        names = {f: words.name(row["file_path"]) for f, row in model.files.items()}
        said = {text: answers[at % len(answers)] for at, text in enumerate(names.values())}
        unknown = model.unknown(said[names[f]] for f in asked)
        script = Script(
            said,
            meaning,
            meanwhile=partial(self._edited_meanwhile, meanwhile) if meanwhile else None,
            last=names[asked[ended[1] % len(asked)]] if ended and asked else None,
            cancel=self.world.cancel_soon if ended and ended[0] == "cancelled" else None,
        )
        started, reports = self.world.run(method, script, **params)
        assert (started["total_files"], started["total_batches"]) == (len(asked), len(batches)), (started, batches)
        if not asked:
            assert started["status"] == "nothing_to_do" and self.world.gemini.arrived == arrived
            return None
        run = model.book(started["run_id"], len(asked), len(batches), how.model or self.default_model, how)
        run |= {"requests": self.world.gemini.arrived - arrived, "status": ended[0] if ended else "completed"}
        self._hear(script, None if ended else unknown)
        dates = dates_of(self.world, run["run_id"], since)
        for report in reports:
            batch = snapshots[report.batch - 1]
            model.close_batch(run, batch, said, next((dates[f] for f in batch if f in dates), ""))
        if ended:  # what was cut off before it had arrived has been counted all the same
            counted = self.world.call("get_run", run_id=run["run_id"])["usage"]["requests"]
            assert run["requests"] <= counted <= run["requests"] + 2
            run["requests"] = counted
        return None

    def _hear(self, script: Script, unknown: set[Pair] | None) -> None:
        """Each unknown tag is asked for once, unless a run was cut off before it could take the answer."""
        model, heard = self.model, set()
        for pair, valid in script.mapped:
            assert rules.look_up(model.vocabulary, *pair) is None, f"{pair} is in the vocabulary"
            known = model.meaning(pair) is not None or key(pair) in model.given_up
            assert key(pair) not in heard and (not known or key(pair) in model.unsure), f"{pair} was known"
            heard.add(key(pair))
            model.hear(pair, valid)
        if unknown is None:
            model.unsure |= heard
        else:
            assert heard - model.unsure == unknown - model.unsure
            model.unsure -= heard

    @precondition(lambda self: self.model.runs)
    @rule(which=recent, accept=st.none() | picks, reject=st.lists(indexes, max_size=2))
    def apply_proposals(self, which: int, accept: Sequence[int] | None, reject: list[int]) -> None:
        model, source, since = self.model, self.past(which, "proposals"), datetime.now(UTC)
        if not source["dry_run"]:
            return self._refused(Code.INVALID_PARAMS, "apply_proposals", run_id=source["run_id"])
        proposed = sorted(source["proposals"])
        accepted = proposed if accept is None else [proposed[at % len(proposed)] for at in accept if proposed]
        rejected = [proposed[at % len(proposed)] for at in reject if proposed]
        ids = [file_id for file_id in dict.fromkeys(accepted) if file_id not in rejected]
        params = {"run_id": source["run_id"], "accept": "all" if accept is None else accepted, "reject": rejected}
        if ids and not rules.can_tag(model.vocabulary):
            return self._refused(Code.DATABASE_UNAVAILABLE, "apply_proposals", **params)
        applied = self.world.call("apply_proposals", **params)
        if not ids:
            assert applied == {"run_id": None, "applied_files": 0, "skipped_files": 0}
            return None
        how = Order(mode=source["mode"], batch_size=source["batch_size"])
        run = model.book(applied["run_id"], len(ids), -(-len(ids) // how.batch_size), source["model"], how)
        model.apply(run, source, ids, dates_of(self.world, run["run_id"], since))
        done = len(run["tagged"])
        assert (applied["applied_files"], applied["skipped_files"]) == (done, len(ids) - done)
        return None

    @precondition(lambda self: self.model.runs)
    @rule(which=recent)
    def undo_run(self, which: int) -> None:
        run = self.past(which, "tagged")
        restored = self.model.undo(run["run_id"])
        tagged = 0 if run["dry_run"] else len(run["tagged"])
        assert self.world.call("undo_run", run_id=run["run_id"]) == {
            "run_id": run["run_id"],
            "restored_files": restored,
            "skipped_files": tagged - restored,
        }


Histories.TestCase.settings = settings(
    max_examples=int(os.environ.get("HISTORIES", "300")),
    stateful_step_count=16,
    derandomize="HISTORIES" not in os.environ,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
TestHistories = Histories.TestCase
