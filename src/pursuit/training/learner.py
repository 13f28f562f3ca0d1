"""A network and its optimizer during training."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from .options import OPTIMIZERS, Options, TrainingError
from .processes import NUMERICAL, SingleProcess
from .signals import AT_ONCE


class Learner:
    """The network and its optimizer, with one epoch of training, losses, and copies of their tensors."""

    net: Any  # a Module, some with `layers`, `depth` or `prepare`

    def __init__(self, net: nn.Module, options: Options, workers: SingleProcess):
        named = {name: p for name, p in net.named_parameters() if p.requires_grad}
        if not named:
            raise ValueError(
                f"{type(net).__name__} has no parameters; needed is at least one that requires a gradient."
            )
        groups: dict[float, list[str]] = {}
        for name, rate in _rate_of_each(list(named), options.lr_factors).items():
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
        """One pass over the data; returns the mean loss. Errors are raised at the end, so that no step has to wait."""
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
            raise not_finite(bad[1], done + 1, done * len(order) + bad[0] + 1, failure) from failure
        if failure is not None:
            raise failure
        self._tell((done + 1) / epochs)
        self.workers.copy_first([*self.net.buffers()])  # batch statistics differ between processes
        sizes = [len(items) for items in order]
        return sum(v * s for v, s in zip(torch.stack(losses).tolist(), sizes, strict=True)) / sum(sizes)

    def loss(self, y: Tensor, x: Tensor) -> float:
        """The mean loss, computed in few large batches."""
        self.net.eval()
        mine = self.workers.share(y), self.workers.share(x)
        return float(self.workers.total(lambda: self._squared_error(*mine))) / len(x)

    def cut(self, done: int | None) -> bool:
        """Cut the network as for the epoch after `done`, None for no cut; returns whether it is whole."""
        if self.options.layerwise_epochs is not None:
            self.net.depth = None if done is None else self.options.depth(done, self.net.layers)
            self.whole = self.net.depth in (None, self.net.layers)
        return self.whole

    @property
    def unprepared(self) -> bool:
        """Whether the network needs `prepare`."""
        prepared = getattr(self.net, "prepared", None)
        return prepared is not None and not bool(prepared) and callable(getattr(self.net, "prepare", None))

    def prepare(self, y: Tensor) -> None:
        """Let the network compute its statistics from these measurements."""
        self.net.eval()
        with torch.no_grad():
            self.net.prepare(y)
        if self.unprepared:
            raise ValueError(
                f"{type(self.net).__name__}.prepare left the attribute prepared false; needed is that it sets it true."
            )

    def copy_first(self) -> None:
        """Copy the network of the first process."""
        self.workers.copy_first([*self.net.parameters(), *self.net.buffers()])

    def check_fits(self, y: Tensor, x: Tensor) -> None:
        """Raise ValueError unless the network returns signals of the ensemble's shape."""
        with torch.no_grad():
            found = self.net(y[:2])
        shape = tuple(found.shape)
        if x.is_complex() and not found.is_complex():
            raise ValueError(
                f"the signals are complex and {type(self.net).__name__} returns real ones; needed are complex ones: "
                "build a network of pursuit.nets with signals='complex'."
            )
        if shape != tuple(x[:2].shape):
            raise ValueError(
                f"{type(self.net).__name__} returns shape {shape} for y of shape {tuple(y[:2].shape)}; "
                f"needed is {tuple(x[:2].shape)}, one row of n={x.shape[-1]} per signal."
            )

    def capture(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Copies of the network's and of the optimizer's tensors."""
        states = self.optimizer.state_dict()["state"]
        optimizer = {f"{self.names[i]}.{key}": value for i, state in states.items() for key, value in state.items()}
        return _copies(self._tensors()), _copies(optimizer)

    def restore(self, net: dict[str, Tensor], optimizer: dict[str, Tensor] | None = None) -> None:
        """Restore such copies; None leaves the optimizer as it is."""
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
        """The loss of these signals of a batch of `size`; its gradient is added to the parameters."""
        if not len(y):
            return torch.zeros((), device=y.device)
        if self.options.clip_each is not None:
            return self._clipped_gradient(y, x, size, self.options.clip_each)
        errors = _squared_errors(self.net(y), x)
        loss = errors.mean() if len(y) == size else errors.sum() / size
        if loss.requires_grad or self.whole:  # the first layers may have no parameters
            loss.backward()
        return loss.detach()

    def _clipped_gradient(self, y: Tensor, x: Tensor, size: int, largest: float) -> Tensor:
        """The same with the gradient of every signal at most `largest`."""
        learned = {name: p.detach() for name, p in zip(self.names, self.parameters, strict=True)}
        gradients, errors = gradient_of_each(self.net, learned, y, x)
        norms = torch.stack([g.abs().square().reshape(len(y), -1).sum(-1) for g in gradients.values()]).sum(0).sqrt()
        factors = largest / norms.clamp(min=largest)
        for p, g in zip(self.parameters, gradients.values(), strict=True):
            p.grad = torch.tensordot(factors.to(g.dtype), g, 1) / size
        return errors.sum() / size

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


def gradient_of_each(
    net: nn.Module, learned: dict[str, Tensor], y: Tensor, x: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """The squared error of every signal, and its gradient at the parameters `learned`, `(signals, *shape)` by name."""

    def error(learned: dict[str, Tensor], y: Tensor, x: Tensor) -> Tensor:
        return _squared_errors(functional_call(net, learned, (y,)), x)

    gradients, errors = vmap(grad_and_value(error), (None, 0, 0))(learned, y, x)
    return gradients, errors


def _squared_errors(found: Tensor, x: Tensor) -> Tensor:
    """`||found - x||^2` of every signal."""
    error = found - x
    if error.is_complex():
        error = torch.view_as_real(error).flatten(-2)
    return error.square().sum(-1)


def as_decibel(loss: float, energy: float) -> float | None:
    if energy == 0:
        return None
    return 10 * (math.log10(loss) - math.log10(energy)) if loss else -math.inf


def _copies(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in tensors.items()}


def _first_not_finite(losses: list[Tensor], norms: list[Tensor]) -> tuple[int, str] | None:
    """The number of the first step with a loss or gradient that is not finite, and which of the two."""
    if not losses:
        return None
    good = [torch.stack(values).isfinite().tolist() for values in (losses, norms)]
    for i, (loss, norm) in enumerate(zip(*good, strict=True)):
        if not (loss and norm):
            return i, "gradient" if loss else "loss"
    return None


def not_finite(what: str, epoch: int, step: int, cause: Exception | None = None) -> TrainingError:
    said = "" if cause is None else f"; {cause}"
    return TrainingError(
        f"the {what} is not finite at step {step} (epoch {epoch}{said}): lower lr, raise tau, or use double precision; "
        "then train in another folder. The network has the best parameters found before.",
        epoch=epoch,
        step=step,
    )


def _rate_of_each(names: list[str], factors: dict[str, float]) -> dict[str, float]:
    for prefix in factors:
        if not any(name.startswith(prefix) for name in names):
            raise ValueError(
                f"lr_factors has {prefix!r}; needed is the beginning of a parameter's name: {', '.join(names)}."
            )
    longest_first = sorted(factors, key=len, reverse=True)
    return {name: next((factors[p] for p in longest_first if name.startswith(p)), 1.0) for name in names}
