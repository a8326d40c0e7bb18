"""The program's promises in figures: `python -m tests.trust [--long] [--only ROW ...] [--seed N] [--readme]`.

- `row`       what a row is, what it counts, and the loop over its cases
- `report`    the printed table, the JSON file, the table in README.md
- `parts`     a library whose sounds are handed out part by part, so that one process serves many cases
- every other module is a row

Each case ends with `tests.harness.check_invariants`; a row's docstring says what else it looks at.
"""
