"""Long lists of signals: in batches, from files, as dask arrays; the answers are those of one call."""

import csv
import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import pursuit
from helpers import outputs
from pursuit import batches, cli, codes
from pursuit.codes import Codes
from pursuit.files import read_array
from pursuit.signal_files import open_rows
from pursuit.solvers import batches as of_solve

M, N, K, SIGNALS = 12, 30, 3, 50


@pytest.fixture(scope="module")
def case():
    r = np.random.default_rng(0)
    A = r.standard_normal((M, N))
    x = np.zeros((SIGNALS, N))
    np.put_along_axis(x, r.random(x.shape).argsort(-1)[:, :K], r.standard_normal((SIGNALS, K)), -1)
    return A, x @ A.T


@pytest.fixture
def files(case, tmp_path):
    A, y = case
    np.save(tmp_path / "A.npy", A)
    np.save(tmp_path / "y.npy", y)
    return tmp_path


@pytest.mark.parametrize("size", [1, 7, 50, 1000])
@pytest.mark.parametrize("as_tensor", [False, True])
def test_batches_give_what_one_call_gives(case, size, as_tensor):
    A, y = (torch.from_numpy(v) if as_tensor else v for v in case)
    k = np.arange(SIGNALS) % K + 1
    whole = pursuit.solve(A, y, "omp", k=k, tol=1e-3)
    parts = pursuit.solve(A, y, "omp", k=k, tol=1e-3, batch_size=size)
    assert type(parts.x) is type(whole.x)
    for name in ("x", "support", "coefficients", "residual_norm", "steps", "status"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), atol=1e-12)


def test_a_batch_of_as_many_signals_as_measurements_is_not_asked_about(case, files):
    A, y = case
    parts = pursuit.solve(A, y, "omp", k=K, batch_size=M)
    np.testing.assert_allclose(parts.x, pursuit.omp(A, y, K).x, atol=1e-12)
    np.testing.assert_allclose(pursuit.solve(A, y.tolist(), "omp", k=K, batch_size=M).x, parts.x, atol=1e-12)
    batches.recover_file(str(files / "A.npy"), str(files / "y.npy"), files / "x.npy", k=K, batch_size=M)
    np.testing.assert_allclose(np.load(files / "x.npy"), parts.x, atol=1e-12)
    with pytest.raises(ValueError, match=r"pursuit.rows\(y.T\)"):  # all of y is square
        pursuit.solve(A, y[:M], "omp", k=K, batch_size=5)
    square = pursuit.solve(A, pursuit.rows(y[:M]), "omp", k=K, batch_size=5)
    np.testing.assert_allclose(square.x, parts.x[:M], atol=1e-12)
    with pytest.raises(ValueError, match="masked"):
        pursuit.solve(A, np.ma.masked_less(y, 0), "omp", k=K, batch_size=5)


def test_options_per_signal_are_split_like_y(case):
    A, y = case
    y = y.reshape(5, 10, M)
    start = np.zeros((5, 10, N))
    options = {"k": K, "eta": np.full((10,), 0.1), "x0": start, "weights": np.ones((5, 1, N)), "max_steps": 20}
    whole, parts = pursuit.solve(A, y, "iht", **options), pursuit.solve(A, y, "iht", batch_size=7, **options)
    np.testing.assert_allclose(parts.x, whole.x, atol=1e-12)
    assert parts.support.shape == (5, 10, K)


def test_a_memory_map_is_read_in_parts(files):
    y = np.load(files / "y.npy", mmap_mode="r")
    parts = pursuit.solve(np.load(files / "A.npy"), y, "sp", k=K, batch_size=8)
    np.testing.assert_allclose(parts.x, pursuit.sp(np.load(files / "A.npy"), np.array(y), K).x, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0; needed is a whole number >= 1"),
        ({"batch_size": 2, "y": np.ones(M)}, "batch_size is for several signals"),
        ({"batch_size": 2, "A": np.ones((2, M, N)), "y": np.ones((2, M))}, "a matrix per signal"),
    ],
)
def test_what_has_no_batches_is_refused(case, change, message):
    arguments = {"A": case[0], "y": case[1], "k": 1} | change
    with pytest.raises(ValueError, match=message):
        pursuit.solve(arguments.pop("A"), arguments.pop("y"), "omp", **arguments)


def written(path):
    if path.suffix == ".npy":
        return np.load(path)
    if path.suffix == ".npz":
        return pytest.importorskip("scipy.sparse").load_npz(path).toarray()
    zarr = pytest.importorskip("zarr")
    group = zarr.open(path, mode="r")
    x = np.zeros((SIGNALS, N + 1))
    np.put_along_axis(x, group["support"][:] % (N + 1), group["coefficients"][:], -1)  # -1 is the last, which goes
    return x[:, :N]


@pytest.mark.parametrize("ending", [".npz", ".npy", ".zarr"])
@pytest.mark.parametrize("columns", [False, True])
def test_a_file_of_signals_becomes_a_file_of_answers(case, files, ending, columns):
    A, y = case
    np.save(files / "y.npy", y.T if columns else y)
    seen = []
    counts = batches.recover_file(
        str(files / "A.npy"), str(files / "y.npy"), files / f"x{ending}", k=K, columns=columns, batch_size=9,
        on_progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    sol = pursuit.omp(A, y, K)
    np.testing.assert_allclose(written(files / f"x{ending}"), sol.x, atol=1e-12)
    assert counts == dict(zip(*np.unique(sol.status, return_counts=True), strict=True))
    assert seen == [(done, SIGNALS) for done in (0, 9, 18, 27, 36, 45, 50)]
    assert sorted(path.name for path in files.iterdir()) == ["A.npy", f"x{ending}", "y.npy"]


@pytest.mark.parametrize("ending", [".npz", ".npy", ".zarr"])
def test_answers_are_written_in_parts(case, files, ending, monkeypatch):
    """Some signals have fewer non-zeros, and the last part is smaller; `.npz` is what SciPy would write."""
    sparse = pytest.importorskip("scipy.sparse")
    A, y = case
    y = np.where(np.arange(SIGNALS)[:, None] % 7 == 0, 2 * A[:, 4], y)
    np.save(files / "y.npy", y)
    monkeypatch.setattr(codes, "ROWS", 8)
    call = {"k": K, "batch_size": 9, "tol": 1e-9}
    batches.recover_file(str(files / "A.npy"), str(files / "y.npy"), files / f"x{ending}", **call)
    x = pursuit.omp(A, y, K, tol=1e-9).x
    assert len(set((x != 0).sum(-1))) > 1
    np.testing.assert_allclose(written(files / f"x{ending}"), x, atol=1e-12)
    if ending == ".npz":
        sparse.save_npz(files / "scipy.npz", sparse.csr_array(x), compressed=False)
        with np.load(files / "x.npz") as ours, np.load(files / "scipy.npz") as theirs:
            assert set(ours) == set(theirs)
            np.testing.assert_allclose(ours["data"], theirs["data"])
            for name in set(ours) - {"data"}:
                np.testing.assert_array_equal(ours[name], theirs[name])
                assert ours[name].dtype == theirs[name].dtype
        sparse.load_npz(files / "x.npz").check_format(full_check=True)


@pytest.mark.parametrize("ending", [".h5", ".zarr", ".parquet"])
def test_rows_of_other_formats(case, tmp_path, ending):
    y, path = case[1], tmp_path / f"y{ending}"
    if ending == ".h5":
        with pytest.importorskip("h5py").File(path, "w") as file:
            file["acts"], file["other"] = y, y[:1]
    elif ending == ".zarr":
        pytest.importorskip("zarr").save(path, acts=y, other=y[:1])
    else:
        pandas = pytest.importorskip("pandas")
        pandas.DataFrame(y).rename(columns=str).to_parquet(path, row_group_size=7)
    name = str(path) if ending == ".parquet" else f"{path}:acts"
    rows = open_rows(name)
    assert rows.shape == y.shape
    assert rows.dtype == y.dtype
    np.testing.assert_array_equal(rows[5:23], y[5:23])
    np.testing.assert_array_equal(rows[0:0].shape, (0, M))
    if ending != ".parquet":
        with pytest.raises(ValueError, match=r"holds 2 arrays \(/acts, /other\); choose one, as .*:/acts"):
            open_rows(str(path))
        np.testing.assert_array_equal(open_rows(name, columns=True)[2:5], y.T[2:5])
        for part in (f"{name}[:, 3:]", f"{name}.T"):
            with pytest.raises(ValueError, match="take no slices"):
                open_rows(part)


def test_an_array_is_found_in_groups_as_where_files_are_read_whole(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "run.h5", "w") as file:
        file["lab/day 1/acts"], file["lab/notes"] = np.eye(4), np.array([b"text"])
    for spec in (f"{tmp_path}/run.h5", f"{tmp_path}/run.h5:/lab/day 1/acts", f"{tmp_path}/run.h5:lab/day 1/acts"):
        np.testing.assert_array_equal(open_rows(spec)[1:3], np.eye(4)[1:3])
        np.testing.assert_array_equal(read_array(spec), np.eye(4))


KILLED = """
import os, signal, sys
from pathlib import Path
from pursuit import batches, cli
left = int(sys.argv[2])
solve = batches.solve_batch
def dies(task):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return solve(task)
batches.solve_batch = dies
folder = Path(sys.argv[1])
batches.recover_file(str(folder / "A.npy"), str(folder / "y.npy"), folder / "x.npz", k=3, batch_size=9)
"""


def stop_after(left, files, monkeypatch):
    """Begin a run, or go on with it, and stop it after so many batches."""
    solve, done = batches.solve_batch, []

    def stops(task):
        done.append(task)
        if len(done) > left:
            raise KeyboardInterrupt
        return solve(task)

    A, y = str(files / "A.npy"), str(files / "y.npy")
    with monkeypatch.context() as patch:
        patch.setattr(batches, "solve_batch", stops)
        with pytest.raises(KeyboardInterrupt):
            batches.recover_file(A, y, files / "x.npz", k=3, batch_size=9)


def test_a_killed_run_goes_on_without_loss(case, files, monkeypatch):
    stop_after(2, files, monkeypatch)
    ended = subprocess.run([sys.executable, "-c", KILLED, str(files), "3"], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert not (files / "x.npz").exists()
    begun = Codes(files / "x.npz.part")
    assert begun.missing() == [(45, 50)]
    coefficients = np.load(begun.folder / "coefficients.npy", mmap_mode="r+")
    coefficients[0] = 7  # which shows that what was done is not done again
    coefficients.flush()
    batches.recover_file(str(files / "A.npy"), str(files / "y.npy"), files / "x.npz", k=K, batch_size=9)
    x = written(files / "x.npz")
    sol = pursuit.omp(*case, K)
    np.testing.assert_allclose(x[1:], sol.x[1:], atol=1e-12)
    assert set(x[0][x[0] != 0]) == {7}


def test_the_size_of_a_batch_is_chosen_from_the_memory_there_is(case, files, monkeypatch):
    sizes = []

    def recover():
        batches.recover_file(
            str(files / "A.npy"), str(files / "y.npy"), files / "x.npz", k=K,
            on_progress=lambda done, total: sizes.append(done),
        )  # fmt: skip

    recover()
    assert sizes == [0, SIGNALS]
    monkeypatch.setattr(of_solve, "memory", lambda: 4 * 20 * (M + N) * 8)  # a quarter is for 20 signals
    (files / "x.npz").unlink()
    recover()
    assert sizes[2:] == [0, 20, 40, SIGNALS]
    (files / "x.npz").unlink()
    stop_after(1, files, monkeypatch)  # batches of 9
    sizes.clear()
    recover()  # goes on with these, whatever memory there is now
    assert sizes == [9, 18, 27, 36, 45, SIGNALS]


def test_batches_may_be_done_in_any_order(case, files):
    batches.recover_file(
        str(files / "A.npy"), str(files / "y.npy"), files / "x.npz", k=K, batch_size=9,
        run=lambda work, tasks: map(work, reversed(tasks)),
    )  # fmt: skip
    np.testing.assert_allclose(written(files / "x.npz"), pursuit.omp(*case, K).x, atol=1e-12)


def test_workers_in_another_folder_find_the_files(case, files, monkeypatch):
    (files / "there").mkdir()

    def elsewhere(work, tasks):
        monkeypatch.chdir("there")
        yield from map(work, tasks)

    monkeypatch.chdir(files)
    batches.recover_file("A.npy", "y.npy", files / "x.npz", k=K, batch_size=9, run=elsewhere)
    np.testing.assert_allclose(written(files / "x.npz"), pursuit.omp(*case, K).x, atol=1e-12)


def test_another_run_does_not_go_on(files, monkeypatch):
    call = {"k": K, "batch_size": 9}
    folder = files / "x.npz.part"
    A, y = str(files / "A.npy"), str(files / "y.npy")
    stop_after(1, files, monkeypatch)
    with pytest.raises(ValueError, match="holds a run with another k, method"):
        batches.recover_file(A, y, files / "x.npz", "sp", **call | {"k": 2})
    np.save(y, np.load(y) + 1)
    os.utime(y, ns=(1, 1))
    with pytest.raises(ValueError, match="another y"):
        batches.recover_file(A, y, files / "x.npz", **call)
    assert json.loads((folder / "settings.json").read_text())["k"] == K


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"output": Path("x.csv")}, r"x.csv: batches are written to .npz, .zarr, .npy"),
        ({"y": "gone.npy"}, "gone.npy: no such file"),
        ({"k": 13}, "k is 13; needed is 0 <= k <= 12"),
        ({"method": "greedy_lasso"}, "lam"),
        ({"columns": True}, "holds signals of 50 measurements but A has m=12"),
        ({"tol": -1.0}, "tol"),
    ],
)
def test_errors_come_before_the_work(files, monkeypatch, change, message):
    monkeypatch.chdir(files)
    arguments = {"A": "A.npy", "y": "y.npy", "output": Path("x.npz"), "k": K} | change
    with pytest.raises((ValueError, TypeError), match=message):
        batches.recover_file(**arguments)
    assert sorted(path.name for path in files.iterdir()) == ["A.npy", "y.npy"]


@pytest.mark.parametrize("more", [(), ("--workers", "1")])
def test_the_command_line_recovers_in_batches(case, files, more, monkeypatch, capsys):
    monkeypatch.chdir(files)
    with pytest.raises(SystemExit) as ended:
        cli.main(["recover", "A.npy", "y.npy", "-k", "3", "--batch", "20", "-o", "x.npz", *more])
    said = capsys.readouterr()
    assert not ended.value.code, said.err
    assert "x.npz: 50 signals, written" in said.out
    np.testing.assert_allclose(written(files / "x.npz"), pursuit.omp(*case, K).x, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--batch", "-1", "-k", "3"], "--batch is -1"),
        (["--batch", "3"], "-k was not given; batches need it"),
        (["--batch", "3", "-k", "3", "--x0", "y.npy"], "--x0 was given, which batches do not take"),
        (["--batch", "3", "-k", "3", "--layout", "pairs"], "--layout is 'pairs'"),
        (["--workers", "0", "-k", "3"], "workers is 0; needed are 1 to"),
        (["--batch", "3", "-k", "30"], "k is 30"),
    ],
)
def test_the_command_line_refuses_in_one_line(files, monkeypatch, capsys, change, message):
    monkeypatch.chdir(files)
    with pytest.raises(SystemExit) as ended:
        cli.main(["recover", "A.npy", "y.npy", "-o", "x.npz", *change])
    assert ended.value.code == 2
    said = outputs(capsys)[1]
    assert message in said
    assert len(said.splitlines()) == 1


def test_a_dask_array_gives_dask_arrays(case):
    da = pytest.importorskip("dask.array")
    A, y = case
    calls = []

    def counted(A, y, k):
        calls.append(len(y))
        return pursuit.omp(A, y, k)

    sol = pursuit.solve(A, da.from_array(y, chunks=(20, 5)), counted, k=K)
    assert calls == []
    whole = pursuit.omp(A, y, K)
    np.testing.assert_allclose(sol.coefficients[:30].compute(scheduler="synchronous"), whole.coefficients[:30])
    assert sorted(calls) == [20, 20]
    x = sol.x.compute(scheduler="synchronous")
    assert type(x).__module__.startswith("scipy.sparse")
    np.testing.assert_allclose(x.toarray(), whole.x, atol=1e-12)
    np.testing.assert_array_equal(sol.support.compute(scheduler="synchronous"), whole.support)
    assert sol.residual_norm.shape == (SIGNALS,)
    with pytest.raises(ValueError, match="k as one number"):
        pursuit.solve(A, da.from_array(y), "omp", k=np.full(SIGNALS, 2))


def test_memory_is_that_of_a_batch(tmp_path):
    """Ten times as many signals take no more memory, pages of mapped files included."""
    script = """
import sys
from pathlib import Path
import numpy as np
from pursuit import batches
folder = Path(sys.argv[1])
r = np.random.default_rng(0)
np.save(folder / "A.npy", r.standard_normal((64, 128)).astype(np.float32))
for signals in (20_000, 200_000):
    with open(folder / f"{signals}.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (signals, 64)})
        for _ in range(0, signals, 5000):
            file.write(r.standard_normal((5000, 64)).astype("<f4").data)
    batches.recover_file(
        str(folder / "A.npy"), str(folder / f"{signals}.npy"), folder / f"{signals}.zarr", k=1, batch_size=5000
    )
    print([line for line in open("/proc/self/status") if line.startswith("VmHWM")][0].split()[1])
"""
    pytest.importorskip("zarr")
    if not Path("/proc/self/status").exists():
        pytest.skip("memory is read from /proc")
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, capture_output=True, text=True)
    most = [int(kib) for kib in done.stdout.split()]
    file = 180_000 * 64 * 4 // 1024
    assert most[1] - most[0] < file / 2


@pytest.fixture(scope="module")
def ten_million():
    pytest.importorskip("zarr")
    pytest.importorskip("psutil")
    path = Path(__file__).parent.parent / "benchmarks" / "ten_million.py"
    spec = importlib.util.spec_from_file_location("ten_million", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_benchmark_of_ten_million_signals_runs_at_a_small_size(ten_million, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["ten_million.py", "--quick", str(tmp_path / "table.csv")])
    ten_million.main()
    with (tmp_path / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with (Path(__file__).parent.parent / "results" / "ten_million.csv").open(newline="") as file:
        assert list(rows[0]) == next(csv.reader(file))
    assert [row["workers"] for row in rows] == ["0", "1"]
    for row in rows:
        assert float(row["largest_difference"]) == 0
        assert 0.01 < float(row["residual"]) < 0.05  # most of what is left is the noise
        assert abs(float(row["residual_above"])) < 1e-6
        assert 10 < float(row["mib_of_process"]) <= float(row["mib_of_all"]) < 2048
        assert float(row["processor_seconds"]) > 0
    assert float(rows[0]["mib_of_a_worker"]) == 0 < float(rows[1]["mib_of_a_worker"])


@pytest.mark.parametrize("field", ["support", "coefficients", "status"])
def test_the_benchmark_sees_that_answers_differ(ten_million, tmp_path, field):
    zarr = pytest.importorskip("zarr")
    for name in ("a", "b"):
        group = zarr.open_group(tmp_path / name, mode="w")
        group["support"], group["coefficients"] = np.ones((5, 2), np.int32), np.ones((5, 2), np.float32)
        group["status"] = np.ones(5, np.int8)
    assert ten_million.difference(tmp_path / "a", tmp_path / "b") == 0
    group[field][3] = 3
    assert ten_million.difference(tmp_path / "a", tmp_path / "b") == (2 if field == "coefficients" else np.inf)
