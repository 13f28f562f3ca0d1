"""The figure of a solution: the coefficients of one signal as stems and the residuals of all, or its path over k."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import check_columns
from ..core.report import array
from ..core.solution import Solution, Status
from .style import BLUE, LABELS, ORANGE, counted, named_ticks, short_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINES = 25  # most names of columns in the legend


def plot(
    sol: Solution[Any],
    *,
    signal: int | Sequence[int] | None = None,
    truth: Any = None,
    ks: Sequence[int] | None = None,
) -> Figure:
    """Draw the coefficients of a signal, and for a batch the residual norm of every signal.

    Of the solutions of `pursuit.path`, with `ks`: the coefficients and the residual norm of a signal over k.

    Parameters
    ----------
    sol : Solution
    signal : int or sequence of int, optional
        Which signal of the batch, by its index. Default: the one with the largest residual.
    truth : array (*batch, n), optional
        The true signals, drawn behind.
    ks : sequence of int, optional
        The sparsities with which `pursuit.path` was called; then the batch is that of its signals.

    Returns
    -------
    matplotlib.figure.Figure
        `plot(sol).savefig("solution.png")` writes it.

    Raises
    ------
    ValueError, IndexError
        If there is no such signal, or the truth or the path has another shape.

    Examples
    --------
    >>> import numpy as np, pursuit
    >>> figure = pursuit.plot(pursuit.omp(np.eye(4), np.array([0.0, 2.0, 0.0, -1.0]), k=2))
    >>> [ax.get_title(loc="left") for ax in figure.axes]
    ['2 of 4 coefficients, residual 0']
    >>> figure = pursuit.plot(pursuit.path(np.eye(4), np.array([0.0, 2.0, 0.0, -1.0]), ks=[1, 2]), ks=[1, 2])
    >>> [ax.get_title(loc="left") for ax in figure.axes]
    ['2 different atoms', 'residual 1 to 0']
    """
    from matplotlib.figure import Figure

    norms = array(sol.residual_norm)
    if ks is not None:
        if norms.shape[:1] != (len(ks),):
            raise ValueError(
                f"ks has {len(ks)} numbers and the solution a batch of shape {norms.shape}; needed are the ks with "
                "which pursuit.path gave the solution."
            )
        norms = norms[-1]
    if norms.size == 0:
        raise ValueError("the solution has no signals; needed is at least one.")
    if truth is not None and np.shape(truth) != (*norms.shape, sol.n):
        raise ValueError(f"truth has shape {np.shape(truth)}; needed is {(*norms.shape, sol.n)}, that of the signals.")
    check_columns("truth", truth, sol.names)
    where = _index(signal, norms)
    two = bool(norms.ndim) or ks is not None
    figure = Figure(figsize=(10, 3.6) if two else (7, 3.6), dpi=120, layout="constrained")
    axes: Any = figure.subplots(1, 2 if two else 1, squeeze=False)
    left, *right = axes[0]
    for ax in figure.axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=8)
    of_truth = None if truth is None else array(truth)[where]
    if ks is not None:
        _path(left, right[0], sol, np.asarray(ks), where, of_truth)
    else:
        _stems(left, sol, where, of_truth)
        if norms.ndim:
            _residuals(right[0], norms, array(sol.status), where)
    return figure


def _index(signal: int | Sequence[int] | None, norms: NDArray[Any]) -> tuple[int, ...]:
    """The index of one signal in the batch."""
    if signal is None:
        return tuple(int(i) for i in np.unravel_index(int(np.nan_to_num(norms, nan=np.inf).argmax()), norms.shape))
    where = tuple(signal) if isinstance(signal, Sequence) else (signal,)
    if len(where) != norms.ndim:
        raise ValueError(f"signal is {signal}; needed are {norms.ndim} whole numbers, for a batch {norms.shape}.")
    if not all(-size <= i < size for i, size in zip(where, norms.shape, strict=True)):
        raise IndexError(f"signal is {signal}, and the batch has shape {norms.shape}.")
    return where


def _stems(ax: Axes, sol: Solution[Any], where: tuple[int, ...], truth: NDArray[Any] | None) -> None:
    """The non-zero coefficients of one signal over their column numbers; of complex ones the size."""
    support, values = array(sol.support)[where], array(sol.coefficients)[where]
    atoms, values = support[support >= 0], values[support >= 0]
    cplx = np.iscomplexobj(values)
    shown = np.abs if cplx else np.asarray
    ax.axhline(0, color="0.6", linewidth=0.8)
    if truth is not None:
        places = np.flatnonzero(truth)
        ax.plot(places, shown(truth[places]), "o", markersize=8, markerfacecolor="none", color="0.5", label="truth")
    if len(atoms):
        lines, stems, base = ax.stem(atoms, shown(values), label="found")
        lines.set(color=BLUE, markersize=4)
        stems.set(color=BLUE, linewidth=1)
        base.set_visible(False)
    margin = max(1.0, 0.02 * sol.n)
    ax.set_xlim(-margin, sol.n - 1 + margin)
    counted(ax.xaxis)
    if sol.names is not None and len(atoms) <= LABELS:
        named_ticks(ax, atoms, sol.names[atoms])
    ax.set_xlabel("column of A", fontsize=8)
    ax.set_ylabel("|x|" if cplx else "x", fontsize=8)
    name = "" if not where else f"signal {where[0] if len(where) == 1 else where}: "
    norm = float(array(sol.residual_norm)[where])
    ax.set_title(f"{name}{len(atoms)} of {sol.n} coefficients, residual {norm:.3g}", loc="left", fontsize=9)
    if truth is not None:
        ax.legend(fontsize=8, frameon=False)


def _path(
    left: Axes, right: Axes, sol: Solution[Any], ks: NDArray[Any], where: tuple[int, ...], truth: NDArray[Any] | None
) -> None:
    """The coefficients and the residual norm of one signal over k; a line for every atom that it ever has."""
    order = np.argsort(ks, kind="stable")
    each: Any = (order, *where)
    support, values = array(sol.support)[each], array(sol.coefficients)[each]
    norms, ks = array(sol.residual_norm)[each], ks[order]
    shown = np.abs if np.iscomplexobj(values) else np.asarray
    atoms = np.unique(support[support >= 0])
    left.axhline(0, color="0.6", linewidth=0.8)
    named = [str(atom) for atom in atoms] if sol.names is None else short_names(sol.names[atoms])
    for atom, name in zip(atoms, named, strict=True):
        at = support == atom
        line = np.where(at, values, 0).sum(-1)
        left.plot(ks, shown(line), ".-", linewidth=1, markersize=4, label=name)
    if truth is not None:
        places = np.flatnonzero(truth)
        left.plot(np.full(len(places), ks[-1]), shown(truth[places]), "o", markersize=8, markerfacecolor="none",
                  color="0.5", label="truth")  # fmt: skip
    if len(atoms) <= LINES and (len(atoms) or truth is not None):
        left.legend(fontsize=7, frameon=False, ncols=2, title="column of A", title_fontsize=7)
    left.set_ylabel("|x|" if np.iscomplexobj(values) else "x", fontsize=8)
    name = "" if not where else f"signal {where[0] if len(where) == 1 else where}: "
    left.set_title(f"{name}{len(atoms)} different atoms", loc="left", fontsize=9)
    right.plot(ks, norms, ".-", color=BLUE, linewidth=1, markersize=4)
    right.set_ylabel("||y - A x||", fontsize=8)
    right.set_title(f"residual {norms[0]:.3g} to {norms[-1]:.3g}", loc="left", fontsize=9)
    for ax in (left, right):
        ax.set_xlabel("k", fontsize=8)
        counted(ax.xaxis)


def _residuals(ax: Axes, norms: NDArray[Any], status: NDArray[Any], where: tuple[int, ...]) -> None:
    """The residual norms of all signals, sorted; those without a result marked."""
    order = norms.ravel().argsort(kind="stable")
    ranked = norms.ravel()[order]
    ok = np.array([Status(int(code)).ok for code in status.ravel()[order]])
    ranks = np.arange(1, len(ranked) + 1)
    ax.plot(ranks, ranked, ".", color=BLUE, markersize=4)
    if not ok.all():
        bad = f"{(~ok).sum()} without a result, see the status"
        ax.plot(ranks[~ok], ranked[~ok], "x", color=ORANGE, markersize=5, label=bad)
        ax.legend(fontsize=8, frameon=False)
    drawn = int(np.flatnonzero(order == np.ravel_multi_index(where, norms.shape, mode="wrap"))[0])
    ax.plot(ranks[drawn], ranked[drawn], "o", markersize=9, markerfacecolor="none", color="0.3")
    if ranked[-1] > 30 * ranked[0] > 0:
        ax.set_yscale("log")
    ax.set_xlabel("signals, by residual", fontsize=8)
    counted(ax.xaxis)
    ax.set_ylabel("||y - A x||", fontsize=8)
    ax.set_title(f"{len(ranked)} signals; the circle is that on the left", loc="left", fontsize=9)
