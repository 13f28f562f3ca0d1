"""The picture of `pursuit train`: training and validation loss against the epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..files import write_whole
from ..training import Epoch
from .comparison import BLACK, BLUE, GREEN, RED, SKY

PUBLISHED = (GREEN, SKY)
Curve = tuple[Sequence[float], Sequence[float]]


def draw(path: Path, log: Sequence[Epoch], published: Mapping[str, Curve] | None = None) -> None:
    """Draw a training's losses, marking the epoch that was kept.

    Parameters
    ----------
    path : Path
        A .png file.
    log : sequence of Epoch
    published : mapping of str to pair of sequences, optional
        Epochs and losses of other runs to draw behind, by the name to give them.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(7, 4), dpi=120, layout="constrained")
    ax = figure.subplots()
    for i, (name, (epochs, losses)) in enumerate((published or {}).items()):
        ax.plot(epochs, losses, color=PUBLISHED[i % len(PUBLISHED)], linewidth=0.8, label=name)
    validated = [(record.epoch, record.validation_loss) for record in log if record.validation_loss is not None]
    ax.plot([record.epoch for record in log], [record.train_loss for record in log], color=BLUE, label="training")
    ax.plot(*zip(*validated, strict=True), color=RED, label="validation")
    epoch, loss = min(validated, key=lambda point: point[1])
    ax.plot(epoch, loss, "o", color=BLACK, markersize=4, label=f"kept: epoch {epoch}, {loss:.3g}")
    ax.set_yscale("log")
    ax.set_xlabel("epoch", fontsize=9)
    ax.set_ylabel(r"mean of $\|\hat{x} - x\|^2$", fontsize=9)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.tick_params(which="both", labelsize=8)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(fontsize=8, frameon=False)
    write_whole(path, lambda file: figure.savefig(file, format="png"))
