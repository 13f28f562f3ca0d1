"""The experiments by name."""

from __future__ import annotations

import csv
import importlib
from pathlib import Path
from typing import Any

# Name -> what it shows.
EXPERIMENTS = {
    "dgu-fig1": "sorting and softsort of one vector",
    "dgu-fig2": "Soft-OMP and Soft-IHT next to OMP and IHT, over the temperature",
    "dgu-fig3": "OMP-Net and IHT-Net: losses, learned weights, errors",
    "dgu-solvers": "learned, counted and oracle weights, in the networks and in hard solvers",
    "dgu-start": "OMP-Net from counted places and from ones, ten seeds",
    "dgu-relaxations": "softsort, NeuralSort and optimal transport: accuracy and cost",
    "dgu-family": "networks unrolled from OMP, IHT, SP, HTP and CoSaMP, from ones and from counted places",
    "dgu-layers": "weights, step sizes and temperatures: per layer or shared, fixed or learned",
    "dgu-generalization": "trained networks on signals with another structure",
    "dgu-bounds": "distance of soft and hard solvers, and its bound, over the temperature",
    "dgu-complex": "gradients through complex matrices",
    "dgu-weighted-lasso": "greedy weighted LASSO, hard and soft",
    "na-fig1": "NA-ALISTA: LSTM inputs against the true error",
    "na-fig2": "NA-ALISTA and its competitors over the layers, N = 2000",
    "na-fig3": "NA-ALISTA and its competitors over the number of unknowns",
    "na-fig4": "NA-ALISTA over the size of its LSTM",
    "na-fig5": "NA-ALISTA: thresholds over step sizes against the true error",
    "na-fig6": "NA-ALISTA and its competitors over the layers, for N and SNR",
    "na-recipes": "recipes for the networks that grow, on validation signals (not in the paper)",
    "na-weights": "ALISTA with exact weights and with those of the authors' code (not in the paper)",
    "na-oracle": "networks, AMP and OMP next to the oracle: error and time (not in the paper)",
    "na-family": "the learned ISTA family side by side: error over the layers and costs (not in the paper)",
    "na-communication": "NA-ALISTA and its competitors on OFDM channel estimation",
    "sea-fig1": "SEA and its competitors on one deconvolution: every solution",
    "sea-fig2": "SEA and its competitors on deconvolution: support distance over the number of spikes",
    "sea-ablation": "SEA+ without each of its parts, on the signals of sea-fig2 (not in the paper)",
    "sea-theory": "how far the theorem of SEA reaches, and first hits against the bound T_RIP (not in the paper)",
    "sea-oracle": "SEA beside the oracle, which moves X by the true signal (not in the poster)",
    "sea-regression": "least squares on real data: training loss over the number of columns, rows held out",
    "sea-classification": "logistic loss on real data: training loss over the number of columns, rows held out",
    "sea-net": "SEA-Net next to IHT-Net and OMP-Net, before and after training",
    "sea-fig3": "SEA and its competitors on Gaussian matrices: phase transitions",
}


def module(name: str) -> Any:
    """The module of an experiment.

    Raises
    ------
    ValueError
        If there is no experiment of that name.
    """
    if name not in EXPERIMENTS:
        raise ValueError(f"experiment is {name!r}; choose one of {', '.join(EXPERIMENTS)}.")
    paper, _, experiment = name.partition("-")
    return importlib.import_module(f".{paper}.{experiment.replace('-', '_')}", __package__)


def published(file: str) -> list[dict[str, str]]:
    """The rows of a paper's published numbers."""
    path = Path(__file__).parent / "published" / file
    with path.open(newline="") as text:
        return list(csv.DictReader(text))
