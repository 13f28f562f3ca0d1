"""Damaged files, files that claim too much, full disks: one line, no crash, nothing written elsewhere."""

import json
import re
import resource
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from helpers import outputs
from pursuit import cli, files, nets, sweeps
from pursuit.experiments import runner

SPARSE = scipy.sparse.csr_array(np.eye(4, 6))


@pytest.fixture
def pursuit(tmp_path, monkeypatch, capsys):
    """The command in a folder with A.npy and y.npy: exit status, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    np.save("A.npy", np.eye(4, 6))
    np.save("y.npy", np.eye(4)[2])

    def run(*line):
        with pytest.raises(SystemExit) as end:
            cli.main([str(word) for part in line for word in (part.split() if isinstance(part, str) else [part])])
        out, err = outputs(capsys)
        return end.value.code or 0, out, err

    return run


def one_line(result, message, status=2):
    code, _, err = result
    assert code == status
    assert err.startswith("pursuit: ")
    assert err.count("\n") == 1
    assert re.search(message, err), err


# Files that are damaged, or claim more than they hold


@pytest.mark.parametrize("index", [9, -1, 2**40])
@pytest.mark.parametrize("form", ["csr", "csc", "coo", "bsr"])
def test_an_index_outside_of_a_sparse_matrix(form, index, pursuit):
    """SciPy itself ends the process (SIGSEGV)."""
    matrix = SPARSE.asformat(form)
    parts = {"data": matrix.data, "shape": np.array(matrix.shape), "format": np.array(form)}
    if form == "coo":
        parts |= {"row": matrix.coords[0].astype(np.int64), "col": matrix.coords[1].astype(np.int64)}
        parts["col"][1] = index
    else:
        parts |= {"indices": matrix.indices.astype(np.int64), "indptr": matrix.indptr}
        parts["indices"][1] = index
    np.savez("S.npz", **parts)
    one_line(pursuit("recover S.npz y.npy -k 1 -o o.npy"), r"S\.npz: cannot be read as \.npz: .*ind")


def test_a_sparse_matrix_of_matlab_with_an_index_outside(pursuit):
    scipy.io.savemat("S.mat", {"S": SPARSE.tocsc()}, do_compression=False)
    data = Path("S.mat").read_bytes()
    rows = np.arange(4, dtype="<i4").tobytes()
    assert rows in data
    Path("S.mat").write_bytes(data.replace(rows, np.array([0, 1, 99, 3], "<i4").tobytes()))
    one_line(pursuit("recover S.mat y.npy -k 1 -o o.npy"), r"S\.mat: cannot be read as \.mat")


@pytest.mark.parametrize("at", [0, 60, 128, 136, 150, 180])
def test_a_damaged_matlab_file_ends_in_one_line(at, pursuit):
    scipy.io.savemat("m.mat", {"A": np.eye(4, 6)}, do_compression=False)
    data = bytearray(Path("m.mat").read_bytes())
    data[at : at + 4] = b"\xff" * 4
    Path("m.mat").write_bytes(data)
    code, _, err = pursuit("recover m.mat y.npy -k 1 -o o.npy")
    assert code in (0, 2)  # what stands at some of these places matters to nobody
    assert err.count("\n") == (code == 2)
    assert "Traceback" not in err


def test_a_reader_that_crashes_does_not_take_the_command_with_it(pursuit, monkeypatch):
    """As `loadmat` does on some damaged files."""
    package = Path("fake/scipy")
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "io.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    scipy.io.savemat("m.mat", {"A": np.eye(4, 6)})
    monkeypatch.setenv("PYTHONPATH", str(package.parent.resolve()))
    one_line(pursuit("recover m.mat y.npy -k 1 -o o.npy"), "m.mat: cannot be read as .mat: the file is damaged")


def test_more_memory_is_claimed_than_there_is(pursuit):
    header = {"descr": "<f8", "fortran_order": False, "shape": (10**6, 10**7)}
    with open("big.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.write(bytes(800))
    one_line(pursuit("recover big.npy y.npy -k 1 -o o.npy"), r"big\.npy: cannot be read as \.npy")
    with zipfile.ZipFile("big.npz", "w") as archive:
        archive.write("big.npy", "A.npy")
    one_line(pursuit("recover big.npz y.npy -k 1 -o o.npy"), r"big\.npz: .*claims the shape \(1000000, 10000000\)")
    with h5py.File("big.h5", "w") as file:
        file.create_dataset("A", shape=(10**6, 10**7), chunks=(1, 10**5), dtype="f8")
    one_line(pursuit("recover big.h5 y.npy -k 1 -o o.npy"), r"big\.h5: claims more memory than there is")
    Path("big.mtx").write_text("%%MatrixMarket matrix coordinate real general\n4000000000 6000000000000 1\n1 1 1.0\n")
    one_line(pursuit("recover big.mtx y.npy -k 1 -o o.npy"), r"big\.mtx: .*memory|a sparse matrix: needs .* of memory")


WRITERS = {
    "npy": lambda path: np.save(path, np.eye(4, 6)),
    "npz": lambda path: np.savez_compressed(path, A=np.eye(4, 6)),
    "pt": lambda path: torch.save(torch.eye(4, 6), path),
    "safetensors": lambda path: save_file({"A": torch.eye(4, 6)}, path),
    "csv": lambda path: np.savetxt(path, np.eye(4, 6) + 1j, delimiter=","),
    "iq": lambda path: path.write_bytes(bytes(range(48))),
}


@pytest.mark.parametrize("form", WRITERS)
def test_files_damaged_at_random_are_read_or_refused_in_one_line(form, tmp_path):
    path, rng = tmp_path / f"f.{form}", np.random.default_rng(0)
    WRITERS[form](path)
    whole, said = path.read_bytes(), []
    for trial in range(60):
        data, at = bytearray(whole), int(rng.integers(len(whole)))
        if trial % 3 == 0:
            data = data[:at]
        else:
            data[at : at + 4] = bytes(rng.integers(0, 256, 4).astype(np.uint8))
        path.write_bytes(data)
        try:
            array = files.read_array(path, files.Asked(dtype="cf32") if form == "iq" else files.Asked())
        except ValueError as error:
            said.append(str(error))
        else:
            assert array.dtype.kind in "fc"
    assert len(said) > 5
    assert all(str(path) in message and "\n" not in message for message in said)


def test_a_file_of_torch_cannot_run_code(pursuit):
    class Bomb:
        def __reduce__(self):
            return (open, ("ran", "w"))

    torch.save({"A": Bomb()}, "a.pt")
    one_line(pursuit("recover a.pt y.npy -k 1 -o o.npy"), "could run code when read")
    assert not Path("ran").exists()


def test_a_network_that_claims_more_than_its_tensors(tmp_path):
    path = tmp_path / "net.safetensors"
    nets.save(nets.NAALISTA(torch.eye(3), layers=2, sparsity=1, hidden=4), path)
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["pursuit"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    header["config"]["hidden"] = 15000
    save_file(tensors, path, metadata={"pursuit": json.dumps(header)})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="options say hidden=15000, and whose tensors say 4"):
        nets.load(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


# Experiments and sweeps


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    """The folder of an experiment that has been run."""
    folder = tmp_path_factory.mktemp("experiment") / "out"
    runner.reproduce("dgu-fig1", folder, quick=True)
    return folder


@pytest.mark.parametrize("name", ["../../../escaped", "/tmp/escaped", "a/b", "..", ""])
def test_reproduce_writes_nothing_outside_its_folder(name, experiment, tmp_path, pursuit):
    folder = tmp_path / "deep" / "out"
    shutil.copytree(experiment, folder)
    for cell in (folder / "cells").glob("*.json"):
        cell.write_text(json.dumps({"seconds": 1.0, "tables": {name: [{"a": 1}]}}))
    before = set(tmp_path.rglob("*"))
    one_line(pursuit("reproduce dgu-fig1 --quick -o", folder), "is no file of a finished cell; delete it")
    assert set(tmp_path.rglob("*")) == before
    assert not Path("/tmp/escaped.csv").exists()


@pytest.mark.parametrize("text", ["", "[]", '{"tables": 3}', '{"tables": {"rows": [1]}}', "{" * 10, "[" * 100_000])
def test_a_damaged_cell_of_an_experiment(text, experiment, tmp_path, pursuit):
    shutil.copytree(experiment, tmp_path / "out")
    next((tmp_path / "out" / "cells").glob("*.json")).write_text(text)
    one_line(pursuit("reproduce dgu-fig1 --quick -o", tmp_path / "out"), "is no file of a finished cell; delete it")


@pytest.fixture
def sweep(tmp_path):
    """A small run, and a function that edits its file."""
    sweeps.phase(["omp"], n=16, grid=(2, 2), trials=10, output=tmp_path / "a")
    sweeps.phase(["omp"], n=16, grid=(2, 2), trials=10, output=tmp_path / "b")

    def edit(*statements):
        with sqlite3.connect(tmp_path / "a" / "sweep.sqlite") as db:
            for statement in statements:
                db.execute(*statement if isinstance(statement, tuple) else (statement,))
        db.close()

    return edit


def edited(tmp_path, table, **changes):
    db = sqlite3.connect(tmp_path / "a" / "sweep.sqlite")
    read = json.loads(db.execute(f"SELECT json FROM {table}").fetchone()[0])
    db.close()
    return (f"UPDATE {table} SET json = ?", (json.dumps(read | changes),))


EDITS = {
    "a huge grid": {"grid": [10**6, 10**6]},
    "a grid of three": {"grid": [2, 2, 2]},
    "a grid of words": {"grid": "ab"},
    "huge trials": {"trials": 10**15},
    "no methods": {"methods": None},
    "another option": {"magic": 1},
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_plan(edit, tmp_path, sweep, pursuit):
    sweep(edited(tmp_path, "plan", **EDITS[edit]))
    one_line(pursuit("sweep phase --status -o", tmp_path / "a"), "is damaged, or was edited")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE cells SET found = 1000",
        "UPDATE cells SET found = trials - found",
        "UPDATE cells SET m = 1000000",
        "UPDATE cells SET trials = 'ten'",
        "UPDATE cells SET hits = x'00'",
        "UPDATE cells SET exactly = x'ffffff'",
    ],
)
def test_inconsistent_cells_are_not_believed(statement, tmp_path, sweep, pursuit):
    sweep(statement)
    one_line(pursuit("sweep diff", tmp_path / "a", tmp_path / "b"), "is damaged, or was edited")


def test_a_damaged_database(tmp_path, sweep, pursuit):
    file = tmp_path / "a" / "sweep.sqlite"
    data = bytearray(file.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    file.write_bytes(data)
    one_line(pursuit("sweep draw", tmp_path / "a"), r"sweep\.sqlite|damaged")


def test_a_grid_that_cannot_be_listed(tmp_path, pursuit):
    one_line(pursuit("sweep phase --methods omp --grid 100000x100000 -o", tmp_path / "c"), "needed are at most")


# One line for everything


def test_a_full_disk(pursuit, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device", "o.npy")

    monkeypatch.setattr(np, "save", full)
    one_line(pursuit("recover A.npy y.npy -k 1 -o o.npy"), "o.npy: No space left on device; check the path")
    assert not Path("o.npy").exists()
    assert not list(Path().glob(".o.npy*"))


def test_outputs_that_cannot_be(pursuit, tmp_path):
    one_line(pursuit(f"recover A.npy y.npy -k 1 -o {'x' * 300}.npy"), "File name too long; check the path")
    Path("folder.npy").mkdir()
    one_line(pursuit("recover A.npy y.npy -k 1 -o folder.npy"), "is a folder")
    one_line(pursuit("recover folder.npy y.npy -k 1 -o o.npy"), "folder.npy: is a folder; give the path of a .npy file")
    one_line(pursuit(f"recover {'x' * 300}.npy y.npy -k 1 -o o.npy"), "File name too long; check the path")
    one_line(pursuit("recover A.npy y.npy -k 1 -o A.npy/o.npy"), "cannot be written to")


@pytest.mark.parametrize(
    "error", [KeyError("k"), IndexError("i"), AttributeError("a"), RecursionError(), ZeroDivisionError("z")]
)
def test_a_mistake_of_ours(error, pursuit, monkeypatch):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(files, "readings", fail)
    result = pursuit("recover A.npy y.npy -k 1 -o o.npy")
    one_line(result, f"{type(error).__name__}.* This is a mistake in pursuit: please report it .* --debug")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError("Unable to allocate 191. MiB for an array"), r"not enough memory: 191\. MiB more are needed"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4096000000 bytes."),
         r"not enough memory: 4\.1 GB more are needed"),
        (MemoryError(), "there is not enough memory; give fewer signals at once"),
        (sqlite3.OperationalError("database is locked"), "database is locked.*another command"),
        (PermissionError(13, "Permission denied", "A.npy"), "A.npy: Permission denied; check the path, the rights"),
    ],
)  # fmt: skip
def test_memory_and_rights(error, message, pursuit, monkeypatch):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(files, "readings", fail)
    one_line(pursuit("recover A.npy y.npy -k 1 -o o.npy"), message)


def test_debug_shows_the_traceback(pursuit, monkeypatch):
    from pursuit.cli import console

    monkeypatch.setattr(console, "_debug", False)
    for line in ("recover gone.npy y.npy -k 1 -o o.npy --debug", "--debug recover gone.npy y.npy -k 1 -o o.npy"):
        code, _, err = pursuit(line)
        assert code == 2
        assert "Traceback (most recent call last)" in err
        assert "pursuit: gone.npy: no such file" in err


COMMAND = [sys.executable, "-m", "pursuit"]


def test_output_that_nobody_reads_any_more(pursuit):
    ended = subprocess.run(
        f"{sys.executable} -m pursuit reproduce | true; exit ${{PIPESTATUS[0]}}",
        shell=True, executable="/bin/bash", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode in (0, 141)
    assert ended.stderr == ""


def test_a_full_device_for_the_output(pursuit):
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [*COMMAND, "reproduce"], stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert ended.returncode != 0
    assert ended.stderr.count("\n") == 1
    assert "No space left on device" in ended.stderr


def test_a_memory_map_is_never_copied_whole(tmp_path):
    """100 MB of a file, in 90 MB of memory besides what the interpreter takes.

    The kernel of OMP would keep a copy of A in another order; it leaves the signal to the steps.
    """
    script = """
import resource, sys, numpy as np, pursuit
from pursuit import cli
A = np.lib.format.open_memmap("big.npy", "w+", np.float32, (250, 100_000))
A[:] = np.random.default_rng(0).standard_normal(A.shape, dtype=np.float32)
np.save("by.npy", A[:, 7] - A[:, 99_999])
del A
pursuit.omp(np.eye(3), np.ones(3), 1)
used = int(open("/proc/self/status").read().split("VmData:")[1].split()[0])
resource.setrlimit(resource.RLIMIT_DATA, ((used << 10) + 90_000_000,) * 2)
cli.main(["recover", "big.npy", "by.npy", "-k", "2", "-o", "o.npy"])
"""
    ended = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "support: 2 of 100000 columns of A (from 0): 7, 99999" in ended.stdout
