"""What the experiments of "Neurally augmented ALISTA" share: models, training recipes, published values.

Real signals of n entries, each non-zero with probability 50 / n and then N(0, 1); 250 measurements by a Gaussian matrix
with unit columns, another one for every seed (the authors have one per n); noise at an SNR. Networks are built as the
authors build them: step sizes and thresholds start from 0.5, support selection is `CountSchedule(50)`, and the weights
are the closed-form ones (the authors stop a descent towards them early, which differs by 0.4 to 1.3 dB at n = 500).

Recipes: "full" is the paper's protocol, a training for each number of layers. "ours" and "quick" train one network for
all numbers of layers: it grows, each depth starts from what the one before has learned, and each is a network of its
own, with an error and a support selection of its own. The recipes were chosen on validation signals of seed 0; results
are of other seeds.

A published value is the lowest NMSE of all epochs on the test signals. Ours, `test_db`, is that of held-out test
signals at the epoch with the lowest NMSE on validation signals (`validation_db`).

Tables: `results`, a row per model and setting, and `log`, some epochs of each training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ... import nets
from ...ensembles import BernoulliGaussian, Mixture, bernoulli_gaussian
from ...operators import Operator, spectral_norm_squared
from ...plots.style import BLACK, BLUE, GREEN, ORANGE, RED, SKY
from ...solvers import fista, ista
from ...training import Epoch, TrainingError, fit
from ..cells import Row, Tables, adopt_begun, path_of
from ..registry import published as published_rows

M, S, K, N, SNR = 250, 50, 16, 1000, 40  # the paper's main setting
LAYERS = (1, *range(2, 30, 2))
DEPTHS = tuple(k for k in LAYERS if k <= K)  # of the networks that we train
QUICK_DEPTHS = (2, 6, 10)  # of the quick form; at 10 the published curves are well apart
QUICK_LAYERS = QUICK_DEPTHS[-1]
LSTM_INPUTS = {"UR": "ru", "U": "u", "R": "r"}  # of the published names
LAMBDA = 0.4  # of ISTA and FISTA
START = 0.5  # of step sizes and thresholds, the authors'
SIGNALS = 10_000
TEST_SEED = 10**6  # far from those of matrices and trainings
AT_ONCE = 1000  # signals
LOGGED = 20  # rows per training
SHARED = "na-*"  # folders in which the same cells may be
PARTIAL = True  # pictures are of what is finished


class Model(NamedTuple):
    """Label, colour and marker of a model."""

    label: str
    colour: str
    marker: str


# By the names of the published tables; LAMP is not among them.
MODELS = {
    "ISTA": Model("ISTA", "0.55", "v"),
    "FISTA": Model("FISTA", ORANGE, "^"),
    "ALISTA": Model("ALISTA", SKY, "s"),
    "ALISTA_AT": Model("ALISTA-AT", GREEN, "D"),
    "AGLISTA": Model("AGLISTA", BLUE, "p"),
    "NA_ALISTA_UR_128": Model("NA-ALISTA", RED, "o"),
    "LAMP": Model("LAMP (not in the paper)", BLACK, "x"),
}
CLASSICAL = ("ISTA", "FISTA")
COMPARED = ("ISTA", "FISTA", "ALISTA", "AGLISTA", "NA_ALISTA_UR_128", "ALISTA_AT")

# By size and kind of network. At every depth there are so many `epochs`, at the last one `last`, of `steps` batches of
# new signals; the learning rate follows half a cosine at each. Networks of up to `alone` layers pass nothing on: with
# one or two layers, AGLISTA learns to overshoot by -1 (a), which deeper networks that start from it do not unlearn.
SHORT: Row = {"schedule": "cosine", "clip": 0.3, "steps": 100, "batch": 128, "validation": 4096, "test": SIGNALS}
TINY: Row = {**SHORT, "validation": 1024, "test": 2048}
# ALISTA, ALISTA-AT and AGLISTA hardly shrink large entries late. Without some signals that are harder than the others,
# rare ones diverge and make most of the error.
HARDER: Row = {"share": 0.1, "k": 65}
CONSTANTS: Row = {**SHORT, "epochs": 4, "last": 12, "lr": 1e-2, "harder": HARDER}
RECIPES: dict[str, dict[str, Row]] = {
    "quick": {
        "ALISTA": {**TINY, "epochs": 3, "last": 6, "steps": 20, "lr": 1e-2},
        "AGLISTA": {**TINY, "epochs": 3, "last": 6, "steps": 20, "lr": 1e-2, "alone": 2},
        "NA_ALISTA": {**TINY, "epochs": 10, "last": 12, "steps": 40, "lr": 2e-3, "clip": 0.1},
        "LAMP": {**TINY, "epochs": 1, "last": 1, "steps": 25, "lr": 3e-3},
    },
    "ours": {
        "ALISTA": CONSTANTS,
        "ALISTA_AT": {**CONSTANTS, "lr": 3e-3},
        "AGLISTA": {**CONSTANTS, "alone": 2},
        "NA_ALISTA": {**SHORT, "epochs": 8, "last": 32, "lr": 2e-3, "clip": 0.1},
        "LAMP": {**SHORT, "epochs": 1, "last": 2, "steps": 50, "lr": 3e-3},
    },
    # 49 664 of 50 000 signals are used, 97 batches. The authors' loss is a mean over n entries, ours is their sum: the
    # same bound on the gradient is n times as large.
    "full": {
        kind: {
            "epochs": 100, "epochs_per_layer": 20, "steps": 97, "batch": 512, "lr": 2e-4, "schedule": "constant",
            "clip_per_entry": 1.0, "validation": SIGNALS, "test": SIGNALS,
        }
        for kind in ("ALISTA", "NA_ALISTA")
    },
}  # fmt: skip


def size_of(quick: bool, full: bool) -> str:
    """The name of the recipes."""
    return "quick" if quick else "full" if full else "ours"


def recipe(size: str, model: str, n: int, recipes: dict[str, dict[str, Row]] | None = None) -> Row:
    """The numbers of a training, computed for this number of unknowns."""
    kind = "NA_ALISTA" if model.startswith("NA_ALISTA") else "LAMP" if model == "LAMP" else "ALISTA"
    by_kind = (recipes or RECIPES)[size]
    numbers = dict(by_kind.get(model, by_kind[kind]))
    if "clip_per_entry" in numbers:
        numbers["clip"] = numbers.pop("clip_per_entry") * n
    return numbers


def at_depth(cell: Row, layers: int) -> Row:
    """The cell of one of the depths of a network that grows, with the numbers of its training."""
    numbers = dict(cell["recipe"])
    last = numbers.pop("last", numbers["epochs"])
    numbers.pop("alone", None)
    numbers["epochs"] = last if layers == cell["layers"][-1] else numbers["epochs"]
    numbers["epochs"] += numbers.pop("epochs_per_layer", 0) * layers
    return {**cell, "layers": layers, "recipe": numbers}


def classical_cell(model: str, *, size: str, seed: int, n: int, snr: int) -> Row:
    """The cell of ISTA or FISTA: one for all numbers of steps."""
    return {"model": model, "n": n, "layers": list(LAYERS), "snr": snr, "seed": seed, "signals": signals(size)}


def trained_cell(
    model: str, *, size: str, seed: int, n: int = N, layers: Sequence[int] | None = None, snr: int = SNR
) -> Row:
    """The cell of a network and its training at all these depths; with another recipe it is another cell."""
    depths = layers or {"quick": QUICK_DEPTHS, "ours": DEPTHS, "full": (K,)}[size]
    return {
        "model": model, "n": n, "layers": list(depths), "snr": snr, "size": size, "seed": seed,
        "recipe": recipe(size, model, n),
    }  # fmt: skip


def cell_of(
    model: str, *, size: str, seed: int, n: int = N, layers: Sequence[int] | None = None, snr: int = SNR
) -> Row:
    """The cell of a model."""
    if model in CLASSICAL:
        return classical_cell(model, size=size, seed=seed, n=n, snr=snr)
    return trained_cell(model, size=size, seed=seed, n=n, layers=layers, snr=snr)


def models(full: bool) -> tuple[str, ...]:
    """The models to compare; the paper has no protocol for LAMP."""
    return COMPARED if full else (*COMPARED, "LAMP")


def quick_models() -> tuple[str, ...]:
    """The models of the quick form; the slowest first, so that neither of two processes waits long for the other."""
    return ("NA_ALISTA_UR_128", "AGLISTA", "ALISTA", *CLASSICAL)


def quick_cells(seed: int) -> list[Row]:
    """The paper's main setting, with fewer layers."""
    return [cell_of(model, size="quick", seed=seed) for model in quick_models()]


def signals(size: str) -> int:
    """How many test signals solvers get."""
    return 2048 if size == "quick" else SIGNALS


def distinct(cells: Iterable[Row]) -> list[Row]:
    """Cells without repetition, in their order: ISTA's are the same for all numbers of layers."""
    kept: list[Row] = []
    for cell in cells:
        if cell not in kept:
            kept.append(cell)
    return kept


def run(cell: Row, folder: Path) -> Tables:
    """A solver or a network."""
    return run_classical(cell) if cell["model"] in CLASSICAL else run_trained(cell, folder)


# Solvers


def run_classical(cell: Row) -> Tables:
    """ISTA's or FISTA's NMSE on test signals after every number of steps.

    For FISTA, `test_db` is the error of the extrapolated point, which the published code returns, and `iterate_db` that
    of the iterate, which `pursuit.fista` returns.
    """
    ensemble = problem(cell)
    gamma = 1 / float(spectral_norm_squared(ensemble.A))
    errors = classical_errors(cell, ensemble, gamma, LAMBDA * gamma)
    return {"results": [classical_row(cell, k, *db, published(cell["model"], cell["n"], k, cell["snr"]))
                        for k, db in errors.items()]}  # fmt: skip


def classical_errors(
    cell: Row, ensemble: BernoulliGaussian, gamma: float, theta: float
) -> dict[int, tuple[float, float]]:
    """NMSE in dB of the published and of our output, by the number of steps."""
    A, rng = ensemble.A, torch.Generator().manual_seed(TEST_SEED + cell["seed"])
    sums = {k: torch.zeros(2, dtype=torch.float64) for k in cell["layers"]}
    energy = 0.0
    for start in range(0, cell["signals"], AT_ONCE):
        y, x = ensemble.draw(min(AT_ONCE, cell["signals"] - start), rng)
        energy += _energy(x)
        for k, outputs in enumerate(_iterates(cell["model"], A, y, gamma, theta, max(sums)), 1):
            if k in sums:
                sums[k] += torch.tensor([_energy(output - x) for output in outputs], dtype=torch.float64)
    return {k: tuple((10 * (total / energy).log10()).tolist()) for k, total in sums.items()}


def _iterates(
    model: str, A: Operator, y: Tensor, gamma: float, theta: float, steps: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """After each step the output of the published code, and that of this library."""
    x0 = y.new_zeros(*y.shape[:-1], A.shape[1])
    step_size, threshold = (torch.tensor(value, dtype=y.real.dtype) for value in (gamma, theta))
    if model == "ISTA":
        s = ista.init(A, y, x0)
        for _ in range(steps):
            s = ista.step(A, y, s, gamma=step_size, theta=threshold, back=A.adjoint)
            yield s.x, s.x
        return
    f = fista.init(A, y, x0)
    for _ in range(steps):
        f = fista.step(A, y, f, gamma=step_size, theta=threshold)
        yield f.extrapolated.x, f.x


def _energy(x: Tensor) -> float:
    return float(x.abs().double().square().sum())


def classical_row(cell: Row, layers: int, db: float, iterate_db: float, theirs: float | None) -> Row:
    return {
        **row_key({**cell, "layers": layers}),
        "signals": cell["signals"],
        **with_published(db, theirs),
        "iterate_db": rounded(iterate_db),
    }


# Networks


def run_trained(cell: Row, folder: Path, device: str = "cpu") -> Tables:
    """Train a network in `folder`, or continue its training there, and evaluate it on held-out test signals."""
    return grown(cell, folder, device)[2]


def grown(cell: Row, folder: Path, device: str = "cpu") -> tuple[Any, BernoulliGaussian, Tables]:
    """The network of a cell at its last depth, its signals, and the tables of all depths."""
    ensemble = problem(cell, device)
    net, tables = grow(
        cell,
        folder,
        ensemble,
        build=lambda at: built(at, ensemble.A, selection=nets.CountSchedule(S)),
        theirs=lambda layers: published(cell["model"], cell["n"], layers, cell["snr"]),
    )
    return net, ensemble, tables


def grow(
    cell: Row, folder: Path, ensemble: Any, *, build: Callable[[Row], Any], theirs: Callable[[int], float | None]
) -> tuple[Any, Tables]:
    """Train a network at each depth of a cell, from what it has learned at the depth before.

    Returns the network of the last depth, and the tables of all. Signals and seconds of a row are those of all depths
    that the network has grown through; signals that are not new in every epoch are the same at all depths.
    """
    net, signals, seconds = None, 0, 0.0
    tables: Tables = {"results": [], "log": []}
    for layers in cell["layers"]:
        at, before = at_depth(cell, layers), net
        net = build(at).to(ensemble.A.device)
        if before is not None and before.layers > cell["recipe"].get("alone", 0):
            carry_over(before, net)
        else:
            signals, seconds = 0, 0.0
        found = train(net, ensemble, at, folder / str(layers), theirs(layers))
        for row in found["results"]:
            signals = row["signals"] + (signals if at["recipe"].get("fresh", True) else 0)
            seconds += row.get("seconds", 0)
            tables["results"].append({**row, "signals": signals, "seconds": round(seconds, 1)})
        tables["log"] += found.get("log", [])
    return net, tables


def carry_over(before: Any, net: Any) -> None:
    """Let a network begin with what one of fewer layers has learned; its further layers are copies of the last one."""
    state = net.state_dict()
    for name, value in before.state_dict().items():
        more = len(state[name]) - len(value) if value.ndim else 0
        state[name] = torch.cat([value, value[-1:].expand(more, *value.shape[1:])]) if more else value
    net.load_state_dict(state)


def problem(cell: Row, device: str = "cpu") -> BernoulliGaussian:
    """The signals and measurements of a cell."""
    return bernoulli_gaussian(n=cell["n"], m=M, k=S, snr=float(cell["snr"]), seed=cell["seed"], device=device)


def built(
    cell: Row,
    A: Operator,
    *,
    selection: nets.CountSchedule | nets.PercentSchedule | None,
    W: Any = None,
    gamma: float | None = None,
    theta: float | None = None,
    scale_gamma: float = 1.0,
    scale_theta: float = 1.0,
) -> Any:
    """The network of a cell before training; NA-ALISTA's states and matrices are drawn by the cell's seed."""
    model = cell["model"]
    common: Row = {"layers": cell["layers"], "selection": selection, "W": W}
    if model == "LAMP":
        assert isinstance(selection, nets.CountSchedule)  # it needs no selection, but the sparsity
        return nets.LAMP(A, layers=cell["layers"], sparsity=selection.sparsity)
    gamma, theta = (START if value is None else value for value in (gamma, theta))
    simple = {"ALISTA": nets.ALISTA, "ALISTA_AT": nets.ALISTAAT, "AGLISTA": nets.AGLISTA}
    if model in simple:
        return simple[model](A, gamma=gamma, theta=theta, **common)
    inputs, hidden = model.removeprefix("NA_ALISTA_").split("_")
    return nets.NAALISTA(
        A, hidden=int(hidden), inputs=LSTM_INPUTS[inputs], scale_gamma=scale_gamma, scale_theta=scale_theta,
        seed=cell["seed"], **common,
    )  # fmt: skip


def train(net: Any, ensemble: Any, cell: Row, folder: Path, theirs: float | None) -> Tables:
    """Train and return the tables. A training that diverges gives a row without results, so that others can run."""
    numbers = cell["recipe"]
    log: list[Epoch] = []
    row = {
        **row_key(cell),
        "epochs": numbers["epochs"],
        "signals": numbers["epochs"] * numbers["steps"] * numbers["batch"] if numbers.get("fresh", True)
        else numbers["steps"] * numbers["batch"],
        "parameters": sum(p.numel() for p in net.parameters()),
    }  # fmt: skip
    try:
        trained = fit(
            net, ensemble, **fit_options(numbers), training_ensemble=with_harder(ensemble, numbers.get("harder")),
            seed=cell["seed"], folder=folder, on_epoch=log.append,
        )  # fmt: skip
    except TrainingError as error:
        return {"results": [{**row, "published_db": rounded(theirs), "note": str(error).partition(":")[0]}]}
    return {
        "results": [
            {
                **row,
                "validation_db": rounded(trained.validation_db),
                **with_published(trained.test_db, theirs),
                "best_epoch": trained.best_epoch,
                "seconds": round(sum(epoch.seconds for epoch in trained.log), 1),
            }
        ],
        "log": [
            row_key(cell)
            | {"epoch": e.epoch, "validation_db": rounded(e.validation_db), "seconds": round(e.seconds, 3)}
            for e in thinned(trained.log)
        ],
    }


def with_harder(ensemble: Any, harder: Row | None) -> Any:
    """The ensemble to train on: with a share of signals of more non-zeros, where the recipe has one."""
    return None if harder is None else Mixture(ensemble, replace(ensemble, k=harder["k"]), harder["share"])


def fit_options(numbers: Row) -> Row:
    """The arguments of `fit`."""
    constant = numbers["schedule"] == "constant"
    return {
        "epochs": numbers["epochs"],
        "batch_size": numbers["batch"],
        "n_train": numbers["steps"] * numbers["batch"],
        "n_validation": numbers["validation"],
        "n_test": numbers["test"],
        "optimizer": "adam",
        "lr": numbers["lr"],
        "schedule": "halve" if constant else numbers["schedule"],
        "halve_every": None,
        "lr_factors": numbers.get("rates"),
        "clip": numbers["clip"],
        "resample": numbers.get("fresh", True),
        "layerwise_epochs": numbers.get("layerwise"),
        "checkpoint_every": 1,  # epochs are long, checkpoints some megabytes
    }


def network(cell: Row, store: Path) -> tuple[Any, BernoulliGaussian, Tables]:
    """The trained network of a cell, whose training, finished or not, may be in `store` or in a shared folder."""
    path = path_of(cell, store)
    adopt_begun(path, SHARED)
    return grown(cell, path.with_suffix(""))


def thinned(log: Sequence[Epoch], most: int = LOGGED) -> list[Epoch]:
    """At most `most` epochs, evenly spread, with the last one."""
    count = min(most, len(log))
    return [log[(i + 1) * len(log) // count - 1] for i in range(count)]


# Tables


def row_key(cell: Row) -> Row:
    """The fields that identify a row."""
    return {
        name: cell[name] for name in ("model", "n", "m", "layers", "snr", "protocol", "size", "seed") if name in cell
    }


def with_published(db: float | None, theirs: float | None) -> Row:
    """Our value beside the published one."""
    return {
        "test_db": rounded(db),
        "published_db": rounded(theirs),
        "difference": None if db is None or theirs is None else rounded(db - theirs),
    }


def rounded(value: float | None) -> float | None:
    """Decibels with three digits."""
    return None if value is None or not math.isfinite(value) else round(value, 3)


def sort_key(row: Row) -> tuple[Any, ...]:
    """By setting, then model, then layers and epoch."""
    names = list(MODELS)
    model = row.get("model", "")
    rank = names.index(model) if model in names else len(names)
    numbers = (row.get(name) or 0 for name in ("seed", "layers", "epoch"))
    return (-(row.get("snr") or 0), row.get("n") or 0, -(row.get("m") or 0), rank, model, *numbers)


@cache
def _published() -> dict[tuple[Any, ...], float]:
    # The noise is named GaussianNoise40, once GaussianNois10.
    return {
        (row["model"], int(row["m"]), int(row["n"]), int(row["k"]), int(row["noise"][-2:])):
        float(row["best_test_db"])
        for row in published_rows("na_alista.csv")
    }  # fmt: skip


def published(model: str, n: int, layers: int, snr: int, m: int = M) -> float | None:
    """The published NMSE in dB, if there is one."""
    return _published().get((model, m, n, layers, snr))


def published_over_layers(n: int, snr: int, m: int = M) -> Callable[[str, int], float | None]:
    """The published NMSE of a panel, by model and number of layers."""
    return lambda model, layers: published(model, n, layers, snr, m)
