"""Mutation testing: does any test notice when the code is changed? (`python -m tests.mutation`)

The name of one or more modules limits it to these; all take some twenty minutes on two cores.

- `mutants`    source text → its mutants, each one small change
- `trial`      one mutant against the tests of its module, in a process of its own
- `targets`    which modules are tried, by which tests, and the mutants that change nothing
"""
