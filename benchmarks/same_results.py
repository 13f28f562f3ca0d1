"""Whether a change of the code changed any result: every solver, network and a sweep on 500 seeded problems.

    python benchmarks/same_results.py write before.npz     # with the code before
    python benchmarks/same_results.py compare before.npz   # with the code after: what differs, and by how much
    python benchmarks/same_results.py compare before.npz --norms torch   # with norms of columns as torch sums them

One thread, so that the sums are taken in the same order. Only public names are used, which is what both versions share.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

import pursuit

PROBLEMS = 500
DTYPES = (torch.float32, torch.float64, torch.complex64, torch.complex128)
GREEDY = ("omp", "iht", "niht", "htp", "cosamp", "sp", "ompr", "els", "sea")
NETWORKS: dict[str, dict[str, Any]] = {
    "OMPNet": {"layers": 4, "tau": 0.05},
    "IHTNet": {"k": 4, "layers": 6, "eta": 0.4, "tau": 0.05},
    "CoSaMPNet": {"k": 4, "layers": 1, "tau": 0.05},
    "SPNet": {"k": 4, "layers": 1, "tau": 0.05},
    "HTPNet": {"k": 4, "layers": 2, "eta": 0.4, "tau": 0.05},
    "SEANet": {"k": 4, "layers": 5},
    "LISTA": {"layers": 4},
    "LISTACP": {"layers": 4},
    "LISTACPSS": {"layers": 4},
    "TiLISTA": {"layers": 4},
    "ALISTA": {"layers": 4},
    "ALISTAAT": {"layers": 4},
    "AGLISTA": {"layers": 4},
    "GLISTA": {"layers": 4},
    "NAALISTA": {"layers": 4, "sparsity": 4, "hidden": 6},
    "LAMP": {"layers": 4, "sparsity": 4},
}


def instance(seed: int) -> tuple[torch.Tensor, torch.Tensor, int]:
    """A small problem: sizes, precision, noise and how alike the columns are, all drawn."""
    g = torch.Generator().manual_seed(seed)
    dtype = DTYPES[seed % 4]
    wide = torch.complex128 if dtype.is_complex else torch.float64
    m = int(torch.randint(4, 40, (), generator=g))
    n = int(torch.randint(4, 60, (), generator=g))
    k = int(torch.randint(1, max(2, min(m, n) // 2), (), generator=g))
    A = torch.randn(m, n, generator=g, dtype=wide)
    if seed % 5 == 0:  # columns that are alike
        A = A + 3 * torch.randn(m, 1, generator=g, dtype=wide)
    if seed % 7 == 0:  # of unequal norms
        A = A * torch.exp(torch.randn(n, generator=g, dtype=torch.float64))
    x = torch.randn(3, n, generator=g, dtype=wide) * (torch.rand(3, n, generator=g).argsort(-1) < k)
    noise = (0.0, 1e-3, 0.1)[seed % 3]
    y = x @ A.mT + noise * torch.randn(3, m, generator=g, dtype=wide)
    return A.to(dtype), y.to(dtype), k


def solvers(seed: int) -> dict[str, Any]:
    """The fields of every solver's solution."""
    A, y, k = instance(seed)
    solutions = {
        name: pursuit.solve(A, y, name, k=k, **({"max_steps": 50} if name == "sea" else {})) for name in GREEDY
    }
    if seed % 5 == 0:
        solutions["sea+"] = pursuit.solve(A, y, "sea+", k=k, max_steps=50)
    lam = 0.1 * (y @ A.conj()).abs().amax(-1)
    solutions["ista"], solutions["fista"] = (pursuit.solve(A, y, f, lam=lam, max_steps=200) for f in ("ista", "fista"))
    solutions["greedy_lasso"] = pursuit.greedy_lasso(A, y, k, lam=0.1)
    solutions["soft omp"] = pursuit.omp(A, y, k, select=pursuit.Relaxed(tau=0.05))
    solutions["soft iht"] = pursuit.iht(A, y, k, max_steps=20, select=pursuit.Relaxed(tau=0.05))
    fields = ("x", "support", "residual_norm", "steps", "status")
    return {f"{seed}/{name}/{f}": getattr(s, f).numpy() for name, s in solutions.items() for f in fields}


def networks(seed: int) -> dict[str, Any]:
    """Output and gradients of every network, before training."""
    g = torch.Generator().manual_seed(seed)
    A = torch.randn(16, 24, generator=g)
    A, x = A / A.norm(dim=0), torch.randn(8, 24, generator=g) * (torch.rand(8, 24, generator=g) < 0.15)
    y, found = x @ A.mT, {}
    for name, options in NETWORKS.items():
        torch.manual_seed(seed)
        net = getattr(pursuit.nets, name)(A, **options)
        if hasattr(net, "prepare"):
            net.prepare(y)
        out = net(y)
        out.square().sum().backward()
        found[f"{seed}/{name}/out"] = out.detach().numpy()
        for i, p in enumerate(net.parameters()):
            if p.grad is not None:
                found[f"{seed}/{name}/grad {i}"] = p.grad.numpy()
    return found


def sweep() -> dict[str, Any]:
    """A small phase transition by the command line."""
    with tempfile.TemporaryDirectory() as folder:
        run = [sys.executable, "-m", "pursuit", "sweep", "phase", "--n", "24", "--grid", "4x4", "--trials", "20"]
        subprocess.run([*run, "-o", folder], check=True, capture_output=True)
        with open(Path(folder) / "table.csv", newline="") as file:
            rows = [row for row in csv.reader(file) if row and not row[0].startswith("#")]
    numbers = [[v for v in row if v.replace(".", "").replace("-", "").isdigit()] for row in rows[1:]]
    return {"sweep": np.array([float(v) for row in numbers for v in row])}


def all_results() -> dict[str, Any]:
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    for seed in range(PROBLEMS):
        found |= solvers(seed)
    for seed in range(20):
        found |= networks(seed)
    return found | sweep()


def compare(before: Any, after: dict[str, Any]) -> None:
    """Print, per solver or network and field, how many problems differ and the largest difference."""
    table: dict[tuple[str, str], list[float]] = {}
    for name in before.files:
        _, who, field = name.split("/") if "/" in name else ("", name, "")
        table.setdefault((who, field), []).append(difference(before[name], after.get(name)))
    print(f"{'who':14} {'what':14} {'problems':>8} {'differ':>7} {'largest difference':>19}")
    for (who, field), values in table.items():
        differing = [v for v in values if v != 0]
        if differing or not field or field == "x":
            print(f"{who:14} {field:14} {len(values):8} {len(differing):7} {max(values):19.3g}")


def difference(a: Any, b: Any) -> float:
    """The largest, relative to the largest entry; infinite where shapes differ or it is gone."""
    if b is None or a.shape != b.shape:
        return float("inf")
    if a.size == 0 or np.array_equal(a, b, equal_nan=True):
        return 0.0
    return float(np.nanmax(np.abs(a - b)) / max(float(np.nanmax(np.abs(a))), 1e-300))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["write", "compare"])
    parser.add_argument("file")
    parser.add_argument("--norms", choices=["as they are", "torch"], default="as they are")
    arguments = parser.parse_args()
    if arguments.norms == "torch":  # whose roundings the code had at dd13197
        pursuit.Dense.column_norms = lambda self: torch.linalg.vector_norm(self.matrix, dim=-2)
    if arguments.what == "write":
        np.savez_compressed(arguments.file, **all_results())
    else:
        compare(np.load(arguments.file), all_results())
