"""The command: every mutant of the modules against their own tests; prints what survives."""

import argparse
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutation.mutants import Mutant, mutants
from tests.mutation.targets import EXPLAINED, NOT_TRIED, TARGETS
from tests.mutation.trial import Outcome, tried

ROOT = Path(__file__).parents[2]


def main() -> int:
    """0 when no mutant survives but those that are explained."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("modules", nargs="*", choices=[*TARGETS, []], metavar="module", help=", ".join(TARGETS))
    options = parser.parse_args()
    os.chdir(ROOT)
    return max([_report(module) for module in options.modules or TARGETS])


def _report(module: str) -> int:
    path = ROOT.joinpath(*module.split(".")).with_suffix(".py")
    source = path.read_text(encoding="utf-8")
    tests = [*TARGETS[module], "-k", NOT_TRIED]
    began = time.monotonic()
    if tried(module, path, source, tests, 300) is not Outcome.SURVIVED:
        sys.stdout.write(f"{module}: its tests fail without any change\n")
        return 1
    patience_seconds = 10 + 5 * (time.monotonic() - began)

    def outcome(mutant: Mutant) -> Outcome:
        return tried(module, path, mutant.source, tests, patience_seconds)

    all_mutants = list(mutants(source))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        outcomes = list(pool.map(outcome, all_mutants))
    alive = [mutant for mutant, found in zip(all_mutants, outcomes, strict=True) if found is Outcome.SURVIVED]
    explained = EXPLAINED.get(module, {})
    unexplained = 0
    for mutant in alive:
        reason = next((why for part, why in explained.items() if part in str(mutant)), None)
        unexplained += reason is None
        sys.stdout.write(f"{path.relative_to(ROOT)}:{mutant.line} {mutant} ({reason or 'UNEXPLAINED'})\n")
    for part in explained:
        if not any(part in str(mutant) for mutant in alive):
            sys.stdout.write(f"{module}: no survivor is explained by {part!r}\n")
    killed = sum(found is not Outcome.SURVIVED for found in outcomes)
    sys.stdout.write(
        f"{module}: {len(all_mutants)} mutants, {killed} killed "
        f"({outcomes.count(Outcome.TIMED_OUT)} of them by the clock), {len(alive)} survived, "
        f"{unexplained} of them unexplained; {time.monotonic() - began:.0f} s\n"
    )
    sys.stdout.flush()
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
