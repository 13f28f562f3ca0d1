"""Time the relaxations, forward and backward, with the compiled kernels and without.

OMP_NUM_THREADS=1 python benchmarks/softsort.py
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from pursuit import config
from pursuit.core.neuralsort import neuralsort
from pursuit.core.sinkhorn import sinkhorn_sort
from pursuit.core.softsort import soft_topk, softsort

BATCH, N, TAU = 64, 256, 1e-3
CASES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "softsort k=1": lambda v, tau: softsort(v, tau, 1),
    "softsort k=10": lambda v, tau: softsort(v, tau, 10),
    "softsort k=10, summed": lambda v, tau: softsort(v, tau, 10).sum(-2),
    "soft_topk k=10": lambda v, tau: soft_topk(v, tau, 10),
    "soft_topk k=128": lambda v, tau: soft_topk(v, tau, 128),
    "neuralsort k=10": lambda v, tau: neuralsort(v, tau, 10),
    "sinkhorn_sort k=10": lambda v, tau: sinkhorn_sort(v, tau, 10, 1e-5, 100),
}


def best(function: Callable[[], object], seconds: float = 0.5) -> float:
    """The shortest of many calls, in milliseconds."""
    times, end = [], time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


def measure(case: Callable[[Tensor, Tensor], Tensor], v: Tensor, tau: Tensor) -> tuple[float, float]:
    """Milliseconds of the forward pass alone, and of both passes."""
    out = case(v, tau)
    g = torch.randn_like(out)

    def both() -> None:
        v.grad = None
        case(v, tau).backward(g)

    both()  # compiles
    return best(lambda: case(v, tau)), best(both)


def main() -> None:
    """Print a table."""
    torch.manual_seed(0)
    print(f"v ({BATCH}, {N}), tau = {TAU}, {torch.get_num_threads()} thread; ms forward / forward and backward")
    for dtype in (torch.float32, torch.float64):
        v = (torch.randn(BATCH, N, dtype=dtype).abs() * 0.1).requires_grad_()
        tau = torch.tensor(TAU, dtype=dtype)
        for name, case in CASES.items():
            line = f"{dtype!s:14} {name:22}"
            for config.kernels in ("auto", "off"):
                line += f"  {config.kernels:4} {' / '.join(f'{t:6.3f}' for t in measure(case, v, tau))}"
            print(line, flush=True)


if __name__ == "__main__":
    main()
