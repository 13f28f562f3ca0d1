"""The examples run as they are, and say what is wrong with what they are given."""

import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from helpers import without_notice
from pursuit import nets

EXAMPLES = Path(__file__).parent.parent / "examples"
FOREIGN = EXAMPLES / "foreign_weights.py"


def test_foreign_weights_demo():
    run = subprocess.run([sys.executable, FOREIGN, "--demo"], capture_output=True, text=True, check=False)
    assert (run.returncode, without_notice(run.stderr)) == (0, "")
    lines = run.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["NA-ALISTA", "ALISTA"]
    assert all(float(line.split()[-1]) < 1e-6 for line in lines)


def test_foreign_weights_from_a_file(tmp_path, capsys):
    example = runpy.run_path(str(FOREIGN))
    theirs, ours = tmp_path / "theirs.npz", tmp_path / "ours.safetensors"
    arrays = {name: v.astype(np.float32) for name, v in example["invent"](np.random.default_rng(1)).items()}
    np.savez(theirs, **arrays)
    assert example["main"]([str(theirs), "--sparsity", "4", "--layers", "5", "-o", str(ours)]) == 0
    net, y = nets.load(ours), torch.ones(20)
    assert (net.layers, net.config["hidden"], net(y).dtype) == (5, 8, torch.float32)
    wanted = torch.as_tensor(example["forward"](arrays, y.numpy(), 5, 4))
    torch.testing.assert_close(net(y).detach(), wanted.float(), rtol=1e-3, atol=1e-3)
    # Without the statistics it says what to do.
    np.savez(theirs, **{name: v for name, v in arrays.items() if not name.startswith(("mean", "std"))})
    assert example["main"]([str(theirs), "-o", str(ours)]) == 0
    with pytest.raises(ValueError, match=r"call net\.prepare\(y\)"):
        nets.load(ours)(y)
    capsys.readouterr()
    for bad, message in (
        ({"phi": arrays["phi"]}, "no weights among phi; see the top of this file"),
        ({"phi": arrays["phi"], "weights": arrays["weights"]}, "no lstm_weight_ih, lstm_weight_hh"),
        (arrays | {"weights": 2 * arrays["weights"]}, "W does not belong to A"),
        (arrays | {"hidden_weight": np.ones((3, 3))}, "size mismatch for head.0.weight"),
        ({"phi": np.array([{}], dtype=object)}, "allow_pickle=False"),
    ):
        np.savez(theirs, **bad)
        assert example["main"]([str(theirs), "-o", str(tmp_path / "not.safetensors")]) == 2
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1
    assert not (tmp_path / "not.safetensors").exists()


def test_the_picture_of_the_readme_can_be_made_again(tmp_path):
    picture = tmp_path / "new" / "spikes.png"
    run = subprocess.run([sys.executable, EXAMPLES / "spikes.py", picture], capture_output=True, text=True, check=False)
    assert (run.returncode, without_notice(run.stderr)) == (0, "")
    assert run.stdout.startswith("true [ 30  38  90 150 159], found [ 30  38  90 150 159]")
    drawn, committed = (imread(path) for path in (picture, EXAMPLES.parent / "results/spikes/figure.png"))
    assert drawn.shape == committed.shape
    assert np.abs(drawn - committed).mean() < 0.01  # another version of Matplotlib may set letters otherwise
    assert np.abs(committed - 1).mean() > 0.01  # it is not empty
