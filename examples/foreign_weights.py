"""Networks that NA-ALISTA's authors trained, as networks of pursuit.

Their parameters come as an .npz file of plain arrays; names in their files vary, so bring them to these first:

    phi (m, n), weights (m, n)            the matrix, with unit columns, and W
    lstm_weight_ih (4 h, 2)               inputs r, u; gates in torch's order: input, forget, cell, output
    lstm_weight_hh (4 h, h), lstm_bias_ih (4 h), lstm_bias_hh (4 h)
    hidden_weight (h, h), hidden_bias (h), output_weight (2, h), output_bias (2): step size first, threshold second
    initial_hidden (h), initial_cell (h)
    mean_r, std_r, mean_u, std_u          of the first batch that their network saw; they are not in their files

or, for ALISTA, phi, weights, gamma (layers) and theta (layers). With numpy: np.savez("theirs.npz", phi=..., ...).

    python examples/foreign_weights.py theirs.npz --sparsity 50 -o ours.safetensors
    python examples/foreign_weights.py --demo

The statistics matter in all their digits. Where they are lost, leave them out and call `net.prepare(y)` with
measurements of 10 000 signals or more: near enough for some of the published networks, not for all.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from pursuit import nets

NAMES = {
    "lstm_weight_ih": "cell.weight_ih",
    "lstm_weight_hh": "cell.weight_hh",
    "lstm_bias_ih": "cell.bias_ih",
    "lstm_bias_hh": "cell.bias_hh",
    "hidden_weight": "head.0.weight",
    "hidden_bias": "head.0.bias",
    "output_weight": "head.2.weight",
    "output_bias": "head.2.bias",
    "initial_hidden": "h0",
    "initial_cell": "c0",
}
STATISTICS = ("mean_r", "mean_u", "std_r", "std_u")


def convert(theirs, layers, sparsity):
    """Our network from their arrays, by name; ALISTA where there is no LSTM."""
    need(theirs, "phi", "weights")
    phi, W = (torch.as_tensor(theirs[name]) for name in ("phi", "weights"))
    if (phi.square().sum(0) - 1).abs().max() > 1e-3:
        raise ValueError("the columns of phi are not of unit norm, as step sizes and thresholds of theirs need them.")
    if "gamma" in theirs:
        need(theirs, "theta")
        net = nets.ALISTA(phi, layers=len(theirs["gamma"]), sparsity=sparsity, W=W)
        names = {"gamma": "gamma", "theta": "theta"}
    else:
        need(theirs, *NAMES)
        net = nets.NAALISTA(phi, layers=layers, sparsity=sparsity, hidden=len(theirs["initial_cell"]), W=W)
        names = NAMES
    state = {ours: torch.as_tensor(theirs[name]) for name, ours in names.items()}
    if names is NAMES and all(name in theirs for name in STATISTICS):
        mean_r, mean_u, std_r, std_u = (float(theirs[name]) for name in STATISTICS)
        state |= {"mean": torch.tensor([mean_r, mean_u], dtype=phi.dtype)}
        state |= {"std": torch.tensor([std_r, std_u], dtype=phi.dtype)}
        state |= {"prepared": torch.tensor(True)}
    net.to(phi.dtype).load_state_dict(net.state_dict() | state)  # in their precision from the start
    return net


def need(theirs, *names):
    """Raise ValueError unless there are arrays of these names."""
    missing = [name for name in names if name not in theirs]
    if missing:
        raise ValueError(f"no {', '.join(missing)} among {', '.join(theirs) or 'no arrays'}; see the top of this file.")


def read(path):
    """The arrays of an .npz file; nothing in it can run code."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


# The demonstration: random numbers in their form, and their forward pass written out again.


def invent(rng, m=20, n=40, h=8):
    """Arrays like theirs."""
    phi = rng.standard_normal((m, n))
    phi /= np.linalg.norm(phi, axis=0)
    shapes = {
        "lstm_weight_ih": (4 * h, 2), "lstm_weight_hh": (4 * h, h), "lstm_bias_ih": (4 * h,), "lstm_bias_hh": (4 * h,),
        "hidden_weight": (h, h), "hidden_bias": (h,), "output_weight": (2, h), "output_bias": (2,),
        "initial_hidden": (h,), "initial_cell": (h,),
    }  # fmt: skip
    W = phi + 0.02 * rng.standard_normal((m, n))
    numbers = {"mean_r": 7.31, "std_r": 2.17, "mean_u": 14.23, "std_u": 4.57}
    return {
        "phi": phi,
        "weights": W / np.sum(W * phi, axis=0),
        **{name: 0.2 * rng.standard_normal(shape) for name, shape in shapes.items()},
        **{name: np.array(value) for name, value in numbers.items()},
    }


def forward(theirs, y, layers, sparsity):
    """Their network for one signal."""
    t, sigmoid = theirs, lambda v: 1 / (1 + np.exp(-v))
    x, h, c = np.zeros(t["phi"].shape[1]), t["initial_hidden"], t["initial_cell"]
    for p in np.floor(np.linspace(1.2 * sparsity // layers, 1.2 * sparsity, layers) + 1e-9).astype(int):
        b = t["phi"] @ x - y
        back = t["weights"].T @ b
        r = (np.abs(b).sum() - t["mean_r"]) / t["std_r"]
        u = (np.abs(back).sum() - t["mean_u"]) / t["std_u"]
        gates = t["lstm_weight_ih"] @ [r, u] + t["lstm_bias_ih"] + t["lstm_weight_hh"] @ h + t["lstm_bias_hh"]
        i, f, g, o = np.split(gates, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        out = t["output_weight"] @ np.maximum(t["hidden_weight"] @ c + t["hidden_bias"], 0) + t["output_bias"]
        gamma, theta = np.log1p(np.exp(out))
        z = x - gamma * back
        passing = np.abs(z) > np.sort(np.abs(z))[-p] if p else np.zeros(len(z), dtype=bool)
        x = np.where(passing, z, np.sign(z) * np.maximum(np.abs(z) - theta, 0))
    return x


def forward_alista(theirs, y, sparsity):
    """Their ALISTA for one signal."""
    phi, W, layers = theirs["phi"], theirs["weights"], len(theirs["gamma"])
    x, counts = np.zeros(phi.shape[1]), np.linspace(1.2 * sparsity // layers, 1.2 * sparsity, layers)
    for p, gamma, theta in zip(np.floor(counts + 1e-9).astype(int), theirs["gamma"], theirs["theta"], strict=True):
        z = x - gamma * (W.T @ (phi @ x - y))
        passing = np.abs(z) > np.sort(np.abs(z))[-p] if p else np.zeros(len(z), dtype=bool)
        x = np.where(passing, z, np.sign(z) * np.maximum(np.abs(z) - theta, 0))
    return x


def demo():
    """Write such files, read them, and compare; the largest difference of each network."""
    rng, layers, sparsity = np.random.default_rng(0), 6, 4
    adaptive = invent(rng)
    plain = {name: adaptive[name] for name in ("phi", "weights")}
    plain |= {"gamma": 0.5 + 0.5 * rng.random(layers), "theta": 0.2 * rng.random(layers)}
    y = np.where(rng.random((5, 40)) < 0.1, rng.standard_normal((5, 40)), 0) @ adaptive["phi"].T
    worst = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, theirs in (("NA-ALISTA", adaptive), ("ALISTA", plain)):
            path = Path(folder) / "theirs.npz"
            np.savez(path, **theirs)
            net = convert(read(path), layers, sparsity)
            nets.save(net, Path(folder) / "ours.safetensors")
            ours = nets.load(Path(folder) / "ours.safetensors")(torch.as_tensor(y)).detach().numpy()
            same = forward if theirs is adaptive else lambda t, v, _, s: forward_alista(t, v, s)
            worst[name] = max(np.abs(same(theirs, v, layers, sparsity) - x).max() for v, x in zip(y, ours, strict=True))
    return worst


def main(arguments=None):
    """The command line; its exit status."""
    parser = argparse.ArgumentParser(description="Networks that NA-ALISTA's authors trained, as networks of pursuit.")
    parser.add_argument("arrays", nargs="?", help="an .npz file of arrays named as the top of this file says")
    parser.add_argument("--layers", type=int, default=16, help="of NA-ALISTA")
    parser.add_argument("--sparsity", type=int, default=50, help="expected number of non-zeros")
    parser.add_argument("-o", "--output", default="ours.safetensors")
    parser.add_argument("--demo", action="store_true", help="with random numbers, against their forward pass")
    options = parser.parse_args(arguments)
    if options.demo:
        worst = demo()
        for name, difference in worst.items():
            print(f"{name}: largest difference to their forward pass {difference:.1e}")
        return int(max(worst.values()) > 1e-6)
    if options.arrays is None:
        parser.error("give an .npz file, or --demo")
    try:
        nets.save(convert(read(options.arrays), options.layers, options.sparsity), options.output)
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        print(f"{options.arrays}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print(f"written: {options.output}; pursuit.nets.load({options.output!r})(y)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
