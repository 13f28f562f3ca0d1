"""Whether a change made anything slower: the same calls with the code of another checkout and with this one's.

Two processes, one for each, are asked in turn for one call at a time, so that both see the machine as it is at that
moment. Medians of wall time and of processor time, and the quickest calls, which say most where other work or waiting
threads come between; above 1 the code before was slower. The first calls, which compile, do not count.

    git worktree add ../before dd13197
    python benchmarks/before_after.py ../before results/before_after.csv
"""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

M, N, K, SIGNALS, TURNS, SEED = 256, 1024, 32, 64, 15, 0
SOLVERS = ("omp", "iht", "niht", "htp", "cosamp", "sp", "ompr", "els", "sea", "sea+", "greedy_lasso", "ista", "fista")
NETWORKS: dict[str, dict[str, Any]] = {
    "OMPNet": {"layers": 8, "tau": 1e-2},
    "IHTNet": {"k": 8, "layers": 15, "eta": 0.5, "tau": 1e-2},
    "HTPNet": {"k": 8, "layers": 4, "eta": 0.5, "tau": 1e-2},
    "CoSaMPNet": {"k": 8, "layers": 2, "tau": 1e-2},
    "SPNet": {"k": 8, "layers": 2, "tau": 1e-2},
    "SEANet": {"k": 8, "layers": 10},
    "LISTACP": {"layers": 8},
    "ALISTA": {"layers": 8},
    "AGLISTA": {"layers": 8},
    "NAALISTA": {"layers": 8},
    "LAMP": {"layers": 8, "sparsity": 8},
}


def calls() -> dict[str, Callable[[], Any]]:
    """What is timed; public names that both versions have."""
    import torch

    import pursuit

    g = torch.Generator().manual_seed(SEED)
    A = torch.nn.functional.normalize(torch.randn(M, N, generator=g), dim=0)
    x = torch.randn(SIGNALS, N, generator=g) * (torch.rand(SIGNALS, N, generator=g).argsort(-1) < K)
    y = x @ A.mT + 0.01 * torch.randn(SIGNALS, M, generator=g)
    given = {name: {"k": K, "max_steps": 100} for name in SOLVERS}
    given |= {"omp": {"k": K}, "greedy_lasso": {"k": K, "lam": 0.01}}
    given |= {name: {"lam": 0.05, "max_steps": 200} for name in ("ista", "fista")}
    out: dict[str, Callable[[], Any]] = {}
    for name in SOLVERS:
        out[name] = partial(pursuit.solve, A.numpy(), y.numpy(), name, **given[name])
        out[f"{name}, one signal"] = partial(pursuit.solve, A.numpy(), y[0].numpy(), name, **given[name])
    z = y.clone().requires_grad_()
    out["omp, forward and back"] = lambda: pursuit.omp(A, z, K).x.square().sum().backward()
    B, v = A[:64, :256].contiguous(), y[:, :64]
    for name, options in NETWORKS.items():
        torch.manual_seed(SEED)
        net = getattr(pursuit.nets, name)(B, **options)
        if hasattr(net, "prepare"):
            net.prepare(v.repeat(200, 1))
        out[name] = lambda net=net: net(v).square().sum().backward()
    scores = torch.randn(SIGNALS, N, generator=g).requires_grad_()
    out["softsort"] = lambda: pursuit.softsort(scores, 1e-2, K).square().sum().backward()
    out["analytic_weights"] = lambda: pursuit.analytic_weights(A)
    out["soft_omp_bound"] = lambda: pursuit.theory.soft_omp_bound(B.double(), v[0].double(), 4, tau=1e-3)
    return out


def serve() -> None:
    """Answer each line, the name of a call, by its seconds: wall time and processor time."""
    known = calls()
    print(json.dumps(list(known)), flush=True)
    for line in sys.stdin:
        wall, own = time.perf_counter(), time.process_time()
        known[line.strip()]()
        print(json.dumps((time.perf_counter() - wall, time.process_time() - own)), flush=True)


def start(checkout: Path) -> subprocess.Popen[str]:
    """A process with the code of this checkout."""
    environment = os.environ | {"PYTHONPATH": str(checkout / "src"), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, str(Path(__file__).resolve()), "--serve"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def ask(process: subprocess.Popen[str], name: str) -> Any:
    assert process.stdin is not None
    assert process.stdout is not None
    print(name, file=process.stdin, flush=True)
    return json.loads(process.stdout.readline())


def main() -> None:
    if sys.argv[1:] == ["--serve"]:
        serve()
        return
    both = {"before": start(Path(sys.argv[1])), "after": start(Path(__file__).resolve().parents[1])}
    names = [json.loads(process.stdout.readline()) for process in both.values() if process.stdout].pop()
    about = {
        "turns": TURNS, "seed": SEED, "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "python": platform.python_version(), **{name: version(name) for name in ("torch", "numpy", "numba")},
    }  # fmt: skip
    rows = []
    for name in names:
        taken: dict[str, list[Any]] = {which: [] for which in both}
        for _ in range(TURNS + 2):
            for which, process in both.items():
                taken[which].append(ask(process, name))
        wall, own = ({w: median(v[i] for v in t[2:]) for w, t in taken.items()} for i in (0, 1))
        row = {
            "call": name, "ms_before": round(1e3 * wall["before"], 3), "ms_after": round(1e3 * wall["after"], 3),
            "times_faster": round(wall["before"] / wall["after"], 3),
            "times_faster_by_processor_time": round(own["before"] / own["after"], 3),
            "times_faster_at_best": round(min(taken["before"])[0] / min(taken["after"])[0], 3),
        }  # fmt: skip
        print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
        rows.append(row | about)
    if len(sys.argv) > 2:
        import csv

        with open(sys.argv[2], "w", newline="") as file:
            table = csv.DictWriter(file, rows[0], lineterminator="\n")
            table.writeheader()
            table.writerows(rows)


if __name__ == "__main__":
    main()
