"""The engine: batches inside nurseries, counters, one run at a time, resume.

A run: `choosing` and `selection` say which files, `booking` writes that it begins, `plan` fixes it, `run` does it:
`prompt` and `batch` ask, `outcomes` says what became of files, `writing` commits, `knowledge` is what is known of
tags, `budget` and `budget_gate` bound it, `progress` counts, `summary` says how it ended, `ends` writes that.

All runs: `runs` starts and stops them, by `starting`, one `under_way` at a time in the `slot`; `run_lock` keeps
others out, `delays` are waited for by the next one, too, `archive` looks them up; `apply` and `undo` change what
they did, `report`, `explain` and `stale` tell of it, `estimates` tells of runs to come.
"""
