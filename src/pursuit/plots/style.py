"""The palette of Okabe and Ito, which colour-blind readers can distinguish; names below an axis."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

LABELS, LONGEST = 40, 24  # most names below an axis, and most characters of one

# Okabe and Ito's palette: told apart by colour-blind readers too.
BLACK, ORANGE, SKY, GREEN, BLUE, RED = "#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00"


def named_ticks(ax: Axes, places: Sequence[float], names: Sequence[Any]) -> None:
    """Names below these places of the axis; where they would overlap, beside the places, with lines to them.

    Names are cut to a length that leaves room for the figure. The limits of the axis must be set before.
    """
    order = np.argsort(places, kind="stable")
    at, words = np.asarray(places, dtype=float)[order], short_names([names[i] for i in order])
    low, high = ax.get_xlim()
    width = 72 * ax.bbox.width / ax.figure.dpi  # in points
    size = 8 if len(at) * 10 <= width else 6
    gap = (high - low) * 1.25 * size / width
    if len(at) < 2 or np.diff(at).min() >= gap:
        ax.set_xticks(at, words, rotation=60, ha="right", rotation_mode="anchor", fontsize=size)
        return
    spread = apart(at, min(gap, (high - low) / (len(at) - 1)), (low, high))
    ax.set_xticks(spread, words, rotation=90, fontsize=size)
    ax.tick_params(axis="x", length=0, pad=10)
    if not ax.xaxis.get_tick_params().get("labelbottom", True):
        return
    for place, beside in zip(at, spread, strict=True):
        ax.annotate(
            "", (place, 0), (beside, -10), xycoords=("data", "axes fraction"), textcoords=("data", "offset points"),
            arrowprops={"arrowstyle": "-", "linewidth": 0.5, "color": "0.5", "shrinkA": 0, "shrinkB": 0},
            annotation_clip=False,
        )  # fmt: skip


def apart(places: NDArray[Any], gap: float, limits: tuple[float, float]) -> NDArray[Any]:
    """The places, in their order, moved as little as possible (least squares) so that a gap is between each two.

    Examples
    --------
    >>> apart(np.array([1.0, 1.0, 5.0]), 1.0, (0.0, 9.0))
    array([0.5, 1.5, 5. ])
    """
    from scipy.optimize import isotonic_regression

    steps = gap * np.arange(len(places))
    rising = isotonic_regression(places - steps).x
    return np.asarray(np.clip(rising, limits[0], max(limits[0], limits[1] - steps[-1])) + steps)


def short_names(names: Sequence[Any]) -> list[str]:
    """Names in one line each, the long ones cut where they are alike, and without marks of mathematics.

    Examples
    --------
    >>> short_names(["a peak with a long name, 1", "a peak with a long name, 2"])
    ['a peak with…long name, 1', 'a peak with…long name, 2']
    >>> short_names(["the long number 1 of the many parts", "the long number 2 of the many parts"])
    ['the long n…1…many parts', 'the long n…2…many parts']
    """
    words = [" ".join(str(name).split()) for name in names]
    long = [word for word in words if len(word) > LONGEST]
    cut = [_cut(word) for word in words]
    if len(set(cut)) < len(set(words)):
        begin, end = _alike(long), _alike([word[::-1] for word in long])
        cut = [_cut_around(word, begin, end) if len(word) > LONGEST else word for word in words]
    return [word.replace("$", r"\$") for word in cut]


def _cut(word: str) -> str:
    """The word without its middle, if it is long."""
    half = LONGEST // 2
    return word if len(word) <= LONGEST else f"{word[: half - 1]}…{word[half - LONGEST :]}"


def _alike(words: Sequence[str]) -> int:
    """How many letters all words begin with, up to the last space among them."""
    together = list(takewhile(lambda letters: len(set(letters)) == 1, zip(*words, strict=False)))
    common = "".join(letters[0] for letters in together)
    return common.rfind(" ") + 1 or len(common)


def _cut_around(word: str, begin: int, end: int) -> str:
    """A long word with what stands between its first and last so many letters, which others have too."""
    core = _cut(word[begin : len(word) - end])
    room = max(0, LONGEST - len(core) - 2) // 2
    first, last = word[: min(room, begin)], word[len(word) - min(room, end) :]
    return "…".join(filter(None, (first, core, last)))


def counted(axis: Axis) -> None:
    """Ticks at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
