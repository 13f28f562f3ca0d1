"""What DistributedDataParallel does when the derivative fails on one of two processes, and what `fit` does.

    python -m torch.distributed.run --standalone --nproc-per-node=2 benchmarks/ddp.py

In the third step a LinAlgError is raised in the backward pass of the second process, as by a decomposition of a
singular matrix. DistributedDataParallel reduces gradients inside that pass: the first process waits for those of the
second until the group gives up (5 s here; by default 30 minutes with gloo, 10 with NCCL), and then ends with an error
of the connection, with other parameters than the second. `fit` reduces them after the pass: both stop in the third step
with a `TrainingError`, and have the best parameters so far.
"""

import datetime
import os
import time

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pursuit.ensembles import gaussian_levels
from pursuit.training import fit

WAIT = datetime.timedelta(seconds=5)


class Singular(torch.autograd.Function):
    """The identity, whose derivative cannot be computed."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise torch.linalg.LinAlgError("singular")


class Net(nn.Module):
    def __init__(self, rank: int):
        super().__init__()
        self.first, self.second = nn.Linear(8, 16), nn.Linear(16, 16)
        self.rank, self.steps = rank, 0

    def forward(self, y: Tensor) -> Tensor:
        self.steps += self.training and torch.is_grad_enabled()
        x = self.first(y)
        return self.second(Singular.apply(x) if self.steps == 3 and self.rank == 1 else x)


def by_ddp(net: nn.Module) -> None:
    model = DistributedDataParallel(net)
    y, x = gaussian_levels(n=16, m=8, k=2, admissible=4).draw(32, torch.Generator().manual_seed(0))
    for _ in range(4):
        model.zero_grad()
        try:
            (model(y) - x).square().sum().backward()
        except torch.linalg.LinAlgError:
            time.sleep(2 * WAIT.total_seconds())  # it stays, so that the connection does
            raise


def by_fit(net: nn.Module) -> None:
    fit(net, gaussian_levels(n=16, m=8, k=2, admissible=4), epochs=4, batch_size=32, n_train=32, n_test=8)


def main() -> None:
    rank = int(os.environ["RANK"])
    dist.init_process_group("gloo", timeout=WAIT)
    for train in (by_fit, by_ddp):
        torch.manual_seed(0)
        begin = time.monotonic()
        try:
            train(Net(rank).train())
        except Exception as error:
            said = f"{type(error).__name__}: {str(error).partition(': lower')[0][:80]}"
            print(f"{train.__name__}, process {rank}, {time.monotonic() - begin:.1f} s: {said}", flush=True)
    os._exit(0)  # the group cannot be destroyed in order


if __name__ == "__main__":
    main()
