"""Which modules are tried, by which tests, and why some mutants may live."""

TARGETS: dict[str, tuple[str, ...]] = {
    "sidecar.rpc.jsonrpc": (
        "tests/test_jsonrpc.py",
        "tests/test_jsonrpc_batches.py",
        "tests/test_large_answers.py",
    ),
    "sidecar.contract.params": ("tests/test_params.py",),
    "sidecar.contract.in_words": ("tests/test_params.py",),
    "sidecar.tagging.answers": ("tests/test_answers.py", "tests/test_hostile_answers.py"),
    "sidecar.gemini.policy": ("tests/test_policy.py", "tests/test_policy_sentences.py"),
    "sidecar.gemini.verdicts": ("tests/test_policy.py",),
    "sidecar.gemini.backoff": ("tests/test_policy.py",),
    "sidecar.gemini.pace": ("tests/test_pace.py",),
    "sidecar.contract.addresses": ("tests/test_addresses.py",),
    "sidecar.tagging.tags": ("tests/test_tags.py", "tests/test_records.py"),
    "sidecar.tagging.records": ("tests/test_records.py", "tests/test_staleness.py"),
    "sidecar.tagging.mappings": ("tests/test_mappings.py",),
    "sidecar.tagging.vocabulary": ("tests/test_vocabulary.py", "tests/test_mappings.py", "tests/test_tags.py"),
    "sidecar.library.writer": ("tests/writer",),
    "sidecar.library.handover": ("tests/writer",),
    "sidecar.library.opened": ("tests/writer", "tests/test_store.py"),
    "sidecar.library.readers": ("tests/test_store.py", "tests/test_absent_disk.py"),
    "sidecar.library.file": ("tests/writer", "tests/test_store.py", "tests/test_file.py"),
    "sidecar.library.lock": ("tests/test_absent_disk.py", "tests/test_run_lock.py"),
    "sidecar.library.log": ("tests/writer/test_log.py",),
    "sidecar.library.procedures": ("tests/procedures", "tests/test_further_columns.py"),
    "sidecar.library.changes": ("tests/procedures",),
    "sidecar.library.refusals": ("tests/procedures",),
}
NOT_TRIED = "not batch_of_millions"
"""A test of memory: beside others it could fail for any mutant."""

EXPLAINED: dict[str, dict[str, str]] = {
    "sidecar.rpc.jsonrpc": {
        "jsonrpc: Raw = Raw(b'X')": "absent or not a string: neither is version 2",
        "method: Raw = Raw(b'X')": "absent or not a string: neither is a method",
        "PIECE_ITEMS: Final = 1001": "how many is our choice; the tests take the number from here",
        "MAX_BATCH_MEMBERS + 2)": "one member more is read; only the one at the bound is looked at",
        "'FirstMembersX'": "a type's name that nobody sees",
        "→ if not _is_id(call_id):": "no bytes pass as an id: `in` finds them anywhere",
        "→ if params[:1] not in": "`in` finds no bytes anywhere",
        "b'{[X'": "no JSON value begins with X",
        "0123456789X": "no JSON value begins with X",
        "→ return raw.startswith(b'\"')": "the other half is its shortcut",
        "→ if (whole := ": "a shortcut: a line that can be read holds no half of a character",
        "b'\"2.0\"X'": "without the shortcut the other half says the same",
    },
    "sidecar.contract.params": {
        "class Params(Struct, frozen=True, forbid_unknown": "`decode_params` has refused unknown names before",
    },
    "sidecar.contract.in_words": {
        "elif issubclass(kind, StrEnum)": "only Python 3.13 refuses to be asked that of a list's type",
    },
    "sidecar.tagging.answers": {
        "MAX_TAG_LENGTH = 1001": "the test takes the number from here",
        "MOST_ENTRIES = 5001": "how many is our choice; the test takes the number from here",
        "continue → pass": "nothing follows in the loop",
        "return (0, None) → return (1, None)": "the id of a wrong shape is not looked at",
        "1000001.0": "such ids are beyond any count of files",
        "MOST_VALUES = 2001": "the tests go by its name",
        "MOST_FALSE_STARTS = 9": "the tests go by its name",
    },
    "sidecar.gemini.policy": {
        "8640001.0": "a second in a hundred days",
    },
    "sidecar.gemini.verdicts": {
        "Counter = Literal": "a type, for mypy",
    },
    "sidecar.gemini.backoff": {
        "min(failures - 1, 33)": "both are far beyond every maximum",
    },
    "sidecar.gemini.pace": {
        "__init__(): self._successes = 0 → self._successes = 1": "a halving begins with 0; before, none counts",
        "__init__(): self._probes = 0 →": "set when an outage begins, before it is read",
        "__init__(): self._probe_at": "set when an outage begins, before it is read",
        "→ if now + seconds >= self._held_until": "of two equal delays either may say what asked for it",
    },
    "sidecar.tagging.tags": {
        "suggestion.genre, mood, tuple": "without any mood nothing is decided",
    },
    "sidecar.library.writer": {
        "CapacityLimiter(2)": "a limiter of its own for one thread",
        "_IDLE_SECONDS =": "a measure of patience",
        "idle_seconds = min(3 *": "a measure of patience",
        "_next(): idle_seconds = min(2 * idle_seconds, _LONGEST_IDLE_SECONDS) → pass": "a measure of patience",
        "await trio.lowlevel.checkpoint_if_cancelled() → pass": "then the job is left at once",
        "_begin(): _roll_back(connection)": "needs a header that cannot be read in the moment after BEGIN",
        "_begin(): raise": "needs a header that cannot be read in the moment after BEGIN",
        "except (sqlite3.Error, LibraryError) as error": "needs a library that goes between two tries",
        "except (sqlite3.Error, OSError) as error": "needs a library that goes between two tries",
    },
    "sidecar.library.opened": {
        "busy_seconds=2": "counts for the switch to WAL alone; then SQLite's own waiting is switched off",
        "__init__(): self.close()": "no library that was judged is known whose procedures cannot be made",
    },
    "sidecar.library.readers": {
        "READ_PATIENCE_SECONDS = 31.0": "a measure of patience",
        "_closings = 1": "looked at for whether it has changed",
        "_closings -= 1": "looked at for whether it has changed",
        "_closings += 2": "looked at for whether it has changed",
        "_take(): connection.close()": "CPython closes what nobody holds any more",
        "_take(): raise → pass": "needs a header that cannot be read by a connection that has just read it",
    },
    "sidecar.library.lock": {
        "if not TYPE_CHECKING": "for mypy",
        "acquire(timeout=1)": "a measure of patience",
        "error.errno": "an OSError without a number is not known",
        "await trio.lowlevel.checkpoint_if_cancelled() → pass": "then it is given back at once",
        "& 439 | 384": "who may execute it",
        "return 421": "who may execute it",
    },
    "sidecar.library.log": {
        "_ROWS_A_CHECKPOINT = 2001": "a measure: one row more",
        "<= _ROWS_A_CHECKPOINT": "a measure: one row more",
        "_checkpointed_rows = 1": "a measure: one row more",
        "__init__(): self.is_filled": "set before it is looked at: a log is made for a transaction",
        "fetchone()[1]": "the pages that are left in the log: none where it was emptied",
        "_LONG_LOG_PAGES = 1501": "a measure: one page more",
        "pages >= _LONG_LOG_PAGES": "a measure: one page more",
    },
    "sidecar.library.procedures": {
        ": str = 'X'": "a default of rows without files, whose procedure does not look at it",
        ": str = '{}X'": "a default of rows without files, whose procedure does not look at it",
    },
    "sidecar.library.changes": {
        "continue → pass": "a shortcut: the lines below come to the same",
        "if value in now] → kept": "what goes is in `gone` too, and goes first",
    },
    "sidecar.tagging.mappings": {
        "unknown(): continue → pass": "a shortcut: the lines below come to the same",
        "_are_valid(): return": "a shortcut that is taken less often: the long way comes to the same",
    },
    "sidecar.tagging.vocabulary": {
        "strip('-X')": "after `casefold` there is no X",
        "issuperset(values) → return None": "then each tag is looked up on its own",
    },
}
"""Module → part of a surviving mutant's description → why no test can tell it from the original."""
