"""What the contract's tests stand on: the real process, a sample library, and what must always hold.

- `waiting`     conditions with a deadline
- `rows`        a database's every row and column, and the one comparison of before and after
- `library`     a sample library, the shell's edits in it, and how it has to look
- `client`      the shell's side of one process's pipes, and the record of what went through them
- `invariants`  what holds after every case, whatever the case
- `flood`       a shell that sends as fast as it can
- `forkserver`  a process with all imports done, from which the program under test is forked
- `forks`       asks it for one, as a process like any other
- `process`     starts the program under test; when its block ends, so must it, and the invariants hold

The stand-in for Gemini is `sidecar.demo.standin`, over real HTTP. `LIGEIA_SIDECAR_COMMAND`, a JSON array of
strings, names the program to test (a frozen file, say); without it `python -m sidecar`, or a fork of it.
"""

from tests.harness.client import COMPLETE, FAST, KEY, Client
from tests.harness.flood import Flood
from tests.harness.forks import ROOT
from tests.harness.invariants import check_invariants
from tests.harness.library import HOME, USER, Library, answers, library, vocabulary
from tests.harness.lines import Message, is_answer
from tests.harness.messages import check_messages
from tests.harness.process import NO_KEY, command, environment, start, unread
from tests.harness.rows import Row, Rows, Snapshot, compare
from tests.harness.waiting import DEADLINE_SECONDS, alive, eventually, family, never, none_left

__all__ = [
    "COMPLETE", "DEADLINE_SECONDS", "FAST", "HOME", "KEY", "NO_KEY", "ROOT", "USER", "Client", "Flood",
    "Library", "Message", "Row", "Rows", "Snapshot", "alive", "answers", "check_invariants", "check_messages",
    "command", "compare", "environment", "eventually", "family", "is_answer", "library", "never", "none_left",
    "start", "unread", "vocabulary",
]  # fmt: skip
