"""The paper's networks, LAMP, AMP and OMP next to least squares on the true support (not in the paper).

At the paper's main setting and at N = 2000, 40 dB, 16 layers. All errors are of the same 10 000 held-out test signals;
networks are those of `na-fig6`. The oracle, least squares on the true support, is given the places of the non-zeros.
OMP is given the noise level, at which it stops. AMP is LAMP untrained; it and LAMP, which are given the distribution of
the non-zeros, are there with and without retries of signals that fit badly. `told` says who is given what.

Times are medians over batches of 512 signals, with quartiles. All methods take turns in one process, without gradients;
OMP, which takes longer, has fewer turns. `times_na_alista` is a ratio of such medians.

Tables: `oracle`, and the networks' `results` and `log`.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ... import nets
from ...core.least_squares import fit
from ...core.numeric import ones_for_zeros
from ...core.selection import Hard
from ...ensembles import BernoulliGaussian
from ...plots.style import BLACK, ORANGE
from ...solvers.omp import omp
from ..cells import Row, Tables
from . import alista
from . import pictures as alista_pictures
from .alista import PARTIAL, SHARED, SNR, K, N, S

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["PARTIAL", "SHARED", "cells", "draw", "run"]

NETWORKS = ("ALISTA", "ALISTA_AT", "AGLISTA", "NA_ALISTA_UR_128", "LAMP")
LABELS = {
    "LAMP_once": "LAMP without retries",
    "OMP": "OMP, stopped at the known noise level",
    "AMP": "AMP (LAMP untrained)",
    "AMP_once": "AMP without retries",
    "oracle": "least squares on the true support",
}
PRIOR = "distribution of the non-zeros"
TOLD = {
    "LAMP": PRIOR, "LAMP_once": PRIOR, "AMP": PRIOR, "AMP_once": PRIOR, "OMP": "noise level", "oracle": "support",
}  # fmt: skip
OTHERS = {"AMP": (ORANGE, "*"), "AMP_once": (ORANGE, "1"), "OMP": (ORANGE, "P"), "LAMP_once": (BLACK, "+")}
TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20)  # ms
TIMED, TURNS, SLOW_TURNS = 512, 15, 3
PREPARED = 2**14  # signals, as in a training
MOST = 100  # non-zeros of any signal: OMP ends there

Recover = Callable[[Tensor, Tensor], Tensor]


def cells(quick: bool, seed: int, full: bool = False) -> list[Row]:
    """One per number of unknowns."""
    size = alista.size_of(quick, full)
    models = [model for model in NETWORKS if not (quick and model == "ALISTA_AT") and not (full and model == "LAMP")]
    return [
        {
            "n": n,
            "signals": 1024 if quick else alista.SIGNALS,
            "seed": seed,
            "networks": [alista.trained_cell(model, n=n, size=size, seed=seed) for model in models],
        }
        for n in ((N,) if quick else (N, 2000))
    ]


def run(cell: Row, folder: Path) -> Tables:
    """Train the networks, or find them, and compare."""
    tables: Tables = {}
    methods: dict[str, tuple[Recover, int]] = {}
    ensemble = alista.problem(cell["networks"][0])
    for plan in cell["networks"]:
        net, _, found = alista.network(plan, folder.parent)
        methods[plan["model"]] = (_alone(net.eval()), sum(p.numel() for p in net.parameters()))
        for name, rows in found.items():
            tables.setdefault(name, []).extend(rows)
        if plan["model"] == "LAMP":
            once = copy.deepcopy(net)
            once.retry_steps = 0
            methods["LAMP_once"] = (_alone(once.eval()), methods["LAMP"][1])
    methods |= {
        "AMP": (_alone(_amp(ensemble)), 0), "AMP_once": (_alone(_amp(ensemble, retry_steps=0)), 0),
        "OMP": (_omp(ensemble), 0), "oracle": (least_squares(ensemble), 0),
    }  # fmt: skip
    with torch.no_grad():
        timed = {name: recover for name, (recover, _) in methods.items() if name != "oracle"}  # nobody can call it
        spent = _seconds(timed, ensemble, cell["seed"])
        errors = {name: nmse_db(recover, ensemble, cell) for name, (recover, _) in methods.items()}
    base = median(spent["NA_ALISTA_UR_128"])
    rows = [
        {
            "n": cell["n"], "method": name, "test_db": alista.rounded(errors[name]),
            "published_db": alista.published(name, cell["n"], K, SNR), "parameters": methods[name][1],
            "told": TOLD.get(name, "nothing"), **_times(spent.get(name), base),
            "signals": cell["signals"], "seed": cell["seed"], "threads": torch.get_num_threads(),
        }
        for name in methods
    ]  # fmt: skip
    return {**tables, "oracle": rows}


def _alone(net: Any) -> Recover:
    """A network as a method that is not given the truth."""
    return lambda y, x: net(y)


def _amp(ensemble: BernoulliGaussian, retry_steps: int = 60) -> nets.LAMP:
    net = nets.LAMP(ensemble.A, layers=K, sparsity=S, retry_steps=retry_steps).eval()
    with torch.no_grad():
        net.prepare(ensemble.draw(PREPARED, torch.Generator().manual_seed(0))[0])  # what residuals are usual
    return net


def _omp(ensemble: BernoulliGaussian) -> Recover:
    # The noise has 10^(-snr / 20) times the standard deviation of the clean y, which that of y is but for a 10^-4.
    share = 10 ** (-SNR / 20)

    def recover(y: Tensor, x: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(y, dim=-1)
        tol = share * y.std(-1) * y.shape[-1] ** 0.5 / ones_for_zeros(norm)
        answer: Tensor = omp(ensemble.A, y, min(MOST, y.shape[-1]), tol=tol).x
        return answer

    return recover


def least_squares(ensemble: BernoulliGaussian) -> Recover:
    """Least squares on the true support, the only method here that is given the truth."""

    def recover(y: Tensor, x: Tensor) -> Tensor:
        atoms = Hard()(torch.where(x != 0, x.abs(), -1.0), int((x != 0).sum(-1).max()))
        return atoms.embed(fit(ensemble.A, y, atoms).z)

    return recover


def nmse_db(recover: Recover, ensemble: BernoulliGaussian, cell: Row) -> float:
    """Ratio of sums over all test signals, in dB."""
    rng = torch.Generator().manual_seed(alista.TEST_SEED + cell["seed"])
    error = energy = 0.0
    for start in range(0, cell["signals"], TIMED):
        y, x = ensemble.draw(min(TIMED, cell["signals"] - start), rng)
        error += float((recover(y, x) - x).abs().double().square().sum())
        energy += float(x.abs().double().square().sum())
    return float(10 * torch.log10(torch.tensor(error / energy, dtype=torch.float64)))


def _times(spent: list[float] | None, base: float) -> Row:
    """Milliseconds per signal: the median and the quartiles."""
    names = ("ms_per_signal", "ms_low", "ms_high", "times_na_alista")
    if spent is None:
        return dict.fromkeys(names)
    low, middle, high = quantiles(spent, n=4, method="inclusive")
    values = [1e3 * middle, 1e3 * low, 1e3 * high, middle / base]
    return {name: round(value, 4) for name, value in zip(names, values, strict=True)}


def _seconds(methods: dict[str, Recover], ensemble: BernoulliGaussian, seed: int) -> dict[str, list[float]]:
    """Seconds per signal of each method, of every turn."""
    y, x = ensemble.draw(TIMED, torch.Generator().manual_seed(seed))
    times: dict[str, list[float]] = {name: [] for name in methods}
    for turn in range(TURNS + 1):
        for name, recover in methods.items():
            if name == "OMP" and turn > SLOW_TURNS:
                continue
            begin = time.perf_counter()
            recover(y, x)
            if turn:  # the first turn compiles
                times[name].append((time.perf_counter() - begin) / TIMED)
    return times


def draw(tables: Tables, quick: bool) -> Figure:
    """NMSE over time per signal, a panel per number of unknowns; the oracle is a line."""
    rows = tables["oracle"]
    sizes = sorted({row["n"] for row in rows})
    figure = alista_pictures.new_figure(len(sizes), 1)
    for ax, n in zip(figure.subplots(1, len(sizes), squeeze=False)[0], sizes, strict=True):
        mine = [row for row in rows if row["n"] == n]
        oracle = next(row["test_db"] for row in mine if row["method"] == "oracle")
        ax.axhline(oracle, color=BLACK, linewidth=1, linestyle=":")
        ax.annotate(f"{LABELS['oracle']}: {oracle:.1f} dB", (0.02, oracle), (0, -3), fontsize=8,
                    xycoords=("axes fraction", "data"), textcoords="offset points", va="top")  # fmt: skip
        ax.set_xscale("log")
        times = [row["ms_per_signal"] for row in mine if row["method"] != "oracle"]
        low, high = min(times), max(times)
        ax.set_xlim(low / 1.5, high * 2)
        ax.set_xticks([t for t in TICKS if low / 1.5 < t < high * 2], minor=False)
        ax.set_xticks([], minor=True)
        ax.xaxis.set_major_formatter("{x:g}")
        ax.set_ylim(min(r["test_db"] for r in mine) - 1.5, max(r["test_db"] for r in mine) + 1)
        _methods(ax, sorted((row for row in mine if row["method"] != "oracle"), key=lambda row: row["test_db"]))
        alista_pictures.finish(ax, f"N = {n}, SNR = {SNR} dB, K = {K}", "milliseconds per signal")
    return figure


def _methods(ax: Axes, rows: list[Row]) -> None:
    """A symbol and a label for each method, the best first; a label is placed above the one below it."""
    low, high = ax.get_ylim()
    apart, free = 0.045 * (high - low), low
    for row in rows:
        model = alista.MODELS.get(row["method"])
        colour, marker = (model.colour, model.marker) if model else OTHERS[row["method"]]
        label = (model.label if model else LABELS[row["method"]]).partition(" (")[0]
        time = row["ms_per_signal"]
        ends = [[time - row.get("ms_low", time)], [row.get("ms_high", time) - time]]
        ax.errorbar(time, row["test_db"], xerr=ends, fmt=marker, color=colour, markersize=7, elinewidth=1)
        time, place = row["ms_per_signal"], max(row["test_db"], free)
        right = time > 1
        near = (
            r["ms_per_signal"] for r in rows if abs(r["test_db"] - place) < apart
        )  # symbols that the label may meet
        times = [time, *(other for other in near if (other > 1) == right)]
        at = 0.9 * min(times) if right else 1.11 * max(times)
        ax.annotate(f"{label}, {row['test_db']:.1f}", (at, place), va="center", ha="right" if right else "left",
                    fontsize=8)  # fmt: skip
        free = place + apart
