"""Sort and softsort of one vector: the sorting matrix, its relaxations at several temperatures, the sorted values.

An illustration. The scores and temperatures of the published figure 1 are not known, so these are our own, and there
are no published numbers to compare with. The quick form is the same as the full one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...plots.style import BLACK, BLUE, GREEN, ORANGE, RED
from ...relaxations import softsort
from ..cells import Row, Tables

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TAUS = (0.0, 0.03, 0.1, 0.3, 1.0)  # zero stands for the sort itself
STYLE = dict(zip(TAUS, ((BLACK, "o"), (BLUE, "x"), (GREEN, "s"), (ORANGE, "^"), (RED, "D")), strict=True))


def cells(quick: bool, seed: int) -> list[Row]:
    """A single cell, the same for the quick form."""
    return [{"scores": 12, "taus": list(TAUS), "seed": seed}]


def run(cell: Row, folder: Path) -> Tables:
    """Every weight of every matrix, with the score of its column; rows and columns count from 1, `tau` 0 is the sort.

    Parameters
    ----------
    cell : dict
        One of `cells`.
    folder : Path
        Unused: the work takes no time.
    """
    rng = torch.Generator().manual_seed(cell["seed"])
    v = torch.randn(cell["scores"], dtype=torch.float64, generator=rng, device=rng.device).abs()
    rows = [
        {"tau": tau, "row": i + 1, "column": j + 1, "weight": _rounded(weight), "score": _rounded(score)}
        for tau in cell["taus"]
        for i, line in enumerate(_matrix(v, tau))
        for j, (weight, score) in enumerate(zip(line, v, strict=True))
    ]
    return {"rows": rows}


def draw(tables: Tables, quick: bool) -> Figure:
    """The matrices as heat maps with one colour bar; below, the scores, and their order hard and soft."""
    from matplotlib.figure import Figure

    matrices, v = _matrices(tables["rows"])
    figure = Figure(figsize=(11, 5.6), dpi=120, layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=(1, 1.2))
    top, bottom = parts
    axes = top.subplots(1, len(matrices), sharey=True)
    for ax, (tau, matrix) in zip(axes, matrices.items(), strict=True):
        image = _heat_map(ax, matrix, "sort" if tau == 0 else rf"softsort, $\tau$ = {tau:g}")
    axes[0].set_ylabel("row: rank, largest first", fontsize=9)
    top.colorbar(image, ax=axes, shrink=0.75, pad=0.01).set_label("weight (no unit)", fontsize=9)
    left, right = bottom.subplots(1, 2, sharey=True)
    left.vlines(range(1, len(v) + 1), 0, v, color=BLACK, linewidth=1.4)
    left.plot(range(1, len(v) + 1), v, "o", color=BLACK, markersize=4)
    left.set_xticks(range(1, len(v) + 1))
    _label(left, "index of the score", "score (no unit)", "the scores v; 7 and 10 nearly tie")
    for tau, matrix in matrices.items():
        _ordered(right, tau, matrix @ v)
    _label(right, "rank, largest first", "sorted score (no unit)", r"sort(v), and softsort$_\tau$(v) v")
    right.legend(fontsize=8, frameon=False)
    return figure


def _matrix(v: Tensor, tau: float) -> Tensor:
    if tau > 0:
        return softsort(v, tau)
    order = v.sort(descending=True, stable=True).indices
    return torch.eye(len(v), dtype=v.dtype, device=v.device)[order]


def _rounded(value: Tensor) -> float:
    return float(f"{value.item():.6g}")


def _matrices(rows: list[Row]) -> tuple[dict[float, Tensor], Tensor]:
    """The matrices by temperature and the scores, from the table."""
    size = max(row["row"] for row in rows)
    weights: dict[float, list[Any]] = {}
    for row in rows:
        weights.setdefault(row["tau"], []).append(row["weight"])
    v = torch.tensor([row["score"] for row in rows[:size]], dtype=torch.float64)
    return {tau: torch.tensor(w, dtype=torch.float64).reshape(size, size) for tau, w in weights.items()}, v


def _heat_map(ax: Axes, matrix: Tensor, title: str) -> Any:
    first, last = 0.5, len(matrix) + 0.5
    # Zero is white: the eye sees where weight is.
    image = ax.imshow(
        matrix.numpy(), cmap="Blues", vmin=0, vmax=1, extent=(first, last, last, first), interpolation="nearest"
    )
    ax.set_title(title, fontsize=9)
    ax.set_xlabel("column: index of the score", fontsize=9)
    ticks = [1, *range(4, len(matrix) + 1, 4)]
    ax.set_xticks(ticks)
    ax.set_yticks(ticks)
    ax.tick_params(labelsize=8)
    return image


def _ordered(ax: Axes, tau: float, values: Tensor) -> None:
    colour, marker = STYLE.get(tau, (BLACK, "."))
    style: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 5, "linewidth": 1.2}
    if tau == 0:
        style |= {"markersize": 8, "markerfacecolor": "none", "linestyle": "none"}  # a ring lets the others be seen
    ax.plot(range(1, len(values) + 1), values, label="sort" if tau == 0 else rf"$\tau$ = {tau:g}", **style)


def _label(ax: Axes, x: str, y: str, title: str) -> None:
    ax.set_xlabel(x, fontsize=9)
    ax.set_ylabel(y, fontsize=9)
    ax.set_title(title, loc="left", fontsize=9)
    ax.tick_params(labelsize=8)
    ax.set_ylim(bottom=0)
    ax.spines[["top", "right"]].set_visible(False)
