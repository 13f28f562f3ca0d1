"""Ensembles, training that goes on after interruptions, and `pursuit train`."""

import csv
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from helpers import training_of
from pursuit import cli, nets, relaxations
from pursuit.ensembles import Ensemble, Mixture, bernoulli_gaussian, fourier_levels, gaussian_levels
from pursuit.operators import Dense
from pursuit.training import Epoch, TrainingError, fit
from pursuit.training import checkpoint as module

SMALL = {"n": 16, "m": 8, "k": 2, "admissible": 4}
QUICK = {"epochs": 7, "batch_size": 12, "n_train": 40, "n_validation": 16, "n_test": 20, "checkpoint_every": 2}
ENSEMBLES = {
    "fourier": fourier_levels(**SMALL),
    "fourier of complex signals": fourier_levels(**SMALL, complex_signals=True, dtype=torch.complex128),
    "gaussian": gaussian_levels(**SMALL, dtype=torch.float64),
}
MAKERS = {"fourier": fourier_levels, "gaussian": gaussian_levels}


class Matched(nn.Module):
    """Back-projection with learned structure: stands in for an unrolled network."""

    def __init__(self, ensemble, *, layers=1, complex_weights=False):
        super().__init__()
        self.ensemble, self.config = ensemble, {"layers": layers, "sort": torch.sort}
        real = ensemble.A.dtype.to_real()
        self.weights = nn.Parameter(
            torch.ones(ensemble.A.shape[1], dtype=ensemble.A.dtype if complex_weights else real)
        )
        self.part = nn.Module()
        self.part.log = nn.Parameter(torch.zeros((), dtype=real))
        self.part.register_buffer("progress", torch.zeros(()), persistent=False)
        self.seen = []

    def forward(self, y):
        self.seen.append((len(y), self.training, float(self.part.progress)))
        x = self.weights * self.ensemble.A.adjoint(y) * self.part.log.exp()
        return x.real if self.ensemble.real else x


def numbers(training):
    """What must be the same in two runs: all but the time that it took."""
    return [record._replace(seconds=0) for record in training.log], *training[1:]


def learned(net):
    return {name: value.detach().clone() for name, value in net.named_parameters()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# Ensembles


@pytest.mark.parametrize("name", ENSEMBLES)
def test_signals_are_what_the_ensemble_says(name):
    ensemble = ENSEMBLES[name]
    A = ensemble.A
    y, x = ensemble.draw(3000, torch.Generator().manual_seed(1))
    assert (y.shape, y.dtype) == ((3000, 8), A.dtype)
    assert (x.shape, x.dtype) == ((3000, 16), A.dtype.to_real() if ensemble.real else A.dtype)
    assert ((x != 0).sum(-1) == 2).all()
    assert torch.equal((x != 0).any(0), ensemble.admissible == 1)
    assert ensemble.admissible.sum() == 4
    assert (x[:, ensemble.admissible == 1] != 0).double().mean(0).sub(0.5).abs().max() < 0.05
    torch.testing.assert_close(torch.linalg.vector_norm(x, dim=-1), torch.ones(3000, dtype=x.real.dtype))
    noise = y - A.forward(x.to(A.dtype))
    assert math.sqrt(noise.abs().square().sum(-1).mean()) == pytest.approx(1e-3, rel=0.02)
    if A.dtype.is_complex:
        assert noise.real.std() == pytest.approx(float(noise.imag.std()), rel=0.05)
    torch.testing.assert_close(A.column_norms(), torch.ones(16, dtype=A.dtype.to_real()))


@pytest.mark.parametrize(("n", "m", "frequencies"), [(256, 20, range(-127, 128)), (7, 7, range(-3, 4))])
def test_fourier_matrix_is_the_published_one(n, m, frequencies):
    A = fourier_levels(n=n, m=m, k=2, admissible=4, seed=3, dtype=torch.complex128).A.to_dense().numpy()
    turns = np.angle(A[:, 1]) * n / (-2 * np.pi)
    rows = np.round(turns).astype(int)
    assert list(rows) == sorted(set(rows))
    assert set(rows) <= set(frequencies)
    np.testing.assert_allclose(A, np.exp(-2j * np.pi * np.outer(rows, np.arange(n)) / n) / np.sqrt(m), atol=1e-13)


@pytest.mark.parametrize("name", MAKERS)
def test_one_seed_one_ensemble_and_draws_use_only_the_generator_given(name):
    first, again, other = (MAKERS[name](**SMALL, seed=seed) for seed in (5, 5, 6))
    assert torch.equal(first.A.to_dense(), again.A.to_dense())
    assert torch.equal(first.admissible, again.admissible)
    assert not torch.equal(first.A.to_dense(), other.A.to_dense())
    torch.manual_seed(0)
    draws = [e.draw(4, torch.Generator().manual_seed(s)) for e, s in ((first, 1), (again, 1), (first, 2))]
    assert torch.initial_seed() == 0
    assert all(torch.equal(a, b) for a, b in zip(draws[0], draws[1], strict=True))
    assert not torch.equal(draws[0][1], draws[2][1])
    instance = first.instance(3, seed=1)
    assert instance.y.shape == (3, 8)
    assert instance.settings["signals"] == 3


def test_without_admissible_places_non_zeros_are_anywhere():
    ensemble = Ensemble("all", Dense(torch.eye(6)), k=1, real=True, noise=0.0, settings={})
    y, x = ensemble.draw(200, torch.Generator().manual_seed(0))
    assert torch.equal(y, x)
    assert (x != 0).any(0).all()


EYE = Dense(torch.eye(4))
BAD_ENSEMBLES = [
    (lambda: fourier_levels(n=16, m=16), "m is 16 and n is 16; needed is m <= 15"),
    (lambda: fourier_levels(**SMALL | {"k": 9}), "k is 9; needed is 1 <= k <= 8"),
    (lambda: fourier_levels(**SMALL | {"admissible": 1}), "admissible is 1; needed is 2 <= admissible <= 16"),
    (lambda: fourier_levels(**SMALL, dtype=torch.float32), "use complex64 or complex128"),
    (lambda: fourier_levels(**SMALL, noise=-1.0), "noise is -1.0"),
    (lambda: gaussian_levels(**SMALL | {"m": 17}), "needed is 1 <= m <= n"),
    (lambda: gaussian_levels(**SMALL | {"admissible": 17}), "admissible is 17"),
    (lambda: gaussian_levels(**SMALL, dtype=torch.complex64), "use float32 or float64"),
    (lambda: Ensemble("x", EYE, 5, True, 0.0, {}), "k is 5; needed is 1 <= k <= 4"),
    (lambda: Ensemble("x", EYE, 2, True, 0.0, {}, torch.eye(4)[0]), "1 <= k <= 1, the number of admissible"),
    (lambda: Ensemble("x", EYE, 2, True, 0.0, {}, torch.ones(3)), "admissible has shape (3,)"),
    (lambda: Ensemble("x", EYE, 2, False, 0.0, {}), "the signals are complex, but the operator is torch.float"),
    (lambda: ENSEMBLES["fourier"].draw(0, torch.Generator()), "0 signals were asked for"),
]


@pytest.mark.parametrize(("make", "message"), BAD_ENSEMBLES, ids=[message for _, message in BAD_ENSEMBLES])
def test_ensembles_that_cannot_be_are_refused(make, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        make()
    assert message in str(error.value)


# Training


@pytest.mark.parametrize("name", ENSEMBLES)
def test_training_learns_and_keeps_the_best(name):
    ensemble = ENSEMBLES[name]
    net, states = Matched(ensemble), []
    training = fit(
        net, ensemble, **QUICK | {"epochs": 40, "lr": 0.03}, on_epoch=lambda record: states.append(learned(net))
    )
    assert training.log[-1].train_loss < 0.8 * training.log[0].train_loss
    losses = [record.validation_loss for record in training.log]
    assert training.validation_loss == min(losses)
    assert training.best_epoch == 1 + losses.index(min(losses))
    assert same(learned(net), states[training.best_epoch - 1])
    assert [record.epoch for record in training.log] == list(range(1, 41))
    assert [record.step for record in training.log] == list(range(4, 161, 4))


def test_losses_are_the_means_of_squared_errors_and_test_signals_are_seen_once(monkeypatch):
    drawn = []
    draw = Ensemble.draw

    def spy(self, count, rng):
        drawn.append(draw(self, count, rng))
        return drawn[-1]

    monkeypatch.setattr(Ensemble, "draw", spy)
    ensemble = ENSEMBLES["fourier"]
    net = Matched(ensemble)
    training = fit(net, ensemble, **QUICK)
    assert sorted(len(y) for y, _ in drawn) == [16, 20, 40]
    assert len({float(y.abs().sum()) / len(y) for y, _ in drawn}) == 3
    for count, loss in ((16, training.validation_loss), (20, training.test_loss)):
        y, x = next(pair for pair in drawn if len(pair[0]) == count)
        assert loss == pytest.approx(float((net(y) - x).detach().square().sum(-1).mean()), rel=1e-6)
    seen = [count for count, training, _ in net.seen if not training]
    assert seen.count(20) == 1
    assert {count for count, training, _ in net.seen[1:-2] if training} == {12, 4}


def test_progress_is_the_share_of_the_training_that_is_over():
    net = Matched(ENSEMBLES["fourier"])
    fit(net, ENSEMBLES["fourier"], **QUICK | {"epochs": 3})
    steps = [progress for count, training, progress in net.seen[1:] if training]
    np.testing.assert_allclose(steps, np.arange(12) / 12, rtol=1e-6)
    validations = [progress for count, training, progress in net.seen[1:] if count == 16]
    np.testing.assert_allclose(validations, [1 / 3, 2 / 3, 1], rtol=1e-6)


def test_the_mode_of_the_network_is_left_as_it_was():
    for mode in (True, False):
        net = Matched(ENSEMBLES["fourier"]).train(mode)
        fit(net, ENSEMBLES["fourier"], **QUICK)
        assert net.training is mode


SCHEDULES = [
    ({"halve_every": 2}, [1, 1, 0.5, 0.5, 0.25]),
    ({"halve_every": None}, [1, 1, 1, 1, 1]),
    ({"schedule": "cosine"}, [(1 + math.cos(math.pi * e / 5)) / 2 for e in range(5)]),
]


@pytest.mark.parametrize(("options", "shares"), SCHEDULES, ids=["halve", "constant", "cosine"])
def test_learning_rate_schedules(options, shares):
    training = fit(Matched(ENSEMBLES["gaussian"]), ENSEMBLES["gaussian"], **QUICK | {"epochs": 5, "lr": 0.02} | options)
    assert [record.lr for record in training.log] == pytest.approx([0.02 * share for share in shares])


@pytest.mark.parametrize(("optimizer", "first_move"), [("rmsprop", 10.0), ("adam", 1.0)])
@pytest.mark.parametrize(
    ("factors", "expected"), [({}, (1, 1)), ({"part": 0.5}, (1, 0.5)), ({"p": 3, "part.l": 2}, (1, 2))]
)
def test_factors_multiply_the_learning_rate_by_name(optimizer, first_move, factors, expected):
    net = Matched(ENSEMBLES["gaussian"])
    before = learned(net)
    one_step = QUICK | {"epochs": 1, "batch_size": 40, "lr": 1e-3, "clip": None}
    fit(net, ENSEMBLES["gaussian"], optimizer=optimizer, lr_factors=factors, **one_step)
    moved = {name: float((value - before[name]).abs().max()) / 1e-3 for name, value in learned(net).items()}
    assert [moved["weights"], moved["part.log"]] == pytest.approx([first_move * share for share in expected], rel=1e-2)


@pytest.mark.parametrize("clip", [1e-3, None])
def test_the_gradient_is_clipped(clip):
    net = Matched(ENSEMBLES["gaussian"])
    fit(net, ENSEMBLES["gaussian"], **QUICK, clip=clip)
    norm = torch.stack([p.grad.square().sum() for p in net.parameters()]).sum().sqrt()
    assert norm == pytest.approx(1e-3, rel=1e-3) if clip else norm > 0.01


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_the_gradient_of_every_signal_is_clipped(dtype):
    ensemble = Ensemble(
        "y = x", Dense(torch.eye(6, dtype=dtype)), k=2, real=not dtype.is_complex, noise=0.0, settings={}
    )
    step = {"epochs": 1, "batch_size": 40, "n_train": 40, "n_validation": 8, "n_test": 8, "lr": 1e-12, "clip": None}

    def network():
        net = Matched(ensemble, complex_weights=dtype.is_complex)
        with torch.no_grad():
            net.weights += torch.arange(6)
        return net

    first, batches = network(), []
    first.register_forward_pre_hook(lambda net, given: batches.append(given[0]) if len(given[0]) == 40 else None)
    fit(first, ensemble, **step)
    whole = [p.grad.clone() for p in first.parameters()]
    single = []
    for y in batches[0].to(dtype):
        first.zero_grad()
        (first(y) - (y if dtype.is_complex else y.real)).abs().square().sum().backward()
        single.append([p.grad.clone() for p in first.parameters()])
    norms = [math.sqrt(sum(float(g.abs().square().sum()) for g in gradients)) for gradients in single]
    largest = sorted(norms)[20]  # about half of the signals are above
    for limit, expected in (
        (2 * max(norms), whole),
        (largest, [sum(g * min(1, largest / norm) for g, norm in zip(one, norms, strict=True)) / 40
                   for one in zip(*single, strict=True)]),
    ):  # fmt: skip
        net = network()
        fit(net, ensemble, **step, clip_each=limit)
        torch.testing.assert_close([p.grad for p in net.parameters()], expected)


def test_greedy_networks_train_with_clipped_signals():
    """Also where an epoch ends with a smaller batch."""
    ensemble = ENSEMBLES["fourier"]
    for net in (
        nets.OMPNet(ensemble.A, layers=2, tau=0.1),
        nets.CoSaMPNet(ensemble.A, k=2, layers=2, tau=0.1),
        nets.HTPNet(ensemble.A, k=2, layers=2, tau=0.1),
    ):
        losses = [epoch.train_loss for epoch in fit(net, ensemble, **QUICK, clip_each=1.0).log]
        assert losses[-1] < losses[0]


def test_validation_can_be_rarer_and_ends_the_training():
    training = fit(Matched(ENSEMBLES["gaussian"]), ENSEMBLES["gaussian"], **QUICK, validate_every=3)
    assert [record.epoch for record in training.log if record.validation_loss is not None] == [3, 6, 7]
    assert training.best_epoch in (3, 6, 7)


def test_one_seed_one_result_and_fresh_signals_differ_from_fixed_ones():
    ensemble = ENSEMBLES["fourier"]
    runs = [fit(Matched(ensemble), ensemble, **QUICK, **more) for more in ({}, {}, {"seed": 1}, {"resample": True})]
    assert numbers(runs[0]) == numbers(runs[1])
    first, _, other, fresh = ([record.train_loss for record in run.log] for run in runs)
    assert first[0] != other[0]
    assert first[0] == fresh[0]  # the first epoch's signals are the same
    assert first[1] != fresh[1]


# Decibels


def test_decibels_are_of_the_ratio_of_the_sums_over_all_signals(monkeypatch, tmp_path):
    draw = Ensemble.draw
    drawn = []

    def uneven(self, count, rng):
        """Signals of different norms, so that a mean of ratios would be another number."""
        scale = torch.linspace(0.1, 3, count, dtype=torch.float64).unsqueeze(-1)
        y, x = draw(self, count, rng)
        drawn.append((y * scale, x * scale))
        return drawn[-1]

    monkeypatch.setattr(Ensemble, "draw", uneven)
    ensemble = ENSEMBLES["gaussian"]
    net = Matched(ensemble)
    training = fit(net, ensemble, **QUICK, validate_every=3, folder=tmp_path)
    for count, decibel in ((16, training.validation_db), (20, training.test_db)):
        y, x = next(pair for pair in drawn if len(pair[0]) == count)
        error = (net(y) - x).detach().square().sum()
        assert decibel == pytest.approx(float(10 * torch.log10(error / x.square().sum())), abs=1e-9)
    assert [record.validation_db is None for record in training.log] == [e not in (3, 6, 7) for e in range(1, 8)]
    assert training.validation_db == training.log[training.best_epoch - 1].validation_db
    with open(tmp_path / "log.csv", newline="") as file:
        shown = [row["validation_db"] for row in csv.DictReader(file)]
    assert shown == ["" if record.validation_db is None else repr(record.validation_db) for record in training.log]


class Constant(nn.Module):
    """Gives zero, whatever it is given; what it learns has no effect."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(4))

    def forward(self, y):
        return y * self.w * 0


@pytest.mark.parametrize(("truth", "decibel"), [(0.0, None), (1.0, 0.0)])
def test_decibels_of_zero_signals_are_none(truth, decibel, monkeypatch, tmp_path):
    monkeypatch.setattr(
        Ensemble, "draw", lambda self, count, rng: (torch.ones(count, 4), torch.full((count, 4), truth))
    )
    ensemble = Ensemble("one", Dense(torch.eye(4)), k=1, real=True, noise=0.0, settings={})
    for _ in range(2):  # the second is read from the folder
        training = fit(Constant(), ensemble, epochs=2, n_train=8, folder=tmp_path)
        assert (training.validation_db, training.test_db) == (decibel, decibel)
        assert training.log[0].validation_db == decibel


def test_signals_that_are_met_are_minus_infinity_in_decibels(monkeypatch, tmp_path):
    monkeypatch.setattr(Ensemble, "draw", lambda self, count, rng: (torch.zeros(count, 4), torch.ones(count, 4)))
    ensemble = Ensemble("one", Dense(torch.eye(4)), k=1, real=True, noise=0.0, settings={})
    net = nn.Linear(4, 4)
    nn.init.ones_(net.bias)
    for _ in range(2):
        assert fit(net, ensemble, epochs=1, n_train=8, folder=tmp_path).test_db == -math.inf


# Layer by layer


class Cut(nn.Module):
    """So many back-projections, each with a matrix of its own."""

    def __init__(self, layers=3, *, free=0):
        super().__init__()
        self.layers, self.depth = layers, None
        self.maps = nn.ParameterList(torch.full((16, 8), 0.02, dtype=torch.float64) for _ in range(layers))
        for p in self.maps[:free]:
            p.requires_grad_(False)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.seen = []

    def forward(self, y):
        self.seen.append((self.depth, self.training, [p.grad is not None for p in self.maps]))
        self.calls += self.training
        x = y.new_zeros(len(y), 16)
        for W in self.maps[: self.depth]:
            x = x + (y - x @ ENSEMBLES["gaussian"].A.to_dense().T) @ W.T
        return x


@pytest.mark.parametrize("optimizer", ["rmsprop", "adam"])
def test_layers_are_trained_one_after_another_then_the_whole(optimizer):
    net, maps = Cut(), []
    options = QUICK | {"epochs": 8, "layerwise_epochs": 2, "optimizer": optimizer, "lr": 1e-3}
    training = fit(
        net,
        ENSEMBLES["gaussian"],
        **options,
        on_epoch=lambda record: maps.append([p.detach().clone() for p in net.maps]),
    )
    depths = [depth for depth, while_training, _ in net.seen[1:] if while_training]
    assert depths == [1] * 8 + [2] * 8 + [3] * 8 + [None] * 8
    validated = [depth for depth, while_training, _ in net.seen if not while_training]
    assert validated == [1, 1, 2, 2, 3, 3, None, None, None]  # the last are the test signals
    assert net.depth is None
    start = torch.full((16, 8), 0.02, dtype=torch.float64)
    moved = [[not torch.equal(p, start) for p in at] for at in maps]
    assert moved == [[True, False, False]] * 2 + [[True, True, False]] * 2 + [[True] * 3] * 4
    assert not torch.equal(maps[1][0], maps[2][0])  # earlier layers go on
    assert None not in [record.validation_loss for record in training.log]


def test_losses_of_a_cut_network_do_not_choose_what_is_kept():
    class Worse(Cut):
        def forward(self, y):
            return super().forward(y) + (self.depth in (None, 3))  # cut, it is much better

    training = fit(Worse(), ENSEMBLES["gaussian"], **QUICK | {"epochs": 8}, layerwise_epochs=2)
    losses = [record.validation_loss for record in training.log]
    assert max(losses[:4]) < min(losses[4:]) == training.validation_loss
    assert training.best_epoch == 5 + losses[4:].index(min(losses[4:]))


def test_first_layers_can_be_without_parameters():
    net = Cut(free=1)
    fit(net, ENSEMBLES["gaussian"], **QUICK, layerwise_epochs=1)
    assert (net.maps[0] == 0.02).all()
    assert not (net.maps[1] == 0.02).any()


@pytest.mark.parametrize("last", range(1, 8))
def test_layer_wise_training_goes_on_where_it_was(last, tmp_path):
    options = QUICK | {"layerwise_epochs": 2, "optimizer": "adam", "checkpoint_every": 1}
    whole, net = Cut(), Cut()
    expected = fit(whole, ENSEMBLES["gaussian"], **options)

    def kill(record):
        if record.epoch == last:
            raise RuntimeError

    stopped = Cut()
    with pytest.raises(RuntimeError):
        fit(stopped, ENSEMBLES["gaussian"], **options, folder=tmp_path, on_epoch=kill)
    assert stopped.depth is None
    assert numbers(fit(net, ENSEMBLES["gaussian"], **options, folder=tmp_path)) == numbers(expected)
    assert same(learned(net), learned(whole))


@pytest.mark.parametrize(("bad", "kept"), [(1, 0), (4, 3), (7, 6)])
def test_a_layer_wise_training_that_fails_keeps_the_last_good_parameters(bad, kept):
    class Spoilt(Cut):
        def forward(self, y):
            x = super().forward(y)
            return x * math.nan if self.training and self.calls == 4 * bad else x

    net, states = Spoilt(), []
    states.append(learned(net))
    with pytest.raises(TrainingError, match=rf"\(epoch {bad}\)"):
        fit(
            net, ENSEMBLES["gaussian"], **QUICK | {"lr": 1e-3}, layerwise_epochs=2,
            on_epoch=lambda record: states.append(learned(net)),
        )  # fmt: skip
    assert net.depth is None
    assert same(learned(net), states[kept])


LAYERLESS = [
    (Cut, {"epochs": 6, "layerwise_epochs": 2}, "needed are more than 6 epochs: so many per layer for 3 layers"),
    (Cut, {"layerwise_epochs": 0}, "layerwise_epochs is 0; needed is a whole number >= 1"),
    (
        lambda: nn.Linear(8, 16).double(),
        {"layerwise_epochs": 1},
        "layerwise_epochs is 1 and Linear cannot be cut; needed are its",
    ),
    (lambda: Matched(ENSEMBLES["gaussian"], layers=2), {"layerwise_epochs": 1}, "Matched cannot be cut"),
]


@pytest.mark.parametrize(("build", "options", "message"), LAYERLESS, ids=[row[-1] for row in LAYERLESS])
def test_networks_that_cannot_be_cut_are_refused(build, options, message, tmp_path):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        fit(build(), ENSEMBLES["gaussian"], **QUICK | options, folder=tmp_path / "run")
    assert message in str(error.value)
    assert not (tmp_path / "run").exists()


# Preparation


class Prepared(Matched):
    """Wants to know how large measurements are, and cannot be called before it does."""

    def __init__(self, ensemble, *, mark):
        super().__init__(ensemble)
        self.register_buffer("size", torch.zeros(()))
        if mark == "buffer":
            self.register_buffer("prepared", torch.tensor(False))
        else:
            self.prepared = False
        self.given = []

    def prepare(self, y):
        self.given.append(y)
        self.size.fill_(float(y.abs().mean()))
        if isinstance(self.prepared, bool):
            self.prepared = True
        else:
            self.prepared.fill_(True)

    def forward(self, y):
        assert self.prepared
        return super().forward(y / self.size)


@pytest.mark.parametrize("mark", ["buffer", "attribute"])
def test_networks_are_prepared_once_with_signals_drawn_for_that(mark, tmp_path, monkeypatch):
    drawn = []
    draw = Ensemble.draw

    def spy(self, count, rng):
        drawn.append(draw(self, count, rng))
        return drawn[-1]

    ensemble = ENSEMBLES["fourier"]
    whole = Prepared(ensemble, mark=mark)
    with monkeypatch.context() as patch:
        patch.setattr(Ensemble, "draw", spy)
        expected = fit(whole, ensemble, **QUICK)
    (given,) = whole.given
    assert given.shape == (16384, 8)
    norms = [float(y[:16].abs().sum()) for y, _ in drawn]
    assert len(set(norms)) == len(norms)
    assert whole.size == given.abs().mean()
    fit(whole, ensemble, **QUICK)
    assert len(whole.given) == 1

    def kill(record):
        if record.epoch == 3:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fit(Prepared(ensemble, mark=mark), ensemble, **QUICK, folder=tmp_path, on_epoch=kill)
    resumed = Prepared(ensemble, mark=mark)
    training = fit(resumed, ensemble, **QUICK, folder=tmp_path)
    assert resumed.given == []
    assert resumed.prepared
    assert resumed.size == given.abs().mean()
    assert numbers(training) == numbers(expected)


def test_a_network_that_stays_unprepared_or_does_not_fit_is_refused():
    class Idle(Prepared):
        def prepare(self, y):
            pass

    class Short(Prepared):
        def forward(self, y):
            return super().forward(y)[:, 1:]

    with pytest.raises(ValueError, match=r"Idle\.prepare left the attribute prepared false"):
        fit(Idle(ENSEMBLES["fourier"], mark="buffer"), ENSEMBLES["fourier"], **QUICK)
    with pytest.raises(ValueError, match=r"Short returns shape \(2, 15\)"):
        fit(Short(ENSEMBLES["fourier"], mark="buffer"), ENSEMBLES["fourier"], **QUICK)


# Interruptions

RESUMED = [
    ("fourier", {}, {}),
    ("fourier", {"optimizer": "adam", "schedule": "cosine"}, {}),
    ("fourier", {"resample": True, "halve_every": 3, "lr_factors": {"part": 0.1}}, {}),
    ("fourier of complex signals", {"validate_every": 3}, {"complex_weights": True}),
    ("gaussian", {"halve_every": None, "clip": None, "optimizer": "adam"}, {}),
    ("fourier of complex signals", {"clip_each": 0.1}, {"complex_weights": True}),
]


@pytest.mark.parametrize("stop", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize(("name", "options", "form"), RESUMED)
def test_resuming_gives_the_numbers_of_a_run_without_interruption(name, options, form, stop, tmp_path):
    ensemble, options = ENSEMBLES[name], QUICK | options
    whole = Matched(ensemble, **form)
    expected = fit(whole, ensemble, **options)

    def kill(record):
        if record.epoch == 5:
            raise stop

    with pytest.raises(stop):
        fit(Matched(ensemble, **form), ensemble, **options, folder=tmp_path, on_epoch=kill)
    epochs, net = [], Matched(ensemble, **form)
    training = fit(net, ensemble, **options, folder=tmp_path, on_epoch=lambda record: epochs.append(record.epoch))
    assert epochs == ([6, 7] if stop is KeyboardInterrupt else [5, 6, 7])
    assert numbers(training) == numbers(expected)
    assert same(learned(net), learned(whole))
    assert net.part.progress == whole.part.progress
    with open(tmp_path / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["train_loss"]) for row in rows] == [record.train_loss for record in training.log]
    files = ["checkpoint.safetensors", "log.csv", "net.safetensors"]
    assert sorted(path.name for path in tmp_path.iterdir()) == files

    again = Matched(ensemble, **form)
    finished = fit(again, ensemble, **options, folder=tmp_path, on_epoch=epochs.append)
    assert finished == training
    assert same(learned(again), learned(whole))
    assert [count for count, *_ in again.seen] == [2]  # only to see whether it fits
    assert len(epochs) <= 3


OTHER_RUNS = [
    ({"lr": 0.5}, {}, {}, "lr is 0.01 there and 0.5 here"),
    ({"seed": 4}, {}, {}, "seed is 0 there and 4 here"),
    ({"clip": None}, {}, {}, "clip is 1.0 there and None here"),
    ({"clip_each": 0.1}, {}, {}, "clip_each is None there and 0.1 here"),
    ({"lr_factors": {"part": 2.0}}, {}, {}, "lr_factors is {} there and {'part': 2.0} here"),
    ({}, {"layers": 2}, {}, "the network's layers is 1 there and 2 here"),
    (
        {},
        {"complex_weights": True},
        {},
        "parameter weights is (16,) torch.float32 there and (16,) torch.complex64 here",
    ),
    ({}, {}, {"n": 18}, "parameter weights is (16,) torch.float32 there and (18,) torch.float32 here"),
    ({}, {}, {"noise": 0.1}, "the ensemble's noise is 0.001 there and 0.1 here"),
    ({}, {}, {"seed": 1}, "the ensemble's seed is 0 there and 1 here"),
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with a run."""
    folder = tmp_path_factory.mktemp("run")
    fit(Matched(ENSEMBLES["fourier"]), ENSEMBLES["fourier"], **QUICK, folder=folder)
    return folder


@pytest.mark.parametrize(("options", "form", "problem", "message"), OTHER_RUNS, ids=[row[-1] for row in OTHER_RUNS])
def test_a_folder_with_another_run_is_refused_and_left_alone(options, form, problem, message, finished):
    before = {path: path.read_bytes() for path in finished.iterdir()}
    ensemble = fourier_levels(**SMALL | problem)
    with pytest.raises(ValueError, match="belongs to another run") as error:
        fit(Matched(ensemble, **form), ensemble, **QUICK | options, folder=finished)
    assert message in str(error.value)
    assert {path: path.read_bytes() for path in finished.iterdir()} == before


def test_training_signals_may_come_from_another_ensemble(tmp_path):
    main = bernoulli_gaussian(n=40, m=20, k=2)
    mixed = Mixture(main, replace(main, k=20), 0.5)
    options = QUICK | {"lr": 1e-12}  # the network stays as it is
    alone = fit(Matched(main), main, **options)
    trained = fit(Matched(main), main, training_ensemble=mixed, folder=tmp_path, **options)
    for one, other in zip(alone.log, trained.log, strict=True):
        assert other.validation_loss == pytest.approx(one.validation_loss)
        assert other.train_loss > 3 * one.train_loss
    assert trained.test_loss == pytest.approx(alone.test_loss)
    for other in (None, Mixture(main, replace(main, k=20), 0.25), Mixture(main, replace(main, k=10), 0.5)):
        with pytest.raises(ValueError, match="belongs to another run"):
            fit(Matched(main), main, training_ensemble=other, folder=tmp_path, **options)


def test_a_mixture_of_shares_and_operators():
    main = bernoulli_gaussian(n=60, m=20, k=2)
    for share, count in ((0, 0), (0.1, 2), (1, 16)):
        y, x = Mixture(main, replace(main, k=50), share).draw(16, torch.Generator().manual_seed(0))
        assert (y.shape, x.shape) == ((16, 20), (16, 60))
        assert ((x != 0).sum(-1) > 20).sum() == count
    with pytest.raises(ValueError, match="share is 2"):
        Mixture(main, main, 2)
    with pytest.raises(ValueError, match="needed are equal ones"):
        Mixture(main, bernoulli_gaussian(n=50, m=20, k=2), 0.5)


def test_a_run_on_another_matrix_of_the_same_settings_is_refused(finished):
    given = ENSEMBLES["fourier"]
    matrix = given.A.to_dense().conj()
    other = Ensemble(given.name, Dense(matrix), given.k, True, given.noise, given.settings, given.admissible)
    with pytest.raises(ValueError, match="its signals or its A are others"):
        fit(Matched(other), other, **QUICK, folder=finished)


def test_a_run_of_another_version_is_refused(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(module, "VERSION", 1)
        fit(Matched(ENSEMBLES["fourier"]), ENSEMBLES["fourier"], **QUICK, folder=tmp_path)
    with pytest.raises(ValueError, match=r"of format 1, from another version of pursuit; .* format 2\. Finish"):
        fit(Matched(ENSEMBLES["fourier"]), ENSEMBLES["fourier"], **QUICK, folder=tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"not a checkpoint", b"\x02\0\0\0\0\0\0\0{}"], ids=["empty", "text", "foreign"]
)
def test_a_file_that_is_no_checkpoint_is_refused(content, tmp_path):
    (tmp_path / "checkpoint.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match="is not a checkpoint of pursuit"):
        fit(Matched(ENSEMBLES["fourier"]), ENSEMBLES["fourier"], **QUICK, folder=tmp_path)


class NanGradient(torch.autograd.Function):
    """The identity, whose derivative is not a number."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * math.nan


def singular(x):
    raise torch.linalg.LinAlgError("singular")


FAILURES = [
    (True, lambda x: x * math.nan, "the loss is not finite at step 10 (epoch 3)"),
    (True, lambda x: x * math.inf, "the loss is not finite at step 10 (epoch 3)"),
    (True, NanGradient.apply, "the gradient is not finite at step 10 (epoch 3)"),
    (True, singular, "the loss is not finite at step 10 (epoch 3; singular)"),
    (False, lambda x: x * math.nan, "the validation loss is not finite at step 12 (epoch 3)"),
    (False, singular, "the validation loss is not finite at step 12 (epoch 3; singular)"),
]


@pytest.mark.parametrize(("while_training", "spoil", "message"), FAILURES)
def test_numbers_that_are_not_finite_stop_the_training(while_training, spoil, message, tmp_path):
    ensemble, states = ENSEMBLES["fourier"], []

    class Spoilt(Matched):
        def forward(self, y):
            x = super().forward(y)
            step = sum(training for _, training, _ in self.seen[1:])
            when = step == 10 if self.training else step == 12 and not while_training
            return spoil(x) if when and self.training is while_training else x

    net = Spoilt(ensemble)
    with pytest.raises(TrainingError) as error:
        fit(net, ensemble, **QUICK, folder=tmp_path, on_epoch=lambda record: states.append((record, learned(net))))
    assert message in str(error.value)
    assert "lower lr, raise tau, or use double precision" in str(error.value)
    assert error.value.epoch == 3
    best = min(states, key=lambda state: state[0].validation_loss)[1]
    assert same(learned(net), best)
    with open(tmp_path / "log.csv", newline="") as file:
        assert [int(row["epoch"]) for row in csv.DictReader(file)] == [1, 2]
    assert (tmp_path / "checkpoint.safetensors").exists()


def test_other_errors_of_the_network_are_not_hidden():
    class Broken(Matched):
        def forward(self, y):
            if len(self.seen) > 3:
                raise KeyError("mine")
            return super().forward(y)

    with pytest.raises(KeyError, match="mine"):
        fit(Broken(ENSEMBLES["fourier"]), ENSEMBLES["fourier"], **QUICK)


BAD_OPTIONS = [
    ({"epochs": 0}, "epochs is 0; needed is a whole number >= 1"),
    ({"batch_size": 1.5}, "batch_size is 1.5"),
    ({"n_test": True}, "n_test is True"),
    ({"seed": -1}, "seed is -1; needed is a whole number >= 0"),
    ({"checkpoint_every": 0}, "checkpoint_every is 0"),
    ({"validate_every": 0}, "validate_every is 0"),
    ({"halve_every": 0}, "halve_every is 0"),
    ({"optimizer": "sgd"}, "optimizer is 'sgd'; choose one of rmsprop, adam"),
    ({"schedule": "steps"}, "schedule is 'steps'; choose one of halve, cosine"),
    ({"lr": math.nan}, "lr is nan; needed is a finite number > 0"),
    ({"clip": -1}, "clip is -1"),
    ({"clip_each": 0}, "clip_each is 0"),
    ({"lr_factors": {"weights": 0}}, "lr_factors['weights'] is 0"),
    (
        {"lr_factors": {"eta": 2.0}},
        "lr_factors has 'eta'; needed is the beginning of a parameter's name: weights, part.log",
    ),
    ({"folder": "/dev/null/x"}, "cannot be written to"),
]


@pytest.mark.parametrize(("options", "message"), BAD_OPTIONS, ids=[message for _, message in BAD_OPTIONS])
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        fit(Matched(ENSEMBLES["fourier"]), ENSEMBLES["fourier"], **QUICK | options)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (nn.Linear(8, 15).double(), "Linear returns shape (2, 15) for y of shape (2, 8); needed is (2, 16)"),
        (nn.Identity(), "Identity has no parameters; needed"),
        (nn.Linear(8, 16).double().requires_grad_(False), "Linear has no parameters; needed"),
    ],
    ids=["shape", "empty", "frozen"],
)
def test_networks_that_do_not_fit_are_refused(net, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        fit(net, ENSEMBLES["gaussian"], **QUICK)
    assert message in str(error.value)


def test_figure_of_the_log(tmp_path):
    from pursuit.plots import training as picture

    log = [Epoch(e, e, 1 / e, None if e % 2 else 2 / e, 0.1, 0.1) for e in range(1, 9)]
    picture.draw(tmp_path / "log.png", log, {"published": ([1, 8], [1, 0.3])})
    assert (tmp_path / "log.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("oracle", [None, [0.0, 1.0, 1.0]])
def test_figure_of_the_weights(tmp_path, oracle):
    from matplotlib.figure import Figure

    from pursuit.plots import training as picture

    picture.draw_weights(tmp_path / "weights.png", [0.1, 2.0, 1.5], oracle)
    assert (tmp_path / "weights.png").read_bytes().startswith(b"\x89PNG")
    ax = Figure().subplots()
    picture.stems(ax, [0.1, 2.0, 1.5], oracle)
    shown = {line.get_label(): line.get_ydata() for line in ax.get_lines()}
    assert sorted(w for name, values in shown.items() if "learned" in name for w in values) == [0.1, 1.5, 2.0]
    assert ("oracle: 1 here, else 0" in shown) == (oracle is not None)


# The command line

TRAIN = ("--n", 16, "--m", 8, "-k", 2, "--admissible", 4, "--layers", 2, "--epochs", 2)
SOFT = ("--tau", 0.1)


def train(capsys, *arguments):
    """Exit status, standard output and standard error of the command."""
    with pytest.raises(SystemExit) as end:
        cli.main(["train", *map(str, arguments)])
    return end.value.code or 0, *capsys.readouterr()


# Commands, and what they are to hand to `fit`: of the network's options, of the training's and of the ensemble's.
COMMANDS = [
    (("omp-net", *SOFT), {"tau": 0.1, "layers": 2}, {"optimizer": "rmsprop", "epochs": 2, "resample": False}, {"m": 8}),
    (
        ("omp-net", *SOFT, "--anneal-from", 1, "--relaxation", "neuralsort", "--double", "--schedule", "constant"),
        {"tau": nets.Annealed(1.0, 0.1), "sort": relaxations.neuralsort},
        {"schedule": "halve", "halve_every": None},
        {"admissible": 4},
    ),
    (
        ("iht-net", *SOFT, "--learn-eta", "--learn-tau", "--weights", "per-layer", "--problem", "gaussian-levels"),
        {"tau": nets.Learned(0.1), "eta": nets.Learned(0.5), "weights": "per-layer", "k": 2},
        {"schedule": "halve", "halve_every": 500},
        {"n": 16},
    ),
    (
        ("htp-net", *SOFT, "--eta", 0.3, "--relative", "--resample"),
        {"tau": 0.1, "eta": 0.3, "relative": True},
        {"resample": True},
        {"k": 2},
    ),
    (
        (
            "cosamp-net",
            *SOFT,
            "--relaxation",
            "sinkhorn-sort",
            "--optimizer",
            "adam",
            "--batch-size",
            32,
            "--clip",
            0.5,
        ),
        {"sort": relaxations.sinkhorn_sort, "signals": "real part"},
        {"optimizer": "adam", "batch_size": 32, "clip": 0.5},
        {"noise": 1e-3},
    ),
    (
        (
            "sp-net",
            *SOFT,
            "--problem",
            "gaussian-levels",
            "--double",
            "--schedule",
            "cosine",
            "--lr",
            0.1,
            "--clip-each",
            2,
        ),
        {"tau": 0.1},
        {"schedule": "cosine", "lr": 0.1, "clip_each": 2.0},
        {"noise": 1e-3},
    ),
    (("sea-net",), {"layers": 2, "weights": "shared"}, {"seed": 0}, {"seed": 0}),
    (
        ("sea-net", "--eta", 0.2, "--weights", "per-layer", "--signals", "real", "--seed", 3),
        {"eta": 0.2, "weights": "per-layer", "signals": "real"},
        {"seed": 3},
        {"seed": 3},
    ),
    (("sea-net", "--learn-eta", "--problem", "gaussian-levels", "--double"), {"k": 2}, {"clip": 1.0}, {"k": 2}),
]


@pytest.mark.parametrize(
    ("command", "of_net", "of_training", "of_ensemble"), COMMANDS, ids=[" ".join(map(str, c[0])) for c in COMMANDS]
)
def test_a_command_trains_what_it_says(command, of_net, of_training, of_ensemble, tmp_path):
    given = training_of(command[0], *TRAIN, *command[1:], "-o", tmp_path)
    assert type(given.net).__name__.lower() == command[0].replace("-", "")
    assert given.net.config.items() >= of_net.items()
    assert given.options.items() >= of_training.items()
    assert given.ensemble.settings.items() >= of_ensemble.items()
    dtype = (torch.float32, torch.float64)["--double" in command]
    assert {p.dtype for p in given.net.parameters()} == {given.ensemble.A.dtype.to_real()} == {dtype}
    assert given.ensemble.A.dtype.is_complex == ("gaussian-levels" not in command)
    log = fit(given.net, given.ensemble, **given.options | {"n_train": 64, "n_validation": 16, "n_test": 16}).log
    assert len(log) == 2
    assert all(math.isfinite(record.train_loss) and math.isfinite(record.validation_loss) for record in log)


def test_train_writes_the_network_and_goes_on_where_it_was(tmp_path, capsys):
    """The others, which have no structure weights: `test_cli.py`."""
    arguments = ("omp-net", *TRAIN, *SOFT, "--methods", "none", "-o", tmp_path)
    code, out, err = train(capsys, *arguments)
    assert (code, err) == (0, "")
    assert "best epoch: " in out
    assert "test loss: " in out
    files = ["checkpoint.safetensors", "log.csv", "log.png", "net.safetensors", "settings.json", "weights.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == files
    settings = json.loads((tmp_path / "settings.json").read_text())
    assert settings["network"] == "omp-net"
    assert settings["training"]["epochs"] == 2
    assert settings["versions"]["torch"] == torch.__version__
    net = nets.load(tmp_path / "net.safetensors")
    y = torch.ones(3, 8, dtype=getattr(torch, settings["dtype"]))
    assert net(y).shape == (3, 16)
    assert nets.read_weights(tmp_path / "net.safetensors").shape == (16,)
    log = (tmp_path / "log.csv").read_bytes()
    assert train(capsys, *arguments)[1] == out
    assert (tmp_path / "log.csv").read_bytes() == log


BAD_COMMANDS = [
    (("magic",), "network is 'magic'; choose one of omp-net"),
    (("omp-net", "--problem", "magic"), "--problem is 'magic'; choose one of fourier-levels"),
    (("omp-net", "--eta", 0.5), "omp-net has no step size"),
    (("omp-net", "--learn-eta"), "omp-net has no step size"),
    (("omp-net", "--learn-tau", "--anneal-from", 1), "give one of them"),
    (("omp-net", "--relaxation", "magic"), "--relaxation is 'magic'"),
    (("omp-net", "--m", 17), "m is 17"),
    (("omp-net", "--tau", -1), "tau is -1.0"),
    (("omp-net", "--layers", 0), "layers is 0"),
    (("omp-net", "--epochs", 0), "epochs is 0"),
    (("omp-net", "--device", "magic"), "--device is 'magic'"),
    (("iht-net", "--eta", 1e30), "is not finite at step"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_COMMANDS, ids=[message for _, message in BAD_COMMANDS])
def test_bad_training_ends_with_one_line(arguments, message, tmp_path, capsys):
    network, *options = arguments
    code, out, err = train(capsys, network, *TRAIN, *options, "-o", tmp_path / "out")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
