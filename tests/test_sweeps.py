"""Sweeps: cells that depend on nothing but themselves, runs that survive kills, curves, comparisons."""

import contextlib
import csv
import multiprocessing
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers import outputs
from pursuit import cli, engines, solve, sweeps
from pursuit.plots import sweeps as picture
from pursuit.sweeps import adaptive, cells, comparing, curves, run, store
from pursuit.sweeps.cells import Settings, Task

SMALL = {"methods": ("htp@omp", "omp", "iht"), "n": 16, "grid": (3, 4), "trials": 20, "block": 10, "max_steps": 60}
OPTIONS = ("--methods", "htp@omp,omp,iht", "--n", 16, "--grid", "3x4", "--trials", 20, "--block", 10, "--max-steps", 60)


def pursuit(capsys, *arguments):
    """Exit status, standard output and standard error of the command."""
    with pytest.raises(SystemExit) as end:
        cli.main([str(a) for a in arguments])
    out, err = outputs(capsys)
    return end.value.code or 0, out, err


def results(path):
    """All of a run but its times."""
    return [cell[:-1] for cell in sweeps.load(path).cells()]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A finished run."""
    folder = tmp_path_factory.mktemp("small")
    return sweeps.phase(output=folder, **SMALL)


@pytest.fixture(scope="module")
def cluster():
    """A Dask cluster of two processes."""
    import dask
    from distributed import LocalCluster
    from distributed.utils import get_mp_context

    config = {
        # The scheduler gives up on a task whose worker died three times; here workers die for sport.
        "distributed.scheduler.allowed-failures": 100,
        # Workers that have torch from the first moment, so that kills meet work and not imports.
        "distributed.worker.multiprocessing-method": "forkserver",
    }
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0", "silence_logs": 50}
    with dask.config.set(config):
        get_mp_context().set_forkserver_preload(["distributed", "pursuit.solve", "pursuit.sweeps.cells", "pursuit.cli"])
        with LocalCluster(**options) as started:
            yield started


# -- cells


def test_what_is_drawn_depends_on_the_cell_only():
    settings = Settings(n=12, block=4, seed=3)
    (first,) = cells.chunks(settings, 6, 2, 1)
    for other in ((6, 2, 0), (6, 1, 1), (7, 2, 1)):
        (drawn,) = cells.chunks(settings, *other)
        assert not np.isin(drawn.A, first.A).any()
    (again,) = cells.chunks(replace(settings, eta=0.5, max_steps=7), 6, 2, 1)
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    (other_seed,) = cells.chunks(replace(settings, seed=4), 6, 2, 1)
    assert not np.isin(other_seed.A, first.A).any()


def test_what_is_drawn_is_the_poster_s():
    (trials,) = cells.chunks(Settings(n=30, block=2000), 10, 3, 0)
    np.testing.assert_allclose(np.linalg.norm(trials.A, axis=1), 1)
    assert ((trials.x != 0).sum(1) == 3).all()
    np.testing.assert_array_equal(np.sort(trials.support, axis=1), np.nonzero(trials.x)[1].reshape(-1, 3))
    places = (trials.x != 0).mean(0)
    assert np.abs(places - 0.1).max() < 0.04
    values = trials.x[trials.x != 0]
    assert abs(values.mean()) < 0.05
    assert abs(values.std() - 1) < 0.05


def test_cells_are_what_the_solvers_give():
    settings = Settings(n=20, block=15, eta=1.2, max_steps=30)
    found = {cell.method: cell for cell in cells.solve(settings, Task(12, 4, 2, ("sea@els", "iht", "ompr")))}
    (trials,) = cells.chunks(settings, 12, 4, 2)
    A, x = torch.from_numpy(trials.A), torch.from_numpy(trials.x)
    y = (A @ x[..., None])[..., 0]
    eta = 1.2 / torch.linalg.matrix_norm(A, 2) ** 2
    start = solve(A, y, "els", k=4, max_steps=30).x
    expected = {
        "sea@els": solve(A, y, "sea", k=4, x0=start, eta=eta, max_steps=30),
        "iht": solve(A, y, "iht", k=4, eta=eta, max_steps=30),
        "ompr": solve(A, y, "ompr", k=4, max_steps=30),
    }
    for method, solution in expected.items():
        hits = [len(set(s.tolist()) & set(t)) for s, t in zip(solution.support, trials.support.tolist(), strict=True)]
        error = ((solution.x - x) ** 2).sum(-1) / (x**2).sum(-1)
        assert np.frombuffer(found[method].hits, dtype="<u2").tolist() == hits
        assert found[method].found == hits.count(4)
        assert found[method].exact == int((error <= 1e-8).sum())


def test_a_start_is_computed_once(monkeypatch):
    called = []
    original = cells._run
    monkeypatch.setattr(cells, "_run", lambda name, *rest: (called.append(name), original(name, *rest))[1])
    task = Task(8, 2, 0, ("htp@omp", "omp", "iht@omp", "sea@omp"))
    together = cells.solve(Settings(n=12, block=5, max_steps=20), task)
    assert sorted(called) == ["htp", "iht", "omp", "sea"]
    for cell in together:
        (alone,) = cells.solve(Settings(n=12, block=5, max_steps=20), task._replace(methods=(cell.method,)))
        assert alone[:-1] == cell[:-1]


def test_large_blocks_are_solved_in_chunks_that_depend_on_the_sizes_only(monkeypatch):
    monkeypatch.setattr(cells, "CHUNK", 12 * 6 * 4)
    sizes = [len(trials.x) for trials in cells.chunks(Settings(n=12, block=10), 6, 2, 0)]
    assert sizes == [4, 4, 2]
    (cell,) = cells.solve(Settings(n=12, block=10), Task(6, 1, 0, ("omp",)))
    assert cell.trials == 10
    assert len(cell.hits) == 20


def test_grid_points_of_the_same_integers_are_one_cell():
    grid = run.grid_cells(64, (20, 20), 0.35)
    assert len(grid) == 20
    assert all(0 < m < 64 and ks == tuple(sorted(set(ks))) and ks[0] >= 1 for m, ks in grid.items())
    assert all(ks[-1] <= 0.35 * m + 1e-9 for m, ks in grid.items())
    assert grid[3] == (1,)


def test_workers_with_other_code_are_refused():
    with pytest.raises(ValueError, match="a worker has code"):
        cells.solve(Settings(n=12, block=5, code="other"), Task(6, 1, 0, ("omp",)))


# -- runs


def test_order_does_not_matter(small, monkeypatch, tmp_path):
    def backwards(work, tasks):
        yield from map(work, reversed(tasks))

    monkeypatch.setattr(engines, "in_process", backwards)
    sweeps.phase(output=tmp_path, **SMALL)
    assert results(tmp_path) == results(small.path)


def test_on_dask_it_is_the_same(small, cluster, tmp_path):
    sweeps.phase(output=tmp_path, scheduler=cluster.scheduler_address, **SMALL)
    assert results(tmp_path) == results(small.path)


def test_recover_on_dask_gives_what_one_call_gives(cluster, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    A, y = rng.standard_normal((12, 20)), rng.standard_normal((50, 12))
    np.save("A.npy", A)
    np.save("y.npy", y)
    options = ("-k", 3, "--batch", 9, "-o", "x.npy", "--scheduler", cluster.scheduler_address)
    code, out, err = pursuit(capsys, "recover", "A.npy", "y.npy", *options)
    assert (code, err) == (0, "")
    assert "x.npy: 50 signals, written" in out
    np.testing.assert_allclose(np.load("x.npy"), solve(A, y, "omp", k=3).x, atol=1e-12)


@pytest.mark.parametrize("on", ["processes", "dask"])
def test_workers_wait_for_who_takes_their_results(on, request, tmp_path):
    """Results that nobody has taken yet stay few, however many tasks there are."""
    where = {"workers": 2} if on == "processes" else {"scheduler": request.getfixturevalue("cluster").scheduler_address}
    with engines.engine(**where) as engine:
        finished = engine(os.mkdir, [str(tmp_path / str(number)) for number in range(100)])
        for _ in range(3):
            next(finished)
        time.sleep(0.5)  # of which the workers would do all hundred
        assert len(list(tmp_path.iterdir())) <= 3 + 2 * engines.AHEAD
        assert len(list(finished)) == 97
    assert len(list(tmp_path.iterdir())) == 100


def test_a_run_goes_on_where_it_was_stopped(small, tmp_path):
    seen = []

    def stop(progress):
        seen.append(progress.done)
        if len(seen) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweeps.phase(output=tmp_path, on_progress=stop, **SMALL)
    left = seen[-1]
    begun = []
    sweeps.phase(output=tmp_path, on_progress=lambda progress: begun.append(progress.done), **SMALL)
    assert begun[0] == left > 0
    assert len(begun) - 1 == (len(small.counts) - left) / len(SMALL["methods"])
    assert results(tmp_path) == results(small.path)


def test_what_is_finished_is_kept_before_the_next_task(tmp_path, monkeypatch):
    def dies(work, tasks):
        yield from map(work, tasks[:2])
        raise KeyboardInterrupt

    monkeypatch.setattr(engines, "in_process", dies)
    with pytest.raises(KeyboardInterrupt):
        sweeps.phase(output=tmp_path, **SMALL)
    assert len(sweeps.load(tmp_path).counts) == 2 * len(SMALL["methods"])


def test_methods_and_trials_can_be_added(small, tmp_path):
    sweeps.phase(output=tmp_path, **{**SMALL, "methods": ("iht",), "trials": 10})
    sweeps.phase(output=tmp_path, **{**SMALL, "methods": ("omp", "htp@omp"), "trials": 10})
    assert sweeps.load(tmp_path).methods == ("iht", "omp", "htp@omp")
    sweeps.phase(output=tmp_path, **SMALL)
    assert results(tmp_path) == results(small.path)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"seed": 1}, "seed 0, not 1"), ({"eta": 1.0}, "eta 1.8, not 1.0"), ({"max_steps": 9}, "max_steps 60, not 9"),
     ({"n": 17}, "n 16, not 17"), ({"block": 5}, "block 10, not 5"), ({"grid": (3, 5)}, "grid 3x4, not 3x5"),
     ({"rho": 0.3}, "rho 0.35, not 0.3")],
)  # fmt: skip
def test_a_changed_setting_is_refused(change, message, small):
    with pytest.raises(ValueError, match=message):
        sweeps.phase(output=small.path, **{**SMALL, **change})


def test_changed_solvers_are_refused(small, tmp_path, monkeypatch):
    sweeps.phase(output=tmp_path, **SMALL)
    monkeypatch.setattr(cells, "software", lambda: {"code": "other", "torch": "9", "numpy": "9"})
    with pytest.raises(ValueError, match=r"code .*, not other"):
        sweeps.phase(output=tmp_path, **SMALL)


def test_what_is_no_sweep_is_refused(tmp_path):
    (tmp_path / "sweep.sqlite").write_text("text " * 1000)
    with pytest.raises(ValueError, match="is no file of a sweep"):
        sweeps.load(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / "other.sqlite")) as other:
        other.execute("CREATE TABLE things (name)")
    with pytest.raises(ValueError, match="is no file of a sweep"):
        sweeps.load(tmp_path / "other.sqlite")
    with pytest.raises(ValueError, match="holds no sweep"):
        sweeps.load(tmp_path / "nowhere")


def test_a_task_is_kept_whole_or_not_at_all(small, tmp_path):
    path = tmp_path / "sweep.sqlite"
    opened = store.Store(path)
    opened.begin(small.settings, small.plan)
    one, two = small.cells()[:2]
    with pytest.raises(sqlite3.IntegrityError):
        opened.add([one, two._replace(seconds=None)])
    opened.close()
    assert sweeps.load(tmp_path).counts == {}


# -- what is shown


def test_tables_and_exports(small, tmp_path):
    table = small.table()
    assert {row["trials"] for row in table} == {20}
    assert [row["method"] for row in table] == sorted((r["method"] for r in table), key=SMALL["methods"].index)
    small.to_csv(tmp_path / "table.csv")
    with open(tmp_path / "table.csv", newline="") as file:
        read = list(csv.DictReader(file))
    assert [(r["method"], int(r["m"]), int(r["k"]), int(r["found"])) for r in read] == [
        (r["method"], r["m"], r["k"], r["found"]) for r in table
    ]
    data = small.to_xarray()
    for row in table:
        at = {"method": row["method"], "m": row["m"], "k": row["k"]}
        assert int(data.found.sel(at)) == row["found"]
        assert int(data.exact.sel(at)) == row["exact"] <= row["found"]
    assert int(data.trials.sum()) == sum(row["trials"] for row in table)
    assert data.attrs["n"] == 16


def test_half_done_it_can_be_drawn_and_asked(tmp_path, capsys):
    def stop(progress):
        if progress.done > 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweeps.phase(output=tmp_path, on_progress=stop, **SMALL)
    code, said, _ = pursuit(capsys, "sweep", "phase", "-o", tmp_path, "--status")
    assert code == 0
    assert "3 of 14" in said
    assert pursuit(capsys, "sweep", "draw", tmp_path)[0] == 0
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    code, _, _ = pursuit(capsys, "sweep", "export", tmp_path, "-o", tmp_path / "out.nc")
    assert code == 0
    assert (tmp_path / "out.nc").read_bytes().startswith(b"CDF")


def test_nothing_done_can_be_drawn(tmp_path):
    opened = store.Store(tmp_path / "sweep.sqlite")
    opened.begin(Settings(n=16, block=10), store.Plan(("omp",), (3, 4), 0.35, 20))
    opened.close()
    picture.draw(tmp_path / "figure.png", sweeps.load(tmp_path))
    assert (tmp_path / "figure.png").exists()


def test_the_command_and_going_on_with_its_folder_alone(small, tmp_path, capsys):
    code, said, err = pursuit(capsys, "sweep", "phase", *OPTIONS, "-o", tmp_path)
    assert (code, err) == (0, "")
    assert "14 of 14" in said
    assert results(tmp_path) == results(small.path)
    before = (tmp_path / "sweep.sqlite").read_bytes()
    assert pursuit(capsys, "sweep", "phase", "-o", tmp_path)[0] == 0
    assert (tmp_path / "sweep.sqlite").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "curves.csv", "figure.png", "sweep.sqlite", "table.csv"
    ]  # fmt: skip


BAD = [
    (["phase", "--methods", "no"], "method is 'no'"),
    (["phase", "--methods", "ista"], "method is 'ista'"),
    (["phase", "--methods", "omp@sea"], "omp takes no start"),
    (["phase", "--grid", "20"], "--grid is '20'"),
    (["phase", "--grid", "0x3"], "grid is (0, 3)"),
    (["phase", "--n", "1"], "n is 1"),
    (["phase", "--trials", "0"], "trials is 0"),
    (["phase", "--trials", "15", "--block", "10"], "needed is a multiple, as 10"),
    (["phase", "--eta", "-1"], "eta is -1.0"),
    (["phase", "--max-steps", "0"], "--max-steps is 0"),
    (["phase", "--rho", "2"], "rho is 2.0"),
    (["phase", "--adaptive", "3"], "adaptive is 3.0"),
    (["phase", "--success", "luck"], "success is 'luck'"),
    (["phase", "--workers", "0"], "workers is 0"),
    (["phase", "--workers", "2", "--scheduler", "tcp://127.0.0.1:9"], "both a scheduler and a number"),
    (["phase", "--scheduler", "nonsense://here"], "no scheduler answers there"),
    (["phase", "--status"], "holds no sweep"),
    (["phase", "--status", "--n", "9"], "--status was given with options of a run"),
    (["draw", "nowhere"], "holds no sweep"),
    (["diff", "nowhere", "nowhere"], "holds no sweep"),
    (["export", "nowhere", "-o", "x.txt"], "'.txt' is not one"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
def test_bad_input_ends_with_one_line_and_writes_nothing(arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = pursuit(capsys, "sweep", *arguments)
    assert code == 2
    assert message in err
    assert err.startswith("pursuit: ")
    assert err.count("\n") == 1
    assert out == ""
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_help_needs_nothing_heavy():
    check = (
        "import contextlib, sys\nfrom pursuit import cli\n"
        "with contextlib.suppress(SystemExit):\n    cli.main(['sweep', 'phase', '--help'])\n"
        "print({'torch', 'numpy', 'distributed', 'xarray', 'sqlite3'} & sys.modules.keys(), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert "--scheduler" in done.stdout
    assert done.stderr == "set()\n"


# -- curves


def binomial(rng, ks, trials, k50, width):
    """Successes at every k under a logistic law."""
    p = 1 / (1 + np.exp((np.asarray(ks) - k50) / width))
    return rng.binomial(trials, p)


@pytest.mark.parametrize("trials", [25, 200])
def test_the_fit_recovers_a_known_curve_and_its_band_covers_it(trials):
    rng = np.random.default_rng(0)
    ks = np.arange(1, 17)
    truth = {0.5: 8.0, 0.95: 8.0 - 1.2 * np.log(19)}
    inside = dict.fromkeys(truth, 0)
    estimates = {level: [] for level in truth}
    for _ in range(400):
        fitted = curves.fit(ks, np.full(16, trials), binomial(rng, ks, trials, 8.0, 1.2))
        for level, k in truth.items():
            point = curves.point(fitted, level, (1, 16))
            inside[level] += point.low <= k <= point.high
            estimates[level].append(point.k)
    for level, k in truth.items():
        assert abs(np.mean(estimates[level]) - k) < 0.06
        assert 0.92 <= inside[level] / 400 <= 0.98


def test_separated_data_have_a_finite_fit():
    fitted = curves.fit([1, 2, 3, 4, 5], [20] * 5, [20, 20, 20, 0, 0])
    assert np.isfinite(fitted.covariance).all()
    point = curves.point(fitted, 0.5, (1, 5))
    assert point.where == "inside"
    assert 3 < point.k < 4
    assert 1 <= point.low < point.k < point.high <= 5


@pytest.mark.parametrize(("share", "where", "k"), [(1.0, "above", 5), (0.0, "below", 1)])
def test_a_curve_beyond_the_grid_is_said_to_be_so(share, where, k):
    fitted = curves.fit([1, 3, 5], [200] * 3, [int(200 * share)] * 3)
    point = curves.point(fitted, 0.95, (1, 5))
    assert (point.where, point.k) == (where, k)
    assert point.error < 0.6
    few = curves.point(curves.fit([1, 3, 5], [5] * 3, [int(5 * share)] * 3), 0.95, (1, 5))
    assert few.error >= point.error


def test_no_slope_is_no_knowledge():
    point = curves.point(curves.fit([1, 3, 5], [4] * 3, [2, 2, 2]), 0.5, (1, 5))
    assert (point.low, point.high) == (1, 5)


# -- adaptive


def test_adaptive_reaches_its_error_with_fewer_trials(tmp_path):
    options = {"methods": ("omp",), "n": 48, "grid": (3, 16), "success": "support"}
    sweep = sweeps.phase(output=tmp_path / "a", adaptive=0.02, trials=2000, block=25, **options)
    errors = [(row["rho_high"] - row["rho_low"]) / 2 for row in sweep.curves((0.95,))]
    assert max(errors) <= 0.02
    spent = sum(row["trials"] for row in sweep.table())
    cells_there = sum(map(len, sweep.grid.values()))
    even = 25 * (spent // (25 * cells_there) + 1)  # no fewer trials than the adaptive run had
    spread = sweeps.phase(output=tmp_path / "b", trials=even, block=25, **options)
    widest = max((row["rho_high"] - row["rho_low"]) / 2 for row in spread.curves((0.95,)))
    assert widest > 0.02
    saving = sweep.saving()
    assert saving.even > saving.spent


def test_adaptive_runs_plan_the_same_again(tmp_path):
    options = {"methods": ("omp", "htp"), "n": 16, "grid": (3, 4), "adaptive": 0.04, "trials": 200, "block": 10}
    sweeps.phase(output=tmp_path / "a", **options)

    def stop(progress):
        if progress.done > 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweeps.phase(output=tmp_path / "b", on_progress=stop, **options)
    sweeps.phase(output=tmp_path / "b", **options)
    assert results(tmp_path / "a") == results(tmp_path / "b")


def test_trials_go_where_the_curve_is():
    ks = tuple(range(1, 21))
    chances = 1 / (1 + np.exp(np.array(ks) - 9.0))
    curve = adaptive.Curve(ks, {k: (100, round(100 * chances[k - 1])) for k in (1, 6, 11, 16, 20)})
    chosen = adaptive.more(curve, error=0.05, block=10, most=10_000)
    assert chosen
    assert all(4 <= k <= 12 for k in chosen)
    assert adaptive.more(curve, error=100, block=10, most=10_000) == []


def test_adaptive_bands_cover_and_its_error_is_that_of_many_more_trials():
    rng = np.random.default_rng(0)
    ks, truth = tuple(range(1, 21)), 11 - 1.4 * np.log(19)
    chance = dict(zip(ks, 1 / (1 + np.exp((np.array(ks) - 11) / 1.4)), strict=True))
    covered, spent, errors, even = 0, [], [], []
    for _ in range(60):
        curve = adaptive.Curve(ks, {})
        while chosen := adaptive.more(curve, error=0.3, block=25, most=5000):
            for k in chosen:
                trials, won = curve.counts.get(k, (0, 0))
                curve.counts[k] = (trials + 25, won + int(rng.binomial(25, chance[k])))
        point = adaptive.estimate(curve)
        covered += point.low <= truth <= point.high
        spent.append(sum(trials for trials, _ in curve.counts.values()))
        errors.append(point.k - truth)
        spread = adaptive.Curve(ks, {k: (200, int(rng.binomial(200, chance[k]))) for k in ks})
        even.append(adaptive.estimate(spread).k - truth)
    assert covered >= 51
    assert np.mean(spent) < 2600  # of 4000 in the even spread
    assert np.std(errors) < np.std(even)


# -- comparing


def test_equal_runs_do_not_differ(small, tmp_path, capsys):
    sweeps.phase(output=tmp_path, **SMALL)
    difference = sweeps.diff(small, tmp_path)
    assert difference.paired
    assert not difference.found
    assert {row["p"] for row in difference.cells} == {1.0}
    code, said, _ = pursuit(capsys, "sweep", "diff", small.path, tmp_path)
    assert code == 0
    assert "no difference found at 5 %" in said


def test_a_planted_difference_is_found(small, tmp_path, capsys):
    sweeps.phase(output=tmp_path, **{**SMALL, "max_steps": 1})  # OMP has no steps to cut
    difference = sweeps.diff(small, tmp_path)
    assert difference.paired
    differing = [row["method"] for row in difference.differing_methods]
    assert "iht" in differing
    assert "omp" not in differing
    code, said, _ = pursuit(capsys, "sweep", "diff", small.path, tmp_path)
    assert code == 1
    assert "different at 5 %" in said
    assert "iht over all cells" in said


def planted(path, seed, rates, trials=400):
    """A run whose successes are drawn with these rates, one per k."""
    plan = store.Plan(("omp",), (1, len(rates)), 1.0, trials)
    settings = Settings(n=2 * len(rates), seed=seed, block=trials)
    rng = np.random.default_rng(seed)
    opened = store.Store(path)
    opened.begin(settings, plan)
    for k, rate in enumerate(rates, 1):
        hits = np.where(rng.random(trials) < rate, k, 0)
        won = int((hits == k).sum())
        data = (hits.astype("<u2").tobytes(), np.packbits(hits == k).tobytes())
        opened.add([cells.Cell("omp", len(rates), k, cells.NOISELESS, 0, trials, won, won, *data, 0.1)])
    opened.close()
    return path


def test_runs_of_different_trials_are_compared_by_proportions(tmp_path):
    rates = [0.9, 0.7, 0.5, 0.3]
    one = planted(tmp_path / "1.sqlite", 1, rates)
    same = sweeps.diff(one, planted(tmp_path / "2.sqlite", 2, rates))
    assert not same.paired
    assert not same.found
    shifted = sweeps.diff(one, planted(tmp_path / "3.sqlite", 3, [0.9, 0.7, 0.3, 0.3]))
    assert [row["k"] for row in shifted.differing_cells] == [3]
    slightly = sweeps.diff(one, planted(tmp_path / "4.sqlite", 4, [rate - 0.07 for rate in rates]))
    assert slightly.differing_methods
    with pytest.raises(ValueError, match="no cell in common"):
        sweeps.diff(one, planted(tmp_path / "5.sqlite", 5, rates[:2]))


def test_a_level_that_is_counted_at_the_least_k_is_not_called_missed():
    """The fit may fall short of it, and a picture would contradict its own legend."""
    counts = {1: (40, 40), 2: (40, 30), 3: (40, 22), 4: (40, 10)}
    point = adaptive.estimate(adaptive.Curve(tuple(counts), counts), 0.95)
    assert (point.k, point.where) == (1, "inside")
    counts[1] = (40, 37)
    assert adaptive.estimate(adaptive.Curve(tuple(counts), counts), 0.95).where == "below"


def test_false_alarms_are_as_rare_as_said(tmp_path):
    alarms = 0
    for seed in range(0, 120, 2):
        a, b = (planted(tmp_path / f"{s}.sqlite", s + 100, [0.8, 0.5, 0.2], trials=60) for s in (seed, seed + 1))
        alarms += sweeps.diff(a, b).found
    assert alarms <= 8  # 60 comparisons at 5 %: more than 8 has a chance of 0.4 %


def test_holm_is_statsmodels():
    assert comparing.holm([0.04, 0.01, 0.02, 0.9]) == pytest.approx([0.08, 0.04, 0.06, 0.9])
    assert comparing.holm([]) == []


# -- kills

KILLED = ("--methods", "iht,htp@omp", "--n", 16, "--grid", "4x5", "--trials", 100, "--block", 10, "--max-steps", 30)


def driver(folder, seed, cluster):
    """The command, at work on the cluster in a process of its own that need not import anything first."""
    options = (*KILLED, "--seed", seed, "-o", folder, "--scheduler", cluster.scheduler_address)
    command = ["sweep", "phase", *map(str, options)]
    process = multiprocessing.get_context("forkserver").Process(target=cli.main, args=(command,))
    process.start()
    return process


def kill_a_worker(rng, cluster):
    """End a worker process at once, if one is up; its nanny starts another."""
    pids = [nanny.pid for nanny in cluster.workers.values() if nanny.pid]
    if pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(rng.choice(pids), signal.SIGKILL)
            return 1
    return 0


def finished(folder):
    """How many cells a run has."""
    if not (folder / "sweep.sqlite").is_file():
        return 0
    try:
        return len(sweeps.load(folder).counts)
    except ValueError as error:  # killed between the file and the first line in it
        if "has not begun" in str(error):
            return 0
        raise


def wait_for_cells(folder, before, working):
    """Until the run has more cells than before, or has ended."""
    until = time.monotonic() + 30
    while finished(folder) <= before and working.is_alive() and time.monotonic() < until:
        time.sleep(0.1)


@pytest.mark.parametrize("most", [5, pytest.param(20, marks=pytest.mark.nightly)])
def test_kills_change_nothing(most, cluster, tmp_path, capsys):
    rng = random.Random(1)
    kills, seed, done = 0, 0, [0]
    working = driver(tmp_path / "killed-0", seed, cluster)
    try:
        while kills < most:
            if kills and kills % (most // 4) == 0:  # some are to meet a run that has got on, also on a slow machine
                wait_for_cells(tmp_path / f"killed-{seed}", done[-1], working)
            time.sleep(rng.uniform(0.05, 1))
            if not working.is_alive():  # a quick machine is through with it: go on killing the next run
                assert working.exitcode == 0
                seed, done = seed + 1, [*done, 0]
                working = driver(tmp_path / f"killed-{seed}", seed, cluster)
            elif rng.random() < 0.5:
                kills += kill_a_worker(rng, cluster)
            else:
                working.kill()
                working.join()
                kills += 1
                folder = tmp_path / f"killed-{seed}"
                before, done[-1] = done[-1], finished(folder)
                assert done[-1] >= before, "nothing that was finished is lost"
                working = driver(folder, seed, cluster)
        working.join(timeout=120)
    finally:
        working.kill()
        working.join()
    assert working.exitcode == 0
    for run_seed in range(seed + 1):
        undisturbed = tmp_path / f"undisturbed-{run_seed}"
        assert pursuit(capsys, "sweep", "phase", *KILLED, "--seed", run_seed, "-o", undisturbed)[0] == 0
        assert results(tmp_path / f"killed-{run_seed}") == results(undisturbed)
