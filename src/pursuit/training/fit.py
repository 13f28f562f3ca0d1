"""`fit`: trains a network on an ensemble."""

from __future__ import annotations

import json
import math
import time
import zlib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from ..checks import whole_number
from ..ensembles import Ensemble
from ..names import takes_old_names
from .checkpoint import State, Store, settings_of
from .learner import Learner, as_decibel, not_finite
from .options import OLD_NAMES, Epoch, Options, Training, TrainingError
from .processes import NUMERICAL, process_context
from .signals import PREPARATION, PREPARING, TEST, Signals, signal_energy


@takes_old_names(**OLD_NAMES)
def fit(
    net: nn.Module,
    ensemble: Ensemble,
    *,
    epochs: int = 1000,
    batch_size: int = 64,
    n_train: int = 1024,
    n_validation: int = 512,
    n_test: int = 512,
    optimizer: str = "rmsprop",
    lr: float = 1e-2,
    schedule: str = "halve",
    halve_every: int | None = 500,
    lr_factors: dict[str, float] | None = None,
    clip: float | None = 1.0,
    resample: bool = False,
    layerwise_epochs: int | None = None,
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
    epochs, batch_size : int
        Passes over the training signals, and signals per step.
    n_train, n_validation, n_test : int
        How many signals of each kind.
    optimizer : {"rmsprop", "adam"}
    lr : float
        Learning rate.
    schedule : {"halve", "cosine"}
        How the learning rate falls: by half every `halve_every` epochs, or to zero along a half cosine.
    halve_every : int, optional
        None keeps the learning rate.
    lr_factors : dict of str to float, optional
        Factors on the learning rate of the parameters whose names begin so; the longest beginning counts.
    clip : float, optional
        Largest norm of the gradient; None for no bound.
    resample : bool, default False
        New training signals in every epoch.
    layerwise_epochs : int, optional
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
    >>> training = fit(net, ensemble, epochs=3, n_train=64, n_validation=16, n_test=16)
    >>> training.log[2].train_loss < training.log[0].train_loss
    True
    """
    options = Options(
        epochs, batch_size, n_train, n_validation, n_test, optimizer, lr, schedule, halve_every, lr_factors or {},
        clip, resample, seed, validate_every, layerwise_epochs,
    )  # fmt: skip
    options.check()
    whole_number("checkpoint_every", checkpoint_every)
    _check_layers(net, options)
    was_training = net.training
    with process_context(ensemble.A.device) as workers:
        learner = Learner(net, options, workers)
        try:
            signals = Signals(ensemble, training_ensemble or ensemble, options)
            return _train(learner, signals, options, folder, checkpoint_every, on_epoch)
        finally:
            learner.cut(None)
            net.train(was_training)


def _train(
    learner: Learner,
    signals: Signals,
    options: Options,
    folder: str | Path | None,
    checkpoint_every: int,
    on_epoch: Callable[[Epoch], Any] | None,
) -> Training:
    learner.cut(None)
    workers = learner.workers
    if not learner.unprepared:  # otherwise it may refuse to be called; and `prepare` looks at y first
        learner.check_fits(*signals.held_out)
    store = Store(folder, settings_of(learner.net, signals, options), signals.held_out, writes=workers.first)
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
            y, x = signals.draw(options.n_test, TEST)
            loss = learner.loss(y, x)
            state = state._replace(test_loss=loss, test_db=as_decibel(loss, signal_energy(x)))
            store.save(state)
        workers.wait()  # nobody looks for the files before they are there
        return state.result()
    except TrainingError:
        learner.restore(state.best)
        raise
    except KeyboardInterrupt:
        store.save(state)
        raise


def _start(learner: Learner, signals: Signals, store: Store) -> State:
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
    return State.first(*learner.capture()) if state is None else state


def _next(state: State, learner: Learner, signals: Signals, options: Options) -> State:
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
        raise not_finite("validation loss", epoch, step, error) from error
    if held_out is not None and not math.isfinite(held_out):
        raise not_finite("validation loss", epoch, step)
    decibel = None if held_out is None else as_decibel(held_out, signals.energy)
    record = Epoch(epoch, step, loss, held_out, lr, time.perf_counter() - begin, decibel)
    return state.after(record, *learner.capture(), whole=whole)


def _check_layers(net: nn.Module, options: Options) -> None:
    if options.layerwise_epochs is None:
        return
    layers = getattr(net, "layers", None)
    if not hasattr(net, "depth") or not isinstance(layers, int):
        raise ValueError(
            f"layerwise_epochs is {options.layerwise_epochs} and {type(net).__name__} cannot be cut; needed are its "
            "attributes layers, a whole number, and depth, how many of them to use or None; or leave the option out."
        )
    before = options.layerwise_epochs * layers
    if options.epochs <= before:
        raise ValueError(
            f"epochs is {options.epochs} and layerwise_epochs is {options.layerwise_epochs}; needed are more than "
            f"{before} epochs: so many per layer for {layers} layers, then at least one end to end."
        )
