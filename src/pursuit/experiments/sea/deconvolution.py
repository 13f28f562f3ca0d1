"""What the figures of the Support Exploration Algorithm share: the deconvolution problem and the methods.

Spikes uniform on [-2, -1] and [1, 2] on a uniformly random support, convolved with `exp(-t^2 / (2 sigma^2))`, atoms of
unit norm. The poster says that the filter is Gaussian, sigma = 3, coherence 0.97 (which is this filter's), 200 runs,
and k = 20 for the example. It does not state the length of the signal, the boundary, the step size, the number of steps
or the noise; n = 500, circular, 1.8 / L and 1000 steps are our choice. All are settings.

SEA, IHT and HTP have the same step size and number of steps; `sea@omp` is SEA started from the solution of OMP;
`sea_plus` is ours. OMPR has step size 1 and starts from OMP, as ELS does. Solvers of other packages are included if the
packages are installed.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ... import metrics, peers, problems
from ...checks import one_of
from ...operators import spectral_norm_squared
from ...plots.style import BLACK, BLUE, GREEN, ORANGE, RED, SKY
from ...problems import Instance
from ...solvers.by_name import solver
from ..cells import Row

N, SIGMA, BOUNDARY, ETA, STEPS = 500, 3.0, "circular", 1.8, 1000
EXPLORING = ("sea", "iht", "htp")  # those that take a start, a step size and a budget
FAMILIES = ("zero", "omp", "els")  # what they start from
TUNED = (*EXPLORING, "sea_plus")  # those with a step size and a budget; `sea_plus` brings its own starts
BATCH = 50  # signals at a time: swaps of ELS need k (n - k) numbers for each
PURPLE, GREY, OLIVE, VIOLET = (
    "#CC79A7",
    "#7F7F7F",
    "#8C7A00",
    "#4B2E83",
)  # with Okabe and Ito's, for the methods of others
COLOURS = {
    "sea": BLUE, "sea_plus": VIOLET, "iht": ORANGE, "htp": GREEN, "omp": BLACK, "ompr": SKY, "els": RED,
    "sklearn-omp": GREY, "abess": PURPLE, "skscope": OLIVE,
}  # fmt: skip
NAMES = {"sea_plus": "SEA+ (sea_plus)", "sklearn-omp": "scikit-learn OMP", "abess": "abess", "skscope": "skscope"}


def families() -> tuple[str, ...]:
    """Which methods one cell runs: all from one start, or one solver of another package (a peer)."""
    return (*FAMILIES, *peers.available())


def cell_of(family: str, *, snr: float | str, k: int, runs: int, seed: int, settings: Row) -> Row:
    """The settings of a cell. Peers take neither a step size nor a number of steps."""
    own = settings if family in FAMILIES else {key: settings[key] for key in ("n", "sigma", "boundary")}
    return {"family": family, "snr": snr, "k": k, "runs": runs, "seed": seed, **own}


def check(n: int, sigma: float, boundary: str, eta: float, steps: int) -> Row:
    """The settings; raises ValueError if the problem or the methods cannot take them."""
    if n < 2:
        raise ValueError(f"n is {n}; needed is at least 2.")
    if not 0 < sigma < math.inf:
        raise ValueError(f"sigma is {sigma}; needed is a width > 0, in samples.")
    one_of("boundary", boundary, problems.BOUNDARIES)
    if not 0 < eta < math.inf:
        raise ValueError(f"eta is {eta}; needed is a step size > 0, as a multiple of 1 / L.")
    if steps < 1:
        raise ValueError(f"steps is {steps}; needed is at least 1.")
    return {"n": n, "sigma": sigma, "boundary": boundary, "eta": eta, "steps": steps}


def instance(cell: Row) -> Instance:
    """The signals of a cell: the same for all methods, step sizes and numbers of steps."""
    drawn = {key: cell[key] for key in ("n", "sigma", "boundary", "snr", "k", "runs", "seed")}
    digest = hashlib.sha256(json.dumps(drawn, sort_keys=True).encode()).digest()
    return problems.deconvolution(
        n=cell["n"],
        k=cell["k"],
        sigma=cell["sigma"],
        boundary=cell["boundary"],
        signals=cell["runs"],
        snr=float(cell["snr"]),
        seed=int.from_bytes(digest[:6], "big"),
    )


def solutions(cell: Row, case: Instance) -> Iterator[tuple[str, Tensor, float]]:
    """The result of every method of a family, `(runs, n)`, and the seconds that it took without its start."""
    if cell["family"] not in FAMILIES:
        yield cell["family"], *_by_peer(cell["family"], case)
        return
    start = cell["family"]
    before = () if start == "zero" else ("omp", "ompr") if start == "omp" else ("els",)
    found: dict[str, Tensor] = {}
    for method in (*before, *(TUNED if start == "zero" else EXPLORING)):
        options: Row = {}
        if method in TUNED:
            eta = cell["eta"] / spectral_norm_squared(case.A)
            options = {"eta": eta, "max_steps": cell["steps"]}
        solver(method)(case.A, case.y[:1], case.k, max_steps=2)  # the first call pays for setting up torch
        begin = time.perf_counter()
        x = _in_batches(method, case, found.get(start) if method in EXPLORING else None, options)
        found[method] = x
        name = f"{method}@{start}" if method in EXPLORING and start != "zero" else method
        yield name, x, time.perf_counter() - begin


def summary(cell: Row, case: Instance, method: str, x: Tensor, seconds: float) -> Row:
    """One row: a method on all signals of a cell."""
    distance = metrics.support_distance(x, case.x, case.k)
    residual = (case.y - case.A.forward(x)).norm(dim=-1) / case.y.norm(dim=-1)
    error = distance.std(ddof=1) / math.sqrt(len(distance)) if len(distance) > 1 else None
    return {
        "method": method,
        "snr_db": cell["snr"],
        "k": cell["k"],
        "runs": cell["runs"],
        "support_distance": round(float(distance.mean()), 6),
        "standard_error": None if error is None else round(float(error), 6),
        "exact_share": round(float((distance == 0).mean()), 6),
        "residual": float(f"{residual.mean().item():.6g}"),
        "ms_per_signal": float(f"{1e3 * seconds / cell['runs']:.4g}"),
        **{key: cell.get(key) for key in ("n", "sigma", "boundary", "eta", "steps", "seed")},
    }


def label(method: str) -> str:
    """The name of a method in a picture, as on the poster."""
    algorithm, at, start = method.partition("@")
    name = NAMES.get(algorithm, algorithm.upper())
    return rf"{name}$_\mathrm{{{start.upper()}}}$" if at else name


def colour(method: str) -> str:
    """One per algorithm, whatever it starts from."""
    return COLOURS[method.partition("@")[0]]


def order(method: str) -> tuple[int, int]:
    """By algorithm, then by start."""
    algorithm, _, start = method.partition("@")
    return list(COLOURS).index(algorithm), FAMILIES.index(start or "zero")


def noise(snr: float | str) -> str:
    """The noise of a row, in words."""
    return "noiseless" if float(snr) == math.inf else f"SNR {float(snr):g} dB"


def _in_batches(method: str, case: Instance, start: Tensor | None, options: Row) -> Tensor:
    parts = []
    for first in range(0, len(case.y), BATCH):
        part = slice(first, first + BATCH)
        warm: Row = {} if start is None else {"x0": start[part]}
        parts.append(solver(method)(case.A, case.y[part], case.k, **warm, **options).x)
    return torch.cat(parts)


def _by_peer(name: str, case: Instance) -> tuple[Tensor, float]:
    """The result of another package's solver, and the seconds that it took without its import."""
    recover: Any = peers.peer(name)
    A, y = case.A.to_dense().numpy(), case.y.numpy()
    recover(A, y[0], case.k)
    begin = time.perf_counter()
    x = np.stack([recover(A, one, case.k) for one in y])
    return torch.from_numpy(x), time.perf_counter() - begin
