"""What only a machine with a GPU can tell: whether the tests pass there, and how long things take.

    python3 benchmarks/gpu.py [--out results/gpu] [--device cuda] [--quick] [--parts machine tests ...]

It needs Python with torch and NumPy, no installation and no network: the package is taken from `src`, and what is
missing otherwise from `wheels/` (filled by `make gpu-wheels`). Every part is a process of its own with a time limit,
and writes what it finds as it finds it, so that a run cut short leaves what it had:

    machine.json    versions, the GPU, whether Triton and the compiled kernels work
    tests.txt, .xml the tests that touch devices
    solvers.csv     solvers against each other and against the package orthogonal-matching-pursuit-gpu
    training.csv    a training step of OMP-Net, IHT-Net and NA-ALISTA, at the papers' sizes
    profile.txt     kernels that take the time, and how many are launched
    tuning.csv      ways to launch the Triton kernels of OMP
    networks.csv    networks of Figure 6 of "Neurally augmented ALISTA", trained side by side; their files, in
                    na-fig6/cells, are those of `pursuit reproduce na-fig6`, which goes on with what was cut short

Times are of single precision, after runs that do not count, with the device idle before the clock is read; what is
compared takes turns, and medians are given. A batch grows until the next size would take longer than the limit of a
run, so that a slow machine or solver is measured on fewer signals.
"""

from __future__ import annotations

import argparse
import copy
import csv
import json
import os
import platform
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import types
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
WHEELS = ROOT / "wheels"
# Parts in order, with the seconds that each may take, and those of a quick run.
LIMITS = {
    "machine": (60, 90), "tests": (130, 90), "solvers": (110, 60), "training": (40, 60), "profile": (30, 60),
    "tuning": (30, 60), "networks": (150, 60),
}  # fmt: skip
GRACE = 20  # seconds for a part to end after it was told to
TESTS = ("test_kernels_cuda.py", "test_cuda.py", "test_solvers.py", "test_relaxations.py")
PEER = "orthogonal_matching_pursuit_gpu"
RUN_LIMITS, QUICK_LIMIT = (0.6, 0.3), 0.05  # seconds of one run on the GPU, on the CPU
ROUNDS = 5
GPU_FACTS = "name,driver_version,memory.total,clocks.max.sm"
SEED = 0


class Case(NamedTuple):
    """Measurements, unknowns, non-zeros, and how many signals there are at most."""

    m: int
    n: int
    k: int
    signals: int


# The first three are those of the peer's own comparison, in another order.
CASES = (Case(256, 1024, 32, 5000), Case(64, 256, 8, 5000), Case(512, 2048, 64, 5000), Case(8064, 1207, 30, 1200))
QUICK = (Case(16, 32, 2, 64),)
# Steps are bounded, for it is their speed that is asked for.
SOLVERS: dict[str, dict[str, Any]] = {
    "omp": {}, "iht": {"max_steps": 50}, "sea": {"max_steps": 50}, "ols": {}, "htp": {"max_steps": 20},
}  # fmt: skip
CPU_TOO = ("omp", "iht", "sea", "ols")
STEPS_TOO = ("omp", "ols")  # timed without their kernels besides, on the GPU


# ---- a machine without an installation -----------------------------------------------------------------------------


def fits_here(wheel: Path) -> bool:
    """Whether this Python, on this machine, can use a wheel, by its name."""
    python, abi, system = wheel.stem.split("-")[-3:]
    own = f"cp{sys.version_info.major}{sys.version_info.minor}"
    return ("py3" in python.split(".") or own in python or abi == "abi3") and (
        system == "any" or platform.machine() in system
    )


def missing(modules: set[str]) -> bool:
    return any(find_spec(name) is None for name in modules)


def unpack(folder: Path) -> list[str]:
    """Put what `wheels/` has and this Python lacks into a folder; returns the folders to search for modules."""
    for wheel in sorted(WHEELS.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            tops = {name.split("/")[0] for name in archive.namelist()}
            modules = {top.removesuffix(".py") for top in tops if top.removesuffix(".py").isidentifier()}
            if fits_here(wheel) and missing(modules):
                archive.extractall(folder)
    paths = [str(folder)]
    for source in sorted(WHEELS.glob("*.tar.gz")):
        if not missing({source.name.rsplit("-", 1)[0]}):
            continue
        with tarfile.open(source) as archive:
            archive.extractall(folder, filter="data")
        paths.append(str(folder / source.name.removesuffix(".tar.gz") / "src"))
    return paths


# ---- parts, each with a time limit -----------------------------------------------------------------------------------


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default=os.environ.get("OUT", str(ROOT / "results" / "gpu")), type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that everything runs")
    parser.add_argument("--parts", nargs="+", choices=list(LIMITS), default=list(LIMITS))
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)  # in this process: one part
    given = parser.parse_args()
    given.out = given.out.resolve()
    given.out.mkdir(parents=True, exist_ok=True)
    if given.alone:
        return PARTS[given.parts[0]](given)
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(ROOT / "src"), *unpack(Path(folder)), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONUNBUFFERED": "1"}
        print(f"PYTHONPATH={environment['PYTHONPATH']}", flush=True)
        return max([abs(run_part(part, given, environment)) for part in given.parts])


def run_part(part: str, given: argparse.Namespace, environment: dict[str, str]) -> int:
    """Run a part in a process of its own; returns its exit status."""
    limit = LIMITS[part][given.quick]
    command = [sys.executable, __file__, "--out", str(given.out), "--device", given.device, "--parts", part, "--alone"]
    command += ["--quick"] * given.quick
    begin = time.monotonic()
    process = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True)
    code = end(process, limit)
    print(f"== {part}: exit status {code}, {time.monotonic() - begin:.1f} s of {limit}", flush=True)
    return code


def end(process: subprocess.Popen, limit: float) -> int:
    """Wait for a part; beyond its time it is interrupted, then killed with all that it has started."""
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
        return 124
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class Table:
    """A CSV file that has every row as soon as it is known."""

    def __init__(self, path: Path, *columns: str):
        self.file = path.open("w", newline="")
        self.rows = csv.DictWriter(self.file, columns, lineterminator="\n")
        self.rows.writeheader()

    def add(self, **row: Any) -> None:
        row = {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in row.items()}
        self.rows.writerow(row)
        self.file.flush()
        print("  ".join(f"{name} {value}" for name, value in row.items() if value != ""), flush=True)


# ---- the machine -----------------------------------------------------------------------------------------------------


def look_at_machine(given: argparse.Namespace) -> int:
    """Versions, the devices, and whether Triton and the compiled kernels work."""
    facts: dict[str, Any] = {
        "python": sys.version.split()[0], "platform": platform.platform(), "processors": os.cpu_count(),
        "device": given.device, "seed": SEED, "commit": output("git", "rev-parse", "HEAD"),
        "gpu": output("nvidia-smi", f"--query-gpu={GPU_FACTS}", "--format=csv,noheader"),
        "versions": {name: installed(name) for name in (
            "torch", "numpy", "scipy", "numba", "triton", "safetensors", "pytest", "hypothesis", "jax", "cupy-cuda13x",
            "orthogonal-matching-pursuit-gpu",
        )},
    }  # fmt: skip

    def note(**more: Any) -> None:
        facts.update(more)
        (given.out / "machine.json").write_text(json.dumps(facts, indent=2) + "\n")

    note()
    import torch

    note(threads=torch.get_num_threads(), cuda=torch.version.cuda, available=torch.cuda.is_available())
    note(tf32=torch.backends.cuda.matmul.allow_tf32)
    if torch.cuda.is_available():
        note(capability=torch.cuda.get_device_capability(), memory=torch.cuda.get_device_properties(0).total_memory)
    note(triton=tried(lambda: triton_works(given.device)))
    note(kernels=tried(compiled_kernels))
    note(peer=tried(lambda: peer() is not None))
    print(json.dumps(facts, indent=2))
    return 0


def output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=20, cwd=ROOT).stdout.strip()
    except (OSError, subprocess.TimeoutExpired) as problem:
        return str(problem)


def installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def tried(do: Callable[[], Any]) -> Any:
    """What it gives, or why it does not: nothing here may keep the rest from running."""
    try:
        return do()
    except Exception as problem:
        return f"{type(problem).__name__}: {problem}"[:500]


def triton_works(device: str) -> bool:
    from triton_add import works

    return works(device)


def compiled_kernels() -> dict[str, float]:
    """Seconds that it takes to compile what the comparisons run on the CPU, which keeps that out of their time."""
    import pursuit
    from pursuit import kernels

    if kernels.module("cpu", "sea") is None:
        return {}
    A, y, _ = draw(Case(8, 16, 2, 3), "cpu")
    seconds = {name: clock(lambda name=name: solve(name, A, y, 2), "cpu") for name in CPU_TOO if hasattr(pursuit, name)}
    for name, (_, step) in trainers("cpu", quick=True).items():
        seconds[name] = clock(step, "cpu")
    return {name: round(value, 2) for name, value in seconds.items()}


# ---- tests -----------------------------------------------------------------------------------------------------------


def run_tests(given: argparse.Namespace) -> int:
    """Those that touch devices, on this one; warnings of torch that nobody has seen yet fail nothing."""
    tests = [f"tests/{name}" for name in TESTS[: 1 if given.quick else None]]
    several = ["--numprocesses", "8"] if find_spec("xdist") is not None and not given.quick else []
    command = [
        sys.executable, "-m", "pytest", *tests, "-o", "addopts=", "-W", "default", "-p", "no:cacheprovider",
        "-k", "cuda", "-v", "--tb=short", "-ra", "--durations=10", f"--junitxml={given.out / 'tests.xml'}", *several,
    ]  # fmt: skip
    with (given.out / "tests.txt").open("w") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT, env=os.environ | {"PURSUIT_DEVICE": given.device}
        )
        try:
            code = process.wait()
        except KeyboardInterrupt:  # out of time: pytest, told too, writes its summary
            process.send_signal(signal.SIGINT)
            code = process.wait()
    lines = (given.out / "tests.txt").read_text().splitlines()
    print("\n".join(line for line in lines if line.startswith(("FAILED", "ERROR"))), *lines[-1:], sep="\n")
    return code


# ---- times -----------------------------------------------------------------------------------------------------------


def wait(device: str) -> None:
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize()


def clock(do: Callable[[], Any], device: str) -> float:
    """Seconds until the device has done it."""
    wait(device)
    begin = time.perf_counter()
    do()
    wait(device)
    return time.perf_counter() - begin


def peak_mib(do: Callable[[], Any], device: str) -> float | str:
    """Most memory of the GPU that it takes beyond what was in use; nothing on the CPU."""
    import torch

    if not device.startswith("cuda"):
        do()
        return ""
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    do()
    wait(device)
    return (torch.cuda.max_memory_allocated() - before) / 2**20


@contextmanager
def patient(table: Table, **row: Any) -> Iterator[None]:
    """Where something fails, the row says why, and the rest goes on."""
    try:
        yield
    except Exception as problem:
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        table.add(**row, note=f"{type(problem).__name__}: {problem}".splitlines()[0][:200])


# ---- solvers ---------------------------------------------------------------------------------------------------------


def draw(case: Case, device: str) -> tuple[Any, Any, Any]:
    """A Gaussian matrix with unit columns, measurements with noise of a hundredth, and the signals."""
    import torch

    rng = torch.Generator().manual_seed(SEED)
    A = torch.randn(case.m, case.n, generator=rng)
    A = A / A.norm(dim=0)
    places = torch.rand(case.signals, case.n, generator=rng).topk(case.k).indices
    x = torch.zeros(case.signals, case.n).scatter(-1, places, torch.randn(case.signals, case.k, generator=rng))
    y = x @ A.T
    e = torch.randn(y.shape, generator=rng)
    y = y + 0.01 * e * y.norm(dim=-1, keepdim=True) / e.norm(dim=-1, keepdim=True)
    return A.to(device), y.to(device), x.to(device)


def solve(name: str, A: Any, y: Any, k: int) -> Any:
    import pursuit

    return getattr(pursuit, name)(A, pursuit.rows(y), k, **SOLVERS[name])


def by_steps(name: str, A: Any, y: Any, k: int) -> Any:
    """Without the solver's compiled kernel."""
    import pursuit

    before = pursuit.config.kernels
    pursuit.config.kernels = "off"
    try:
        return solve(name, A, y, k)
    finally:
        pursuit.config.kernels = before


def peer() -> Callable[[Any, Any, int], Any] | None:
    """The other package's OMP, `(A, y, k) -> x`, where its source is at hand.

    Its algorithm `v0` is torch alone. What another one has compiled in C, and is not built here, is left out.
    """
    if find_spec(PEER) is None:
        return None
    parts = types.ModuleType(f"{PEER}.blas_kernels")
    for name in ("argmax_blast", "ppsv", "update_projections_blast", "update_D_mybest_blast", "project_argmax"):
        setattr(parts, name, None)
    sys.modules.setdefault(parts.__name__, parts)
    from orthogonal_matching_pursuit_gpu import run_omp

    return lambda A, y, k: run_omp(A, y, k, normalize=False, fit_intercept=False, alg="v0")


def contenders(A: Any, y: Any, k: int, device: str) -> dict[str, Callable[[int], Any]]:
    """What is compared on a device: functions of the number of signals, that give `x`, and steps where known."""
    import pursuit

    names = [name for name in SOLVERS if hasattr(pursuit, name) and (device != "cpu" or name in CPU_TOO)]
    found = {name: lambda count, name=name: solve(name, A, y[:count], k) for name in names}
    for name in STEPS_TOO if device != "cpu" else ():
        found[f"{name} (steps)"] = lambda count, name=name: by_steps(name, A, y[:count], k)
    other = tried(peer)
    if callable(other):
        found["peer-omp"] = lambda count: types.SimpleNamespace(x=other(A, y[:count], k), steps=None)
    return found


def compare_solvers(given: argparse.Namespace) -> int:
    """Every case on the device and on the CPU: growing batches, then the largest in turns."""
    import torch

    table = Table(
        given.out / "solvers.csv", "m", "n", "k", "solver", "device", "signals", "kind", "seconds", "fastest",
        "us_per_signal", "signals_per_second", "steps", "us_per_step", "peak_mib", "residual", "threads", "torch",
        "compiled", "seed", "note",
    )  # fmt: skip
    for case in QUICK if given.quick else CASES:
        for device in dict.fromkeys((given.device, "cpu")):
            about = {"m": case.m, "n": case.n, "k": case.k, "device": device, "seed": SEED}
            about |= {"torch": torch.__version__, "threads": torch.get_num_threads()}
            with patient(table, **about), torch.inference_mode():
                compare_on(table, about, case, device, QUICK_LIMIT if given.quick else RUN_LIMITS[device == "cpu"])
    return 0


def compare_on(table: Table, about: dict[str, Any], case: Case, device: str, limit: float) -> None:
    A, y, _ = draw(case, device)
    runs = contenders(A, y, case.k, device)
    counts = dict.fromkeys(runs, 0)
    for name, run in runs.items():
        with patient(table, **about, solver=name):
            counts[name] = grow(table, about | {"solver": name}, run, sizes(case.signals), device, limit)
    if "peer-omp" in runs:  # compared with OMP on as many signals
        counts["peer-omp"] = counts["omp"] = min(counts["peer-omp"], counts["omp"]) or counts["omp"]
    runs = {name: run for name, run in runs.items() if counts[name]}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            times[name].append(clock(lambda run=run, name=name: run(counts[name]), device))
    for name, run in runs.items():
        with patient(table, **about, solver=name):
            found: list[Any] = []
            peak = peak_mib(lambda run=run, name=name, found=found: found.append(run(counts[name])), device)
            table.add(
                **about, solver=name, kind="median", peak_mib=peak, residual=residual(A, y, found[0].x),
                compiled=share_compiled(found[0]), **speed(times[name], counts[name], found[0].steps),
            )  # fmt: skip


def share_compiled(found: Any) -> float | str:
    """How many of the signals a compiled kernel found; nothing of another package."""
    return float(found.compiled.double().mean()) if hasattr(found, "compiled") else ""


def sizes(most: int) -> list[int]:
    """Numbers of signals to try, in turn."""
    return [count for count in (1, 16, 64, 256, 1024) if count < most] + [most]


def grow(table: Table, about: dict[str, Any], run: Callable, counts: list[int], device: str, limit: float) -> int:
    """Time larger and larger batches while the next would take no longer than the limit; returns the last."""
    before, seconds = (0, 0.0), 0.0
    for count, following in zip(counts, [*counts[1:], counts[-1]], strict=True):
        run(count)  # does not count
        seconds = clock(lambda count=count: run(count), device)
        table.add(**about, kind="growing", **speed([seconds], count, None))
        slope = max(0.0, seconds - before[1]) / (count - before[0]) if before[0] else 0.0  # one signal tells no slope
        if seconds + slope * (following - count) > limit:
            break
        before = count, seconds
    return count


def speed(times: list[float], count: int, steps: Any) -> dict[str, Any]:
    seconds = median(times)
    most = None if steps is None else int(steps.max())
    return {
        "signals": count, "seconds": seconds, "fastest": min(times), "us_per_signal": 1e6 * seconds / count,
        "signals_per_second": count / seconds, "steps": "" if most is None else most,
        "us_per_step": "" if not most else 1e6 * seconds / most,
    }  # fmt: skip


def residual(A: Any, y: Any, x: Any) -> float:
    """Mean of `||y - A x|| / ||y||` over the first signals, by which devices and packages are seen to agree."""
    y, x = y[: min(16, len(x))].double(), x[:16].double()
    return float(((y - x @ A.double().T).norm(dim=-1) / y.norm(dim=-1)).mean())


# ---- training --------------------------------------------------------------------------------------------------------


def trainers(device: str, *, quick: bool = False) -> dict[str, tuple[Any, Callable[[], Any]]]:
    """Networks as in "Deep greedy unfolding", Figure 3, and "Neurally Augmented ALISTA", each with a training step."""
    import torch

    from pursuit import nets
    from pursuit.ensembles import bernoulli_gaussian, fourier_levels

    def few(usual: int, less: int) -> int:
        return less if quick else usual

    built = {}
    levels = {m: fourier_levels(n=few(256, 64), m=few(m, 16), device=device) for m in (20, 36)}
    na = bernoulli_gaussian(n=few(1000, 60), m=few(250, 20), k=few(50, 3), device=device)
    for name, ensemble, batch, make in (
        ("omp-net", levels[20], 64, lambda A: nets.OMPNet(A, layers=few(10, 2), tau=1e-3, signals="real part")),
        ("iht-net", levels[36], 64, lambda A: nets.IHTNet(
            A, k=few(10, 3), layers=few(30, 2), eta=0.5, tau=1e-3, signals="real part")),
        ("na-alista", na, few(512, 16), lambda A: nets.NAALISTA(
            A, layers=few(16, 2), sparsity=few(50, 3), hidden=few(128, 8))),
        ("na-alista", na, few(2048, 32), lambda A: nets.NAALISTA(
            A, layers=few(16, 2), sparsity=few(50, 3), hidden=few(128, 8))),
    ):  # fmt: skip
        y, x = ensemble.draw(batch, torch.Generator().manual_seed(SEED))
        net = make(ensemble.A).to(device)
        if hasattr(net, "prepare"):
            net.prepare(y)
        built[f"{name} {batch}"] = net, training_step(copy.deepcopy(net), y, x)
    return built


def training_step(net: Any, y: Any, x: Any) -> Callable[[], Any]:
    """Forward, backward and Adam; gives the loss before the step."""
    import torch

    optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)

    def step() -> Any:
        optimizer.zero_grad()
        loss = (net(y) - x).square().sum(-1).mean()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def compare_training(given: argparse.Namespace) -> int:
    """A training step on the device and on the CPU in turns."""
    import torch

    table = Table(
        given.out / "training.csv", "network", "device", "seconds", "fastest", "steps", "peak_mib", "loss_first",
        "loss_last", "threads", "torch", "seed", "note",
    )  # fmt: skip
    devices = list(dict.fromkeys((given.device, "cpu")))
    built = {device: trainers(device, quick=given.quick) for device in devices}
    for name in built[devices[0]]:
        times: dict[str, list[float]] = {device: [] for device in devices}
        losses: dict[str, list[float]] = {device: [] for device in devices}
        about = {"network": name, "seed": SEED, "torch": torch.__version__, "threads": torch.get_num_threads()}
        end = time.perf_counter() + (0.5 if given.quick else 6)
        with patient(table, **about):
            peaks = {}
            for device in devices:  # do not count, and are where the losses begin
                losses[device].append(float(built[device][name][1]()))
                peaks[device] = peak_mib(built[device][name][1], device)
            while len(times["cpu"]) < ROUNDS or (time.perf_counter() < end and len(times["cpu"]) < 30):
                for device in devices:
                    times[device].append(clock(built[device][name][1], device))
            for device in devices:
                losses[device].append(float(built[device][name][1]()))
                table.add(
                    **about, device=device, seconds=median(times[device]), fastest=min(times[device]),
                    steps=len(times[device]), peak_mib=peaks[device], loss_first=losses[device][0],
                    loss_last=losses[device][1],
                )  # fmt: skip
    return 0


# ---- where the time goes ---------------------------------------------------------------------------------------------


def profile(given: argparse.Namespace) -> int:
    """Kernels by the time they take, and launches per step, of solvers and of a training step."""
    import torch

    import pursuit

    case = QUICK[0] if given.quick else CASES[0]
    A, y, _ = draw(case, given.device)
    few = y[:128]
    work: dict[str, tuple[Callable[[], Any], int]] = {
        f"omp, {len(y)} signals": (lambda: pursuit.omp(A, pursuit.rows(y), case.k), case.k),
        f"omp (steps), {len(y)} signals": (lambda: by_steps("omp", A, y, case.k), case.k),
        "omp, 1 signal": (lambda: pursuit.omp(A, y[:1], case.k), case.k),
        f"iht, {len(few)} signals": (lambda: pursuit.iht(A, few, case.k, max_steps=20), 20),
        f"htp, {len(few)} signals": (lambda: pursuit.htp(A, few, case.k, max_steps=3), 3),
        f"sea, {len(few)} signals": (lambda: pursuit.sea(A, few, case.k, max_steps=5), 5),
    }
    other = tried(peer)
    if callable(other):
        work[f"peer-omp, {len(y)} signals"] = (lambda: other(A, y, case.k), case.k)
    for name, (_, step) in trainers(given.device, quick=given.quick).items():
        work[f"training step, {name}"] = (step, 1)
    with (given.out / "profile.txt").open("w") as file:
        print(f"{case} in single precision on {given.device}, torch {torch.__version__}", file=file, flush=True)
        for name, (do, steps) in work.items():
            told = tried(lambda name=name, do=do, steps=steps: profiled(name, do, steps, given.device))
            print(told, file=file, flush=True)
    return 0


def profiled(name: str, do: Callable[[], Any], steps: int, device: str) -> str:
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as record

    do()
    seconds = min(clock(do, device) for _ in range(3))
    gpu = device.startswith("cuda")
    with record(activities=[ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * gpu) as log:
        do()
        wait(device)
    events = log.key_averages()
    launches = sum(event.count for event in events if event.key.startswith(("cudaLaunchKernel", "cuLaunchKernel")))
    waits = sum(event.count for event in events if "Synchronize" in event.key)
    copies = sum(event.count for event in events if event.key.startswith("cudaMemcpy"))
    busy = sum(event.self_device_time_total for event in events if event.device_type == DeviceType.CUDA) / 1e6
    return (
        f"\n#### {name}: {1e3 * seconds:.2f} ms, {steps} steps, {1e6 * seconds / steps:.0f} us a step, "
        f"{launches / steps:.1f} launches, {copies / steps:.1f} copies and {waits / steps:.1f} waits a step, "
        f"kernels busy {1e3 * busy:.2f} ms\n"
        + events.table(
            sort_by="self_device_time_total" if gpu else "self_cpu_time_total", row_limit=10, max_name_column_width=70
        )
    )


# ---- how the Triton kernels are best launched ------------------------------------------------------------------------


def tune(given: argparse.Namespace) -> int:
    """OMP by Triton under one plan after another, with the Gram matrix at hand, without the checks of the input."""
    import torch

    import pursuit
    from pursuit.solvers.problem import problem

    table = Table(
        given.out / "tuning.csv", "m", "n", "k", "signals", "per_processor", "columns_per_warp",
        "measurements_per_warp", "tile", "seconds", "fastest", "compiled", "note",
    )  # fmt: skip
    if not given.device.startswith("cuda"):
        print("the Triton kernels need a GPU")
        return 0
    from pursuit.kernels.cuda import omp, pursuit_run

    usual = pursuit_run.PLAN
    plans = [usual]
    plans += [usual._replace(measurements_per_warp=share) for share in (64, 128, 512)]
    plans += [usual._replace(per_processor=count, columns_per_warp=columns)
              for columns in (256, 512, 128) for count in (1, 2, 3, 4, 5, 6, 8)]  # fmt: skip
    cases = QUICK if given.quick else (CASES[0], CASES[2], CASES[3])
    for case in cases:
        end = time.perf_counter() + 0.8 * LIMITS["tuning"][given.quick] / len(cases)
        A, y, _ = draw(case, given.device)
        p = problem(pursuit.as_operator(A), y, case.k)
        fastest: dict[float, Any] = {}
        for plan in plans:
            if time.perf_counter() > end:
                break
            about = {"m": case.m, "n": case.n, "k": case.k, "signals": len(y), **plan._asdict()}
            with patient(table, **about), torch.inference_mode():
                pursuit_run.PLAN = plan
                found = p._by_kernel(omp, None)  # does not count
                times = [clock(lambda p=p: p._by_kernel(omp, None), given.device) for _ in range(ROUNDS)]
                table.add(**about, seconds=median(times), fastest=min(times), compiled=share_compiled(found))
                fastest[median(times)] = plan
        if fastest:
            print(f"{case}: {fastest[min(fastest)]} takes {1e3 * min(fastest):.3f} ms", flush=True)
    return 0


# ---- networks of the papers ------------------------------------------------------------------------------------------


def train_networks(given: argparse.Namespace) -> int:
    """Every network of Figure 6 that is finished in time, several at once: a small network leaves a GPU idle."""
    from pursuit.experiments.na import alista, fig6

    table = Table(
        given.out / "networks.csv", "model", "n", "snr", "layers", "test_db", "published_db", "difference", "seconds",
        "signals", "device", "seed", "note",
    )  # fmt: skip
    store = given.out / "na-fig6" / "cells"
    store.mkdir(parents=True, exist_ok=True)
    cells = [cell for cell in fig6.cells(given.quick, seed=1) if cell["model"] not in alista.CLASSICAL]
    cells = cells[-1:] if given.quick else cells
    about = {"device": given.device, "seed": 1}
    with ProcessPoolExecutor(min(8, os.cpu_count() or 1), mp_context=get_context("spawn")) as pool:
        runs = {pool.submit(train_network, cell, store, given.device): cell for cell in cells}
        for run in as_completed(runs):
            cell = runs[run]
            with patient(table, **about, model=cell["model"], n=cell["n"], snr=cell["snr"]):
                for row in run.result():
                    table.add(
                        **about, **{name: row.get(name, "") for name in table.rows.fieldnames if name not in about}
                    )
    return 0


def train_network(cell: dict[str, Any], store: Path, device: str) -> list[dict[str, Any]]:
    """Train the network of a cell at all its depths; the cell's file is written when it is finished."""
    import torch

    from pursuit.experiments.cells import path_of
    from pursuit.experiments.na import alista

    torch.set_num_threads(1)
    path = path_of(cell, store)
    begin = time.perf_counter()
    tables = alista.run_trained(cell, path.with_suffix(""), device)
    path.write_text(json.dumps({"seconds": time.perf_counter() - begin, "tables": tables}))
    return tables["results"]


PARTS: dict[str, Callable[[argparse.Namespace], int]] = {
    "machine": look_at_machine,
    "tests": run_tests,
    "solvers": compare_solvers,
    "training": compare_training,
    "profile": profile,
    "tuning": tune,
    "networks": train_networks,
}

if __name__ == "__main__":
    sys.exit(main())
