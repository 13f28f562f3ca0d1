"""Training with complex signals: are gradients right, and do networks learn as well as with real signals?

"Deep greedy unfolding" trains on real signals and complex matrices, and leaves complex signals open. Gradients must
pass through the moduli that rank the atoms, which are not holomorphic, and through complex least squares.

- `gradients`: the derivative of the loss by structure weights (in four random directions), temperatures and step sizes,
  by automatic differentiation and by central differences of fourth order, for five networks of 3 layers, real and
  complex matrices (12 x 20, 3 non-zeros, noise 1e-2) and signals; double precision. Of five step lengths of the
  differences, the one that agrees best with the next smaller one is used, because softsort has a kink where two scores
  tie, and a difference across it mixes both slopes. `spread` is the disagreement of these two; if it is above 1e-5, the
  differences give no result. This happens for CoSaMP-Net: its joint support may contain one atom in two almost equal
  rows, so that the fit is almost singular. Then automatic derivatives may be huge, and even the laws below may fail,
  because the result depends on rounding.
- `equivariance`: relations between a problem and an equivalent one; errors are relative. "phase":
  `net(e^{i phi} y) = e^{i phi} net(y)`, and the same gradients. "rotated": a real problem `(A, y)` as a complex one,
  `(U A, U y)` with a unitary `U`, has the same answer and gradients; it compares complex arithmetic with real. (A
  complex problem of n unknowns as a real one of 2 n is not equivalent: its atoms come in pairs that must be chosen
  together.) "columns": `(A D, y)` with a diagonal `D` of phases, answer `D^{-1} net(y)`. It holds for hard algorithms
  and for IHT-Net. A network that fits coefficients to `A P^T` adds columns in spite of their phases, so that its result
  depends on the phases; the lower the temperature, the less.
- `training` and `trained`: OMP-Net (5 layers, 16 measurements) and IHT-Net (15 layers, 24 measurements), tau 1e-3, on
  signals with 5 non-zeros among 10 of 128 places under Fourier samples, real or complex; 200 epochs of 128 fresh
  signals (RMSprop, batches of 32, rate 2e-2 halved once). A seed has its own matrix, places and signals. Beside the
  losses are those of the hard algorithm, without and with knowledge of the places.

How to read the figure: on the left, all errors should be at the accuracy of differences in double precision, and those
for complex matrices (solid) no higher than those for real ones (dotted). Comparisons without a result are left out; the
legend says how many have one. On the right, a network has learned if its curve ends far below the loss of its hard
algorithm (thin dotted line of the same colour). Complex values are twice as many unknowns, so their losses start
higher.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...core.solution import Solution
from ...ensembles import Ensemble, fourier_levels
from ...nets import CoSaMPNet, HTPNet, IHTNet, Learned, OMPNet, SPNet
from ...plots.style import BLACK, BLUE, GREEN, ORANGE, RED
from ...problems import on_random_support
from ...solvers.iht import iht
from ...solvers.omp import omp
from ...training import fit
from ..cells import Row, Tables

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NETS = {"OMPNet": OMPNet, "IHTNet": IHTNet, "CoSaMPNet": CoSaMPNet, "SPNet": SPNet, "HTPNet": HTPNet}
COLOURS = dict(zip(NETS, (BLUE, RED, GREEN, ORANGE, BLACK), strict=True))
FIELDS = {"real": torch.float64, "complex": torch.complex128}
M, N, S, LAYERS, BATCH = 12, 20, 3, 3, 4
NOISE = 1e-2
ETA = 0.3
TAUS = (1.0, 0.3, 0.1, 0.03)
STEPS = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)  # of the differences, times tau: the loss varies on the scale of the temperature
DIRECTIONS = 4  # in which the weights are moved
DECIDED = 1e-5  # the largest spread with which a numerical derivative counts
TOP = 1e-4  # where the figure marks the comparisons that are left out
LABELS = {"identify.w": "weights", "identify.tau.log": "log tau", "eta.log": "log eta"}

PLACES: dict[str, Any] = {"n": 128, "k": 5, "admissible": 10}
SAMPLES = {"OMPNet": 16, "IHTNet": 24}  # few enough that the hard algorithm fails
DEPTH = {"OMPNet": PLACES["k"], "IHTNet": 15}
NET_ETA = 0.5
VALIDATE_EVERY = 2
TESTED = 512  # signals for the hard algorithms


def cells(quick: bool, seed: int) -> list[Row]:
    """One per part, network, kind of signals and seed."""
    seeds = range(seed, seed + (1 if quick else 3))
    taus = list(TAUS[::2] if quick else TAUS)
    fields = [[matrix, signals] for matrix in FIELDS for signals in FIELDS if matrix == signals or not quick]
    gradients = [
        {"part": "gradients", "network": net, "taus": taus, "fields": fields, "seed": s} for net in NETS for s in seeds
    ]
    laws = [{"part": "equivariance", "network": net, "taus": taus, "seed": s} for net in NETS for s in seeds]
    training = [
        {"part": "training", "network": net, "signals": field, "epochs": 10 if quick else 200, "seed": s}
        for net in DEPTH for field in FIELDS for s in seeds
    ]  # fmt: skip
    return gradients + laws + training


def run(cell: Row, folder: Path) -> Tables:
    """Run one cell.

    Parameters
    ----------
    cell : dict
        One of `cells`.
    folder : Path
        Where a training keeps its state.
    """
    if cell["part"] == "gradients":
        return {"gradients": [row for tau in cell["taus"] for row in _gradient_rows(cell, tau)]}
    if cell["part"] == "equivariance":
        return {"equivariance": [law(cell, tau) for tau in cell["taus"] for law in (_phase, _rotated, _columns)]}
    return _training(cell, folder)


def draw(tables: Tables, quick: bool) -> Figure:
    """Errors of gradients over the temperature, per sort of matrix; losses over the epochs, a line per seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 7), dpi=110, layout="constrained")
    axes = figure.subplots(2, 3)
    for ax in axes.flat:
        ax.set_yscale("log")
        ax.tick_params(which="both", labelsize=8)
        ax.spines[["top", "right"]].set_visible(False)
    for ax, matrix in zip(axes[:, 0], ("complex", "real"), strict=True):
        _draw_gradients(ax, tables["gradients"], matrix)
    for line, network in zip(axes[:, 1:], ("OMPNet", "IHTNet"), strict=True):
        for ax, signals in zip(line, FIELDS, strict=True):
            which = {"network": network, "signals": signals}
            log, trained = (
                [row for row in tables[name] if all(row[field] == value for field, value in which.items())]
                for name in ("training", "trained")
            )
            _draw_training(ax, log, trained)
            ax.set_title(f"{_title(network)}, {signals} signals: a line per seed", loc="left", fontsize=9)
        line[1].sharey(line[0])
    axes[0, 2].legend(fontsize=8, frameon=False, loc="lower left")  # the same colours in all panels
    return figure


def _gradient_rows(cell: Row, tau: float) -> list[Row]:
    rows = []
    for matrix, signals in cell["fields"]:
        A, y, x = _problem(matrix, signals, cell["seed"])
        net = _net(cell["network"], A, tau, cell["seed"], real_part=signals == "real" and matrix == "complex")
        exact = _gradients(net, y, x)
        for name, parameter in net.named_parameters():
            directions = _directions(parameter, cell["seed"])
            numerical, spread = _derivatives(partial(_loss, net, y, x), parameter, directions, tau)
            error = torch.linalg.vector_norm(directions @ exact[name] - numerical) / torch.linalg.vector_norm(numerical)
            rows.append(
                {
                    "network": cell["network"],
                    "matrix": matrix,
                    "signals": signals,
                    "tau": tau,
                    "parameter": LABELS[name],
                    "seed": cell["seed"],
                    "gradient_norm": _rounded(torch.linalg.vector_norm(exact[name]).item()),
                    "relative_error": _rounded(error.item()),
                    "spread": _rounded(spread),
                }
            )
    return rows


def _phase(cell: Row, tau: float) -> Row:
    A, y, x = _problem("complex", "complex", cell["seed"])
    turn = torch.polar(torch.ones((), dtype=y.real.dtype), torch.tensor(1.0 + cell["seed"], dtype=y.real.dtype))
    net = _net(cell["network"], A, tau, cell["seed"])
    return _law(cell, tau, "phase", (net, y, x), (net, turn * y, turn * x), turn)


def _rotated(cell: Row, tau: float) -> Row:
    A, y, x = _problem("real", "real", cell["seed"])
    rng = torch.Generator().manual_seed(cell["seed"])
    wide = FIELDS["complex"]
    U = torch.linalg.qr(torch.randn(M, M, dtype=wide, generator=rng, device=rng.device)).Q
    net, rotated = (_net(cell["network"], matrix, tau, cell["seed"]) for matrix in (A, U @ A.to(wide)))
    return _law(cell, tau, "rotated", (net, y, x), (rotated, y.to(wide) @ U.mT, x), torch.ones(N, dtype=wide))


def _columns(cell: Row, tau: float) -> Row:
    A, y, x = _problem("complex", "complex", cell["seed"])
    rng = torch.Generator().manual_seed(cell["seed"])
    turns = torch.randn(N, dtype=A.dtype, generator=rng, device=rng.device).sgn()
    net, turned = (_net(cell["network"], matrix, tau, cell["seed"]) for matrix in (A, A * turns))
    return _law(cell, tau, "columns", (net, y, x), (turned, y, x / turns), 1 / turns)


def _law(
    cell: Row,
    tau: float,
    law: str,
    one: tuple[torch.nn.Module, Tensor, Tensor],
    other: tuple[torch.nn.Module, Tensor, Tensor],
    factor: Tensor,
) -> Row:
    """How far the other network's result is from `factor` times that of the one, and its gradients from equal ones."""
    first, second = (torch.cat([g.flatten() for g in _gradients(*args).values()]) for args in (one, other))
    with torch.no_grad():
        answer, expected = other[0](other[1]), factor * one[0](one[1])
    return {
        "law": law,
        "network": cell["network"],
        "tau": tau,
        "seed": cell["seed"],
        "output_error": _rounded((torch.linalg.vector_norm(answer - expected) / expected.norm()).item()),
        "gradient_error": _rounded((torch.linalg.vector_norm(second - first) / first.norm()).item()),
    }


def _problem(matrix: str, signals: str, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """A matrix `(M, N)` with unit columns, measurements `(BATCH, M)` and signals `(BATCH, N)` of norm 1."""
    rng = torch.Generator().manual_seed(seed)
    wide = FIELDS["complex" if "complex" in (matrix, signals) else "real"]
    A = torch.randn(M, N, dtype=FIELDS[matrix], generator=rng, device=rng.device)
    A = A / torch.linalg.vector_norm(A, dim=-2, keepdim=True)
    values = torch.randn(BATCH, S, dtype=FIELDS[signals], generator=rng, device=rng.device)
    x = on_random_support(values / torch.linalg.vector_norm(values, dim=-1, keepdim=True), N, rng)
    noise = torch.randn(BATCH, M, dtype=wide, generator=rng, device=rng.device)
    return A, x.to(wide) @ A.to(wide).mT + NOISE / math.sqrt(M) * noise, x


def _net(name: str, A: Tensor, tau: float, seed: int, *, real_part: bool = False) -> torch.nn.Module:
    """A network with generic weights, in which all is learned."""
    options: dict[str, Any] = {
        "layers": LAYERS,
        "tau": Learned(tau),
        "signals": "real part" if real_part else "complex",
    }
    if name != "OMPNet":
        options["k"] = S
    if name in ("IHTNet", "HTPNet"):
        options["eta"] = Learned(ETA)
    net: torch.nn.Module = NETS[name](A, **options).double()
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        net.get_parameter("identify.w").copy_(
            0.5 + torch.rand(N, dtype=torch.float64, generator=rng, device=rng.device)
        )
    return net


def _loss(net: torch.nn.Module, y: Tensor, x: Tensor) -> Tensor:
    return (net(y) - x).abs().square().sum(-1).mean()


def _gradients(net: torch.nn.Module, y: Tensor, x: Tensor) -> dict[str, Tensor]:
    parameters = dict(net.named_parameters())
    return dict(zip(parameters, torch.autograd.grad(_loss(net, y, x), list(parameters.values())), strict=True))


def _directions(parameter: Tensor, seed: int) -> Tensor:
    """The directions of differentiation: every entry of a short parameter, else random unit vectors, `(count, len)`."""
    if len(parameter) <= DIRECTIONS:
        return torch.eye(len(parameter), dtype=parameter.dtype)
    rng = torch.Generator().manual_seed(seed)
    random = torch.randn(DIRECTIONS, len(parameter), dtype=parameter.dtype, generator=rng, device=rng.device)
    return random / torch.linalg.vector_norm(random, dim=-1, keepdim=True)


def _derivatives(loss: Callable[[], Tensor], parameter: Tensor, directions: Tensor, tau: float) -> tuple[Tensor, float]:
    """The numerical derivatives in these directions, each with its most stable step length, and their uncertainty."""
    found, spread = [], []
    for direction in directions:
        tries = torch.stack([_difference(loss, parameter, direction, step * tau) for step in STEPS])
        change = tries.diff().abs()
        found.append(tries[change.argmin() + 1])
        spread.append(change.min())
    size = torch.linalg.vector_norm(torch.stack(found))
    return torch.stack(found), (torch.linalg.vector_norm(torch.stack(spread)) / size).item()


@torch.no_grad()
def _difference(loss: Callable[[], Tensor], parameter: Tensor, direction: Tensor, step: float) -> Tensor:
    """The derivative from four values of the loss."""
    middle, values = parameter.clone(), {}
    for shift in (-2, -1, 1, 2):
        parameter.copy_(middle + shift * step * direction)
        values[shift] = loss()
    parameter.copy_(middle)
    return (8 * (values[1] - values[-1]) - (values[2] - values[-2])) / (12 * step)


def _training(cell: Row, folder: Path) -> Tables:
    network, signals = cell["network"], cell["signals"]
    ensemble = fourier_levels(
        **PLACES, m=SAMPLES[network], seed=cell["seed"], complex_signals=signals == "complex"
    )  # fmt: skip
    kind = "complex" if signals == "complex" else "real part"
    options: dict[str, Any] = {} if network == "OMPNet" else {"k": ensemble.k, "eta": NET_ETA}
    trained = fit(
        NETS[network](ensemble.A, layers=DEPTH[network], signals=kind, **options), ensemble, epochs=cell["epochs"],
        batch_size=32, n_train=128, resample=True, lr=2e-2, halve_every=max(1, cell["epochs"] // 2),
        validate_every=VALIDATE_EVERY, seed=cell["seed"], folder=folder,
    )  # fmt: skip
    names = {"network": network, "signals": signals, "seed": cell["seed"]}
    log: list[Row] = [
        {
            **names,
            "epoch": record.epoch,
            "train_loss": _rounded(record.train_loss),
            "validation_loss": None if record.validation_loss is None else _rounded(record.validation_loss),
        }
        for record in trained.log
    ]
    summary = {
        **names,
        "best_epoch": trained.best_epoch,
        "validation_loss": _rounded(trained.validation_loss),
        "test_loss": _rounded(trained.test_loss),
        "hard_loss": _hard_loss(network, ensemble, None),
        "oracle_loss": _hard_loss(network, ensemble, ensemble.admissible),
    }
    return {"training": log, "trained": [summary]}


def _hard_loss(network: str, ensemble: Ensemble, weights: Tensor | None) -> float:
    """The loss of the hard algorithm with as many steps as the network has layers."""
    y, x = ensemble.draw(TESTED, torch.Generator().manual_seed(0))
    solve: Callable[..., Solution[Any]] = omp if network == "OMPNet" else partial(iht, eta=NET_ETA)
    found = solve(ensemble.A, y, ensemble.k, max_steps=DEPTH[network], weights=weights).x
    error = (found.real if ensemble.real else found) - x
    return _rounded(error.abs().square().sum(-1).mean().item())


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def _title(network: str) -> str:
    return f"{network.removesuffix('Net')}-Net"


def _draw_gradients(ax: Axes, rows: list[Row], matrix: str) -> None:
    for place, (network, colour) in enumerate(COLOURS.items()):
        mine = [row for row in rows if (row["network"], row["matrix"]) == (network, matrix)]
        worst: dict[float, float] = {}
        for row in mine:
            if row["spread"] <= DECIDED:
                worst[row["tau"]] = max(worst.get(row["tau"], 0.0), row["relative_error"])
        taus = sorted(worst)
        ax.plot(taus, [worst[t] for t in taus], color=colour, marker="o", markersize=4, label=_title(network))
        undecided = [row["tau"] for row in mine if row["spread"] > DECIDED]
        beside = [tau * 1.03 ** (place - 2) for tau in undecided]
        label = f"{_title(network)}: {len(undecided)} of {len(mine)} without a\nstable numerical derivative"
        if undecided:
            ax.plot(beside, [TOP] * len(beside), "x", color=colour, markersize=5, label=label)
    ax.set_xscale("log")
    ax.set_ylim(1e-13, 2 * TOP)  # room for the legend below
    ax.set_xlabel(r"temperature $\tau$ (units of the scores)", fontsize=9)
    ax.set_ylabel("relative error of the gradient (no unit)", fontsize=9)
    ax.set_title(f"gradients, {matrix} A: worst of parameters, signals, seeds", loc="left", fontsize=9)
    ax.legend(fontsize=7, frameon=False, loc="lower left", ncols=2)


def _draw_training(ax: Axes, log: list[Row], trained: list[Row]) -> None:
    for colour, seed in zip((BLUE, RED, GREEN), sorted({row["seed"] for row in trained}), strict=False):
        curve = [
            (r["epoch"], r["validation_loss"]) for r in log if r["seed"] == seed and r["validation_loss"] is not None
        ]
        if curve:
            ax.plot(*zip(*curve, strict=True), color=colour, linewidth=0.9, label=f"seed {seed}")
        for row in trained:
            if row["seed"] == seed:
                ax.axhline(row["hard_loss"], color=colour, linewidth=0.9, linestyle=":")
    ax.plot([], [], color=BLACK, linewidth=0.9, linestyle=":", label="hard solver, weights 1 (same colour)")
    ax.set_xlabel("epoch", fontsize=9)
    ax.set_ylabel(r"validation loss, mean of $\|\hat{x} - x\|^2$", fontsize=9)
