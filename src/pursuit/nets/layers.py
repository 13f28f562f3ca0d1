"""Parts of networks: the operator, the structure weights, and numbers per layer."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..aliases import tensor_name
from ..arrays import HALVES, REAL, WHOLE, as_tensor
from ..checks import boolean, finite, placed, positive_number, show
from ..core.autocast import without_autocast
from ..core.numeric import safe_divide
from ..core.selection import AtomSelector, Hard
from ..names import warn
from ..operators import ColumnScaled, Dense, Operator
from ..operators.adapters import as_operator
from ..operators.real_form import real_form, stack_parts
from ..relaxations import Relaxed

STRUCTURE = ("shared", "per-layer")
SIGNALS = ("complex", "real part", "real")
NOT_OPTIONS = ("A", "W", "w0")  # arguments that files store as tensors


class Network(nn.Module):
    """A module that recovers signals, `net(y) -> x`.

    Attributes
    ----------
    sensing : Sensing
    layers : int
    config : dict
        The options with which it was built: `nets.save` stores them, and `nets.load` builds the network with them.
    """

    sensing: Sensing
    layers: int
    config: dict[str, Any]

    def __call__(self, y: Tensor) -> Tensor:
        """The signals `(*batch, n)`, in half precision if y is: the layers work in that of the network."""
        with without_autocast():
            x: Tensor = super().__call__(y)
        half = isinstance(y, Tensor) and y.dtype in HALVES and not x.is_complex()
        return x.to(y.dtype) if half else x

    def __setattr__(self, name: str, value: Any) -> None:
        # A torch module would take a Parameter or a Module in the place of a property, and any tensor as a new name.
        if isinstance(getattr(type(self), name, None), property):
            object.__setattr__(self, name, value)
        elif name == "weights":
            refuse_weights(self)
        else:
            super().__setattr__(name, value)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Also take tensors by their names in earlier versions."""
        names = {key: prefix + tensor_name(type(self).__name__, key.removeprefix(prefix)) for key in state_dict}
        for key, now in names.items():
            if key.startswith(prefix) and key != now:
                state_dict[now] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, *rest)


def recorded(network: type[Network], arguments: dict[str, Any]) -> dict[str, Any]:
    """The options of a network, by the names in its signature, among the `locals()` of its `__init__`."""
    return {name: arguments[name] for name in inspect.signature(network).parameters if name not in NOT_OPTIONS}


def old_attribute(old: str, new: str) -> property:
    """A property that gives the attribute `new` by its old name, and warns."""

    def get(net: nn.Module) -> Any:
        kind = type(net).__name__
        warn(f"{kind}.{old}", f"{kind}.{new}", stacklevel=3)
        return getattr(net, new)

    return property(get, lambda net, value: refuse_weights(net) if old == "weights" else setattr(net, new, value))


def refuse_weights(net: nn.Module) -> None:
    """Raise AttributeError: the network has no structure weights to set."""
    names = [name for name, _ in net.named_parameters()]
    at = "net.back_projection.matrix" if hasattr(net, "back_projection") else f"net.{names[0]}" if names else "net"
    raise AttributeError(
        f"weights of {type(net).__name__} cannot be set: it has no structure weights, as OMPNet or IHTNet have. Its "
        f"parameters are {', '.join(names) or 'none'}; to write to its tensors, for example: "
        f"with torch.no_grad(): {at}.copy_(...)."
    )


@dataclass(frozen=True)
class Learned:
    """A learned positive number, one per layer or one for all layers.

    Parameters
    ----------
    start : float
        The value before training.
    per_layer : bool, default True

    Raises
    ------
    ValueError
        If the start is not positive.

    Examples
    --------
    >>> import torch, pursuit
    >>> net = pursuit.nets.IHTNet(torch.eye(3), k=1, layers=2, eta=pursuit.nets.Learned(0.5))
    >>> [name for name, _ in net.named_parameters()]
    ['identify.w', 'eta.log']
    """

    start: float
    per_layer: bool = True

    def __post_init__(self) -> None:
        positive_number("Learned: start", self.start)


@dataclass(frozen=True)
class Annealed:
    """A positive number that goes geometrically from `start` to `end` while `pursuit.training.fit` runs.

    Parameters
    ----------
    start, end : float
    until : float, default 0.5
        The share of the training after which it stays at `end`.

    Raises
    ------
    ValueError
        If a number is not positive.

    Examples
    --------
    >>> import torch, pursuit
    >>> net = pursuit.nets.OMPNet(torch.eye(3), layers=2, tau=pursuit.nets.Annealed(1e-1, 1e-3))
    >>> net.identify.tau.progress
    tensor(0.)
    """

    start: float
    end: float
    until: float = 0.5

    def __post_init__(self) -> None:
        for name in ("start", "end", "until"):
            positive_number(f"Annealed: {name}", getattr(self, name))


ScalarSpec = float | Learned | Annealed


class LayerScalar(nn.Module):
    """A positive number for every layer: fixed, learned through its logarithm, or annealed."""

    progress: Tensor

    def __init__(self, name: str, spec: ScalarSpec, layers: int):
        super().__init__()
        self.spec = spec if isinstance(spec, Learned | Annealed) else positive_number(name, spec)
        if isinstance(spec, Learned):
            self.log = nn.Parameter(torch.full((layers if spec.per_layer else 1,), math.log(spec.start)))
        elif isinstance(spec, Annealed):
            self.register_buffer("progress", torch.zeros(()))  # set by training: from 0 at its start to 1 at its end

    def forward(self, layer: int) -> float | Tensor:
        """The number of this layer."""
        spec = self.spec
        if isinstance(spec, Learned):
            return self.log[layer if spec.per_layer else 0].exp()
        if isinstance(spec, Annealed):
            share = (self.progress / spec.until).clamp(max=1)
            return spec.start * (spec.end / spec.start) ** share
        return spec


class Sensing(nn.Module):
    """The network's operator with columns of norm one, and the conversion from and to the caller's units.

    A dense matrix is a buffer, with real and imaginary part separate: `state_dict` holds the whole model in real
    tensors, and `net.double()` works.
    """

    matrix: Tensor
    scale: Tensor

    def __init__(self, A: Any, signals: str):
        super().__init__()
        if signals not in SIGNALS:
            raise ValueError(f"signals is {signals!r}; choose {', '.join(map(repr, SIGNALS))}.")
        given = as_operator(A)
        if given.batch_shape:
            raise ValueError(
                f"A has batch {tuple(given.batch_shape)}, but a network has one matrix; needed is shape (m, n)."
            )
        if 0 in given.shape:
            raise ValueError(f"A has shape {tuple(given.shape)}; needed is a matrix with rows and columns.")
        op = real_form(given) if signals == "real" else given
        norms = op.column_norms()
        if not norms.isfinite().all():
            raise ValueError("A has entries that are NaN or infinite; needed are finite columns: remove or fill them.")
        scale = safe_divide(1, norms)
        self.shape, self.complex = given.shape, given.dtype.is_complex  # of A as given
        self.stacked, self.real_part = op is not given, signals == "real part"
        self.register_buffer("scale", scale)
        self.operator: Operator | None = None
        if isinstance(op, Dense):
            matrix = (
                op.matrix.detach() * scale
            ).contiguous()  # the layout that files have, because rounding depends on it
            self.register_buffer("matrix", torch.view_as_real(matrix).clone() if matrix.is_complex() else matrix)
        else:
            self.operator = ColumnScaled(op, scale)

    @property
    def A(self) -> Operator:
        """The operator with columns of norm one."""
        if self.operator is not None:
            return self.operator
        if self.matrix.ndim == 2:
            return Dense(self.matrix)
        matrix = torch.view_as_complex(self.matrix)
        return Dense(matrix, conjugate=matrix.conj().resolve_conj())

    def prepare(self, y: Tensor) -> tuple[Operator, Tensor]:
        """Operator and measurements in one dtype.

        Raises
        ------
        ValueError, TypeError
            If `y` does not fit the operator.
        """
        A = self.A
        m, n = self.shape
        if not isinstance(y, Tensor):
            raise TypeError(f"y is a {type(y).__name__}; a network needs a tensor: pass torch.as_tensor(y).")
        if y.layout != torch.strided:
            raise ValueError(f"y is a tensor of layout {y.layout}; a network needs a dense one: pass y.to_dense().")
        if y.ndim == 0 or y.shape[-1] != m:
            raise ValueError(
                f"y has shape {tuple(y.shape)}, but the network was built for m={m}, n={n}; needed is (*batch, {m})."
            )
        if y.dtype in HALVES or y.dtype in WHOLE:
            y = y.to(REAL[A.dtype])
        if y.device != placed(A.device) or y.real.dtype != REAL[A.dtype]:
            raise TypeError(
                f"y is {y.dtype} on {y.device} and the network {A.dtype} on {A.device}; use y.to(...) or net.to(...)."
            )
        if self.stacked:
            return A, stack_parts(y)
        if y.is_complex() and not A.dtype.is_complex:
            A = A.complexified()
        return A, y.to(A.dtype)

    def to_caller_units(self, x: Tensor) -> Tensor:
        """The signal in the caller's units, or its real part."""
        return self.scale * (x.real if self.real_part and x.is_complex() else x)


class Identify(nn.Module):
    """The choice of atoms in every layer: structure weights, ones before training, and a relaxed sort."""

    def __init__(
        self,
        n: int,
        layers: int,
        *,
        tau: ScalarSpec,
        sort: Callable[..., Tensor],
        weights: str,
        w0: Any,
        relative: bool,
    ):
        super().__init__()
        if not callable(sort):
            raise TypeError(f"sort is {sort!r}; needed is softsort, neuralsort, sinkhorn_sort or a function like them.")
        self.w = structure(n, layers, weights, w0)
        self.tau = LayerScalar("tau", tau, layers)
        self.layers, self.sort, self.relative = layers, sort, boolean("relative", relative)

    def forward(self, k: int) -> list[AtomSelector]:
        """The atom selector of every layer, for `k` atoms."""
        weights = by_layer(self.w, self.layers)
        return [
            AtomSelector(Relaxed(self.sort, self.tau(layer), self.relative), k, w) for layer, w in enumerate(weights)
        ]

    @property
    def weights(self) -> Tensor:
        """The learned structure weights `(n,)`; if layers have their own, the mean over the layers."""
        return over_layers(self.w)

    def set_weights(self, value: Any) -> None:
        """Set them for all layers, `(n,)`, or for each its own, `(layers, n)`."""
        write_weights(self.w, value)


class IdentifyHard(nn.Module):
    """The choice of atoms in every layer: structure weights, ones before training, and the largest scores."""

    def __init__(self, n: int, layers: int, *, weights: str, w0: Any):
        super().__init__()
        self.w = structure(n, layers, weights, w0)
        self.layers = layers

    def forward(self, k: int) -> list[AtomSelector]:
        """The atom selector of every layer, for `k` atoms."""
        return [AtomSelector(Hard(), k, w) for w in by_layer(self.w, self.layers)]

    @property
    def weights(self) -> Tensor:
        """The learned structure weights `(n,)`; if layers have their own, the mean over the layers."""
        return over_layers(self.w)

    def set_weights(self, value: Any) -> None:
        """Set them for all layers, `(n,)`, or for each its own, `(layers, n)`."""
        write_weights(self.w, value)


def structure(n: int, layers: int, weights: str, w0: Any) -> nn.Parameter:
    """Structure weights to learn, `(n,)` for all layers or `(layers, n)`; only their magnitudes matter."""
    if weights not in STRUCTURE:
        raise ValueError(f"weights is {weights!r}; choose {' or '.join(map(repr, STRUCTURE))}.")
    shape = (n,) if weights == "shared" else (layers, n)
    return nn.Parameter(torch.ones(shape) if w0 is None else _weights("w0", w0, shape).expand(shape).clone())


def write_weights(w: nn.Parameter, value: Any) -> None:
    """Set structure weights `(n,)` or `(layers, n)`; one vector is for all layers."""
    given = _weights("weights", value, tuple(w.shape))
    if (given < 0).any():
        raise ValueError(f"weights is {show(given)}; needed are numbers >= 0, by which scores are multiplied.")
    with torch.no_grad():
        w.copy_(given)


def _weights(name: str, value: Any, shape: tuple[int, ...]) -> Tensor:
    """Real, finite numbers of this shape, or one vector for all layers."""
    if isinstance(value, list | tuple) and any(isinstance(row, Tensor) for row in value):
        value = torch.stack([as_tensor(name, row) for row in value])
    read = as_tensor(name, value).detach()
    if isinstance(value, list | tuple) and not read.is_complex():  # Python's numbers have no precision of their own
        read = read.to(torch.get_default_dtype())
    if read.is_complex() or tuple(read.shape) not in {shape, shape[-1:]}:
        own = f", or {shape}, one row per layer" if len(shape) == 2 else ""
        more = "; build the network with weights='per-layer' for a row per layer" if read.ndim == 2 > len(shape) else ""
        raise ValueError(
            f"{name} has shape {tuple(read.shape)} and dtype {read.dtype}; needed are {shape[-1]} real numbers, "
            f"({shape[-1]},){own}{more}."
        )
    return finite(name, read)


def by_layer(w: Tensor, layers: int) -> list[Tensor]:
    """The weights `(n,)` that each layer uses."""
    used = w.abs()
    return [used] * layers if w.ndim == 1 else list(used.unbind())


def over_layers(w: Tensor) -> Tensor:
    """Structure weights `(n,)` for a solver; if layers have their own, the mean over the layers."""
    used = w.detach().abs()
    return used if w.ndim == 1 else used.mean(0)
