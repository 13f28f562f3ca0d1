"""What the adaptive mode of a sweep saves: trials for the same error of the 95 % curve, against an even spread.

The error is the root mean square distance, over m and seeds, from the curve of a reference run of another seed with
4000 trials per cell. What the logistic fit itself is off by is not in it: all runs make the same fit.

Prints CSV. Run: python benchmarks/sweep_adaptive.py > results/sweep_adaptive.csv (about five minutes)
"""

import csv
import math
import sys
import tempfile

import numpy as np

from pursuit import sweeps

PROBLEM = {"methods": ("omp",), "n": 64, "grid": (3, 20)}
SEEDS = range(1, 7)
REFERENCE, EVEN, ASKED, BLOCK = 4000, (50, 100, 200, 400), (0.03, 0.02, 0.015), 50


def curve(sweep):
    """The 95 % curve, one rho per m."""
    return np.array([row["rho"] for row in sweep.curves((0.95,))])


def measured(runs, truth, **told):
    """Trials and errors of one mode, over all seeds."""
    curves = [run.curves((0.95,)) for run in runs]
    errors = [curve(run) - truth for run in runs]
    return told | {
        "trials": round(sum(row["trials"] for run in runs for row in run.table()) / len(runs)),
        "rms_error_rho": round(float(np.sqrt(np.mean(np.square(errors)))), 5),
        "mean_error_rho": round(float(np.mean(errors)), 5),
        "widest_band_rho": round(max((row["rho_high"] - row["rho_low"]) / 2 for rows in curves for row in rows), 5),
    }


with tempfile.TemporaryDirectory() as folder:
    truth = curve(sweeps.phase(output=f"{folder}/reference", trials=REFERENCE, **PROBLEM))
    rows = []
    for trials in EVEN:
        runs = [sweeps.phase(output=f"{folder}/{s}", seed=s, block=BLOCK, trials=trials, **PROBLEM) for s in SEEDS]
        rows.append(measured(runs, truth, mode="even", trials_per_cell=trials))
    for error in ASKED:
        options = {"block": BLOCK, "trials": 10_000, "adaptive": error}
        runs = [sweeps.phase(output=f"{folder}/{error}-{s}", seed=s, **options, **PROBLEM) for s in SEEDS]
        rows.append(measured(runs, truth, mode="adaptive", asked_rho=error))

# The even spread's trials over its error, between the measured points; beyond the last one the error falls as 1 / sqrt.
even = [row for row in rows if row["mode"] == "even"]
for measure in ("rms_error_rho", "widest_band_rho"):
    x = [math.log(row[measure]) for row in reversed(even)]
    y = [math.log(row["trials"]) for row in reversed(even)]
    for row in rows:
        if row["mode"] == "adaptive":
            beyond = max(0.0, x[0] - math.log(row[measure])) * 2
            needed = math.exp(float(np.interp(math.log(row[measure]), x, y)) + beyond)
            row[f"even_trials_at_equal_{measure.split('_')[0]}"] = round(needed)
            row[f"saving_at_equal_{measure.split('_')[0]}"] = round(needed / row["trials"], 2)

table = csv.DictWriter(sys.stdout, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
table.writeheader()
table.writerows(rows)
