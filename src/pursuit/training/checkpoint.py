"""Checkpoints of a training."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .. import aliases
from ..files import output_folder, write_csv, write_whole
from ..finite import FiniteEnsemble
from ..nets.storage import read_epoch, save_epoch, storable
from .options import OLD_NAMES, Epoch, Options, Training
from .signals import Signals

CHECKPOINT, LOG, BEST = "checkpoint.safetensors", "log.csv", "net.safetensors"


VERSION = 2  # of the checkpoint


def write_log(path: str | Path, log: list[Epoch]) -> None:
    """Write the epochs as CSV, in full precision."""
    write_csv(Path(path), [epoch._asdict() for epoch in log], Epoch._fields)


class State(NamedTuple):
    """Everything needed to continue a run after an epoch; the tensors are copies."""

    log: list[Epoch]
    net: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    best: dict[str, Tensor]
    best_epoch: int
    best_loss: float
    test_loss: float | None
    test_db: float | None

    @staticmethod
    def first(net: dict[str, Tensor], optimizer: dict[str, Tensor]) -> State:
        return State([], net, optimizer, net, 0, math.inf, None, None)

    def after(
        self, record: Epoch, net: dict[str, Tensor], optimizer: dict[str, Tensor], *, whole: bool = True
    ) -> State:
        state = self._replace(log=[*self.log, record], net=net, optimizer=optimizer)
        if record.validation_loss is None:
            return state
        if not whole:  # the loss of a cut network is not comparable; keep it in case training fails
            return state._replace(best=net, best_epoch=record.epoch)
        if record.validation_loss >= self.best_loss:
            return state
        return state._replace(best=net, best_epoch=record.epoch, best_loss=record.validation_loss)

    def extended(self, epochs: int, file: Path | None) -> State:
        """The state of the same run with this number of epochs: without its result, if it is to go on."""
        done = len(self.log)
        if epochs < done or (epochs == done and self.best_loss == math.inf):
            raise ValueError(
                f"epochs is {epochs}, and the run of {file} has done {done}"
                + (" of which none was validated" if epochs == done else "")
                + f"; needed are {'more' if epochs == done else f'at least {done}'}, or another folder."
            )
        return self if epochs == done else self._replace(test_loss=None, test_db=None)

    def result(self) -> Training:
        """The result, after the test signals were evaluated."""
        assert self.test_loss is not None
        best = self.log[self.best_epoch - 1]
        return Training(self.log, self.best_epoch, self.best_loss, self.test_loss, best.validation_db, self.test_db)


def settings_of(net: nn.Module, signals: Signals, options: Options) -> dict[str, Any]:
    """Everything on which the numbers of a run depend, as JSON returns it."""
    ensemble, other = signals.ensemble, signals.trained_on
    trained_on = {} if other is ensemble else {"training ensemble": {"name": other.name, **other.settings}}
    config = getattr(net, "config", None)
    built = config if isinstance(config, dict) else {"form": repr(net)}
    parts = {
        "version": VERSION,
        "network": type(net).__name__,
        **{f"the network's {name}": value for name, value in built.items()},
        **{f"parameter {name}": form_of(value) for name, value in net.named_parameters()},
        "ensemble": ensemble.name,
        "A": _form_of_A(ensemble),
        **{f"the ensemble's {name}": value for name, value in ensemble.settings.items()},
        **trained_on,
        **asdict(options),
    }
    return json.loads(json.dumps(parts, default=lambda value: getattr(value, "__name__", None) or repr(value)))


def named_now(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that an earlier version wrote, by today's names."""
    network, own, parameter = settings["network"], "the network's ", "parameter "
    options = {name.removeprefix(own): object_now(v) for name, v in settings.items() if name.startswith(own)}
    now = {own + name: value for name, value in aliases.options(network, options).items()}
    for name, value in settings.items():
        if name.startswith(parameter):
            now[parameter + aliases.tensor_name(network, name.removeprefix(parameter))] = value
        elif not name.startswith(own):
            now[OLD_NAMES.get(name, name)] = value
    return now


def object_now(value: Any) -> Any:
    """An option as `settings_of` writes it, with today's name of its class."""
    kind, bracket, fields = value.partition("(") if isinstance(value, str) else ("", "", "")
    return aliases.OBJECTS[kind] + bracket + fields if kind in aliases.OBJECTS else value


def _form_of_A(ensemble: Any) -> str:
    if isinstance(ensemble, FiniteEnsemble):  # which may have none
        return f"{ensemble.shape} {ensemble.y.dtype}"
    return f"{tuple(ensemble.A.shape)} {ensemble.A.dtype}"


def form_of(value: Tensor) -> str:
    return f"{tuple(value.shape)} {value.dtype}" + ("" if value.requires_grad else ", not trained")


class Store:
    """A run's checkpoint. It is one file, so a killed run leaves the old state or the new one."""

    def __init__(
        self, folder: str | Path | None, settings: dict[str, Any], held_out: tuple[Tensor, Tensor], *, writes: bool
    ):
        if folder is not None and writes:
            output_folder(folder)
        self.file = None if folder is None else Path(folder) / CHECKPOINT
        self.settings, self.writes = settings, writes
        self.example = {
            "y": held_out[0][0],
            "x": held_out[1][0],
        }  # part of the settings: shows another operator or other signals

    def save(self, state: State) -> None:
        """Write the state and the log, if there is a folder and this is the first process."""
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
        data = save({name: storable(v) for name, v in tensors.items()}, metadata={"pursuit": json.dumps(header)})
        write_whole(self.file, lambda out: out.write(data))
        write_log(self.file.with_name(LOG), state.log)

    def save_best(self, net: nn.Module, state: State) -> None:
        """Write the network, which has the best parameters, with the record of their epoch."""
        if self.file is not None and self.writes:
            save_epoch(net, self.file.with_name(BEST), state.log[state.best_epoch - 1]._asdict())

    def lacks_best(self, state: State) -> bool:
        """Whether the file with the best network is still to be written; it may be of an epoch that is run again."""
        if self.file is None or state.best_epoch == 0:
            return False
        try:
            return read_epoch(self.file.with_name(BEST))["epoch"] < state.best_epoch
        except (KeyError, TypeError, ValueError):
            return True

    def load(self) -> State | None:
        """The state in the folder, or None; raises ValueError if it belongs to another run."""
        if self.file is None or not self.file.exists():
            return None
        header, tensors = read(self.file)
        self._check_version(header["settings"].get("version"))
        parts: dict[str, Any] = {"net": {}, "optimizer": {}, "best": {}, "example": {}}
        for name, value in tensors.items():
            part, _, rest = name.partition(".")
            parts[part][aliases.tensor_name(self.settings["network"], rest)] = value
        self._check_same(named_now(header["settings"]), parts.pop("example"))
        scalars = {name: header[name] for name in ("best_epoch", "best_loss", "test_loss", "test_db")}
        return State(log=[Epoch(*record) for record in header["log"]], **parts, **scalars)

    def _check_version(self, theirs: Any) -> None:
        if theirs != VERSION:
            raise ValueError(
                f"{self.file}: is a checkpoint of format {theirs}, from another version of pursuit; this version needs "
                f"format {VERSION}. Finish that run with the version that began it, or choose another folder."
            )

    def _check_same(self, theirs: dict[str, Any], example: dict[str, Tensor]) -> None:
        ours = self.settings
        names = [name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name) and name != "epochs"]
        differ = [f"{name} is {theirs.get(name)} there and {ours.get(name)} here" for name in names]
        if not differ and not all(close_to(example[name], value) for name, value in self.example.items()):
            differ = ["its settings are the same but its signals or its A are others"]
        if differ:
            raise ValueError(
                f"{self.file}: belongs to another run ({'; '.join(differ[:3])}); give the same settings to continue, "
                "or choose another folder."
            )


def read(file: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read what `Store.save` wrote."""
    from safetensors import safe_open

    try:
        with safe_open(file, framework="pt") as stored:
            header = json.loads(stored.metadata()["pursuit"])
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        return header, tensors | {name: torch.view_as_complex(tensors[name]) for name in header["complex"]}
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{file}: is not a checkpoint of pursuit ({reason}); choose another folder.") from None


def close_to(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are equal up to rounding, which may differ on another machine."""
    return a.shape == b.shape and torch.allclose(a.cpu(), b.cpu(), rtol=1e-3, atol=1e-4)
