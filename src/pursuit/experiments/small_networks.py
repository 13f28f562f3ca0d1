"""What the experiments on small networks share: the problem, the networks, their training and their errors.

The problem is a smaller one of the kind of figure 3 of "Deep greedy unfolding": real signals of norm 1 with 4
non-zeros, all among the same 8 of 96 places, from few Fourier samples with noise of root mean square norm 1e-3. A seed
gives another matrix, other places, other signals and other batches. Double precision, as the fits of CoSaMP-Net are too
ill conditioned for single.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from ..ensembles import Ensemble, fourier_levels
from ..nets import Annealed, CoSaMPNet, HTPNet, IHTNet, OMPNet, SPNet
from ..solvers.cosamp import cosamp
from ..solvers.htp import htp
from ..solvers.iht import iht
from ..solvers.omp import omp
from ..solvers.sp import sp
from ..training import Epoch, TrainingError, fit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

N, K, ADMISSIBLE, NOISE = 96, 4, 8, 1e-3
ETA = 0.5
TAU = 1e-3
ANNEALED = Annealed(1e-1, TAU)
# Half of the paper's signals. The test is on `fresh_signals`, which the solvers meet too, and not on those of `fit`.
TRAINING: dict[str, Any] = {
    "n_train": 512,
    "n_validation": 256,
    "n_test": 1,
    "batch_size": 64,
    "lr": 1e-2,
    "schedule": "cosine",
}
TEST_SEED = 10**6  # far from those of ensembles and trainings


class Unrolled(NamedTuple):
    """A network and the solver it is unrolled from."""

    title: str
    solver_title: str
    network: Callable[..., nn.Module]
    solver: Callable[..., Any]
    layers: int
    has_eta: bool = False


FAMILY = {
    "omp": Unrolled("OMP-Net", "OMP", OMPNet, omp, K),
    "iht": Unrolled("IHT-Net", "IHT", IHTNet, iht, 15, has_eta=True),
    "cosamp": Unrolled("CoSaMP-Net", "CoSaMP", CoSaMPNet, cosamp, 4),
    "sp": Unrolled("SP-Net", "SP", SPNet, sp, 4),
    "htp": Unrolled("HTP-Net", "HTP", HTPNet, htp, 8, has_eta=True),
}


class Trained(NamedTuple):
    """A network after training, and a record of the training.

    Attributes
    ----------
    net : Module
    record : dict
        `best_epoch`, `validation_loss` (both None if there was an overflow before any validation), `epochs` run,
        whether the training was `stopped` by an overflow, and the median `seconds_per_epoch`.
    """

    net: Any
    record: dict[str, Any]


def problem(m: int, seed: int) -> Ensemble:
    """The ensemble with `m` Fourier samples."""
    return fourier_levels(n=N, m=m, k=K, admissible=ADMISSIBLE, noise=NOISE, seed=seed, dtype=torch.complex128)


def build(name: str, ensemble: Ensemble, *, k: int | None = None, **options: Any) -> Any:
    """The untrained network for signals with `k` non-zeros, by default as many as the ensemble's have."""
    form, k = FAMILY[name], ensemble.k if k is None else k
    sizes = {"layers": k} if name == "omp" else {"k": k, "layers": form.layers}
    if form.has_eta:
        options = {"eta": ETA, **options}
    return form.network(ensemble.A, **sizes, signals="real part", **options).to(ensemble.A.dtype.to_real())


def train(net: Any, ensemble: Ensemble, *, epochs: int, seed: int, **options: Any) -> Trained:
    """Train the network. If its numbers overflow, training ends with the best parameters so far.

    `options` are those of `fit`, in the place of `TRAINING`.
    """
    log: list[Epoch] = []
    stopped = False
    try:
        log = fit(net, ensemble, epochs=epochs, validate_every=2, seed=seed, on_epoch=log.append,
                  **{**TRAINING, **options}).log  # fmt: skip
    except TrainingError:
        stopped = True
    validated = [(e.validation_loss, e.epoch) for e in log if e.validation_loss is not None]
    loss, epoch = min(validated, default=(None, None))
    record = {
        "best_epoch": epoch,
        "validation_loss": rounded(loss),
        "epochs": len(log),
        "stopped": stopped,
        "seconds_per_epoch": rounded(statistics.median(e.seconds for e in log)) if log else None,
    }
    return Trained(net, record)


def fresh_signals(ensemble: Ensemble, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Held-out test signals, the same for networks and solvers."""
    return ensemble.draw(count, torch.Generator(ensemble.A.device).manual_seed(TEST_SEED + seed))


def recover(net: Any, y: Tensor) -> Tensor:
    """The network's result for `y`."""
    with torch.no_grad():
        x: Tensor = net(y)
    return x


def hard(
    name: str, ensemble: Ensemble, y: Tensor, weights: Tensor | None, *, k: int | None = None, eta: float = ETA
) -> Tensor:
    """The real part of the solver's result after as many steps as the network has layers."""
    form = FAMILY[name]
    options: dict[str, Any] = {} if name == "omp" else {"max_steps": form.layers}
    if form.has_eta:
        options["eta"] = eta
    x: Tensor = form.solver(ensemble.A, y, ensemble.k if k is None else k, weights=weights, **options).x
    return x.real


def errors(estimate: Tensor, x: Tensor) -> dict[str, float | None]:
    """The loss (the mean of `||x_hat - x||^2`), and median and mean of the relative error."""
    error = torch.linalg.vector_norm(estimate - x, dim=-1)
    relative = error / torch.linalg.vector_norm(x, dim=-1)
    return {
        "loss": rounded(error.square().mean().item()),
        "median_relative_error": rounded(relative.median().item()),
        "mean_relative_error": rounded(relative.mean().item()),
    }


def rounded(value: float | None) -> float | None:
    """Four digits: further ones differ between machines."""
    return None if value is None else float(f"{value:.4g}")


def tidy(ax: Axes) -> None:
    """Small labels on the axes, and no frame above and on the right."""
    ax.tick_params(which="both", labelsize=8)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_axisbelow(True)


def legend_above(figure: Figure, handles: Iterable[Any], columns: int) -> None:
    """One legend for all panels, above them."""
    figure.legend(handles=list(handles), loc="outside upper center", ncols=columns, fontsize=8, frameon=False)
