"""`python -m tests.mutation`: every mutant, the score, and who survived. Exit 1 below 90 %."""

import sys
from collections import Counter
from datetime import UTC, datetime

from .judge import caught_by, copied, shipped
from .mutants import mutants

GOAL = 90


def main() -> int:
    """Judge them all."""
    fates: Counter[str | None] = Counter()
    with copied() as folder:
        for mutant in mutants(shipped()):
            fate = caught_by(mutant, folder)
            fates[fate] += 1
            if fate is None:
                print(f"survived: {mutant.name}", flush=True)
    caught, total = fates["validate"] + fates["test"], fates.total()
    score = 100 * caught / total
    print(
        f"{datetime.now(UTC).date()}: {caught} of {total} mutants caught ({score:.1f} %): "
        f"{fates['test']} by `sidecar test`, {fates['validate']} by `sidecar validate`"
    )
    return int(score < GOAL)


if __name__ == "__main__":
    sys.exit(main())
