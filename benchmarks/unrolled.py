"""Milliseconds for a forward and backward pass of OMP-Net and IHT-Net, against the same networks written plainly.

At the settings of "Deep greedy unfolding", Figure 3: a batch of 64, n = 256, float32, complex64; OMP-Net with m = 20
and 10 layers, IHT-Net with m = 36, k = 10 and 30 layers. The plain form goes through a batch signal by signal, as the
authors' code does: the whole relaxed permutation, nothing but autograd. It is timed beside ours, since machines differ
from minute to minute.

    python benchmarks/unrolled.py results/unrolled.csv

Networks and their plain forms take turns; medians of 60 passes (plain: 6) after 10 (1) that do not count.
"""

import sys
import time
from pathlib import Path
from statistics import median

import torch

from pursuit import nets
from pursuit.ensembles import fourier_levels
from pursuit.files import write_csv

LAYERS = {"omp-net": 10, "iht-net": 30}
TAU, ETA, K = 1e-3, 0.5, 10
ROUNDS, PASSES = 7, 10  # the first round does not count


def passes(network: str) -> tuple[torch.nn.Module, torch.Tensor, torch.Tensor]:
    """The network before training, and a batch."""
    ensemble = fourier_levels(m=20 if network == "omp-net" else 36)
    y, x = ensemble.draw(64, torch.Generator().manual_seed(1))
    if network == "omp-net":
        return nets.OMPNet(ensemble.A, layers=LAYERS[network], tau=TAU, signals="real part"), y, x
    return nets.IHTNet(ensemble.A, k=K, layers=LAYERS[network], eta=ETA, tau=TAU, signals="real part"), y, x


class Plain(torch.nn.Module):
    """The same network, signal by signal."""

    def __init__(self, network: str, A: torch.Tensor):
        super().__init__()
        self.network, self.A, self.w = network, A, torch.nn.Parameter(torch.ones(A.shape[1]))

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        solve = self.omp if self.network == "omp-net" else self.iht
        return torch.stack([solve(item) for item in y]).real

    def permutation(self, c: torch.Tensor) -> torch.Tensor:
        score = self.w.abs() * c.abs()
        s = score.sort(descending=True).values
        return torch.softmax(-(s.unsqueeze(-1) - score).abs() / TAU, dim=-1)

    def omp(self, y: torch.Tensor) -> torch.Tensor:
        r, rows = y, []
        for _ in range(LAYERS["omp-net"]):
            rows.append(self.permutation(self.A.mH @ r)[0])
            P = torch.stack(rows).to(y.dtype)
            B = self.A @ P.mT
            z = torch.linalg.lstsq(B, y.unsqueeze(-1)).solution
            r = y - (B @ z).squeeze(-1)
        return (P.mT @ z).squeeze(-1)

    def iht(self, y: torch.Tensor) -> torch.Tensor:
        x = torch.zeros_like(self.A[0])
        for _ in range(LAYERS["iht-net"]):
            u = x + ETA * (self.A.mH @ (y - self.A @ x))
            x = self.permutation(u)[:K].sum(0) * u
        return x


def once(net: torch.nn.Module, y: torch.Tensor, x: torch.Tensor) -> tuple[float, float]:
    """Milliseconds forward, and backward."""
    begin = time.perf_counter()
    loss = (net(y) - x).square().sum(-1).mean()
    middle = time.perf_counter()
    loss.backward()
    return 1e3 * (middle - begin), 1e3 * (time.perf_counter() - middle)


def main() -> None:
    runs = {network: passes(network) for network in LAYERS}
    plain = {network: Plain(network, net.sensing.A.to_dense()) for network, (net, _, _) in runs.items()}
    for network, (net, y, _) in runs.items():
        assert (net(y) - plain[network](y)).norm() < 1e-2 * net(y).norm(), "these are two algorithms"
    times: dict[str, list[tuple[float, float]]] = {network: [] for network in LAYERS}
    reference: dict[str, list[float]] = {network: [] for network in LAYERS}
    for turn in range(ROUNDS):
        for network, (net, y, x) in runs.items():
            slow = sum(once(plain[network], y, x))
            fast = [once(net, y, x) for _ in range(PASSES)]
            if turn:
                reference[network].append(slow)
                times[network].extend(fast)
    rows = []
    for network, pairs in times.items():
        both, slow = median(f + b for f, b in pairs), median(reference[network])
        rows.append({
            "network": network, "forward_ms": round(median(f for f, _ in pairs), 2),
            "backward_ms": round(median(b for _, b in pairs), 2), "both_ms": round(both, 2),
            "fastest_ms": round(min(f + b for f, b in pairs), 2), "plain_ms": round(slow, 1),
            "times_faster_than_plain": round(slow / both, 1), "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        })  # fmt: skip
        print("  ".join(f"{name} {value}" for name, value in rows[-1].items()))
    if len(sys.argv) > 1:
        write_csv(Path(sys.argv[1]), rows)


if __name__ == "__main__":
    main()
