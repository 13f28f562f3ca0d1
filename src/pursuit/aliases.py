"""What earlier versions called things in their files, and what these are called now: networks and trainings."""

from __future__ import annotations

from typing import Any

OBJECTS = {"Counts": "CountSchedule", "Percent": "PercentSchedule"}  # options that are objects
PROJECTING = ("LISTACP", "TiLISTA", "ALISTA", "ALISTAAT", "AGLISTA", "GLISTA", "NAALISTA", "HyperLISTA")
TENSORS = {network: {"weights.matrix": "back_projection.matrix"} for network in PROJECTING}
TENSORS["LAMP"] = {"usual": "typical_residual"}
OPTIONS = {"LAMP": {"polish": "retry_steps"}}
# Options that are no more, with the values that are built still; () for options that only the start depended on.
DROPPED: dict[str, dict[str, tuple[Any, ...]]] = {
    "GLISTA": {
        "gain": ("inverse",),
        "overshoot": ("inverse",),
        "switch": (None,),
        "gain_start": (),
        "overshoot_start": (),
        "seed": (),
    }
}


def tensor_name(network: str, name: str) -> str:
    """Today's name of a network's tensor, or of one that its optimizer keeps for it (`NAME.exp_avg`)."""
    for old, new in TENSORS.get(network, {}).items():
        if name == old or name.startswith(f"{old}."):
            return new + name.removeprefix(old)
    return name


def options(network: str, given: dict[str, Any]) -> dict[str, Any]:
    """A network's options by today's names, without those that are no more; one that cannot be built any more stays."""
    dropped, names = DROPPED.get(network, {}), OPTIONS.get(network, {})
    kept = {
        name: value for name, value in given.items() if name not in dropped or value not in (dropped[name] or (value,))
    }
    return {names.get(name, name): value for name, value in kept.items()}
