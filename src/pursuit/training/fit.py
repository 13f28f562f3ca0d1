"""`fit`: trains a network on signals that are given, or on those that an ensemble draws."""

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
from ..names import takes_old_names
from .checkpoint import State, Store, settings_of
from .given import as_ensemble
from .learner import Learner, as_decibel, not_finite
from .options import OLD_NAMES, Epoch, Options, Training, TrainingError
from .processes import NUMERICAL, process_context
from .signals import PREPARATION, PREPARING, TEST, Signals, device_of, numbers, signal_energy, sources


@takes_old_names(**OLD_NAMES)
def fit(
    net: nn.Module,
    ensemble: Any,
    *,
    epochs: int = 1000,
    batch_size: int = 64,
    n_train: int | None = None,
    n_validation: int | None = None,
    n_test: int | None = None,
    optimizer: str = "rmsprop",
    lr: float = 1e-2,
    schedule: str = "halve",
    halve_every: int | None = 500,
    lr_factors: dict[str, float] | None = None,
    clip: float | None = 1.0,
    clip_each: float | None = None,
    resample: bool = False,
    layerwise_epochs: int | None = None,
    training_ensemble: Any = None,
    seed: int = 0,
    folder: str | Path | None = None,
    checkpoint_every: int = 10,
    validate_every: int = 1,
    on_epoch: Callable[[Epoch], Any] | None = None,
) -> Training:
    """Train a network on signals of your own, or on an ensemble; it ends with the parameters of least validation loss.

    The loss is the mean over signals of `||net(y) - x||^2`. Training, validation and test signals are different; the
    test signals are used once, at the end. On one machine, a seed always gives the same result.

    Several processes, started by `torchrun` or joined by `torch.distributed`, split every batch and add their
    gradients: up to rounding the training is the same. Each process calls `fit` with the same options, and with `net`
    and `ensemble` on its own device. All start from the parameters and buffers of the first process; only the first one
    writes files and calls `on_epoch`.

    Parameters
    ----------
    net : Module
        `net(y) -> x` for batches. Buffers named `progress` are set before each step to the share of the training that
        is over. If the network has a method `prepare`, and an attribute or buffer `prepared` that is false, `fit` calls
        `net.prepare(y)` once before the first epoch, with the measurements of 16384 signals drawn for it. The method
        stores its statistics in buffers and sets `prepared` to true. Checkpoints contain the buffers.
    ensemble : pair of arrays, torch Dataset, or ensemble
        `(Y, X)`: the rows of `Y (signals, m)` are measurements and those of `X (signals, n)` the signals to find, as in
        `pursuit.ensembles.from_arrays`; or a `torch.utils.data.Dataset` of pairs `(y, x)`, or an ensemble of
        `pursuit.ensembles`. Given signals are split at random, with `seed`, into those for training, validation and
        test; equal rows of `Y` are never in two of the three. They are brought to the precision and the device of the
        network.
    epochs, batch_size : int
        Passes over the training signals, and signals per step.
    n_train, n_validation, n_test : int, optional
        Number of training, validation and test signals. Default: 1024, 512 and 512; of given signals a tenth each (at
        most 2000) for validation and test, and the others for training. If there are fewer than asked for, a warning
        says how many are used.
    optimizer : {"rmsprop", "adam"}
    lr : float
        Learning rate.
    schedule : {"halve", "cosine"}
        How the learning rate falls: it is halved every `halve_every` epochs, or follows half a cosine to zero at the
        last one.
    halve_every : int, optional
        None keeps the learning rate constant.
    lr_factors : dict of str to float, optional
        Factors of the learning rate, by the beginning of parameter names; the longest match is used.
    clip : float, optional
        Largest norm of the gradient; None for no limit.
    clip_each : float, optional
        Largest norm of a single signal's gradient, before the mean over the batch; None for no limit. In greedy
        networks the gradient of one signal near a tie of two scores may be far larger than those of the others, which
        are then lost in the mean. With 1.0, CoSaMP-Net learns more from weights of one (`pursuit reproduce
        dgu-family`). A step takes two to seven times as long. The network must work under `torch.func.vmap`, as those
        of `pursuit.nets` do.
    resample : bool, default False
        Whether to draw new training signals in every epoch; of given signals, `n_train` of those that are there for
        training.
    layerwise_epochs : int, optional
        First train layer by layer, each for this number of epochs: the network is cut after its first layer, then after
        its second, and so on, and at last trained as a whole. The parameters of all layers before the cut are trained.
        The network must have attributes `layers`, their number, and `depth`, which `fit` sets to the number of layers
        to use, None for all. The best epoch is chosen among those of the whole network. Default: no layer-wise
        training.
    training_ensemble : Ensemble, optional
        Draw training signals from this ensemble instead of `ensemble`. For example, a `Mixture` with a harder ensemble
        prevents that the network diverges on rare hard signals.
    seed : int
    folder : path, optional
        Folder for `checkpoint.safetensors`, `log.csv`, and the best network so far: `net.safetensors` is written as a
        whole whenever the validation loss is lower than before. `pursuit.nets.load` reads it at any time, and
        `pursuit.nets.read_epoch` says of which epoch it is. (Of a module that is none of `pursuit.nets` the file has
        the `state_dict`, with complex tensors as pairs of real ones.)

        If the folder holds a run of the same settings, that run continues: an interrupted one with the same numbers as
        without the interruption, and a finished one for more `epochs`. What depends on the number of epochs is, from
        there on, that of a run of so many epochs from its start: with `schedule="halve"` the longer run has the numbers
        of one that was never shorter; with `"cosine"` the learning rate, which had reached zero, rises again to its
        value at that epoch of the longer run (half of `lr` if the number is doubled), and so do temperatures that are
        `Annealed`. The best network is that of all epochs.
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
        If an option, the network or the signals do not fit, the folder holds a run with other settings or of another
        version or of more epochs, or processes that train together got different options.
    TypeError
        If an argument is of another kind.
    TrainingError
        If the loss or a gradient becomes NaN or infinite. The network then has the best parameters so far; during
        layer-wise training, the last ones validated.

    Examples
    --------
    >>> import torch, pursuit
    >>> from pursuit.ensembles import gaussian_levels
    >>> ensemble = gaussian_levels(n=16, m=8, k=2, admissible=4)
    >>> net = torch.nn.Linear(8, 16, bias=False)
    >>> training = fit(net, ensemble, epochs=3, n_train=64, n_validation=16, n_test=16)
    >>> training.log[2].train_loss < training.log[0].train_loss
    True

    Signals of one's own, on which the rows of `X` are measured as `Y`:

    >>> X = torch.eye(16).repeat(10, 1) * torch.rand(160, 1)
    >>> Y = X @ ensemble.A.to_dense().T
    >>> net = pursuit.nets.IHTNet(ensemble.A, k=1, layers=3)
    >>> fit(net, (Y, X), epochs=2).best_epoch in (1, 2)
    True
    """
    _check_kinds(net, on_epoch, folder)
    whole_number("seed", seed, low=0)
    asked = {"n_train": n_train, "n_validation": n_validation, "n_test": n_test}
    ensemble = as_ensemble(net, ensemble, seed)
    trained_on = ensemble if training_ensemble is None else as_ensemble(net, training_ensemble, seed)
    drawn_from = sources(ensemble, trained_on, resample, **asked)
    options = Options(
        epochs=epochs, batch_size=batch_size, **numbers(drawn_from, **asked), optimizer=optimizer, lr=lr,
        schedule=schedule, halve_every=halve_every, lr_factors={} if lr_factors is None else lr_factors, clip=clip,
        clip_each=clip_each, resample=resample, seed=seed, validate_every=validate_every,
        layerwise_epochs=layerwise_epochs,
    )  # fmt: skip
    options.check()
    whole_number("checkpoint_every", checkpoint_every)
    _check_layers(net, options)
    was_training = net.training
    with process_context(device_of(ensemble)) as workers:
        learner = Learner(net, options, workers)
        try:
            signals = Signals(ensemble, trained_on, drawn_from, options)
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
    if not learner.unprepared:  # otherwise it may not be callable yet; and `prepare` checks y
        learner.check_fits(*signals.held_out)
    store = Store(folder, settings_of(learner.net, signals, options), signals.held_out, writes=workers.first)
    state = _start(learner, signals, store)
    try:
        while len(state.log) < options.epochs:
            state = _next(state, learner, signals, options)
            if state.best_epoch == len(state.log):
                store.save_best(learner.net, state)
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
        workers.wait()  # no process reads files before they are written
        return state.result()
    except TrainingError:
        learner.restore(state.best)
        raise
    except KeyboardInterrupt:
        store.save(state)
        raise


def _start(learner: Learner, signals: Signals, store: Store) -> State:
    """The first state, from the folder or new; on all processes the network has it."""
    state, workers = store.load(), learner.workers
    # Nothing is written before all processes have read and come here.
    workers.check_agree(
        options=zlib.crc32(json.dumps(asdict(signals.options), sort_keys=True).encode()),
        signals=float(signals.held_out[0].abs().double().sum()),
        checkpoint=0 if state is None else len(state.log) + (state.test_loss is not None),
    )
    if state is not None:
        state = state.extended(signals.options.epochs, store.file)
        if store.lacks_best(state):  # an earlier version, which did not write it as we do, began the run
            learner.restore(state.best)
            store.save_best(learner.net, state)
        learner.restore(state.net, state.optimizer)
    if state is not None and learner.unprepared:  # `prepared` is an attribute, which a checkpoint does not have
        learner.net.prepared = True
    if learner.unprepared:
        learner.prepare(signals.draw(PREPARATION, PREPARING)[0])
        learner.check_fits(*signals.held_out)
    learner.copy_first()
    return State.first(*learner.capture()) if state is None else state


def _next(state: State, learner: Learner, signals: Signals, options: Options) -> State:
    """The state after one more epoch."""
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


def _check_kinds(net: Any, on_epoch: Any, folder: Any) -> None:
    if not isinstance(net, nn.Module):
        what = f"the class {net.__name__}" if isinstance(net, type) else f"a {type(net).__name__}"
        raise TypeError(
            f"net is {what}; needed is a torch module that gives signals for measurements, for example "
            "pursuit.nets.IHTNet(A, k=5, layers=10)."
        )
    if on_epoch is not None and not callable(on_epoch):
        raise TypeError(f"on_epoch is {on_epoch!r}; needed is a function of one argument, an Epoch, or None.")
    if folder is not None and not isinstance(folder, str | Path):
        raise TypeError(f"folder is {folder!r}; needed is a path, or None to write nothing.")


def _check_layers(net: nn.Module, options: Options) -> None:
    if options.layerwise_epochs is None:
        return
    layers = getattr(net, "layers", None)
    if not hasattr(net, "depth") or not isinstance(layers, int):
        raise ValueError(
            f"layerwise_epochs is {options.layerwise_epochs} and {type(net).__name__} cannot be cut; needed are its "
            "attributes layers, a whole number, and depth, how many of them to use, or None; or leave the option out."
        )
    before = options.layerwise_epochs * layers
    if options.epochs <= before:
        raise ValueError(
            f"epochs is {options.epochs} and layerwise_epochs is {options.layerwise_epochs}; needed are more than "
            f"{before} epochs: so many per layer for {layers} layers, then at least one end to end."
        )
