"""A training step of NA-ALISTA, and what recovering a signal costs, in time and memory.

At the settings of the paper: N = 1000, M = 250, 16 layers, LSTM of 128, batches of 512, float32; a training step is
forward, backward and Adam. Since machines differ from minute to minute, the same algorithm is timed beside ours,
written plainly with torch's LSTM cell and `topk`, and so are the products of one step by themselves.

    python benchmarks/na_alista.py results/na_alista_step.csv results/na_alista_recovery.csv

All take turns; medians of 20 steps after 3 that do not count. Peaks of memory are those of processes of their own,
above what such a process needs before its first step.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch import nn

from pursuit import nets
from pursuit.ensembles import bernoulli_gaussian
from pursuit.files import write_csv

N, M, S, LAYERS, HIDDEN, BATCH = 1000, 250, 50, 16, 128, 512
STEPS, WARM = 20, 3


class Plain(nn.Module):
    """NA-ALISTA as one would write it down."""

    def __init__(self, net: nets.NAALISTA):
        super().__init__()
        self.A, self.W = net.sensing.matrix, net.back_projection.matrix
        self.mean, self.std = net.mean, net.std
        self.cell, self.head = nn.LSTMCell(2, HIDDEN), nn.Sequential(
            nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2)
        )  # fmt: skip
        self.h0, self.c0 = nn.Parameter(torch.randn(HIDDEN)), nn.Parameter(torch.randn(HIDDEN))
        self.load_state_dict(net.state_dict(), strict=False)
        self.p = [layer.p for layer in net.shrink]

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        x = torch.zeros(len(y), N)
        h, c = self.h0.expand(len(y), -1), self.c0.expand(len(y), -1)
        for p in self.p:
            b = x @ self.A.T - y
            d = b @ self.W
            told = (torch.stack([b.abs().sum(1), d.abs().sum(1)], 1) - self.mean) / self.std
            h, c = self.cell(told, (h, c))
            gamma, theta = nn.functional.softplus(self.head(c)).split(1, 1)
            z = x - gamma * d
            size = z.abs()
            passing = (size > size.topk(p, dim=1).values[:, -1:]).float()
            x = passing * z + (1 - passing) * z.sign() * torch.relu(size - theta)
        return x


class Products(nn.Module):
    """The matrix products of NA-ALISTA alone."""

    def __init__(self, net: nets.NAALISTA):
        super().__init__()
        self.A, self.W = net.sensing.matrix, net.back_projection.matrix
        self.cell = nn.Parameter(torch.randn(HIDDEN, 4 * HIDDEN) / HIDDEN)
        self.head = nn.Parameter(torch.randn(4 * HIDDEN, HIDDEN) / HIDDEN)

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        b, h = y, torch.ones(len(y), HIDDEN)
        for _ in range(LAYERS):
            h = h @ self.cell @ self.head
            x = (b + h.sum() * 0) @ self.W
            b = x @ self.A.T
        return x


def networks() -> tuple[dict[str, nn.Module], torch.Tensor, torch.Tensor]:
    """Ours, the plain form with the same numbers, the products; and a batch."""
    torch.manual_seed(0)
    ensemble = bernoulli_gaussian(n=N, m=M, k=S)
    y, x = ensemble.draw(BATCH, torch.Generator().manual_seed(1))
    ours = nets.NAALISTA(ensemble.A, layers=LAYERS, sparsity=S, hidden=HIDDEN)
    ours.prepare(y)
    return {"ours": ours, "plain": Plain(ours), "products": Products(ours)}, y, x


def stepper(net: nn.Module, y: torch.Tensor, x: torch.Tensor) -> Callable[[], None]:
    """A training step."""
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-4)

    def step() -> None:
        optimizer.zero_grad()
        (net(y) - x).square().mean().backward()
        optimizer.step()

    return step


def in_turns(work: dict[str, Callable[[], object]], turns: int) -> dict[str, list[float]]:
    """Seconds of each, one after the other, turn by turn."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(WARM + turns):
        for name, do in work.items():
            begin = time.perf_counter()
            do()
            if turn >= WARM:
                times[name].append(time.perf_counter() - begin)
    return times


def training() -> list[dict[str, object]]:
    """Seconds and memory of a training step."""
    nets_, y, x = networks()
    with torch.no_grad():
        difference = (nets_["ours"](y) - nets_["plain"](y)).norm() / nets_["plain"](y).norm()
    assert difference < 1e-3, "these are two algorithms"
    times = in_turns({name: stepper(net, y, x) for name, net in nets_.items()}, STEPS)
    rows: list[dict[str, object]] = []
    for name, seconds in times.items():
        rows.append({
            "what": name, "seconds": round(median(seconds), 4), "fastest": round(min(seconds), 4),
            "times_the_products": round(median(seconds) / median(times["products"]), 2),
            "peak_mib": round(peak(name)) if name != "products" else "",
            "threads": torch.get_num_threads(), "torch": torch.__version__,
        })  # fmt: skip
    return rows


def peak(name: str) -> float:
    """MiB that three steps need, in a process of their own."""
    out = subprocess.run([sys.executable, __file__, "--peak", name], capture_output=True, text=True, check=True)
    return float(out.stdout)


def print_peak(name: str) -> None:
    nets_, y, x = networks()
    step = stepper(nets_[name], y, x)
    stepper(nets_[name], y[:1], x[:1])()  # loads and compiles what is needed
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten (Linux)
    before = status("VmRSS")
    for _ in range(3):
        step()
    print(status("VmHWM") - before)


def status(name: str) -> float:
    """MiB of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def recovery() -> list[dict[str, object]]:
    """Milliseconds per signal, in batches of 512, without gradients."""
    ensemble = bernoulli_gaussian(n=N, m=M, k=S)
    y, _ = ensemble.draw(BATCH, torch.Generator().manual_seed(1))
    build = {
        "ALISTA": lambda: nets.ALISTA(ensemble.A, layers=LAYERS, sparsity=S),
        "ALISTA-AT": lambda: nets.ALISTAAT(ensemble.A, layers=LAYERS, sparsity=S),
        "AGLISTA": lambda: nets.AGLISTA(ensemble.A, layers=LAYERS, sparsity=S),
        "NA-ALISTA": lambda: nets.NAALISTA(ensemble.A, layers=LAYERS, sparsity=S),
        "LAMP": lambda: nets.LAMP(ensemble.A, layers=LAYERS, sparsity=S),
    }
    work: dict[str, Callable[[], object]] = {}
    parameters = {}
    for name, make in build.items():
        net = make().eval()
        if hasattr(net, "prepare"):
            net.prepare(y)
        parameters[name] = sum(p.numel() for p in net.parameters())
        work[name] = lambda net=net: net(y)
    with torch.no_grad():
        times = in_turns(work, STEPS)
    base = median(times["NA-ALISTA"])
    return [
        {
            "network": name, "parameters": parameters[name], "ms_per_signal": round(1e3 * median(t) / BATCH, 4),
            "times_na_alista": round(median(t) / base, 2), "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }
        for name, t in times.items()
    ]  # fmt: skip


def main() -> None:
    if sys.argv[1:2] == ["--peak"]:
        print_peak(sys.argv[2])
        return
    for i, make in enumerate((training, recovery), start=1):
        rows = make()
        for row in rows:
            print("  ".join(f"{name} {value}" for name, value in row.items()))
        if len(sys.argv) > i:
            write_csv(Path(sys.argv[i]), rows)


if __name__ == "__main__":
    main()
