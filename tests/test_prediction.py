"""Methods and sparsity chosen by rows that were held out."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

import pursuit
from pursuit import comparison, prediction, problems
from pursuit.core.solution import Status
from pursuit.prediction import Prediction, advice, candidates, choose, least, predict, split


def unknown(**options):
    return replace(problems.gaussian(**options), x=None)


def made(method, k, error, standard_error=0.1):
    return Prediction(method, k, error, standard_error, float(k), Status.SPARSITY)


def test_more_nonzeros_lower_the_residual_but_not_the_error_of_prediction():
    case = unknown(n=120, m=60, k=4, signals=10, snr=15.0)
    few, right, many = predict(case.A, case.y, {"omp": pursuit.omp}, [1, 4, 20])
    residual = [pursuit.omp(case.A, case.y, k).residual_norm.norm() for k in (1, 4, 20)]
    assert residual[0] > residual[1] > residual[2]
    assert right.error < few.error
    assert right.error < many.error


@pytest.mark.parametrize("seed", range(5))
def test_the_true_number_of_nonzeros_is_chosen(seed):
    case = unknown(n=120, m=80, k=5, signals=20, snr=20.0, seed=seed)
    rows, predictions = comparison.compare_by_prediction(case, candidates(80, 120), ["omp", "sp"], seed=seed)
    assert rows[0].predicted.k == 5
    assert len(predictions) == 2 * len(candidates(80, 120))
    assert [row.predicted.error for row in rows] == sorted(row.predicted.error for row in rows)


def test_all_methods_have_the_same_number_of_nonzeros_also_those_with_a_penalty():
    case = unknown(n=80, m=50, k=4, signals=6)
    found = predict(
        case.A, case.y, {"fista": lambda A, y, k: pursuit.fista(A, y, lam=1e-4), "omp": pursuit.omp}, [2, 4]
    )
    assert [round(p.nonzeros, 6) for p in found] == [2, 4, 2, 4]
    fista, omp = found[1], found[3]
    assert fista.error == pytest.approx(omp.error, rel=1e-3)  # the same support, refitted


def test_a_measurement_that_no_sparse_signal_explains_is_said():
    g = torch.Generator().manual_seed(0)
    A, y = torch.randn(60, 90, generator=g), torch.randn(5, 60, generator=g)
    said = advice(predict(pursuit.as_operator(A), y, {"omp": pursuit.omp}, [1, 3, 9]))
    assert said.startswith("No method predicts held-out rows better than x = 0")


def test_an_operator_without_a_matrix_predicts_the_same():
    case = unknown(n=64, m=40, k=3, signals=4)
    A = case.A.to_dense()
    functions = pursuit.as_operator((lambda x: x @ A.mT, lambda y: y @ A.conj(), tuple(A.shape)), dtype=A.dtype)
    for dense, implicit in zip(
        predict(pursuit.as_operator(A), case.y, {"omp": pursuit.omp}, [1, 3]),
        predict(functions, case.y, {"omp": pursuit.omp}, [1, 3]),
        strict=True,
    ):
        assert implicit.error == pytest.approx(dense.error, rel=1e-9)
        assert implicit.standard_error == pytest.approx(dense.standard_error, rel=1e-6)


@pytest.mark.parametrize(("m", "folds"), [(2, 5), (10, 5), (23, 4)])
def test_every_row_is_held_out_once(m, folds):
    rows = split(m, folds, seed=3)
    held = torch.cat([h for h, _ in rows])
    assert held.sort().values.tolist() == list(range(m))
    assert max(len(h) for h, _ in rows) - min(len(h) for h, _ in rows) <= 1
    assert all(len(set(h.tolist()) & set(o.tolist())) == 0 and len(h) + len(o) == m for h, o in rows)
    assert not torch.equal(held, torch.cat([h for h, _ in split(m, folds, seed=4)])) or m == 2


def test_the_fewest_nonzeros_within_one_standard_error_are_chosen():
    close, best, far = made("omp", 3, 0.55), made("els", 8, 0.5), made("iht", 1, 0.7)
    assert choose([close, best, far]) == close
    assert least([close, best, far]) == best
    assert advice([close, best, far]) == (
        "Take omp with k = 3: it predicts held-out rows with -2.6 dB, within one standard error (0.9 dB) of the least "
        "error (-3.0 dB, els with k = 8), with fewer non-zeros."
    )
    assert choose([made("omp", 3, 0.55), made("sp", 3, 0.54), best]).method == "sp"
    assert choose([made("omp", 3, 0.7), best]) == best
    assert "none is within one standard error" in advice([made("omp", 3, 0.7), best])
    assert advice([made("omp", 8, 0.55), best]).endswith("the least error of all.")


def test_candidates_leave_rows_for_the_fit():
    assert candidates(10, 100) == [1, 2, 3, 4]
    assert candidates(2, 5) == [1]
    assert len(candidates(10**6, 10**6)) == prediction.CANDIDATES


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda A, y: predict(A, y, {"omp": pursuit.omp}, [3, 9]),
            r"k is 9; needed is 1 <= k <= 8: 10 rows in 5 folds",
        ),
        (lambda A, y: predict(A, y, {"omp": pursuit.omp}, [0]), "k is 0"),
        (lambda A, y: predict(A, y, {"omp": pursuit.omp}, []), "k is not given"),
        (lambda A, y: predict(A, y, {"omp": pursuit.omp}, [1], folds=1), "10 rows, for 1 folds"),
        (lambda A, y: choose([]), "no predictions"),
    ],
)
def test_what_cannot_be_predicted_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(pursuit.as_operator(torch.randn(10, 20)), torch.randn(10))


def test_arrays_are_compared_in_python(tmp_path):
    rng = np.random.default_rng(0)
    A, x = rng.standard_normal((40, 60)), np.zeros((5, 60))
    x[:, [3, 30, 41]] = rng.standard_normal((5, 3))
    y = x @ A.T + 0.01 * rng.standard_normal((5, 40))
    found = pursuit.compare(A, y, [1, 3, 12], methods=["omp", "iht", "fista"])
    assert found.rows[0].method == "omp"
    assert found.instance.k == 3
    assert {(p.method, p.k) for p in found.predictions} == {(m, k) for m in ("omp", "iht", "fista") for k in (1, 3, 12)}
    assert "Take omp with k = 3" in found.advice
    assert "Take omp with k = 3" in repr(found)
    assert max(map(len, repr(found).splitlines()[:-1])) <= 80
    found.plot().savefig(tmp_path / "comparison.png")
    assert (tmp_path / "comparison.png").stat().st_size > 10_000

    known = pursuit.compare(A, y, x=x, methods=["omp", "fista"])
    assert known.instance.k == 3
    assert known.rows[0].support_recovered == 1
    assert known.oracle_db == pytest.approx(known.rows[0].error_db)
    assert not known.predictions


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"k": 0}, "k is 0; needed is 1 <= k"),
        ({"k": [1, 2], "x": np.ones((2, 8))}, "k is chosen where the truth is unknown"),
        ({"x": np.ones((1, 8))}, "x has shape (1, 8); needed is (2, 8)"),
        ({"x": 1j * np.ones((2, 8))}, "x is complex but A and y are real"),
        ({"x": np.zeros((2, 8))}, "zero everywhere"),
        ({"methods": ["ompp"]}, "choose one of omp"),
        ({"lam": 1.0, "lam_share": 0.1}, "needed is one of them"),
        ({"lam_share": 2.0}, "between 0 and 1"),
    ],
)
def test_what_cannot_be_compared_is_said_before_it_starts(options, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        pursuit.compare(np.ones((5, 8)) + np.eye(5, 8), np.ones((2, 5)), **options)


def dots(ax, place):
    """Where the marks of a row are that are single signals, and where its arrows are."""
    lines = [line for line in ax.lines if len(line.get_ydata()) and set(line.get_ydata()) == {place}]
    found = {mark: [x for line in lines if line.get_marker() == mark for x in line.get_xdata()] for mark in "o|<>"}
    assert ax.get_xlim()[0] <= min(x for xs in found.values() for x in xs)
    assert max(x for xs in found.values() for x in xs) <= ax.get_xlim()[1]
    return found


def test_a_picture_cuts_no_spike_and_has_an_arrow_for_what_is_beyond_its_edge():
    rng = np.random.default_rng(0)
    A, x = rng.standard_normal((40, 60)), np.zeros((5, 60))
    x[:, [3, 30, 41]] = 50 * rng.standard_normal((5, 3))
    y = x @ A.T
    y[1:] += 5 * rng.standard_normal((4, 40))  # one signal is found exactly
    found = pursuit.compare(A, y, x=x, methods=["omp", "iht"])
    worse = replace(found.rows[0], method="worse", error_db=40.0, x=100 * found.rows[0].x)
    figure = replace(found, rows=[*found.rows, worse]).plot()
    figure.canvas.draw()
    spikes = [ax for ax in figure.subfigs[0].axes if ax.collections]
    for ax in spikes:
        low, high = ax.get_ylim()
        ends = np.concatenate([segment[:, 1] for lines in ax.collections for segment in lines.get_segments()])
        assert low <= ends.min()
        assert ends.max() <= high
    assert len(spikes) == 1 + 2 * 3  # the truth; of three methods the signal and its error
    (errors,) = figure.subfigs[1].axes
    assert [text.get_text() for text in errors.texts][-1] == "40.00 dB"
    assert errors.get_xlim()[1] < 10  # not 40, which would hide the others
    best, worst = dots(errors, 0), dots(errors, 2)
    assert len(best["o"]) == 4
    assert best["|"] == [pytest.approx(found.rows[0].error_db)]
    assert best["<"] == [errors.get_xlim()[0]]  # the exact one
    assert len(worst[">"]) == 5 + 1  # its signals, and all together
    assert "arrows: beyond the edge" in errors.get_xlabel()


def test_the_signal_that_is_shown_is_the_median_of_omp_and_not_of_the_best():
    case = problems.gaussian(signals=9)
    found = pursuit.compare(case.A, case.y, case.k, x=case.x, methods=["omp", "fista_ls", "els"])
    omp = next(row for row in found.rows if row.method == "omp")
    error = ((omp.x - case.x).norm(dim=-1) / case.x.norm(dim=-1)).tolist()
    shown = error.index(sorted(error)[4])
    assert found.plot().subfigs[0].get_suptitle() == f"data: signal {shown + 1} of 9, the median of omp"


def test_an_oracle_that_is_exact_is_called_so():
    case = problems.gaussian(signals=2, snr=float("inf"))
    (ax,) = pursuit.compare(case.A, case.y, case.k, x=case.x, methods=["omp"]).plot().subfigs[1].axes
    assert ax.get_title(loc="left") == "oracle: exact"
    assert [text.get_text() for text in ax.texts] == ["exact"]
    noisy = problems.gaussian(signals=2)
    (ax,) = pursuit.compare(noisy.A, noisy.y, noisy.k, x=noisy.x, methods=["omp"]).plot().subfigs[1].axes
    assert re.fullmatch(r"oracle: -3\d\.\d\d dB", ax.get_title(loc="left"))


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("signals", [(), (3,), (2, 3)])
def test_all_folds_at_once_give_what_one_after_another_gives(signals, dtype):
    g = torch.Generator().manual_seed(1)
    A = pursuit.as_operator(torch.randn(43, 70, generator=g, dtype=dtype))
    y = A.forward(torch.randn(*signals, 70, generator=g, dtype=dtype) * (torch.arange(70) % 20 == 0))
    methods = {"omp": pursuit.omp, "fista": lambda A, y, k: pursuit.fista(A, y, lam_share=0.1, max_steps=50)}
    called = []
    methods["counted"] = lambda A, y, k: called.append(tuple(A.batch_shape)) or pursuit.sp(A, y, k)
    together, apart = (predict(A, y, methods, [2, 5], by_fold=names) for names in ((), methods))
    assert called == 2 * [(5, *[1] * len(signals))] + 10 * [()]
    for one, other in zip(together, apart, strict=True):
        assert (one.method, one.k, one.status) == (other.method, other.k, other.status)
        assert one.error == pytest.approx(other.error, rel=1e-9, abs=1e-20)
        assert one.nonzeros == other.nonzeros


def test_a_penalised_method_is_solved_once_for_all_k(monkeypatch):
    case, calls = unknown(n=60, m=40, k=3, signals=2), []
    fista = pursuit.fista
    monkeypatch.setattr(
        comparison, "solver", lambda method: lambda A, y, **options: calls.append(options) or fista(A, y, **options)
    )
    _, predictions = comparison.compare_by_prediction(case, [1, 3, 5], ["fista"])
    assert len(predictions) == 3
    assert len(calls) == 5 * (1 + 2)  # five penalties: all folds; and all rows, with a first call that is not timed
    calls.clear()
    comparison.compare_by_prediction(case, [1, 3, 5], ["fista"], lam_share=0.1)
    assert [options["lam_share"] for options in calls] == [0.1] * (1 + 2)


@pytest.mark.parametrize("lam_share", [0.5, 0.03])
def test_a_penalised_method_is_refitted_also_where_it_has_no_more_than_k(lam_share):
    case = unknown(n=60, m=40, k=3, signals=2, snr=60.0)
    (row,), (of_three,) = comparison.compare_by_prediction(case, [3], ["fista"], lam_share=lam_share)
    A = case.A.to_dense()
    for x, y in zip(row.x, case.y, strict=True):
        atoms = x.nonzero().squeeze(-1)
        assert len(atoms) <= 3
        torch.testing.assert_close(x[atoms], torch.linalg.lstsq(A[:, atoms], y).solution)
    if lam_share < 0.1:  # all three are found
        assert of_three.error < 1e-4


def test_every_solver_is_compared_by_default():
    case = problems.gaussian(n=60, m=40, k=3, signals=2)
    known = pursuit.compare(case.A, case.y, 3, x=case.x)
    assert {row.method for row in known.rows} == {*pursuit.methods(), "fista_ls"} - {"inverse"}  # which is for small A
    found = pursuit.compare(case.A, case.y, [1, 3])
    assert {row.method for row in found.rows} == {*pursuit.methods()} - {"inverse"}
    assert all(row.nonzeros <= found.instance.k for row in found.rows)
