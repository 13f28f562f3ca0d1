"""`pursuit train`. Heavy imports happen inside, so that `--help` answers at once."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from ..interrupts import kept
from .console import bar, find_own, listed, one_line_errors, progress, warnings_in_one_line
from .data import FILES, Columns, Decimal, Dtype, FileOptions, Header, Index, LayoutOption, file_options
from .signals import given_ensemble, split_in_words, variance
from .tables import print_comparison

if TYPE_CHECKING:
    from ..problems import Instance
    from ..solvers.by_name import Method
    from ..training import Epoch, Training


class Network(NamedTuple):
    """A network that can be trained."""

    kind: str  # the class in pursuit.nets
    layers: int | None  # default; None: as many as non-zeros
    problem: str
    training: dict[str, Any]  # options of pursuit.training.fit


class Problem(NamedTuple):
    """A problem to train on."""

    make: str  # the function of pursuit.ensembles
    sizes: dict[str, Any]  # its options, with their defaults
    complex: bool


GREEDY = {"batch_size": 64, "optimizer": "rmsprop", "lr": 1e-2, "schedule": "halve", "resample": False}
PROXIMAL = {"batch_size": 128, "optimizer": "adam", "lr": 3e-3, "schedule": "cosine", "resample": True}
NETWORKS = {
    "omp-net": Network("OMPNet", None, "fourier-levels", GREEDY),
    "iht-net": Network("IHTNet", 30, "fourier-levels", GREEDY),
    "cosamp-net": Network("CoSaMPNet", 10, "fourier-levels", GREEDY),
    "sp-net": Network("SPNet", 10, "fourier-levels", GREEDY),
    "htp-net": Network("HTPNet", 10, "fourier-levels", GREEDY),
    "sea-net": Network("SEANet", 30, "fourier-levels", GREEDY),
} | {
    name: Network(kind, 16, "bernoulli-gaussian", PROXIMAL)
    for name, kind in {
        "lista": "LISTA", "lista-cp": "LISTACP", "lista-cpss": "LISTACPSS", "ti-lista": "TiLISTA", "glista": "GLISTA",
        "alista": "ALISTA", "alista-at": "ALISTAAT", "aglista": "AGLISTA", "na-alista": "NAALISTA", "lamp": "LAMP",
    }.items()
}  # fmt: skip
LEVELS = {"n": 256, "m": 20, "k": 10, "admissible": 20, "noise": 1e-3}
PROBLEMS = {
    "fourier-levels": Problem("fourier_levels", LEVELS, True),
    "gaussian-levels": Problem("gaussian_levels", LEVELS, False),
    "bernoulli-gaussian": Problem("bernoulli_gaussian", {"n": 1000, "m": 250, "k": 50, "snr": 40.0}, False),
}
COMPARED = ("omp", "iht", "htp", "cosamp", "sp", "fista")  # the solvers that a network is shown beside
RELAXATIONS = ("softsort", "neuralsort", "sinkhorn-sort")
HALVE_EVERY = 500  # epochs
FEW = 20  # signals over which a mean error says little


def train(
    network: Annotated[str, typer.Argument(help=f"One of {', '.join(NETWORKS)}.")],
    A: Annotated[
        str | None, typer.Option("--A", help=f"Train on your own signals: the matrix (m, n). {FILES}.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Your own signals: measurements (signals, m) and what they measure (signals, n), as train.npz:Y,X, "
            "data.mat:Y,X, or two files, Y.npy,X.npy. Same formats as --A."
        ),
    ] = None,
    problem: Annotated[
        str | None,
        typer.Option(
            help="Random signals: fourier-levels (default for omp-net to sea-net), gaussian-levels, or "
            "bernoulli-gaussian (default for the others)."
        ),
    ] = None,
    n: Annotated[int | None, typer.Option("--n", help="Unknowns. Default: 256; bernoulli-gaussian 1000.")] = None,
    m: Annotated[int | None, typer.Option("--m", help="Measurements. Default: 20; bernoulli-gaussian 250.")] = None,
    k: Annotated[
        int | None,
        typer.Option(
            "-k",
            "--k",
            help="Non-zeros per signal. Default: 10; bernoulli-gaussian 50 on average; --data the most of a signal.",
        ),
    ] = None,
    admissible: Annotated[
        int | None,
        typer.Option(help="fourier-, gaussian-levels: number of places where non-zeros can be. Default: 20."),
    ] = None,
    noise: Annotated[
        float | None,
        typer.Option(help="fourier-, gaussian-levels: norm of the noise; signals have norm 1. Default: 0.001."),
    ] = None,
    snr: Annotated[
        float | None, typer.Option(help="bernoulli-gaussian: signal-to-noise ratio in dB. Default: 40.")
    ] = None,
    layers: Annotated[
        int | None,
        typer.Option(
            help="Layers. Default: k for omp-net, 30 for iht- and sea-net, 10 for cosamp-, sp-, htp-net, else 16."
        ),
    ] = None,
    hidden: Annotated[int | None, typer.Option(help="na-alista: size of the LSTM. Default: 128.")] = None,
    inputs: Annotated[str | None, typer.Option(help="na-alista: LSTM inputs, ru, r or u. Default: ru.")] = None,
    tau: Annotated[
        float | None, typer.Option(help="omp-net to htp-net: temperature of the soft sort. Default: 0.001.")
    ] = None,
    eta: Annotated[
        float | None,
        typer.Option(help="iht-, htp- and sea-net: step size. Default: 0.5; sea-net learns it."),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="omp-net to sea-net: one set of weights for all layers (shared), or per-layer. Default: shared."
        ),
    ] = None,
    relaxation: Annotated[
        str | None,
        typer.Option(help=f"omp-net to htp-net: the soft sort, {', '.join(RELAXATIONS)}. Default: softsort."),
    ] = None,
    relative: Annotated[bool, typer.Option("--relative", help="--tau is a multiple of the largest score.")] = False,
    signals: Annotated[
        str | None,
        typer.Option(
            help="What the signals are: complex, real part (real; fits are complex, as in the paper), or real. "
            "Default: real part; complex if those of --data are."
        ),
    ] = None,
    learn_eta: Annotated[bool, typer.Option("--learn-eta", help="Learn the step size of each layer.")] = False,
    learn_tau: Annotated[bool, typer.Option("--learn-tau", help="Learn the temperature of each layer.")] = False,
    anneal_from: Annotated[
        float | None, typer.Option(help="Lower the temperature during training from this one to --tau.")
    ] = None,
    epochs: Annotated[
        int, typer.Option(help="Passes over the training signals. More than a finished run had: it goes on.")
    ] = 1000,
    n_train: Annotated[int | None, typer.Option(help="Training signals. Default: 1024; of --data 80 %.")] = None,
    n_validation: Annotated[
        int | None, typer.Option(help="Validation signals. Default: 512; of --data 10 %, at most 2000.")
    ] = None,
    n_test: Annotated[
        int | None, typer.Option(help="Test signals. Default: 512; of --data 10 %, at most 2000.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Signals per step. Default: 64; lista to lamp 128.")] = None,
    optimizer: Annotated[
        str | None, typer.Option(help="rmsprop or adam. Default: rmsprop; lista to lamp adam.")
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate. Default: 0.01; lista to lamp 0.003.")] = None,
    schedule: Annotated[
        str | None,
        typer.Option(
            help="How the learning rate falls: halve, cosine or constant. Default: halve; lista to lamp cosine."
        ),
    ] = None,
    halve_every: Annotated[
        int | None, typer.Option(help="Epochs after which --schedule halve halves the learning rate. Default: 500.")
    ] = None,
    layerwise_epochs: Annotated[
        int | None, typer.Option(help="lista to lamp: first train layer by layer, for so many epochs each.")
    ] = None,
    clip: Annotated[float, typer.Option(help="Largest norm of the gradient.")] = 1.0,
    clip_each: Annotated[
        float | None, typer.Option(help="Largest norm of the gradient of one signal. Default: no limit.")
    ] = None,
    resample: Annotated[
        bool | None,
        typer.Option(
            "--resample/--fixed",
            help="New training signals in every epoch, or the same. Default: the same; lista to lamp new.",
        ),
    ] = None,
    double: Annotated[bool, typer.Option("--double", help="Use double precision.")] = False,
    device: Annotated[str, typer.Option(help="Device: cpu, cuda, cuda:1, ...")] = "cpu",
    seed: Annotated[int, typer.Option(help="Random seed of problem and training.")] = 0,
    methods: Annotated[
        str | None,
        typer.Option(
            help="Solvers to compare with on the test signals, separated by commas, or none. "
            f"Default: {','.join(COMPARED)}."
        ),
    ] = None,
    layout: LayoutOption = "auto",
    header: Header = None,
    index: Index = None,
    decimal: Decimal = None,
    columns: Columns = None,
    dtype: Dtype = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for the results. Default: runs/NETWORK.")
    ] = None,
    # The spellings of earlier versions.
    batch: Annotated[int | None, typer.Option(hidden=True)] = None,
    layerwise: Annotated[int | None, typer.Option(hidden=True)] = None,
    fresh: Annotated[bool, typer.Option("--fresh", hidden=True)] = False,
) -> None:
    """Train a network on your signals or on random ones, or continue the training in the output folder.

    Examples: pursuit train iht-net --A A.npy --data train.npz:Y,X -o runs/mine; pursuit train omp-net --m 20 -k 10;
    pursuit train na-alista --snr 20 -o runs/na-alista
    """
    with one_line_errors():
        from .. import comparison, files
        from ..checks import one_of
        from ..nets.storage import describe
        from ..plots import training as picture
        from ..problems import Instance
        from ..training import TrainingError, fit, unseen_signals

        one_of("network", network, NETWORKS)
        device = _own_device(device)
        batch_size = batch if batch_size is None else batch_size
        layerwise_epochs = layerwise if layerwise_epochs is None else layerwise_epochs
        resample = True if fresh else resample
        if layerwise_epochs is not None and NETWORKS[network].training is GREEDY:
            raise ValueError(
                f"--layerwise-epochs was given, but {network} is not trained layer by layer; leave it out."
            )
        chosen = NETWORKS[network]
        chosen_methods = _methods(methods)
        sizes = {"n": n, "m": m, "k": k, "admissible": admissible, "noise": noise, "snr": snr}
        asked = file_options(header, index, decimal, columns, dtype)
        lines: tuple[str, ...] = ()
        _check_device(device)
        if data is None and A is None:
            _check_no_files(asked, layout)
            ensemble = _ensemble(problem or chosen.problem, sizes, seed=seed, double=double, device=device)
        else:
            unused = {"--problem": problem} | {f"--{name}": value for name, value in sizes.items() if name != "k"}
            ensemble, lines = given_ensemble(
                A, data, asked, layout, k=k, seed=seed, double=double, device=device, unused=unused
            )
        training_options = _training(
            chosen, schedule=schedule, halve_every=halve_every, epochs=epochs, batch_size=batch_size,
            optimizer=optimizer, lr=lr, clip=clip, clip_each=clip_each, resample=resample,
            layerwise_epochs=layerwise_epochs, seed=seed,
        )  # fmt: skip
        of_parts = {"n_train": n_train, "n_validation": n_validation, "n_test": n_test}
        with warnings_in_one_line():
            counts, line = _counts(ensemble, of_parts, resample=training_options["resample"])
        net = _network(
            network, ensemble, seed=seed, layers=layers, hidden=hidden, inputs=inputs, tau=tau, eta=eta,
            weights=weights, relaxation=relaxation, relative=relative or None, signals=signals,
            learn_eta=learn_eta or None, learn_tau=learn_tau or None, anneal_from=anneal_from,
        )  # fmt: skip
        net.to(device, ensemble.A.dtype.to_real())
        folder = files.output_folder(output or Path("runs") / network)
        first = os.environ.get("RANK", "0") == "0"  # under torchrun one process reports
        for text in (*lines, *line) if first else ():
            typer.echo(text)
        begun: list[int] = []
        with kept("finished epochs are", folder / "checkpoint.safetensors"), bar(network, epochs) as show:

            def tell(epoch: Epoch) -> None:
                begun.append(epoch.epoch)
                show(_line(network, epoch), epoch.epoch, epochs)

            try:
                with warnings_in_one_line():
                    training = fit(net, ensemble, folder=folder, **training_options, **counts, on_epoch=tell)
            except TrainingError as error:
                best = folder / "net.safetensors"
                so_far = f" The best network so far is in {best}." if best.exists() else ""
                raise ValueError(f"{error}{so_far}") from error
        if not first:
            return
        picture.draw(folder / "log.png", training.log, kept=training.best_epoch)
        structure = hasattr(net, "identify")
        if structure:
            oracle = None if ensemble.admissible is None else ensemble.admissible.tolist()
            picture.draw_weights(folder / "weights.png", net.weights.tolist(), oracle)
        record = {
            "network": network, "network_options": describe(net)["config"], "training": training_options,
            "device": device, "best_epoch": training.best_epoch, "validation_loss": training.validation_loss,
            "validation_db": training.validation_db, "test_loss": training.test_loss, "test_db": training.test_db,
            "seconds": sum(epoch.seconds for epoch in training.log),
            **({} if data is None else {"A": A, "data": data, **counts}),
        }  # fmt: skip
        y, x = unseen_signals(ensemble, **counts, seed=seed)
        test = Instance(ensemble.name, ensemble.A, y, ensemble.k, x, ensemble.settings)
        comparison.write_settings(folder / "settings.json", test, **record)
        _report(folder, training, structure=structure, begun=begun, dtype=y.dtype)
        _warn_of_few({"validation": counts["n_validation"], "test": len(y)})
        _compare(folder, test, network, net, chosen_methods)


def _methods(methods: str | None) -> tuple[str, ...]:
    """The solvers that the network is compared with."""
    from .. import comparison

    chosen = COMPARED if methods is None else () if methods == "none" else listed("--methods", methods)
    find_own(chosen)
    comparison.solvers(chosen)
    return chosen


def _compare(folder: Path, test: Instance, name: str, net: Any, methods: tuple[str, ...]) -> None:
    """Print the network beside solvers, on the test signals and with the same sparsity."""
    if not methods:
        return
    from .. import comparison

    chosen: list[Method] = [comparison.network_as_method(name, net), *methods]
    with progress("comparing", len(chosen)) as advance:
        rows = comparison.compare(test, chosen, started=advance)
    print_comparison(test, rows, f"The test signals; support: of the {test.k} largest entries of x.")
    comparison.write_table(folder / "table.csv", rows)


def _counts(ensemble: Any, asked: dict[str, int | None], *, resample: bool) -> tuple[dict[str, Any], tuple[str, ...]]:
    """How many signals to train on, and what to say about it: only of given signals."""
    from ..ensembles import FiniteEnsemble

    if not isinstance(ensemble, FiniteEnsemble):
        return asked, ()
    parts = ensemble.split(**asked | ({"n_train": None} if resample else {}))
    counted = {f"n_{name}": len(part) for name, part in parts._asdict().items()}
    if resample and asked["n_train"] is not None:
        counted["n_train"] = min(asked["n_train"], counted["n_train"])
    return counted, (split_in_words(ensemble, parts),)


def _check_no_files(asked: FileOptions, layout: str) -> None:
    given = [f"--{name}" for name, value in vars(asked).items() if value is not None]
    given += ["--layout"] if layout != "auto" else []
    if given:
        raise ValueError(f"{', '.join(given)} was given without --A and --data, which it is about; leave it out.")


def _check_device(device: str) -> None:
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"--device is {device!r}, which cannot be used here ({error}); try cpu.") from None


def _own_device(device: str) -> str:
    """The device of this process: under torchrun each process of a machine uses another GPU."""
    return f"cuda:{os.environ['LOCAL_RANK']}" if device == "cuda" and "LOCAL_RANK" in os.environ else device


def _training(network: Network, *, schedule: str | None, halve_every: int | None, **given: Any) -> dict[str, Any]:
    """The options of `fit`: those given, else the defaults of the network."""
    from ..checks import one_of

    options = network.training | {name: value for name, value in given.items() if value is not None}
    falling = schedule or options["schedule"]
    one_of("--schedule", falling, ("halve", "cosine", "constant"))
    if halve_every is not None and falling != "halve":
        raise ValueError(
            f"--halve-every was given, but the schedule is {falling}; leave it out, or give --schedule halve."
        )
    options["schedule"] = "halve" if falling == "constant" else falling
    options["halve_every"] = None if falling == "constant" else HALVE_EVERY if halve_every is None else halve_every
    return options


def _ensemble(problem: str, given: dict[str, Any], *, seed: int, double: bool, device: str) -> Any:
    import torch

    from .. import ensembles
    from ..checks import one_of

    one_of("--problem", problem, PROBLEMS)
    make, sizes, cplx = PROBLEMS[problem]
    given = {name: value for name, value in given.items() if value is not None}
    for name in given.keys() - sizes.keys():
        others = ", ".join(other for other in PROBLEMS if name in PROBLEMS[other].sizes)
        raise ValueError(f"--{name} is no option of {problem}; leave it out, or give --problem: {others}.")
    single, wide = (torch.complex64, torch.complex128) if cplx else (torch.float32, torch.float64)
    return getattr(ensembles, make)(**(sizes | given), seed=seed, dtype=wide if double else single, device=device)


def _rates(tau: float, eta: float | None, given: dict[str, Any]) -> dict[str, Any]:
    """Temperature and step size, each fixed, learned or annealed; None: the network's default step size."""
    from ..nets import Annealed, Learned

    start = given.get("anneal_from")
    if "learn_tau" in given and start is not None:
        raise ValueError("--learn-tau and --anneal-from were given; tau is learned or annealed: give one of them.")
    temperature = Learned(tau) if "learn_tau" in given else tau if start is None else Annealed(start, tau)
    return {"tau": temperature, "eta": Learned(eta) if "learn_eta" in given and eta else eta}


# Option -> the parameter that a network with this option has, and the reason if it has not.
BELONGS = {
    "eta": ("eta", "has no step size to set"),
    "learn_eta": ("eta", "has no step size to set"),
    "weights": ("w0", "has no structure weights"),
    **dict.fromkeys(("tau", "relaxation", "relative", "learn_tau", "anneal_from"), ("tau", "has no relaxed sort")),
    **dict.fromkeys(("hidden", "inputs"), ("hidden", "has no LSTM")),
}


def _network(name: str, ensemble: Any, *, seed: int, layers: int | None, signals: str | None, **given: Any) -> Any:
    from .. import nets, relaxations
    from ..checks import one_of

    network, given = NETWORKS[name], {option: value for option, value in given.items() if value is not None}
    build = getattr(nets, network.kind)
    takes = inspect.signature(build).parameters
    for option in given:
        needed, why = BELONGS[option]
        if needed not in takes:
            raise ValueError(f"--{option.replace('_', '-')} was given, but {name} {why}; leave it out.")
    relaxation = given.get("relaxation", "softsort")
    one_of("--relaxation", relaxation, RELAXATIONS)
    if signals is None:
        signals = "complex" if ensemble.name == "data" and ensemble.x.is_complex() else "real part"
    options = {
        "k": ensemble.k, "layers": (network.layers or ensemble.k) if layers is None else layers, "signals": signals,
        "seed": seed, "sort": getattr(relaxations, relaxation.replace("-", "_")), **given,
        **_rates(given.get("tau", 1e-3), given.get("eta", takes["eta"].default if "eta" in takes else None), given),
    }  # fmt: skip
    if "selection" not in takes or takes["selection"].default is not None:  # not LISTA and LISTA-CP
        options["sparsity"] = ensemble.k
    if ensemble.name == "data":
        options["variance"] = variance(ensemble)
    elif ensemble.name != "bernoulli-gaussian":
        options["variance"] = 1 / ensemble.k  # of signals of norm 1
    return build(ensemble.A, **{option: value for option, value in options.items() if option in takes})


def _line(network: str, epoch: Epoch) -> str:
    """What the progress bar says after an epoch."""
    held_out = "" if epoch.validation_loss is None else f" validation {epoch.validation_loss:.3g}"
    return f"{network} loss {epoch.train_loss:.3g}{held_out}{_decibel(epoch.validation_db)}"


def _decibel(value: float | None) -> str:
    return "" if value is None else f", NMSE {value:.2f} dB"


def _warn_of_few(signals: dict[str, int | None]) -> None:
    """Say that a loss over few signals is not reliable."""
    few = [f"{number} for the {part}" for part, number in signals.items() if number is not None and number < FEW]
    if few:
        typer.echo(f"note: losses are of few signals ({', '.join(few)}), and not reliable; needed are {FEW} or more")


def _report(folder: Path, training: Training, *, structure: bool, begun: list[int], dtype: Any) -> None:
    net = folder / "net.safetensors"
    if begun and begun[0] > 1:
        typer.echo(f"went on after epoch {begun[0] - 1}")
    typer.echo(f"best epoch: {training.best_epoch} of {len(training.log)}")
    typer.echo(
        f"validation loss: {training.validation_loss:.4g}{_decibel(training.validation_db)}; "
        f"test loss: {training.test_loss:.4g}{_decibel(training.test_db)}"
    )
    names = ["net.safetensors", "log.csv", "log.png", *(["weights.png"] if structure else [])]
    typer.echo(f"written: {', '.join(str(folder / name) for name in [*names, 'settings.json'])}")
    typer.echo(f"to use the network: net = pursuit.nets.load({str(net)!r}); x = net(torch.as_tensor(y, dtype={dtype}))")
    if structure:
        typer.echo(f"its weights in any solver: pursuit.omp(A, y, k, weights=pursuit.nets.read_weights({str(net)!r}))")
