"""How often SEA comes back to a support it has seen: what remembering fits can save.

Prints, as CSV, the share of steps whose support occurred within the last so many steps of the same signal.
Run: python benchmarks/sea_memory.py > results/sea_memory.csv
"""

from collections import Counter, defaultdict
from unittest import mock

import pursuit
from pursuit import problems
from pursuit.datasets import ecg
from pursuit.least_squares import Memory

STEPS = 400
WITHIN = (1, 4, 16, 64, STEPS)
INSTANCES = (
    problems.deconvolution(signals=20),
    problems.gaussian(signals=20),
    problems.gaussian(n=64, m=32, k=10, signals=20),
    ecg(),
)


def distances(instance, x0):
    """For every step of every signal, how many steps ago its support was last seen."""
    seen, found, fit = defaultdict(dict), Counter(), Memory.fit

    def watched(memory, A, y, atoms):
        for item, support in enumerate(atoms.indices.tolist()):
            last = seen[item]
            now = last["now"] = last.get("now", 0) + 1
            found[now - last.get(tuple(support), -STEPS)] += 1
            last[tuple(support)] = now
        return fit(memory, A, y, atoms)

    with mock.patch.object(Memory, "fit", watched):
        pursuit.sea(instance.A, instance.y, instance.k, x0=x0, max_steps=STEPS)
    return found


print("problem", "n", "start", *(f"within_{count}" for count in WITHIN), sep=",")
for instance in INSTANCES:
    for start in ("zero", "omp", "htp"):
        x0 = None if start == "zero" else pursuit.solve(instance.A, instance.y, start, k=instance.k).x
        found = distances(instance, x0)
        shares = (sum(n for d, n in found.items() if d <= count) / sum(found.values()) for count in WITHIN)
        print(instance.name, instance.A.shape[1], start, *(f"{share:.3f}" for share in shares), sep=",", flush=True)
