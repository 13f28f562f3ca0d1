"""`pursuit train`. Heavy imports happen inside, so that `--help` answers at once."""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import stated_errors

if TYPE_CHECKING:
    from .ensembles import Ensemble
    from .training import Epoch, Training

# The class in pursuit.nets and its number of layers where none is given; None: as many as there are non-zeros.
NETWORKS: dict[str, tuple[str, int | None]] = {
    "omp-net": ("OMPNet", None),
    "iht-net": ("IHTNet", 30),
    "cosamp-net": ("CoSaMPNet", 10),
    "sp-net": ("SPNet", 10),
    "htp-net": ("HTPNet", 10),
}
ENSEMBLES = {"fourier-levels": "fourier_levels", "gaussian-levels": "gaussian_levels"}
RELAXATIONS = ("softsort", "neuralsort", "sinkhorn-sort")


def train(
    network: Annotated[str, typer.Argument(help=f"One of {', '.join(NETWORKS)}.")],
    problem: Annotated[str, typer.Option(help=f"What to train on: {' or '.join(ENSEMBLES)}.")] = "fourier-levels",
    n: Annotated[int, typer.Option("--n", help="Unknowns.")] = 256,
    m: Annotated[int, typer.Option("--m", help="Measurements.")] = 20,
    k: Annotated[int, typer.Option("-k", "--k", help="Non-zeros per signal.")] = 10,
    admissible: Annotated[int, typer.Option(help="Places that non-zeros are drawn from.")] = 20,
    noise: Annotated[float, typer.Option(help="Norm of the noise; signals have norm 1.")] = 1e-3,
    layers: Annotated[int | None, typer.Option(help="By default k for omp-net, 30 for iht-net, 10 for others.")] = None,
    tau: Annotated[float, typer.Option(help="Temperature of the sort.")] = 1e-3,
    eta: Annotated[float | None, typer.Option(help="Step size of iht-net and htp-net; by default 0.5.")] = None,
    weights: Annotated[str, typer.Option(help="Structure weights: shared by the layers, or per-layer.")] = "shared",
    relaxation: Annotated[str, typer.Option(help=f"One of {', '.join(RELAXATIONS)}.")] = "softsort",
    relative: Annotated[bool, typer.Option("--relative", help="Measure tau in units of the largest score.")] = False,
    signals: Annotated[str, typer.Option(help="Known of them: complex, real part (the paper), real.")] = "real part",
    learn_eta: Annotated[bool, typer.Option("--learn-eta", help="Train eta, one per layer.")] = False,
    learn_tau: Annotated[bool, typer.Option("--learn-tau", help="Train tau, one per layer.")] = False,
    anneal_from: Annotated[float | None, typer.Option(help="Let tau fall from here to --tau.")] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the training signals.")] = 1000,
    batch: Annotated[int, typer.Option(help="Signals per step.")] = 64,
    optimizer: Annotated[str, typer.Option(help="rmsprop or adam.")] = "rmsprop",
    lr: Annotated[float, typer.Option(help="Learning rate.")] = 1e-2,
    schedule: Annotated[str, typer.Option(help="The learning rate: halve, cosine or constant.")] = "halve",
    halve_every: Annotated[int, typer.Option(help="Epochs until the learning rate is halved.")] = 500,
    clip: Annotated[float, typer.Option(help="Largest norm of the gradient.")] = 1.0,
    fresh: Annotated[bool, typer.Option("--fresh", help="New training signals in every epoch.")] = False,
    double: Annotated[bool, typer.Option("--double", help="Double precision.")] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda, ...")] = "cpu",
    seed: Annotated[int, typer.Option(help="Of the problem and of the training.")] = 0,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder to write to.")] = None,
) -> None:
    """Train a network, or go on with the training that is in the output folder.

    Example: pursuit train omp-net --m 20 -k 10 --layers 10 --tau 1e-3 --epochs 1000 -o runs/omp-net
    """
    with stated_errors():
        from . import comparison, files
        from .figures import training as picture
        from .nets.storage import describe, save
        from .training import TrainingError, fit

        _check_choice("network", network, NETWORKS)
        sizes = {"n": n, "m": m, "k": k, "admissible": admissible, "noise": noise}
        ensemble = _ensemble(problem, sizes, seed=seed, double=double, device=device)
        rates = _rates(tau=tau, eta=eta, learn_tau=learn_tau, learn_eta=learn_eta, anneal_from=anneal_from)
        net = _network(
            network,
            ensemble,
            layers=layers,
            weights=weights,
            relaxation=relaxation,
            relative=relative,
            signals=signals,
            **rates,
        )
        net.to(device, ensemble.A.dtype.to_real())
        folder = files.output_folder(output or Path("runs") / network)
        options: dict[str, Any] = {
            "epochs": epochs, "batch": batch, "optimizer": optimizer, "lr": lr, "fresh": fresh, "seed": seed,
            "schedule": "halve" if schedule == "constant" else schedule,
            "halve_every": None if schedule == "constant" else halve_every, "clip": clip,
        }  # fmt: skip
        try:
            with _bar(network, epochs) as on_epoch:
                training = fit(net, ensemble, folder=folder, on_epoch=on_epoch, **options)
        except TrainingError as error:
            raise ValueError(str(error)) from error
        save(net, folder / "net.safetensors")
        picture.draw(folder / "log.png", training.log)
        oracle = None if ensemble.admissible is None else ensemble.admissible.tolist()
        picture.draw_weights(folder / "weights.png", net.weights.tolist(), oracle)
        record = {
            "network": network, "network_options": describe(net)["config"], "training": options,
            "device": device, "best_epoch": training.best_epoch, "validation_loss": training.validation_loss,
            "test_loss": training.test_loss, "seconds": sum(epoch.seconds for epoch in training.log),
        }  # fmt: skip
        problem_only = replace(ensemble.instance(1), settings=ensemble.settings)
        comparison.write_settings(folder / "settings.json", problem_only, **record)
        _report(folder, training)


def _ensemble(problem: str, sizes: dict[str, Any], *, seed: int, double: bool, device: str) -> Ensemble:
    import torch

    from . import ensembles

    _check_choice("--problem", problem, ENSEMBLES)
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"--device is {device!r}, which cannot be used here ({error}); try cpu.") from None
    cplx = problem == "fourier-levels"
    single, wide = (torch.complex64, torch.complex128) if cplx else (torch.float32, torch.float64)
    make = getattr(ensembles, ENSEMBLES[problem])
    return make(**sizes, seed=seed, dtype=wide if double else single, device=device)


def _rates(
    *, tau: float, eta: float | None, learn_tau: bool, learn_eta: bool, anneal_from: float | None
) -> dict[str, Any]:
    """Temperature and step size, each fixed, learned or annealed; no step size where nothing was said of it."""
    from .nets import Annealed, Learned

    if learn_tau and anneal_from is not None:
        raise ValueError("--learn-tau and --anneal-from were given; tau is learned or annealed: give one of them.")
    temperature = Learned(tau) if learn_tau else tau if anneal_from is None else Annealed(anneal_from, tau)
    if eta is None and not learn_eta:
        return {"tau": temperature}
    step = 0.5 if eta is None else eta
    return {"tau": temperature, "eta": Learned(step) if learn_eta else step}


def _network(
    name: str,
    ensemble: Ensemble,
    *,
    layers: int | None,
    weights: str,
    relaxation: str,
    relative: bool,
    signals: str,
    **rates: Any,
) -> Any:
    from . import nets, relaxations

    _check_choice("--relaxation", relaxation, RELAXATIONS)
    kind, default = NETWORKS[name]
    build = getattr(nets, kind)
    takes = inspect.signature(build).parameters
    if "eta" in rates and "eta" not in takes:
        raise ValueError(f"--eta and --learn-eta: {name} has no step size; leave them out.")
    options = {
        "k": ensemble.k, "layers": (default or ensemble.k) if layers is None else layers,
        "weights": weights, "relative": relative, "sort": getattr(relaxations, relaxation.replace("-", "_")),
        "signals": signals, **rates,
    }  # fmt: skip
    return build(ensemble.A, **{option: value for option, value in options.items() if option in takes})


@contextlib.contextmanager
def _bar(network: str, epochs: int) -> Iterator[Callable[[Epoch], Any] | None]:
    """A progress bar on a terminal; yields a function to call with each epoch, None in a pipe."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(network, total=epochs)

        def advance(epoch: Epoch) -> None:
            held_out = "" if epoch.validation_loss is None else f" validation {epoch.validation_loss:.3g}"
            bar.update(task, description=f"{network} loss {epoch.train_loss:.3g}{held_out}", completed=epoch.epoch)

        yield advance


def _report(folder: Path, training: Training) -> None:
    net = folder / "net.safetensors"
    typer.echo(f"best epoch: {training.best_epoch} of {len(training.log)}")
    typer.echo(f"validation loss: {training.validation_loss:.4g}, test loss: {training.test_loss:.4g}")
    written = ", ".join(str(folder / name) for name in ("net.safetensors", "log.csv", "log.png", "weights.png"))
    typer.echo(f"written: {written}, settings.json")
    typer.echo(f"the network: pursuit.nets.load({str(net)!r})(y)")
    typer.echo(f"its structure in any solver: pursuit.omp(A, y, k, weights=pursuit.nets.read_weights({str(net)!r}))")


def _check_choice(name: str, value: str, known: Any) -> None:
    if value not in known:
        raise ValueError(f"{name} is {value!r}; choose one of {', '.join(known)}.")
