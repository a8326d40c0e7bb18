"""The engine: batches inside nurseries, counters, one run at a time, resume.

A run: `choosing` and `selection` say which files, `booking` writes that it begins, `plan` fixes it, `run` does it:
`prompt` and `batch` ask, `outcomes` says what became of files, `writing` commits, `knowledge` is what is known of
tags, `budget` and `budget_gate` bound it, `progress` counts, `summary` ends it.

All runs: `runs` starts and stops them, one `under_way` at a time, `run_lock` keeps others out, `archive` looks
them up; `apply` and `undo` change what they did, `report`, `explain` and `stale` tell of it, `estimates` tells of
runs to come.
"""
