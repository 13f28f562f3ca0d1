"""What the figures of the Support Exploration Algorithm share: the deconvolution problem and the methods.

Spikes uniform on [-2, -1] and [1, 2] on a uniformly random support, convolved with `exp(-t^2 / (2 sigma^2))`, atoms of
unit norm. The poster says that the filter is Gaussian, sigma = 3, coherence 0.97 (which is this filter's), 200 runs,
and k = 20 for the example. It does not state the length of the signal, the boundary, the step size, the number of steps
or the noise; n = 500, circular, 1.8 / L and 1000 steps are our choice. All are settings.

SEA, IHT and HTP have the poster's step size and number of steps; `sea@omp` is SEA started from the solution of OMP.
OMPR has step size 1 and starts from OMP, as ELS does. Beside the poster's methods there are

- `iht-best`, `htp-best` and `fista`: the step size, or the penalty, is the one of `STEP_SIZES`, or `PENALTIES`, with
  the least support distance on `CHOOSING` other signals of the same k and noise (the column `chosen`); of FISTA's
  solution the k largest entries are refitted;
- `sp`, `niht`, `cosamp`, `ols`, `whitened_lasso` with their defaults; `els@sea`, ELS from SEA's solution; `sea_plus`;
- `inverse`, the plain inverse, `inverse-noise`, truncated by the discrepancy principle, which is told the norm of the
  noise, and `inverse-best`, whose truncation is the best for each signal, which only the truth tells;
- solvers of other packages (peers), if they are installed.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ... import metrics, peers, problems
from ...checks import one_of
from ...core.least_squares import fit
from ...core.selection import Hard
from ...operators import spectral_norm_squared
from ...operators.svd import svd
from ...plots.style import BLACK, BLUE, GREEN, ORANGE, RED, SKY
from ...problems import Instance
from ...solvers.by_name import solver
from ..cells import Row

N, SIGMA, BOUNDARY, ETA, STEPS = 500, 3.0, "circular", 1.8, 1000
EXPLORING = ("sea", "iht", "htp")  # those that take a start, a step size and a budget
STARTS = ("zero", "omp", "els", "sea")  # what methods start from
FAMILIES = ("zero", "omp", "els", "sea_plus", "chosen", "others", "niht")  # what one cell runs
STEP_SIZES = (0.5, 1.0, 1.8, 4.0, 10.0)  # in 1 / L; columns have norm one, so that 1 is 10.6 / L
PENALTIES = (1e-2, 1e-3, 1e-4)  # shares of the smallest at which the solution is zero
CHOOSING = 20  # signals to choose them on
BATCH = 50  # signals at a time: swaps of ELS need k (n - k) numbers for each
PURPLE, GREY, OLIVE, VIOLET, BROWN, PINK, TEAL = (
    "#CC79A7", "#7F7F7F", "#8C7A00", "#4B2E83", "#7A4A1E", "#F2789F", "#00798C",
)  # fmt: skip
COLOURS = {
    "sea": BLUE, "sea_plus": VIOLET, "iht": ORANGE, "htp": GREEN, "omp": BLACK, "ompr": SKY, "els": RED,
    "iht-best": ORANGE, "htp-best": GREEN, "niht": BROWN, "sp": PINK, "cosamp": GREY, "ols": TEAL, "fista": SKY,
    "whitened_lasso": TEAL, "inverse": GREY, "inverse-noise": GREY, "inverse-best": GREY, "amp": BROWN,
    "sklearn-omp": GREY, "abess": PURPLE, "skscope": OLIVE, "basis-pursuit": BLACK,
}  # fmt: skip
NAMES = {
    "sea_plus": "SEA+", "sklearn-omp": "scikit-learn OMP", "abess": "abess", "skscope": "skscope",
    "iht-best": "IHT, best step", "htp-best": "HTP, best step", "cosamp": "CoSaMP", "fista": "FISTA, k largest",
    "whitened_lasso": "whitened LASSO", "basis-pursuit": "basis pursuit",
    "inverse": "plain inverse", "inverse-noise": "inverse, noise told",
    "inverse-best": "inverse, best truncation told",
}  # fmt: skip


def families() -> tuple[str, ...]:
    """Which methods one cell runs: all from one start, or one solver of another package (a peer)."""
    return (*FAMILIES, *peers.available())


def cell_of(family: str, *, snr: float | str, k: int, runs: int, seed: int, settings: Row) -> Row:
    """The settings of a cell. Peers take neither a step size nor a number of steps."""
    own = settings if family not in peers.PEERS else {key: settings[key] for key in ("n", "sigma", "boundary")}
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


class Found(NamedTuple):
    """The result of a method, `(runs, n)`, the seconds that it took without its start, and the number chosen for it."""

    method: str
    x: Tensor
    seconds: float
    chosen: float | None = None


def solutions(cell: Row, case: Instance) -> Iterator[Found]:
    """The result of every method of a family."""
    family = cell["family"]
    if family in peers.PEERS:
        yield Found(family, *_by_peer(family, case))
    elif family == "chosen":
        yield from _chosen(cell, case)
    elif family == "niht":  # apart, since its line searches take most of a second per signal
        yield Found("niht", *_timed("niht", case, max_steps=cell["steps"]))
    elif family == "others":
        yield from _others(case)
    elif family == "sea_plus":
        tuned = _tuned(case, cell["eta"], cell["steps"])
        sea, _ = _timed("sea", case, **tuned)
        yield Found("els@sea", *_timed("els", case, x0=sea))
        yield Found("sea_plus", *_timed("sea_plus", case, **tuned))
    else:
        yield from _started(cell, case)


def _started(cell: Row, case: Instance) -> Iterator[Found]:
    """The poster's methods: those that make the start, and those from there."""
    start, found = cell["family"], None
    for method in {"zero": (), "omp": ("omp", "ompr"), "els": ("els",)}[start]:
        x, seconds = _timed(method, case)
        found = x if method == start else found
        yield Found(method, x, seconds)
    warm: Row = {} if found is None else {"x0": found}
    for method in EXPLORING:
        name = method if start == "zero" else f"{method}@{start}"
        yield Found(name, *_timed(method, case, **warm, **_tuned(case, cell["eta"], cell["steps"])))


def _chosen(cell: Row, case: Instance) -> Iterator[Found]:
    """The methods whose one number is chosen on other signals of the same kind."""
    other = instance({**cell, "runs": CHOOSING, "seed": cell["seed"] + 1000})

    def best(method: str, tried: dict[float, Row]) -> float:
        missed = {}
        for value, each in tried.items():
            x = _largest(other, _timed(method, other, **each)[0])
            missed[value] = float(metrics.support_distance(x, other.x, other.k).mean())
        return min(missed, key=missed.__getitem__)

    for method in ("iht", "htp"):
        steps = {eta: _tuned(case, eta, cell["steps"]) for eta in STEP_SIZES}
        eta = best(method, steps)
        yield Found(f"{method}-best", *_timed(method, case, **steps[eta]), eta)
    penalties: dict[float, Row] = {share: {"lam_share": share, "max_steps": cell["steps"]} for share in PENALTIES}
    share = best("fista", penalties)
    x, seconds = _timed("fista", case, **penalties[share])
    yield Found("fista", _largest(case, x), seconds, share)


def _others(case: Instance) -> Iterator[Found]:
    """The methods with their defaults, and the plain inverse."""
    assert case.x is not None, "these signals are drawn"
    for method in ("sp", "cosamp", "ols", "whitened_lasso", "inverse"):
        yield Found(method, *_timed(method, case))
    noise = torch.linalg.vector_norm(case.y - case.A.forward(case.x), dim=-1)
    yield Found("inverse-noise", *_timed("inverse", case, eps=noise))
    begin = time.perf_counter()
    x = _largest(case, _best_inverse(case))
    yield Found("inverse-best", x, time.perf_counter() - begin)


def _best_inverse(case: Instance) -> Tensor:
    """For every signal, of all truncations the inverse whose k largest entries miss the fewest spikes."""
    factors = svd(case.A)
    assert case.x is not None, "these signals are drawn"
    assert factors is not None, "problems of this size can be decomposed"
    c = factors.left.forward(case.y)
    best = torch.zeros_like(case.x)
    least = torch.full(case.y.shape[:1], torch.inf, dtype=torch.float64)
    for floor in factors.values.unique():
        kept = factors.values >= max(float(floor), 1e-300)
        x = factors.right.adjoint(torch.where(kept, c / torch.where(kept, factors.values, 1), 0))
        missed = torch.from_numpy(metrics.support_distance(Hard()(x.abs(), case.k).keep(x), case.x, case.k))
        best = torch.where((missed < least).unsqueeze(-1), x, best)
        least = torch.minimum(least, missed)
    return best


def _largest(case: Instance, x: Tensor) -> Tensor:
    """Least squares on the k largest entries."""
    atoms = Hard()(x.abs(), case.k)
    return atoms.embed(fit(case.A, case.y, atoms).z)


def _tuned(case: Instance, eta: float, steps: int) -> Row:
    return {"eta": eta / spectral_norm_squared(case.A), "max_steps": steps}


def groups(rows: Sequence[Row], methods: Sequence[str], value: str, near: float) -> list[list[str]]:
    """The methods whose curves are equal, that is within `near` at every point, together."""
    curves: dict[str, dict[Any, float]] = {}
    for row in rows:
        curves.setdefault(row["method"], {})[row.get("snr_db"), row.get("k"), row.get("m")] = row[value]
    found: list[list[str]] = []
    for method in methods:
        mine = curves.get(method)
        if mine is None:
            continue
        for group in found:
            first = curves[group[0]]
            if first.keys() == mine.keys() and all(abs(first[at] - mine[at]) <= near for at in mine):
                group.append(method)
                break
        else:
            found.append([method])
    return found


def summary(cell: Row, case: Instance, method: str, x: Tensor, seconds: float, chosen: float | None = None) -> Row:
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
        "chosen": chosen,
        **{key: cell.get(key) for key in ("n", "sigma", "boundary", "eta", "steps", "seed")},
    }


def label(method: str) -> str:
    """The name of a method in a picture, as on the poster."""
    algorithm, at, start = method.partition("@")
    name = NAMES.get(algorithm, algorithm.upper())
    return rf"{name}$_\mathrm{{{start.upper()}}}$" if at else name


def labels(group: Sequence[str]) -> str:
    """The names of methods that have one curve."""
    return " = ".join(map(label, group))


def colour(method: str) -> str:
    """One per algorithm, whatever it starts from."""
    return COLOURS[method.partition("@")[0]]


def order(method: str) -> tuple[int, int]:
    """By algorithm, then by start."""
    algorithm, _, start = method.partition("@")
    return list(COLOURS).index(algorithm), STARTS.index(start or "zero")


def noise(snr: float | str) -> str:
    """The noise of a row, in words."""
    return "noiseless" if float(snr) == math.inf else f"SNR {float(snr):g} dB"


def _timed(method: str, case: Instance, **options: Any) -> tuple[Tensor, float]:
    """The solution, and the seconds that it took; options that are tensors are per signal."""
    call, parts = solver(method), []
    few = {name: _part(value, slice(1)) for name, value in options.items()}
    if method not in ("inverse", "whitened_lasso"):
        few["max_steps"] = 2
    given: Row = {} if method == "fista" else {"k": case.k}
    call(case.A, case.y[:1], **given, **few)  # the first call pays for setting up torch
    begin = time.perf_counter()
    for first in range(0, len(case.y), BATCH):
        part = slice(first, first + BATCH)
        own = {name: _part(value, part) for name, value in options.items()}
        parts.append(call(case.A, case.y[part], **given, **own).x)
    seconds = time.perf_counter() - begin
    return torch.nan_to_num(torch.cat(parts), 0.0, 0.0, 0.0), seconds  # too large a step diverges


def _part(value: Any, part: slice) -> Any:
    return value[part] if isinstance(value, Tensor) and value.ndim else value


def _by_peer(name: str, case: Instance) -> tuple[Tensor, float]:
    """The result of another package's solver, and the seconds that it took without its import."""
    recover: Any = peers.peer(name)
    A, y = case.A.to_dense().numpy(), case.y.numpy()
    recover(A, y[0], case.k)
    begin = time.perf_counter()
    x = np.stack([recover(A, one, case.k) for one in y])
    return torch.from_numpy(x), time.perf_counter() - begin
