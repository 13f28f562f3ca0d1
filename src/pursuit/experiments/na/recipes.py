"""How networks that grow are best trained: recipes by their errors on validation signals (not in the paper).

N = 1000 and 40 dB, up to ten layers. Learning rates, whether a tenth of the signals is harder, and for AGLISTA whether
the networks of one and two layers pass on what they have learned. These are the signals of the seed that is given, 0 by
default; results in the other experiments are of other seeds. Nothing here looks at test signals.
`pursuit.experiments.na.alista` has the chosen recipes.

Table: `recipes`, a row per model, recipe and number of layers.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ... import nets
from ...plots.style import BLUE, GREEN, ORANGE
from ..cells import Row, Tables
from . import alista
from . import pictures as alista_pictures
from .alista import PARTIAL

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PARTIAL", "cells", "draw", "run"]

LAYERS = tuple(k for k in alista.DEPTHS if k <= 10)


class Candidate(NamedTuple):
    """Learning rate, up to how many layers networks pass nothing on, and whether some signals are harder."""

    lr: float
    alone: int = 0
    harder: bool = False

    @property
    def words(self) -> str:
        """What a legend says."""
        parts = [f"learning rate {self.lr:g}", *(["some harder signals"] if self.harder else [])]
        return ",\n".join([*parts, *([f"K up to {self.alone} on their own"] if self.alone else [])])


# The first of each is that of the results.
CANDIDATES = {
    "ALISTA": (Candidate(1e-2, harder=True), Candidate(1e-2), Candidate(3e-3, harder=True)),
    "ALISTA_AT": (Candidate(3e-3, harder=True), Candidate(3e-3), Candidate(1e-2, harder=True)),
    "AGLISTA": (Candidate(1e-2, 2, harder=True), Candidate(1e-2, 2), Candidate(1e-2, 0, harder=True)),
    "NA_ALISTA_UR_128": (Candidate(2e-3), Candidate(1e-3), Candidate(5e-3)),
}
LOOKS = ((BLUE, "o"), (ORANGE, "s"), (GREEN, "^"))  # of the candidates, in their order
KEPT = ("model", "n", "layers", "snr", "size", "seed", "epochs", "signals", "validation_db", "best_epoch", "seconds")


def cells(quick: bool, seed: int) -> list[Row]:
    """One per model and recipe; the quick form has two of AGLISTA, with two numbers of layers."""
    size = alista.size_of(quick, full=False)
    depths = (2, 4) if quick else LAYERS
    models = ("AGLISTA",) if quick else tuple(CANDIDATES)
    planned = [(alista.trained_cell(model, size=size, seed=seed, layers=depths), model) for model in models]
    return [
        {**cell, "recipe": {**cell["recipe"], **_numbers(one), "test": 1}}
        for cell, model in planned
        for one in CANDIDATES[model][:: 2 if quick else 1]
    ]


def _numbers(one: Candidate) -> Row:
    return {"lr": one.lr, "alone": one.alone, "harder": alista.HARDER if one.harder else None}


def run(cell: Row, folder: Path) -> Tables:
    """Train a network by one recipe, and keep its errors on validation signals."""
    ensemble = alista.problem(cell)
    _, tables = alista.grow(
        cell,
        folder,
        ensemble,
        build=lambda at: alista.built(at, ensemble.A, selection=nets.CountSchedule(alista.S)),
        theirs=lambda layers: None,
    )
    recipe = {**{name: cell["recipe"][name] for name in ("lr", "alone")}, "harder": bool(cell["recipe"]["harder"])}
    return {"recipes": [{name: row.get(name) for name in KEPT} | recipe for row in tables["results"]]}


def draw(tables: Tables, quick: bool) -> Figure:
    """A panel per model: how much each recipe is above the first, which is that of the results, over the layers."""
    rows = [row for row in tables["recipes"] if row["validation_db"] is not None]
    models = [model for model in CANDIDATES if any(row["model"] == model for row in rows)]
    figure = alista_pictures.new_figure(len(models), 1)
    for ax, model in zip(figure.subplots(1, len(models), squeeze=False)[0], models, strict=True):
        curves = [_errors(rows, model, one) for one in CANDIDATES[model]]
        for (colour, marker), one, curve in zip(LOOKS, CANDIDATES[model], curves, strict=False):
            places = [k for k in curve if k in curves[0]]
            ax.plot(places, [curve[k] - curves[0][k] for k in places], color=colour, marker=marker, label=one.words)
        ax.legend(fontsize=8)
        label = alista_pictures.style(model).label
        alista_pictures.finish(ax, label, "layers K", "validation NMSE,\nabove the recipe in use (dB)")
    return figure


def _errors(rows: list[Row], model: str, one: Candidate) -> dict[int, float]:
    """The errors of a recipe by the number of layers."""
    mine = [row for row in rows if (row["model"], *(row[name] for name in one._fields)) == (model, *one)]
    return {row["layers"]: row["validation_db"] for row in mine}
