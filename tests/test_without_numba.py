"""Without Numba everything works as with the kernels switched off."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import pursuit
from helpers import SOLVERS, gaussian, instance, normal, recover
from pursuit import config, kernels, nets

BLOCKED = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("numba", "llvmlite"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
import numpy as np
from test_without_numba import results
np.savez(sys.argv[1], **results())
"""


def results():
    """What solvers and networks give, and the derivatives of networks, as arrays by name."""
    p = instance(gaussian(), 4, batch=(3,), noise=0.05)
    found = {name: recover(name, p.A, p.y, 4, max_steps=5).x.numpy() for name in SOLVERS}
    found["relaxation"] = pursuit.softsort(normal(1, 2, 9), 0.1, 3).numpy()
    for make, options in (
        (nets.OMPNet, {}),
        (nets.IHTNet, {"k": 3, "eta": 0.4}),
        (nets.LAMP, {"sparsity": 3}),
        (nets.LISTA, {}),
    ):
        net = make(p.A, layers=2, **options).double()
        out = net(p.y)
        (out - p.x).square().sum().backward()
        found[make.__name__] = out.detach().numpy()
        found |= {f"{make.__name__}.{n}": v.grad.numpy() for n, v in net.named_parameters() if v.grad is not None}
    found["kernels"] = np.array([kernels.module("cpu", name) is not None for name in ("sea", "softsort", "append")])
    return found


def test_without_numba(tmp_path, monkeypatch):
    pytest.importorskip("numba")  # else there is nothing to compare with
    here = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(here), str(here.parent / "src")])}
    command = [sys.executable, "-W", "error", "-c", BLOCKED, tmp_path / "found.npz"]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    found = np.load(tmp_path / "found.npz")
    monkeypatch.setattr(config, "kernels", "off")
    wanted = results()
    assert not found["kernels"].any()
    assert wanted.pop("kernels").all()
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-9, atol=1e-11, err_msg=name)
