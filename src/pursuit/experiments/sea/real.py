"""Real data: what the experiments on regression and on classification share.

The data come with scikit-learn and PyWavelets; nothing is downloaded. Every method chooses k columns, once from all
rows, which gives the training loss, and once without each fold of rows, which gives the loss on rows that were held
out. The loss is that of the k columns chosen, refitted, so that no method is behind because it shrinks its coefficients
or stops early. All losses are shares of the loss at x = 0.

IHT and HTP have five step sizes, the LASSO a path of penalties: at every k the one with the least training loss is
taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ... import peers
from ...core.losses import Loss, checked
from ...operators import Dense
from ...plots.style import BLACK, BLUE, GREEN, ORANGE, RED, SKY
from ...prediction import largest
from ...solvers.by_name import solver
from ..cells import Row, Tables
from . import deconvolution

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TUNED = ("iht", "htp")  # whose step size is the best of several
LINES = {
    "omp": BLACK, "els": RED, "sea": BLUE, "sea@els": BLUE, "htp": GREEN, "lasso": ORANGE, "l1": ORANGE,
    "sea_plus": SKY,
}  # fmt: skip
NAMES = {"lasso": "LASSO", "l1": "L1 penalty", "ols": "OLS", "sp": "SP"}
DARKEST = 100.0  # per cent behind the best at which the colour is darkest
WORST = 1.5  # losses on rows held out that are shown; at x = 0 it is 1


class Form(NamedTuple):
    """A form of an experiment: names of data sets, numbers of columns, folds, and steps of SEA."""

    data: tuple[str, ...]
    ks: tuple[int, ...]
    folds: int
    steps: int


class Data(NamedTuple):
    """Features `(rows, columns)`, what to predict from them, and the folds; not yet standardised."""

    features: np.ndarray
    target: np.ndarray
    folds: Callable[[int, int], Any]  # (count, seed) -> one of scikit-learn's splitters


class Task(NamedTuple):
    """Regression or classification: how data are prepared, and the loss."""

    prepared: Callable[[Data, np.ndarray], tuple[np.ndarray, np.ndarray]]  # (data, rows to fit) -> A, y of all rows
    loss: Any
    at_zero: Callable[[Tensor], Tensor]  # y (rows,) -> the loss at x = 0
    misclassified: bool  # whether there are labels


Method = Callable[[Tensor, Tensor, Sequence[int]], Tensor]  # (A, y, ks) -> x (ks, n)


def standardised(features: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Columns with mean 0 and norm 1 on these rows; those that are constant there become zero."""
    centred = features - features[rows].mean(0)
    norms = np.linalg.norm(centred[rows], axis=0)
    varies = norms > 1e-9 * np.abs(features).max(0).clip(min=1e-300) * math.sqrt(len(rows))
    return np.where(varies, centred / np.where(varies, norms, 1), 0)


def by_library(name: str, A: Tensor, y: Tensor, ks: Sequence[int], **options: Any) -> Tensor:
    """A solver of the library at every k, as one batch."""
    x = solver(name)(A, y.expand(len(ks), -1).contiguous(), k=torch.tensor(ks), **options).x
    return torch.nan_to_num(x, 0.0, 0.0, 0.0)  # too large a step diverges


def from_start(name: str, A: Tensor, y: Tensor, ks: Sequence[int], *, shared: Row, own: dict[str, Row]) -> Tensor:
    """`sea@omp` and its like: the second method's solution is the start of the first."""
    algorithm, _, start = name.partition("@")
    x0 = by_library(start, A, y, ks, **shared, **own.get(start, {}))
    return by_library(algorithm, A, y, ks, x0=x0, **shared, **own.get(algorithm, {}))


def best_of(tried: Sequence[Method], loss: Any, A: Tensor, y: Tensor, ks: Sequence[int]) -> Tensor:
    """Of several methods, at every k the one with the least training loss."""
    found = torch.stack([refitted(A, y, method(A, y, ks), ks, loss) for method in tried])
    least = total_loss(loss, A, y, found).argmin(0)
    return found[least, torch.arange(len(ks))]


def given(x: Tensor, A: Tensor, y: Tensor, ks: Sequence[int]) -> Tensor:
    """A solution that is there already, for every k."""
    return x.expand(len(ks), -1)


def best_step(name: str, shared: Row, curvature: float, loss: Any, A: Tensor, y: Tensor, ks: Sequence[int]) -> Tensor:
    """IHT or HTP with the best of the step sizes."""
    scale = float(torch.linalg.matrix_norm(A, 2).square()) * curvature
    tried = [partial(by_library, name, **shared, eta=eta / scale) for eta in deconvolution.STEP_SIZES]
    return best_of(tried, loss, A, y, ks)


def refitted(A: Tensor, y: Tensor, x: Tensor, ks: Sequence[int], loss: Any) -> Tensor:
    """The k largest entries of each x `(ks, n)`, refitted."""
    fits: Loss = checked(loss, y)
    chosen = [largest(one, k) for one, k in zip(x, ks, strict=True)]
    return torch.stack([atoms.embed(fits.fit(Dense(A), y, atoms).z) for atoms in chosen])


def total_loss(loss: Any, A: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Half of the squared residuals of `x (*batch, n)`, or the sum of another loss."""
    residual = checked(loss, y).residual(Dense(A), y.expand(*x.shape[:-1], -1), x)
    return residual.square().sum(-1) / 2


def planned(form: Form, methods: Iterable[str], seed: int, folds: int | None, steps: int | None) -> list[Row]:
    """A cell per data set and method."""
    folds, steps = form.folds if folds is None else folds, form.steps if steps is None else steps
    check(folds, steps)
    shared = {"ks": list(form.ks), "folds": folds, "seed": seed}
    return [{"data": data, **method, **shared} for data in form.data for method in there(methods, steps)]


def there(methods: Iterable[str], steps: int) -> list[Row]:
    """The methods as parts of cells, without those of packages that are not installed; SEA with its number of steps."""
    return [
        {
            "method": name,
            **({"version": peers.release(name)} if name in peers.PEERS else {}),
            **({"steps": steps} if "sea" in name else {}),
        }
        for name in methods
        if name not in peers.PEERS or name in peers.available()
    ]


def measured(cell: Row, load: Callable[[], Data], task: Task, method: Method) -> list[Row]:
    """A row per k: the training loss, and the loss on rows held out, beside OMP's on the same rows."""
    ks: Sequence[int] = cell["ks"]
    data = load()
    everything = np.arange(len(data.target))
    A, y = (torch.from_numpy(values) for values in task.prepared(data, everything))
    x = refitted(A, y, method(A, y, ks), ks, task.loss)
    training = total_loss(task.loss, A, y, x) / task.at_zero(y)
    losses, wrong = _held_out(data, task, method, ks, cell["folds"], cell["seed"])
    omps = _omp_held_out(load, task, tuple(ks), cell["folds"], cell["seed"])
    rows = []
    for i, k in enumerate(ks):
        behind = losses[:, i] - omps[:, i]
        row = {
            **{name: cell[name] for name in ("data", "method")}, "k": k, "columns": int((x[i] != 0).sum()),
            "training": _digits(float(training[i])), "held_out": _digits(losses[:, i].mean()),
            "held_out_error": _digits(_error(losses[:, i])), "behind_omp": _digits(behind.mean()),
            "behind_omp_error": _digits(_error(behind)),
        }  # fmt: skip
        rows.append(row | ({"misclassified": _digits(wrong[:, i].mean())} if task.misclassified else {}))
    return rows


def _held_out(
    data: Data, task: Task, method: Method, ks: Sequence[int], folds: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The losses of a method on rows held out, `(folds, ks)`, and the shares of labels that it gets wrong."""
    losses, wrong = [], []
    for fit, held in data.folds(folds, seed).split(data.features, data.target):
        A, y = (torch.from_numpy(values) for values in task.prepared(data, fit))
        rows, others = torch.from_numpy(fit), torch.from_numpy(held)
        x = refitted(A[rows], y[rows], method(A[rows], y[rows], ks), ks, task.loss)
        at_zero = task.at_zero(y) * len(held) / len(y)  # folds of rows that hardly vary count no more than others
        losses.append((total_loss(task.loss, A[others], y[others], x) / at_zero).numpy())
        wrong.append(((x @ A[others].mT > 0) != (y[others] > 0)).double().mean(-1).numpy())
    return np.stack(losses), np.stack(wrong)


@lru_cache(maxsize=8)
def _omp_held_out(load: Callable[[], Data], task: Task, ks: tuple[int, ...], folds: int, seed: int) -> np.ndarray:
    """The losses of OMP, with which all methods are compared."""
    return _held_out(load(), task, partial(by_library, "omp", loss=task.loss), ks, folds, seed)[0]


def _error(values: np.ndarray) -> float:
    """The standard error of the mean over folds."""
    return float(values.std(ddof=1)) / math.sqrt(len(values))


def _digits(value: float) -> float:
    return float(f"{value:.6g}")


def check(folds: int, steps: int) -> None:
    """Raise ValueError unless these can be run."""
    if folds < 2:
        raise ValueError(f"folds is {folds}; needed is at least 2.")
    if steps < 1:
        raise ValueError(f"steps is {steps}; needed is at least 1.")


def label(method: str) -> str:
    """The name of a method in a picture."""
    name = NAMES.get(method) or deconvolution.label(method)
    return f"{name}, best step" if method in TUNED else name


def draw(tables: Tables, titles: dict[str, str], methods: Sequence[str], loss: str) -> Figure:
    """A column per data set: the training loss of some methods, how far all are behind the best, rows held out."""
    from matplotlib.figure import Figure

    rows = tables["losses"]
    shown = [data for data in titles if any(row["data"] == data for row in rows)]
    run = [method for method in methods if any(row["method"] == method for row in rows)]
    labelled = any("misclassified" in row for row in rows)
    heights = (1, 1.15, 1, 1) if labelled else (1, 1.15, 1)
    figure = Figure(figsize=(5.0 * len(shown) + 0.8, 3.6 * len(heights)), dpi=110, layout="constrained")
    axes = figure.subplots(len(heights), len(shown), squeeze=False, height_ratios=heights)
    for column, data in zip(axes.T, shown, strict=True):
        of_data = [row for row in rows if row["data"] == data]
        column[0].set_title(titles[data], loc="left", fontsize=10)
        _curves(column[0], of_data, "training")
        _behind(column[1], of_data, run, named=data == shown[0])
        _curves(column[2], of_data, "held_out")
        _band(column[2], of_data)
        if labelled:
            _curves(column[3], of_data, "misclassified")
    axes[0, 0].set_ylabel(f"training {loss},\nshare of that at x = 0", fontsize=9)
    axes[2, 0].set_ylabel(f"{loss} on rows held out,\nshare of that at x = 0", fontsize=9)
    if labelled:
        axes[3, 0].set_ylabel("share of labels held out\nthat are wrong", fontsize=9)
    axes[0, 0].legend(fontsize=8, frameon=False, loc="upper right")
    return figure


def _curves(ax: Axes, rows: list[Row], value: str) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    values = [row[value] for row in rows]
    ax.set_yscale("log")
    if max(values) > WORST:  # labels that are separable without a fold have coefficients without bound
        ax.set_ylim(0.8 * min(values), WORST)
    for method, colour in LINES.items():
        curve = sorted((row for row in rows if row["method"] == method), key=lambda row: row["k"])
        if not curve:
            continue
        k, loss = [row["k"] for row in curve], [row[value] for row in curve]
        line = "--" if "@" in method else "-"
        ax.plot(k, loss, line, marker="o", markersize=2.5, color=colour, linewidth=1.2, label=label(method))
    wide = max(values) > 3 * min(values)
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)) if wide else MaxNLocator(7))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:.3g}"))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("columns k", fontsize=9)
    ax.grid(color="0.92", linewidth=0.6)
    ax.tick_params(labelsize=8)
    ax.spines[["top", "right"]].set_visible(False)


def _band(ax: Axes, rows: list[Row]) -> None:
    """How much the loss of OMP on rows held out differs between folds."""
    curve = sorted((row for row in rows if row["method"] == "omp"), key=lambda row: row["k"])
    low, high = ([row["held_out"] + sign * row["held_out_error"] for row in curve] for sign in (-1, 1))
    text = "OMP, one standard error over the folds"
    band = ax.fill_between([row["k"] for row in curve], low, high, color="0.88", linewidth=0, zorder=0, label=text)
    ax.legend(handles=[band], fontsize=8, frameon=False, loc="upper center")


def _behind(ax: Axes, rows: list[Row], methods: Sequence[str], *, named: bool) -> None:
    """By how many per cent the training loss of every method is above the least of all, as a table in colour."""
    from matplotlib.colors import PowerNorm

    ks = sorted({row["k"] for row in rows})
    loss = {(row["method"], row["k"]): row["training"] for row in rows}
    least = {k: min(value for (_, at), value in loss.items() if at == k) for k in ks}
    behind = [[100 * (loss.get((method, k), math.nan) / least[k] - 1) for k in ks] for method in methods]
    ax.imshow(behind, aspect="auto", cmap="OrRd", norm=PowerNorm(0.5, 0, DARKEST))
    for i, line in enumerate(behind):
        for j, value in enumerate(line):
            if not math.isnan(value):
                colour = "white" if value > 0.45 * DARKEST else "black"
                text = f"{value:.1f}" if 0.05 <= value < 9.95 else f"{value:.0f}"
                ax.text(j, i, text, ha="center", va="center", fontsize=6.5, color=colour)
    ax.set_xticks(range(len(ks)), [str(k) for k in ks], fontsize=8)
    ax.set_yticks(range(len(methods)), [label(method) for method in methods] if named else [], fontsize=8)
    ax.set_xlabel("columns k", fontsize=9)
    ax.set_title("training loss, per cent above the least of all methods", loc="left", fontsize=9)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
