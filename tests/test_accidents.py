"""Ctrl-C, SIGTERM, killed processes, what they leave: one line, nothing lost, the next run cleans up."""

import os
import resource
import signal
import subprocess
import sys
import time
from email.message import Message
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

import work
from helpers import outputs
from pursuit import batches, cli, codes, engines, interrupts, sweeps, training
from pursuit.cli import console
from pursuit.experiments import runner
from pursuit.files import output_folder, temporary, write_array
from pursuit.files import parent as reading
from pursuit.sweeps.cells import Task, solve

COMMAND = [sys.executable, "-m", "pursuit"]
HERE = str(Path(__file__).parent)


def said_by(capsys, *line):
    """Exit status and standard error of the command."""
    with pytest.raises(SystemExit) as end:
        cli.main([str(word) for word in line])
    return end.value.code or 0, outputs(capsys)[1]


# Ctrl-C and SIGTERM

# As the interpreter starts: sends this process a signal when a module is about to be imported.
AT_IMPORT = """
import os, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["AT"]:
            os.kill(os.getpid(), int(os.environ["SIGNAL"]))

sys.meta_path.insert(0, Finder())
"""


@pytest.mark.parametrize(
    ("module", "number"),
    [("pursuit.cli", signal.SIGINT), ("typer", signal.SIGTERM), ("pursuit.cli.compare", signal.SIGINT),
     ("numpy", signal.SIGINT), ("torch", signal.SIGTERM), ("torch._utils", signal.SIGINT)],
)  # fmt: skip
def test_a_start_is_stopped(module, number, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(AT_IMPORT)
    paths = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    ended = subprocess.run(
        [*COMMAND, "recover", "A.npy", "y.npy", "-k", "1", "-o", "o.npy"], capture_output=True, text=True, check=False,
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": paths, "AT": module, "SIGNAL": str(int(number))},
    )  # fmt: skip
    assert ended.stderr == "pursuit: stopped; repeat the command to begin again.\n"
    assert ended.returncode in (128 + number, -number)  # CPython may end itself by SIGINT, which a shell shows as 130
    assert ended.stdout == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_command_says_what_is_kept_and_how_to_go_on(number, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("A.npy", np.eye(4, 6))
    np.save("y.npy", np.eye(4))
    begin_again = "pursuit: stopped; repeat the command to begin again.\n"
    go_on = "pursuit: stopped; finished {} are in {}: repeat the command to go on.\n".format

    def stop(*arguments, **options):
        raise KeyboardInterrupt if number == signal.SIGINT else interrupts.Stopped(number)

    monkeypatch.setattr(batches, "solve_batch", stop)
    lines = {
        ("recover", "A.npy", "y.npy", "-k", 1, "--batch", 2, "--layout", "rows", "-o", "x.npz"):
            go_on("signals", "x.npz.part"),
    }  # fmt: skip
    monkeypatch.setattr(sweeps.run, "_finish", stop)
    lines["sweep", "phase", "--methods", "omp", "--n", 16, "--grid", "2x2", "--trials", 10, "-o", "s"] = go_on(
        "cells", Path("s/sweep.sqlite")
    )
    monkeypatch.setattr(runner, "_work", stop)
    lines["reproduce", "dgu-fig1", "--quick", "-o", "r"] = go_on("cells", Path("r/cells"))
    monkeypatch.setattr(training, "fit", stop)
    lines["train", "alista", "--n", 16, "--m", 8, "-k", 2, "-o", "t"] = begin_again  # there is no checkpoint yet
    for line, told in lines.items():
        assert said_by(capsys, *line) == (128 + number, told)
    Path("t/checkpoint.safetensors").touch()
    told = go_on("epochs", Path("t/checkpoint.safetensors"))
    assert said_by(capsys, "train", "alista", "--n", 16, "--m", 8, "-k", 2, "-o", "t") == (128 + number, told)


SWEEP = ("--methods", "iht,htp@omp", "--n", "32", "--grid", "4x5", "--trials", "400", "--block", "20")

SCRIPT = """
import sys
from pursuit import cli
print("once", flush=True)
cli.main(["sweep", "phase", *sys.argv[1:], "--workers", "1"])
"""


def test_ctrl_c_and_a_killed_process_with_workers_of_a_script_without_a_guard(tmp_path):
    """Ctrl-C as a terminal does it, which sends it to all processes of a command.

    Processes that import the script that starts them would start it again; these do not.
    """
    (tmp_path / "script.py").write_text(SCRIPT)
    folder = tmp_path / "a"
    command = [sys.executable, tmp_path / "script.py", *SWEEP, "-o", folder]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        wait_for(lambda: finished(folder))
        os.kill(children(run.pid)[0], signal.SIGKILL)
        before = finished(folder)
        wait_for(lambda: finished(folder) > before + 20)  # by other processes, since all of them have begun anew
        os.killpg(run.pid, signal.SIGINT)
        out, err = run.communicate(timeout=60)  # the pipes end when no process holds them any more
    finally:
        run.kill()
    assert (run.returncode, out) == (130, "once\n")
    assert [line for line in err.splitlines() if not line.startswith("cells:")] == [
        "pursuit: a worker process was killed; others go on with its work",
        f"pursuit: stopped; finished cells are in {folder / 'sweep.sqlite'}: repeat the command to go on.",
    ]
    assert 20 < finished(folder) < 2 * 16 * 20
    run = sweeps.load(folder)
    for cell in [*run.cells()][:: finished(folder) // 10]:
        (same,) = solve(run.settings, Task(cell.m, cell.k, cell.block, (cell.method,)))
        assert same[:-1] == cell[:-1]  # but for the seconds


def wait_for(what):
    until = time.monotonic() + 120
    while not what() and time.monotonic() < until:
        time.sleep(0.05)


def finished(folder):
    """How many cells a sweep has."""
    try:
        return len(sweeps.load(folder).counts)
    except ValueError:
        return 0


def children(pid):
    """The processes that work for another."""
    import psutil

    return [child.pid for child in psutil.Process(pid).children() if "loky.backend.popen" in " ".join(child.cmdline())]


# Processes that are killed


def test_a_killed_process_costs_a_line_and_no_result(tmp_path, capsys):
    tasks = [(number, 3, str(tmp_path / "mark")) for number in range(8)]
    with engines.engine(workers=2) as run:
        assert sorted(run(work.die_once, tasks)) == [number**2 for number in range(8)]
        assert sorted(run(work.die_once, tasks)) == [number**2 for number in range(8)]  # the same processes
    assert outputs(capsys)[1] == "pursuit: a worker process was killed; others go on with its work\n"


def test_a_task_that_kills_its_process_is_given_up_after_all_others(capsys):
    done = []
    with engines.engine(workers=2) as run, pytest.raises(sweeps.LostCells, match=r"1 of 8 tasks were lost.*memory"):
        done.extend(run(work.die_always, [(number, 0) for number in range(8)]))
    assert sorted(done) == [number**2 for number in range(1, 8)]
    assert set(outputs(capsys)[1].splitlines()) == {"pursuit: a worker process was killed; others go on with its work"}


def test_an_error_of_a_task_is_raised_as_in_this_process():
    with engines.engine(workers=1) as run, pytest.raises(TypeError, match="bad operand type"):
        list(run(abs, ["a"]))


PARENT = f"""
import sys
sys.path.insert(0, {HERE!r})
import work
from pursuit.engines import engine

with engine(workers=1) as run:
    list(run(work.tell_and_wait, ["at work"]))
"""


def test_no_process_outlives_the_command():
    """They might write while the next run reads."""
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.readline() == "at work\n"
        parent.kill()
        assert parent.communicate(timeout=30) == ("", None)  # the pipe ends when no process holds it any more


def test_workers_open_no_port():
    import psutil

    with engines.engine(workers=1) as run:
        (other,) = run(work.listening, [None])
        assert other == []
        assert [c for c in psutil.Process().net_connections("inet") if c.status == "LISTEN"] == []


# Temporary files


def gone_process():
    """The number of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_what_a_killed_run_left_is_removed_at_the_next_start(tmp_path, monkeypatch):
    gone, here = gone_process(), temporary._machine()
    left = [f".pursuit-{here}-{gone}-0000000{number}.part" for number in (0, 1)]
    left.append(".pursuit-ffffffff-1-0000000a.part")
    kept = [
        f".pursuit-{here}-{os.getpid()}-00000000.part",  # may be written to
        f".pursuit-ffffffff-{gone}-00000000.part",  # of another machine, whose processes nobody can see from here
        f".pursuit-{here}-{gone}.part", f"pursuit-{here}-{gone}-00000000.part", ".x.npy.a1b2c3d4", "x.npz.part",
    ]  # fmt: skip
    for name in (*left, *kept):
        (tmp_path / name).touch()
    (tmp_path / left[1]).unlink()
    (tmp_path / left[1] / "deep").mkdir(parents=True)  # a folder is removed too
    (tmp_path / left[1] / "deep" / "array.npy").touch()
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "precious").touch()
    (tmp_path / f".pursuit-{here}-{gone}-00000002.part").symlink_to(tmp_path / "far")  # and what it points to is kept
    os.utime(tmp_path / left[2], (1, 1))
    if os.geteuid() == 0:
        kept.append(f".pursuit-{here}-{gone}-00000003.part")
        (tmp_path / kept[-1]).touch()
        os.chown(tmp_path / kept[-1], 12345, -1)  # another user's
    write_array(tmp_path / "o.npy", np.zeros(3))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*kept, "o.npy", "far"])
    assert (tmp_path / "far" / "precious").exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from pursuit.files import write_whole
write_whole(Path(sys.argv[1]), lambda file: (file.write(b"half"), os.kill(os.getpid(), signal.SIGKILL)))
"""


def test_a_killed_writer_leaves_the_file_as_it_was(tmp_path):
    (tmp_path / "o.npy").write_text("before")
    subprocess.run([sys.executable, "-c", KILLED, tmp_path / "o.npy"], check=False)
    assert (tmp_path / "o.npy").read_text() == "before"
    assert len([*tmp_path.iterdir()]) == 2
    output_folder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["o.npy"]


def test_a_killed_reader_leaves_nothing_for_long(tmp_path, monkeypatch):
    """What other libraries read is handed over in a folder among the system's temporary ones."""
    monkeypatch.setattr(temporary.tempfile, "tempdir", str(tmp_path))
    (tmp_path / f".pursuit-{temporary._machine()}-{gone_process()}-00000000.part").mkdir()
    with reading.temporary_folder() as folder:
        assert list(tmp_path.iterdir()) == [folder]
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_a_file_has_the_rights_that_the_umask_leaves(umask, tmp_path, monkeypatch):
    """It is not even read, which takes a change: files of other threads would have other rights meanwhile."""
    before = os.umask(umask)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "umask", lambda new: pytest.fail("the umask was touched"))
            write_array(tmp_path / "o.npy", np.zeros(3))
    finally:
        os.umask(before)
    assert (tmp_path / "o.npy").stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_name_may_have_255_characters(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("A.npy", np.eye(4, 6))
    np.save("y.npy", np.eye(4)[2])
    name = "x" * 251 + ".npy"
    assert said_by(capsys, "recover", "A.npy", "y.npy", "-k", 1, "-o", name) == (0, "")
    assert np.load(name).tolist() == [0, 0, 1, 0, 0, 0]


# Full disks


def test_a_full_disk_is_one_line_with_the_name_of_the_file(tmp_path, capsys, monkeypatch):
    """Here files of more than 8 kB find no room."""
    monkeypatch.chdir(tmp_path)
    np.save("A.npy", np.eye(4, 900))
    np.save("y.npy", np.ones((300, 4)))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, before[1]))
    try:
        whole = said_by(capsys, "recover", "A.npy", "y.npy", "-k", 1, "-o", "x.npy")
        parts = said_by(capsys, "recover", "A.npy", "y.npy", "-k", 4, "--batch", 7, "-o", "x.npz")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    advice = "; check the path, the rights and the space on the disk.\n"
    assert whole[0] == parts[0] == 2
    assert whole[1].startswith("pursuit: x.npy: ")
    assert parts[1] == f"pursuit: x.npz.part: File too large{advice}"
    assert whole[1].endswith(advice)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["A.npy", "y.npy"]


def test_batches_take_their_space_before_the_work(tmp_path):
    """Writing to a map of a file that finds no room ends the process (SIGBUS)."""
    codes.Codes.open(tmp_path / "run", {}, signals=10_000, n=9, k=4, batch=100, dtype=np.float64)
    for path in (tmp_path / "run").iterdir():
        assert path.stat().st_blocks * 512 >= path.stat().st_size, path


# Mistakes of ours


def test_a_report_goes_where_the_package_says(monkeypatch):
    """Its metadata have the address under `[project.urls]`."""
    told = "KeyError: 'k'. This is a mistake in pursuit: please report it {} with what --debug shows.".format
    assert console.in_one_line(KeyError("k")) == told("to its authors")
    message = Message()
    message["Project-URL"] = "Issues, https://example.org/issues"
    monkeypatch.setattr(metadata, "metadata", lambda name: message)
    assert console.in_one_line(KeyError("k")) == told("at https://example.org/issues")
