"""What the step size does to IHT and HTP: the defaults against 1.8 / L and fixed steps, on those of `pursuit compare`.

Prints, as CSV, the NMSE in dB for every problem, method and step size. Columns are normalised; L is the largest
eigenvalue of A^H A; inf is a divergence.
Run: python benchmarks/step_size.py > results/step_size.csv
"""

import pursuit
from pursuit import metrics, problems
from pursuit.datasets import ecg

FIXED = (0.3, 0.6, 0.9, 1.0)

print("problem", "method", "default", "1.8/L", *(f"eta_{eta}" for eta in FIXED), sep=",")
for make in (ecg, problems.gaussian, problems.fourier):
    instance = make()
    L = float(pursuit.as_operator(instance.A).normalised().norm2())
    for method in ("iht", "htp"):
        etas = None, 1.8 / L, *FIXED
        runs = (pursuit.solve(instance.A, instance.y, method, k=instance.k, eta=eta) for eta in etas)
        errors = (f"{metrics.nmse_db(run.x, instance.x):.2f}" for run in runs)
        print(instance.name, method, *errors, sep=",", flush=True)
