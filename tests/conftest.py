"""What all tests share: reproducible draws, no more threads than a small machine has, and the devices."""

import signal

import pytest
import torch
from hypothesis import settings

from helpers import DEVICES
from pursuit.solvers import whitened_lasso

settings.register_profile("pursuit", deadline=None, derandomize=True, database=None, max_examples=3)
settings.load_profile("pursuit")
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in `make test &`: tests and their children wait for Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)
torch.set_num_threads(1)  # on problems this small, threads cost more than they give


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    """Every device that the machine has."""
    return request.param


@pytest.fixture(autouse=True)
def signals_as_before():
    """A command that was stopped leaves Ctrl-C to the system, and the tests after it would not hear of one."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def rough_lasso():
    """SEA+ with a rougher start, where all it does holds of any: its LASSO takes more time than all that is tested."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(whitened_lasso, "LASSO_STEPS", 20)
        yield
