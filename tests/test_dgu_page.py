"""The page on deep greedy unfolding is true: its tables are the committed results."""

import re
import statistics
from pathlib import Path

import pytest

from pursuit.experiments.cells import read_tables
from pursuit.experiments.dgu import family

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "deep-greedy-unfolding.md").read_text()
NETWORKS = {"omp-net": "OMP-Net, m = 20", "iht-net": "IHT-Net, m = 36"}


def rows_of(path):
    return read_tables((ROOT / path).parent)[Path(path).stem]


def short(value):
    """`0.0123` as 1.2e-2."""
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def listed(rows, column):
    return ", ".join(short(row[column]) for row in rows)


def fig3_as_markdown(path):
    """Losses of the three trainings and of what they are compared with, seeds side by side."""
    rows = rows_of(path)
    lines = ["| | " + " | ".join(NETWORKS.values()) + " |", "|---|---|---|"]
    shown = [
        ("published, best validation loss", "paper", "published_validation_loss"),
        *(
            (f"{name}: {text}", variant, column)
            for variant, name in {"paper": "paper's training", "warm": "from counts", "options": "our options"}.items()
            for column, text in {
                "validation_loss": "best validation loss",
                "test_loss": "test loss",
                "net_loss": "512 more signals",
            }.items()
        ),
        ("hard OMP, IHT", "paper", "hard_loss"),
        ("hard OMP, IHT, oracle weights", "paper", "hard_oracle_loss"),
        ("least squares on the true support (complex)", "paper", "true_support_loss"),
    ]
    for text, variant, column in shown:
        cells = []
        for network in NETWORKS:
            mine = [row for row in rows if (row["network"], row["variant"]) == (network, variant)]
            cells.append(listed(mine[:1] if column == "published_validation_loss" else mine, column))
        lines.append(f"| {text} | {' | '.join(cells)} |")
    return "\n".join(lines)


def solvers_as_markdown(path):
    """Loss of every solver with every kind of weights, seeds side by side."""
    heads = {
        "one": "weights one", "counted": "counted", "learned": "learned (paper)",
        "learned, warm": "learned from counts", "oracle": "oracle",
    }  # fmt: skip
    solvers = {"network": "the network itself", "omp": "OMP", "iht": "IHT", "omp+sp": "OMP + SP"}
    lines = ["| signals | solver | " + " | ".join(heads.values()) + " |", "|---|---|" + "---|" * len(heads)]
    rows = rows_of(path)
    for network, title in NETWORKS.items():
        for solver, name in solvers.items():
            for field in ("complex", "real"):
                which = [r for r in rows if (r["network"], r["solver"], r["field"]) == (network, solver, field)]
                cells = [listed([r for r in which if r["weights"] == weights], "loss") for weights in heads]
                lines.append(f"| {title} | {name}, {field} | {' | '.join(cells)} |")
        for field in ("complex", "real"):
            truth = [r for r in rows if (r["network"], r["solver"], r["field"]) == (network, "true support", field)]
            lines.append(f"| {title} | true support, {field} | {listed(truth, 'loss')} |" + " |" * (len(heads) - 1))
    return "\n".join(lines)


def start_as_markdown(path):
    """Test losses over the oracle's of ten seeds per recipe."""
    rows = rows_of(path)
    heads = ["start and training", "epochs", "median", "least", "largest", "before training", "seeds above 10"]
    lines = [f"| {' | '.join(heads)} |", "|---|" + "--:|" * (len(heads) - 1)]
    for recipe in dict.fromkeys(row["recipe"] for row in rows):
        mine = [row for row in rows if row["recipe"] == recipe]
        ratios = [row["test_loss"] / row["oracle_loss"] for row in mine]
        before = statistics.median(row["start_loss"] / row["oracle_loss"] for row in mine)
        failed = f"{sum(ratio > 10 for ratio in ratios)} of {len(ratios)}"
        numbers = [statistics.median(ratios), min(ratios), max(ratios), before]
        shown = " | ".join(f"{v:.0f}" if v >= 10 else f"{v:.1f}" for v in numbers)
        lines.append(f"| {recipe} | {mine[0]['epochs']} | {shown} | {failed} |")
    return "\n".join(lines)


def family_as_markdown(path):
    """Share of signals that each network fails on, in per cent, seeds side by side."""
    rows = [row for row in rows_of(path) if row["method"] == "network"]
    heads = {
        "one": "weights one", "learned, ones": "from ones", "learned, clipped": "from ones, clipped",
        "counted": "counted", "learned, counted": "from counted", "oracle": "oracle",
    }  # fmt: skip
    lines = [f"| | {' | '.join(heads.values())} |", "|---|" + "---|" * len(heads)]
    for network, eta in family.NETWORKS:
        mine = [row for row in rows if (row["network"], row["eta"]) == (network, eta)]
        shares = [[f"{100 * row['failed']:.2g}" for row in mine if row["weights"] == weights] for weights in heads]
        lines.append(f"| {family.title(network, eta)} | {' | '.join(map(', '.join, shares))} |")
    return "\n".join(lines)


SHOWN = {
    "results/dgu-start/summary.csv": start_as_markdown,
    "results/dgu-fig3/summary.csv": fig3_as_markdown,
    "results/dgu-solvers/solvers.csv": solvers_as_markdown,
    "results/dgu-family/methods.csv": family_as_markdown,
}


@pytest.mark.parametrize("path", SHOWN)
def test_tables_are_the_committed_results(path):
    (shown,) = re.findall(rf"<!-- table: {re.escape(path)} -->\n(.*?)\n<!-- end of table -->", PAGE, flags=re.DOTALL)
    assert shown == SHOWN[path](path)


def test_every_committed_picture_is_on_the_page():
    pictures = {path.parent.name for path in ROOT.glob("results/dgu-*/figure.png")}
    assert pictures == set(re.findall(r"\.\./results/([\w-]+)/figure\.png", PAGE))
