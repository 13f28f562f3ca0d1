"""Training: the network's parameters are moved until it recovers an ensemble's signals; interrupted runs go on."""

from __future__ import annotations

import csv
import io
import json
import math
import time
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from .ensembles import Ensemble
from .files import output_folder, write_whole
from .workers import NUMERICAL, Alone, gathered

OPTIMIZERS: dict[str, Callable[[list[dict[str, Any]]], torch.optim.Optimizer]] = {
    "rmsprop": lambda groups: torch.optim.RMSprop(groups, alpha=0.99, eps=1e-8),
    "adam": lambda groups: torch.optim.Adam(groups),
}
# What lr is multiplied by in an epoch, counted from 0, of so many.
SCHEDULES: dict[str, Callable[[int, int, int | None], float]] = {
    "halve": lambda epoch, epochs, every: 0.5 ** (epoch // every) if every else 1.0,
    "cosine": lambda epoch, epochs, every: (1 + math.cos(math.pi * epoch / epochs)) / 2,
}
TRAINING, VALIDATION, TEST, ORDER, PREPARING = range(5)  # each draws its own random numbers
AT_ONCE = 1024  # signals evaluated at a time
PREPARATION = 16384  # signals from which a network takes its statistics
CHECKPOINT, LOG = "checkpoint.safetensors", "log.csv"
VERSION = 2  # of the checkpoint


class Epoch(NamedTuple):
    """What is known after an epoch.

    Attributes
    ----------
    epoch : int
        From 1.
    step : int
        Steps taken since the start.
    train_loss : float
        Mean over the epoch, while the parameters moved.
    validation_loss : float or None
        At the end of the epoch; None where it was not evaluated.
    lr : float
    seconds : float
    validation_db : float or None
        The validation loss as NMSE in dB, `10 log10(sum ||net(y) - x||^2 / sum ||x||^2)` over all signals: minus
        infinity where they are met exactly; None where it was not evaluated or all signals are zero.

    Examples
    --------
    >>> Epoch(epoch=1, step=16, train_loss=0.5, validation_loss=0.4, lr=0.01, seconds=0.2).validation_loss
    0.4
    """

    epoch: int
    step: int
    train_loss: float
    validation_loss: float | None
    lr: float
    seconds: float
    validation_db: float | None = None


class Training(NamedTuple):
    """What `fit` found.

    Attributes
    ----------
    log : list of Epoch
    best_epoch : int
        The one whose parameters the network now has.
    validation_loss : float
        Its loss on the signals that chose it.
    test_loss : float
        Its loss on signals that chose nothing.
    validation_db, test_db : float or None
        The same as NMSE in dB; see `Epoch`.

    Examples
    --------
    >>> Training(log=[], best_epoch=3, validation_loss=0.1, test_loss=0.2).best_epoch
    3
    """

    log: list[Epoch]
    best_epoch: int
    validation_loss: float
    test_loss: float
    validation_db: float | None = None
    test_db: float | None = None


class TrainingError(RuntimeError):
    """A loss or gradient became NaN or infinite.

    Parameters
    ----------
    message : str
    epoch, step : int
        Where, both from 1.

    Examples
    --------
    >>> TrainingError("the loss is not finite", epoch=2, step=17).step
    17
    """

    def __init__(self, message: str, *, epoch: int, step: int):
        super().__init__(message)
        self.epoch, self.step = epoch, step


def fit(
    net: nn.Module,
    ensemble: Ensemble,
    *,
    epochs: int = 1000,
    batch: int = 64,
    training: int = 1024,
    validation: int = 512,
    test: int = 512,
    optimizer: str = "rmsprop",
    lr: float = 1e-2,
    schedule: str = "halve",
    halve_every: int | None = 500,
    rates: dict[str, float] | None = None,
    clip: float | None = 1.0,
    fresh: bool = False,
    layerwise: int | None = None,
    training_ensemble: Ensemble | None = None,
    seed: int = 0,
    folder: str | Path | None = None,
    checkpoint_every: int = 10,
    validate_every: int = 1,
    on_epoch: Callable[[Epoch], Any] | None = None,
) -> Training:
    """Train a network on an ensemble; at the end it has the parameters of least validation loss.

    The loss is the mean over signals of `||net(y) - x||^2`. Training, validation and test signals are drawn apart;
    the test signals are looked at once, at the end. One seed gives one result on one machine.

    Started by `torchrun` on several processes, or with `torch.distributed` initialised, every batch is split over them
    and the gradients are summed: the same training to rounding. Each process gives the same options, and `net` and
    `ensemble` on its own device; all start from the first one's parameters and buffers, and the first one alone writes
    files and calls `on_epoch`.

    Parameters
    ----------
    net : Module
        `net(y) -> x` for batches. Buffers named `progress` are filled before each step with the share of the training
        that is over. A network with a method `prepare` and a false attribute or buffer `prepared` is prepared once,
        before the first epoch: `net.prepare(y)` with measurements of 16384 signals drawn for that, of which it is to
        keep what it needs in buffers, and make `prepared` true. The checkpoint has the buffers.
    ensemble : Ensemble
    epochs, batch : int
        Passes over the training signals, and signals per step.
    training, validation, test : int
        How many signals of each kind.
    optimizer : {"rmsprop", "adam"}
    lr : float
        Learning rate.
    schedule : {"halve", "cosine"}
        How the learning rate falls: by half every `halve_every` epochs, or to zero along a half cosine.
    halve_every : int, optional
        None keeps the learning rate.
    rates : dict of str to float, optional
        Factors on the learning rate of the parameters whose names begin so; the longest beginning counts.
    clip : float, optional
        Largest norm of the gradient; None for no bound.
    fresh : bool, default False
        New training signals in every epoch.
    layerwise : int, optional
        Train layer by layer first: for so many epochs the network is cut after its first layer, for so many after its
        second, and so on; then it is trained whole. All parameters reached are trained. The network has `layers`, their
        number, and `depth`, which is set to how many are to be used, None for all. Losses of a cut network do not
        choose the parameters that are kept. By default the network is always whole.
    training_ensemble : Ensemble, optional
        Where the training signals come from, if not from `ensemble`: a `Mixture` of it and a harder one, for example,
        so that the rare hard signal does not blow up.
    seed : int
    folder : path, optional
        Where checkpoints and `log.csv` go. A run of the same settings that is there already goes on where it was, with
        the numbers that it would have had without the interruption.
    checkpoint_every, validate_every : int
        In epochs.
    on_epoch : callable, optional
        Called with every `Epoch`.

    Returns
    -------
    Training

    Raises
    ------
    ValueError
        If an option or the network does not fit, the folder holds a run of other settings or of another version, or
        processes that train together were told different things.
    TrainingError
        If the loss or a gradient becomes NaN or infinite. The network then has the best parameters until there; the
        last ones validated, if it was cut.

    Examples
    --------
    >>> import torch, pursuit
    >>> from pursuit.ensembles import gaussian_levels
    >>> ensemble = gaussian_levels(n=16, m=8, k=2, admissible=4)
    >>> net = torch.nn.Linear(8, 16, bias=False)
    >>> training = fit(net, ensemble, epochs=3, training=64, validation=16, test=16)
    >>> training.log[2].train_loss < training.log[0].train_loss
    True
    """
    options = _Options(
        epochs, batch, training, validation, test, optimizer, lr, schedule, halve_every, rates or {}, clip, fresh, seed,
        validate_every, layerwise,
    )  # fmt: skip
    options.check()
    _check_whole("checkpoint_every", checkpoint_every)
    _check_layers(net, options)
    was_training = net.training
    with gathered(ensemble.A.device) as workers:
        learner = _Learner(net, options, workers)
        try:
            signals = _Signals(ensemble, training_ensemble or ensemble, options)
            return _train(learner, signals, options, folder, checkpoint_every, on_epoch)
        finally:
            learner.cut(None)
            net.train(was_training)


def _train(
    learner: _Learner,
    signals: _Signals,
    options: _Options,
    folder: str | Path | None,
    checkpoint_every: int,
    on_epoch: Callable[[Epoch], Any] | None,
) -> Training:
    learner.cut(None)
    workers = learner.workers
    if not learner.unprepared:  # otherwise it may refuse to be called; and `prepare` looks at y first
        learner.check_fits(*signals.held_out)
    store = _Store(folder, _settings(learner.net, signals, options), signals.held_out, writes=workers.first)
    state = _start(learner, signals, store)
    try:
        while len(state.log) < options.epochs:
            state = _next(state, learner, signals, options)
            if len(state.log) % checkpoint_every == 0:
                store.save(state)
            if on_epoch is not None and workers.first:
                on_epoch(state.log[-1])
        learner.cut(None)
        learner.restore(state.best)
        if state.test_loss is None:
            y, x = signals.draw(options.test, TEST)
            loss = learner.loss(y, x)
            state = state._replace(test_loss=loss, test_db=_decibel(loss, _energy(x)))
            store.save(state)
        workers.wait()  # nobody looks for the files before they are there
        return state.result()
    except TrainingError:
        learner.restore(state.best)
        raise
    except KeyboardInterrupt:
        store.save(state)
        raise


def _start(learner: _Learner, signals: _Signals, store: _Store) -> _State:
    """The state to begin with, from the folder or new; the network has it, on all processes."""
    state, workers = store.load(), learner.workers
    # Nothing is written before all have read and come here.
    workers.check_agree(
        options=zlib.crc32(json.dumps(asdict(signals.options), sort_keys=True).encode()),
        signals=float(signals.held_out[0].abs().double().sum()),
        checkpoint=0 if state is None else len(state.log) + (state.test_loss is not None),
    )
    if state is not None:
        learner.restore(state.net, state.optimizer)
    if state is not None and learner.unprepared:  # an attribute, where the checkpoint had the buffers
        learner.net.prepared = True
    if learner.unprepared:
        learner.prepare(signals.draw(PREPARATION, PREPARING)[0])
        learner.check_fits(*signals.held_out)
    learner.copy_first()
    return _State.first(*learner.capture()) if state is None else state


def write_log(path: str | Path, log: list[Epoch]) -> None:
    """Write the epochs as CSV, in full precision."""
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(Epoch._fields)
    table.writerows(log)
    write_whole(Path(path), lambda file: file.write(text.getvalue().encode()))


@dataclass(frozen=True)
class _Options:
    """All options that the numbers depend on."""

    epochs: int
    batch: int
    training: int
    validation: int
    test: int
    optimizer: str
    lr: float
    schedule: str
    halve_every: int | None
    rates: dict[str, float]
    clip: float | None
    fresh: bool
    seed: int
    validate_every: int
    layerwise: int | None

    def check(self) -> None:
        for name in ("epochs", "batch", "training", "validation", "test", "validate_every"):
            _check_whole(name, getattr(self, name))
        _check_whole("seed", self.seed, low=0)
        for name in ("halve_every", "layerwise"):
            if getattr(self, name) is not None:
                _check_whole(name, getattr(self, name))
        _check_choice("optimizer", self.optimizer, OPTIMIZERS)
        _check_choice("schedule", self.schedule, SCHEDULES)
        _check_positive("lr", self.lr)
        if self.clip is not None:
            _check_positive("clip", self.clip)
        for name, rate in self.rates.items():
            _check_positive(f"rates[{name!r}]", rate)

    def rate(self, done: int) -> float:
        """The learning rate after `done` epochs."""
        return self.lr * SCHEDULES[self.schedule](done, self.epochs, self.halve_every)

    def depth(self, done: int, layers: int) -> int | None:
        """How many layers are trained after `done` epochs; None where the network is whole for good."""
        reached = math.inf if self.layerwise is None else done // self.layerwise + 1
        return int(reached) if reached <= layers else None


class _Signals:
    """The signals of a run: what is drawn for one purpose depends on nothing drawn for another."""

    def __init__(self, ensemble: Ensemble, trained_on: Ensemble, options: _Options):
        self.ensemble, self.trained_on, self.options = ensemble, trained_on, options
        self.held_out = self.draw(options.validation, VALIDATION)
        self.energy = _energy(self.held_out[1])
        self.fixed = None if options.fresh else self.draw(options.training, TRAINING)

    def draw(self, count: int, stream: int, epoch: int = 0) -> tuple[Tensor, Tensor]:
        source = self.trained_on if stream == TRAINING else self.ensemble
        return source.draw(count, self._generator(stream, epoch))

    def epoch(self, done: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, ...]]:
        """The training signals after `done` epochs, and the numbers of those in each batch."""
        data = self.draw(self.options.training, TRAINING, done) if self.fixed is None else self.fixed
        rng = self._generator(ORDER, done)
        order = torch.randperm(self.options.training, generator=rng, device=rng.device)
        return data, order.split(self.options.batch)

    def _generator(self, stream: int, epoch: int) -> torch.Generator:
        # Each epoch has a generator of its own: a resumed run needs no generator's state.
        mixed = np.random.SeedSequence((self.options.seed, stream, epoch)).generate_state(1, np.uint64)
        return torch.Generator(self.ensemble.A.device).manual_seed(int(mixed[0]))


def _next(state: _State, learner: _Learner, signals: _Signals, options: _Options) -> _State:
    """The state after one epoch more."""
    begin, done = time.perf_counter(), len(state.log)
    data, order = signals.epoch(done)
    lr = options.rate(done)
    whole = learner.cut(done)
    loss = learner.epoch(data, order, done, options.epochs, lr)
    epoch, step = done + 1, (done + 1) * len(order)
    validated = epoch % options.validate_every == 0 or epoch == options.epochs
    try:
        held_out = learner.loss(*signals.held_out) if validated else None
    except NUMERICAL as error:
        raise _not_finite("validation loss", epoch, step, error) from error
    if held_out is not None and not math.isfinite(held_out):
        raise _not_finite("validation loss", epoch, step)
    decibel = None if held_out is None else _decibel(held_out, signals.energy)
    record = Epoch(epoch, step, loss, held_out, lr, time.perf_counter() - begin, decibel)
    return state.after(record, *learner.capture(), whole=whole)


class _State(NamedTuple):
    """All that a run needs to go on after an epoch; its tensors are copies."""

    log: list[Epoch]
    net: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    best: dict[str, Tensor]
    best_epoch: int
    best_loss: float
    test_loss: float | None
    test_db: float | None

    @staticmethod
    def first(net: dict[str, Tensor], optimizer: dict[str, Tensor]) -> _State:
        return _State([], net, optimizer, net, 0, math.inf, None, None)

    def after(
        self, record: Epoch, net: dict[str, Tensor], optimizer: dict[str, Tensor], *, whole: bool = True
    ) -> _State:
        state = self._replace(log=[*self.log, record], net=net, optimizer=optimizer)
        if record.validation_loss is None:
            return state
        if not whole:  # its loss compares with no other; good enough to fall back on
            return state._replace(best=net, best_epoch=record.epoch)
        if record.validation_loss >= self.best_loss:
            return state
        return state._replace(best=net, best_epoch=record.epoch, best_loss=record.validation_loss)

    def result(self) -> Training:
        """At the end, when the test signals have been seen."""
        assert self.test_loss is not None
        best = self.log[self.best_epoch - 1]
        return Training(self.log, self.best_epoch, self.best_loss, self.test_loss, best.validation_db, self.test_db)


class _Learner:
    """A network and its optimizer: what training changes."""

    net: Any  # a Module, and what only some of them have

    def __init__(self, net: nn.Module, options: _Options, workers: Alone):
        named = {name: p for name, p in net.named_parameters() if p.requires_grad}
        if not named:
            raise ValueError(f"{type(net).__name__} has no parameters to train.")
        groups: dict[float, list[str]] = {}
        for name, rate in _rate_of_each(list(named), options.rates).items():
            groups.setdefault(rate, []).append(name)
        self.net, self.options, self.workers, self.whole = net, options, workers, True
        self.clip = math.inf if options.clip is None else options.clip
        self.names = [name for group in groups.values() for name in group]  # as the optimizer numbers them
        self.parameters = [named[name] for name in self.names]
        self.optimizer = OPTIMIZERS[options.optimizer](
            [{"params": [named[n] for n in group], "rate": rate} for rate, group in groups.items()]
        )
        self.progress = {n: b for n, b in net.named_buffers() if n.rpartition(".")[2] == "progress"}

    def epoch(self, data: tuple[Tensor, Tensor], order: tuple[Tensor, ...], done: int, epochs: int, lr: float) -> float:
        """One pass over the data; the mean loss. What went wrong is found out at its end: no step waits for another."""
        y, x = data
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group["rate"]
        self.net.train()
        losses: list[Tensor] = []
        norms: list[Tensor] = []
        failure = None
        try:
            for i, items in enumerate(order):
                self._tell((done + i / len(order)) / epochs)
                mine = self.workers.share(items)
                loss, norm = self._step(y[mine], x[mine], len(items))
                losses.append(loss)
                norms.append(norm)
        except Exception as error:
            failure = error
        failure = failure or self.workers.failure
        bad = _first_not_finite(losses, norms)
        if bad is None and isinstance(failure, NUMERICAL):
            bad = len(losses), "loss"
        if bad is not None:
            raise _not_finite(bad[1], done + 1, done * len(order) + bad[0] + 1, failure) from failure
        if failure is not None:
            raise failure
        self._tell((done + 1) / epochs)
        self.workers.copy_first([*self.net.buffers()])  # statistics of the batches were of each one's share
        sizes = [len(items) for items in order]
        return sum(v * s for v, s in zip(torch.stack(losses).tolist(), sizes, strict=True)) / sum(sizes)

    def loss(self, y: Tensor, x: Tensor) -> float:
        """The mean loss, in few large batches."""
        self.net.eval()
        mine = self.workers.share(y), self.workers.share(x)
        return float(self.workers.total(lambda: self._squared_error(*mine))) / len(x)

    def cut(self, done: int | None) -> bool:
        """Cut the network as it is to be after `done` epochs, None for not at all; whether all of it is left."""
        if self.options.layerwise is not None:
            self.net.depth = None if done is None else self.options.depth(done, self.net.layers)
            self.whole = self.net.depth in (None, self.net.layers)
        return self.whole

    @property
    def unprepared(self) -> bool:
        """Whether the network waits for signals to take statistics from."""
        prepared = getattr(self.net, "prepared", None)
        return prepared is not None and not bool(prepared) and callable(getattr(self.net, "prepare", None))

    def prepare(self, y: Tensor) -> None:
        """Let the network take its statistics from these measurements."""
        self.net.eval()
        with torch.no_grad():
            self.net.prepare(y)
        if self.unprepared:
            raise ValueError(
                f"{type(self.net).__name__}.prepare left `prepared` false; needed is that it makes it true."
            )

    def copy_first(self) -> None:
        """Take over the first process's network."""
        self.workers.copy_first([*self.net.parameters(), *self.net.buffers()])

    def check_fits(self, y: Tensor, x: Tensor) -> None:
        """Raise ValueError unless the network gives signals of the ensemble's shape."""
        with torch.no_grad():
            shape = tuple(self.net(y[:2]).shape)
        if shape != tuple(x[:2].shape):
            raise ValueError(
                f"{type(self.net).__name__} gives shape {shape} for y of shape {tuple(y[:2].shape)}; "
                f"needed is {tuple(x[:2].shape)}, one row of n={x.shape[-1]} per signal."
            )

    def capture(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Copies of the network's and of the optimizer's tensors."""
        states = self.optimizer.state_dict()["state"]
        optimizer = {f"{self.names[i]}.{key}": value for i, state in states.items() for key, value in state.items()}
        return _copies(self._tensors()), _copies(optimizer)

    def restore(self, net: dict[str, Tensor], optimizer: dict[str, Tensor] | None = None) -> None:
        """Put such copies back; without an optimizer's, that one stays."""
        with torch.no_grad():
            for name, tensor in self._tensors().items():
                tensor.copy_(net[name])
        if optimizer:
            states: dict[int, dict[str, Tensor]] = {}
            for name, value in _copies(optimizer).items():
                parameter, _, key = name.rpartition(".")
                states.setdefault(self.names.index(parameter), {})[key] = value
            self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": states})

    def _step(self, y: Tensor, x: Tensor, size: int) -> tuple[Tensor, Tensor]:
        self.optimizer.zero_grad()
        loss = self.workers.gradient(lambda: self._gradient(y, x, size), self.parameters)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.clip)
        self.optimizer.step()
        return loss, norm

    def _gradient(self, y: Tensor, x: Tensor, size: int) -> Tensor:
        """The loss of these signals of a batch of `size`, its gradient in the parameters."""
        if not len(y):
            return torch.zeros((), device=y.device)
        errors = _squared_errors(self.net(y), x)
        loss = errors.mean() if len(y) == size else errors.sum() / size
        if loss.requires_grad or self.whole:  # the first layers can be without parameters
            loss.backward()
        return loss.detach()

    def _squared_error(self, y: Tensor, x: Tensor) -> Tensor:
        total = torch.zeros((), dtype=torch.float64, device=x.device)
        if not len(x):
            return total
        with torch.no_grad():
            for p, q in zip(y.split(AT_ONCE), x.split(AT_ONCE), strict=True):
                total = total + _squared_errors(self.net(p), q).double().sum()
        return total

    def _tell(self, progress: float) -> None:
        for buffer in self.progress.values():
            buffer.fill_(progress)

    def _tensors(self) -> dict[str, Tensor]:
        state = {name: value for name, value in self.net.state_dict().items() if isinstance(value, Tensor)}
        return {**self.progress, **state}


def _squared_errors(found: Tensor, x: Tensor) -> Tensor:
    """`||found - x||^2` of every signal."""
    error = found - x
    if error.is_complex():
        error = torch.view_as_real(error).flatten(-2)
    return error.square().sum(-1)


def _energy(x: Tensor) -> float:
    """The mean of `||x||^2`."""
    return float(x.abs().double().square().sum()) / len(x)


def _decibel(loss: float, energy: float) -> float | None:
    if energy == 0:
        return None
    return 10 * (math.log10(loss) - math.log10(energy)) if loss else -math.inf


def _copies(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in tensors.items()}


def _first_not_finite(losses: list[Tensor], norms: list[Tensor]) -> tuple[int, str] | None:
    """The number of the first step that failed, and by what."""
    if not losses:
        return None
    good = [torch.stack(values).isfinite().tolist() for values in (losses, norms)]
    for i, (loss, norm) in enumerate(zip(*good, strict=True)):
        if not (loss and norm):
            return i, "gradient" if loss else "loss"
    return None


def _not_finite(what: str, epoch: int, step: int, cause: Exception | None = None) -> TrainingError:
    said = "" if cause is None else f"; {cause}"
    return TrainingError(
        f"the {what} is not finite at step {step} (epoch {epoch}{said}): lower lr, raise tau, or use double precision; "
        "then train in another folder. The network has the best parameters found before.",
        epoch=epoch,
        step=step,
    )


def _rate_of_each(names: list[str], rates: dict[str, float]) -> dict[str, float]:
    for prefix in rates:
        if not any(name.startswith(prefix) for name in names):
            raise ValueError(f"rates names {prefix!r}, as no parameter begins; there are {', '.join(names)}.")
    longest_first = sorted(rates, key=len, reverse=True)
    return {name: next((rates[p] for p in longest_first if name.startswith(p)), 1.0) for name in names}


def _check_whole(name: str, value: Any, low: int = 1) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        raise ValueError(f"{name} is {value!r}; needed is a whole number >= {low}.")


def _check_positive(name: str, value: Any) -> None:
    if not isinstance(value, int | float) or not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} is {value!r}; needed is a finite number > 0.")


def _check_choice(name: str, value: str, known: dict[str, Any]) -> None:
    if value not in known:
        raise ValueError(f"{name} is {value!r}; choose one of {', '.join(known)}.")


def _check_layers(net: nn.Module, options: _Options) -> None:
    if options.layerwise is None:
        return
    layers = getattr(net, "layers", None)
    if not hasattr(net, "depth") or not isinstance(layers, int):
        raise ValueError(
            f"layerwise is {options.layerwise} and {type(net).__name__} cannot be cut; needed are its attributes "
            "layers, a whole number, and depth, how many of them to use or None; or leave layerwise out."
        )
    if options.epochs <= options.layerwise * layers:
        raise ValueError(
            f"epochs is {options.epochs} and layerwise is {options.layerwise}; needed are more than "
            f"{options.layerwise * layers} epochs: so many per layer for {layers} layers, then at least one end to end."
        )


def _settings(net: nn.Module, signals: _Signals, options: _Options) -> dict[str, Any]:
    """All that the numbers of a run depend on, as JSON gives it back."""
    ensemble, other = signals.ensemble, signals.trained_on
    trained_on = {} if other is ensemble else {"training ensemble": {"name": other.name, **other.settings}}
    config = getattr(net, "config", None)
    built = config if isinstance(config, dict) else {"form": repr(net)}
    parts = {
        "version": VERSION,
        "network": type(net).__name__,
        **{f"the network's {name}": value for name, value in built.items()},
        **{f"parameter {name}": _form(value) for name, value in net.named_parameters()},
        "ensemble": ensemble.name,
        "A": f"{tuple(ensemble.A.shape)} {ensemble.A.dtype}",
        **{f"the ensemble's {name}": value for name, value in ensemble.settings.items()},
        **trained_on,
        **asdict(options),
    }
    return json.loads(json.dumps(parts, default=lambda value: getattr(value, "__name__", None) or repr(value)))


def _form(value: Tensor) -> str:
    return f"{tuple(value.shape)} {value.dtype}" + ("" if value.requires_grad else ", not trained")


class _Store:
    """A run's checkpoint. One file has everything that resuming needs: a kill leaves the old state or the new."""

    def __init__(
        self, folder: str | Path | None, settings: dict[str, Any], held_out: tuple[Tensor, Tensor], *, writes: bool
    ):
        if folder is not None and writes:
            output_folder(folder)
        self.file = None if folder is None else Path(folder) / CHECKPOINT
        self.settings, self.writes = settings, writes
        self.example = {"y": held_out[0][0], "x": held_out[1][0]}  # tells operators and draws apart

    def save(self, state: _State) -> None:
        """Write the state and the log, if there is a folder and this process is the one who writes."""
        if self.file is None or not self.writes:
            return
        from safetensors.torch import save

        parts = {"net": state.net, "optimizer": state.optimizer, "best": state.best, "example": self.example}
        tensors = {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}
        header = {
            "settings": self.settings,
            "log": state.log,
            "best_epoch": state.best_epoch,
            "best_loss": state.best_loss,
            "test_loss": state.test_loss,
            "test_db": state.test_db,
            "complex": [name for name, value in tensors.items() if value.is_complex()],
        }
        data = save({name: _storable(v) for name, v in tensors.items()}, metadata={"pursuit": json.dumps(header)})
        write_whole(self.file, lambda out: out.write(data))
        write_log(self.file.with_name(LOG), state.log)

    def load(self) -> _State | None:
        """The state in the folder, if there is one; raises ValueError if it is of another run."""
        if self.file is None or not self.file.exists():
            return None
        header, tensors = _read(self.file)
        self._check_version(header["settings"].get("version"))
        parts: dict[str, Any] = {"net": {}, "optimizer": {}, "best": {}, "example": {}}
        for name, value in tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = value
        self._check_same(header["settings"], parts.pop("example"))
        scalars = {name: header[name] for name in ("best_epoch", "best_loss", "test_loss", "test_db")}
        return _State(log=[Epoch(*record) for record in header["log"]], **parts, **scalars)

    def _check_version(self, theirs: Any) -> None:
        if theirs != VERSION:
            raise ValueError(
                f"{self.file}: was written by another version of pursuit, in format {theirs} of the checkpoint; this "
                f"one goes on with format {VERSION}. Finish that run with the version that began it, or choose another "
                "folder."
            )

    def _check_same(self, theirs: dict[str, Any], example: dict[str, Tensor]) -> None:
        ours = self.settings
        names = [name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)]
        differ = [f"{name} is {theirs.get(name)} there and {ours.get(name)} here" for name in names]
        if not differ and not all(_close(example[name], value) for name, value in self.example.items()):
            differ = ["its settings are the same but its signals or its A are others"]
        if differ:
            raise ValueError(
                f"{self.file}: is of another run ({'; '.join(differ[:3])}); give the same settings to go on with it, "
                "or choose another folder."
            )


def _storable(value: Tensor) -> Tensor:
    """A copy in a form that safetensors takes: it has no complex128."""
    real = torch.view_as_real(value) if value.is_complex() else value
    return real.detach().cpu().clone(memory_format=torch.contiguous_format)


def _read(file: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What `_Store.save` wrote."""
    from safetensors import safe_open

    try:
        with safe_open(file, framework="pt") as stored:
            header = json.loads(stored.metadata()["pursuit"])
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        return header, tensors | {name: torch.view_as_complex(tensors[name]) for name in header["complex"]}
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{file}: is not a checkpoint of pursuit ({reason}); choose another folder.") from None


def _close(a: Tensor, b: Tensor) -> bool:
    """Equal up to rounding, which another machine may change."""
    return a.shape == b.shape and torch.allclose(a.cpu(), b.cpu(), rtol=1e-3, atol=1e-4)
