"""Instances, real data, metrics and the oracle of the comparison."""

import math

import numpy as np
import pytest
import pywt
import torch

import pursuit
from pursuit import comparison, datasets, metrics, problems

SYNTHETIC = [problems.gaussian, problems.fourier, problems.deconvolution]


@pytest.mark.parametrize("make", SYNTHETIC)
def test_one_seed_one_instance(make):
    same, other = (make(signals=3, seed=seed) for seed in (5, 6))
    assert torch.equal(make(signals=3, seed=5).y, same.y)
    assert not torch.equal(same.y, other.y)


@pytest.mark.parametrize("make", SYNTHETIC)
def test_every_signal_has_k_non_zeros_spread_over_all_places(make):
    x = make(k=7, signals=300).x
    assert ((x != 0).sum(-1) == 7).all()
    assert (x != 0).any(0).double().mean() > 0.95


@pytest.mark.parametrize("make", SYNTHETIC)
@pytest.mark.parametrize("snr", [10.0, 40.0])
def test_noise_is_at_the_level_asked_for(make, snr):
    case = make(signals=200, snr=snr)
    clean = case.A.forward(case.x)
    ratio = clean.std(dim=-1).square().mean() / (case.y - clean).abs().square().mean()
    assert abs(10 * math.log10(ratio) - snr) < 0.3


def test_deconvolution_has_the_posters_coherence():
    atoms = problems.deconvolution().A.to_dense()
    gram = (atoms.T @ atoms).fill_diagonal_(0)
    assert gram.abs().max().item() == pytest.approx(math.exp(-1 / 36), abs=1e-6)
    assert torch.allclose(atoms.norm(dim=0), torch.ones(500, dtype=atoms.dtype))


def test_deconvolution_spikes_lie_between_one_and_two():
    x = problems.deconvolution(signals=50).x
    size = x[x != 0].abs()
    assert 1 <= size.min() <= 1.1
    assert 1.9 <= size.max() <= 2
    assert 0.4 < (x[x != 0] > 0).double().mean() < 0.6


def test_ecg_windows_are_the_record_in_an_orthonormal_basis():
    case = datasets.ecg(n=256, m=100, k=20, hop=128)
    record = pywt.data.ecg()
    assert case.y.shape == (7, 100)
    np.testing.assert_allclose(case.signal(case.x)[2], record[256:512], atol=1e-9)
    basis = case.synthesis.to_dense()
    torch.testing.assert_close(basis.T @ basis, torch.eye(256, dtype=basis.dtype), atol=1e-12, rtol=0)
    torch.testing.assert_close(case.A.forward(case.x), case.y)


@pytest.mark.parametrize("options", [{"n": 500}, {"n": 2048}, {"n": 8}, {"k": 300}, {"m": 600}])
def test_ecg_refuses_sizes_that_it_does_not_have(options):
    with pytest.raises(ValueError, match="needed is"):
        datasets.ecg(**options)


@pytest.mark.parametrize("make", SYNTHETIC)
@pytest.mark.parametrize("options", [{"k": 0}, {"k": 501}, {"signals": 0}, {"n": 10, "k": 11}])
def test_synthetic_problems_refuse_sizes_that_do_not_exist(make, options):
    with pytest.raises(ValueError, match="needed is"):
        make(**options)


def test_nmse_is_a_ratio_of_sums():
    truth = np.array([[3.0, 4.0], [0.0, 0.1]])
    x = truth + np.array([[0.5, 0.0], [0.0, 0.05]])
    assert metrics.nmse_db(x, truth) == pytest.approx(10 * math.log10((0.25 + 0.0025) / 25.01))
    assert metrics.nmse_db(truth, truth) == -math.inf
    assert metrics.nmse_db(1j * x, 1j * truth) == pytest.approx(metrics.nmse_db(x, truth))
    with pytest.raises(ValueError, match="the true signals are all zero"):
        metrics.nmse_db(x, 0 * truth)


def test_support_recovered_counts_the_largest_true_entries():
    truth = np.array([[5.0, -4.0, 1.0, 0.0], [0.0, 0.0, 2.0, -3j]])
    x = np.array([[1.0, 0.0, 9.0, 9.0], [0.0, 0.0, 1.0, 1.0]])
    assert metrics.support_recall(x, truth, 2) == 0.75
    assert metrics.support_recall(x, truth, [1, 2]) == 1.0


def test_no_method_beats_the_oracle_where_it_is_hard():
    case = problems.gaussian(signals=10)
    rows = comparison.compare(case, ["omp", "els", "sp"])
    best = min(row.error_db for row in rows)
    assert comparison.oracle(case) < best
    support = (case.x != 0).nonzero()[:, 1].reshape(10, -1)
    known = np.zeros(case.x.shape)
    for i, columns in enumerate(support):
        atoms = case.A.to_dense()[:, columns].numpy()
        known[i, columns] = np.linalg.lstsq(atoms, case.y[i].numpy(), rcond=None)[0]
    assert comparison.oracle(case) == pytest.approx(metrics.nmse_db(known, case.x), abs=1e-6)


def test_compare_ranks_and_reports_what_the_solvers_return():
    case = problems.fourier(signals=4)
    rows = comparison.compare(case, ["iht", "omp", "fista"])
    assert [row.error_db for row in rows] == sorted(row.error_db for row in rows)
    found = {row.method: row for row in rows}
    sol = pursuit.omp(case.A, case.y, case.k)
    assert torch.equal(found["omp"].x, sol.x)
    assert found["omp"].residual == pytest.approx(float(sol.residual_norm.norm() / case.y.norm()))
    assert found["omp"].nonzeros == case.k
    assert found["omp"].steps == case.k
    assert found["omp"].status == pursuit.Status.SPARSITY


def test_a_smaller_penalty_leaves_more_non_zeros():
    case = problems.gaussian(signals=2)
    few, many = (comparison.compare(case, ["fista"], lam=lam)[0].nonzeros for lam in (0.3, 0.03))
    assert few < many
