"""Milliseconds for a forward and backward pass of OMP-Net and IHT-Net, against the authors' code.

At the settings of "Deep greedy unfolding", Figure 3: a batch of 64, n = 256, float32, complex64; OMP-Net with m = 20
and 10 layers, IHT-Net with m = 36, k = 10 and 30 layers. The authors' code goes through a batch signal by signal; it
was measured once on a machine of 2 cores at 1.06 s and 1.69 s, and has no place here.

    OMP_NUM_THREADS=1 python benchmarks/unrolled.py results/unrolled.csv

The networks take turns, medians of 60 passes after 10 that do not count.
"""

import sys
import time
from pathlib import Path
from statistics import median

import torch

from pursuit import nets
from pursuit.ensembles import fourier_levels
from pursuit.reproduce import write_csv

AUTHORS = {"omp-net": 1060.0, "iht-net": 1690.0}
WARM_UP, PASSES = 10, 60


def passes(network: str) -> tuple[torch.nn.Module, torch.Tensor, torch.Tensor]:
    """The network before training, and a batch."""
    ensemble = fourier_levels(m=20 if network == "omp-net" else 36)
    y, x = ensemble.draw(64, torch.Generator().manual_seed(1))
    if network == "omp-net":
        return nets.OMPNet(ensemble.A, layers=10, tau=1e-3, signals="real part"), y, x
    return nets.IHTNet(ensemble.A, k=10, layers=30, eta=0.5, tau=1e-3, signals="real part"), y, x


def once(net: torch.nn.Module, y: torch.Tensor, x: torch.Tensor) -> tuple[float, float]:
    """Milliseconds forward, and backward."""
    begin = time.perf_counter()
    loss = (net(y) - x).square().sum(-1).mean()
    middle = time.perf_counter()
    loss.backward()
    return 1e3 * (middle - begin), 1e3 * (time.perf_counter() - middle)


def main() -> None:
    runs = {network: passes(network) for network in AUTHORS}
    times: dict[str, list[tuple[float, float]]] = {network: [] for network in AUTHORS}
    for _ in range(WARM_UP + PASSES):
        for network, run in runs.items():
            times[network].append(once(*run))
    rows = []
    for network, pairs in times.items():
        kept = pairs[WARM_UP:]
        both = median(f + b for f, b in kept)
        rows.append({
            "network": network, "forward_ms": round(median(f for f, _ in kept), 2),
            "backward_ms": round(median(b for _, b in kept), 2), "both_ms": round(both, 2),
            "fastest_ms": round(min(f + b for f, b in kept), 2), "authors_ms": AUTHORS[network],
            "times_faster": round(AUTHORS[network] / both, 1), "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        })  # fmt: skip
        print("  ".join(f"{name} {value}" for name, value in rows[-1].items()))
    if len(sys.argv) > 1:
        write_csv(Path(sys.argv[1]), rows)


if __name__ == "__main__":
    main()
