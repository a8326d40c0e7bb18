"""CONTRACT.md once more, in plain dicts: what a library has to hold after any history.

Nothing here looks at how the program works; only `world` runs it. What the contract leaves open is taken
from the database and checked for what it does say: ids of new rows, the second in which a batch was written.

- `words`        the few tags, spellings, paths and globs that histories are made of
- `rules`        the contract's rules, each a function of plain values
- `state`        what is in the library, and what the sidecar's process knows
- `library`      the model: what each call makes of that
- `gemini`       how the stand-in answers a run, file by file
- `world`        the real program, stepped through by a caller that is not async
- `comparison`   the program's database and answers against the model
- `strategies`, `history`   what histories are drawn from, and the steps of a person; runs: `test_histories`
"""
