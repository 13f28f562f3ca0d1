"""Slips in the mathematics that the tests must catch: each is made in a copy of the repository, and the tests are run.

    python tests/mutations.py --list
    python tests/mutations.py [NAME ...] [--tests FOLDER]

A slip is caught if one of the test files named with it fails. `--tests` takes them from another folder, say that of an
earlier commit: a change of the tests has kept their strength where both catch all. The copy has the compiled kernels of
this checkout, so run `tests/compile_kernels.py` before; a slip in a kernel compiles what its tests need anew.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
LIMIT = 900  # seconds: tests that do not end have noticed something too


class Mutation(NamedTuple):
    """What is written instead of `old`, which is there once, and the test files that are to notice."""

    name: str
    file: str  # in src/pursuit
    old: str
    new: str
    tests: str


MUTATIONS = (
    Mutation(
        "OMP refits without the conjugate on complex data",
        "core/qr.py",
        "gamma = (q.conj() * r).sum(-1, keepdim=True)",
        "gamma = (q * r).sum(-1, keepdim=True)",
        "test_solvers test_kernels_omp",
    ),
    Mutation(
        "the derivative of OMP's refit lacks a conjugate",
        "core/qr.py",
        "of_q = of_q - of_r * gamma.conj() + r * of_gamma.conj()",
        "of_q = of_q - of_r * gamma + r * of_gamma.conj()",
        "test_gradients test_kernels test_soft test_least_squares test_second_derivatives",
    ),
    Mutation(
        "the compiled derivative of OMP's refit lacks a conjugate",
        "kernels/cpu/append.py",
        "of_Q[b, i, j] = a[b, j] * np.conj(of_v[i]) - w[j] * np.conj(v[i])",
        "of_Q[b, i, j] = a[b, j] * np.conj(of_v[i]) - w[j] * v[i]",
        "test_least_squares test_gradients test_soft",
    ),
    Mutation(
        "softsort divides by tau squared",
        "core/softsort.py",
        ".abs() / tau, dim=-1)",
        ".abs() / tau**2, dim=-1)",
        "test_relaxations test_soft",
    ),
    Mutation(
        "the compiled softsort divides by tau squared",
        "kernels/cpu/softsort.py",
        "zero, sharp, log2 = f(0), f(1) / tau, f(LOG2_E)",
        "zero, sharp, log2 = f(0), f(1) / (tau * tau), f(LOG2_E)",
        "test_relaxations test_soft",
    ),
    Mutation(
        "the derivative of softsort by tau lacks a factor 1 / tau",
        "core/softsort.py",
        "((slope * distance).sum((-2, -1), keepdim=True) / tau).sum_to_size(tau.shape)",
        "(slope * distance).sum((-2, -1), keepdim=True).sum_to_size(tau.shape)",
        "test_relaxations test_second_derivatives",
    ),
    Mutation(
        "the step of IHT goes up the gradient",
        "solvers/iht.py",
        "u = A.gradient_step(s.x, loss.pseudo_residual(A, y, s.x, s.r), eta)",
        "u = A.gradient_step(s.x, loss.pseudo_residual(A, y, s.x, s.r), -eta)",
        "test_solvers test_laws",
    ),
    Mutation(
        "NIHT makes its step longer where it should make it shorter",
        "solvers/niht.py",
        "torch.where(passed.unsqueeze(-1), t.mu, SHRINK * t.mu)",
        "torch.where(passed.unsqueeze(-1), t.mu, t.mu / SHRINK)",
        "test_solvers test_laws",
    ),
    Mutation(
        "FISTA extrapolates backwards",
        "solvers/fista.py",
        "extrapolated = z.x + beta * (z.x - s.x)",
        "extrapolated = z.x - beta * (z.x - s.x)",
        "test_solvers test_laws",
    ),
    Mutation(
        "HTP chooses its support without the weights",
        "solvers/htp.py",
        "ranked = choice.best(u)  #",
        "ranked = choice.select(u.abs(), choice.max_k)  #",
        "test_solvers test_laws",
    ),
    Mutation(
        "the compiled IHT and HTP choose without the weights",
        "kernels/cpu/iht.py",
        "s[j] = w[j] * abs(u[j]) if w[j] > 0 else -1",
        "s[j] = abs(u[j]) if w[j] > 0 else -1",
        "test_solvers test_kernels",
    ),
    Mutation(
        "SEA is moved by the residual of the best support, not of this one",
        "solvers/sea.py",
        "A.adjoint(loss.pseudo_residual(A, y, x, r)))",
        "A.adjoint(loss.pseudo_residual(A, y, s.x, s.r)))",
        "test_solvers test_straight_through test_kernels",
    ),
    Mutation(
        "The whitened LASSO whitens the columns, not the measurements",
        "solvers/whitened_lasso.py",
        "z = gain * factors.left.forward((y / size).to(factors.left.dtype))",
        "z = factors.left.forward((y / size).to(factors.left.dtype))",
        "test_solvers test_laws test_inputs test_devices",
    ),
    Mutation(
        "OMPR drops the best atom, not the worst",
        "solvers/ompr.py",
        "S = choice.best_of(z, among=J)",
        "S = choice.best_of(1 / (1 + z.abs()), among=J)",
        "test_solvers test_laws",
    ),
    Mutation(
        "ELS takes the gain of a swap without its denominator",
        "solvers/els.py",
        "correlation.abs().square() / torch.where(independent, left, 1) -",
        "correlation.abs().square() -",
        "test_solvers test_kernels",
    ),
    Mutation(
        "the compiled ELS takes the gain of a swap without its denominator",
        "kernels/cpu/els.py",
        "(v.real * v.real + v.imag * v.imag) / left - lost)",
        "(v.real * v.real + v.imag * v.imag) - lost)",
        "test_kernels test_solvers",
    ),
    Mutation(
        "OLS compares with what the columns leave, not with its root",
        "solvers/ols.py",
        "best = choice.next(c / length, s.atoms)",
        "best = choice.next(c / length.square(), s.atoms)",
        "test_solvers test_kernels_omp",
    ),
    Mutation(
        "CoSaMP widens the support by k atoms, not by 2k",
        "solvers/cosamp.py",
        "choice.best(A.adjoint(s.r), times=2)",
        "choice.best(A.adjoint(s.r))",
        "test_solvers",
    ),
    Mutation(
        "the threshold of ISTA is not multiplied by the step",
        "solvers/penalty.py",
        "theta=p.eta * penalty, penalty=penalty, gap=level",
        "theta=penalty, penalty=penalty, gap=level",
        "test_solvers test_laws",
    ),
    Mutation(
        "the layers of ALISTA do not multiply by their step size",
        "nets/alista.py",
        "s = ista.step(A, y, s, gamma=self.gamma[k], theta=self.theta[k], back=back",
        "s = ista.step(A, y, s, gamma=1.0, theta=self.theta[k], back=back",
        "test_nets_proximal",
    ),
    Mutation(
        "NA-ALISTA takes the l2 norm of the residual",
        "nets/na_alista.py",
        "ord=1, dim=-1)",
        "ord=2, dim=-1)",
        "test_nets_proximal",
    ),
    Mutation(
        "the k of each signal is ignored",
        "core/selection.py",
        "return best if self.k is None else best.first(times * self.k)",
        "return best",
        "test_solvers test_inputs test_laws",
    ),
    Mutation(
        "the tolerance is not relative to y",
        "solvers/problem.py",
        "share.clamp(min=floor) * y_norm",
        "share.clamp(min=floor).expand(batch)",
        "test_solvers test_laws",
    ),
    Mutation(
        "weights multiply the coefficients",
        "core/selection.py",
        "return atoms, atoms.keep(u)\n\n    def empty",
        "return atoms, atoms.keep(weights * u)\n\n    def empty",
        "test_solvers test_laws",
    ),
    Mutation(
        "the warm start is not brought into the units of unit columns",
        "solvers/problem.py",
        "start = x0 / units",
        "start = x0",
        "test_solvers test_laws",
    ),
    Mutation(
        "the kernels of OMP and OLS take dependent columns for new ones",
        "kernels/cpu/pursuit_run.py",
        "max(d.y.shape[1], 10) * eps, d.tolerance)",
        "max(d.y.shape[1], 10) * eps, 1e-6 * d.tolerance)",
        "test_kernels_omp",
    ),
    Mutation(
        "the Gram matrix does for columns that it cannot tell apart",
        "kernels/cpu/gram.py",
        "PIVOT = 1e-8",
        "PIVOT = 1e-15",
        "test_kernels",
    ),
    Mutation(
        "what was derived from A is kept after A has changed in place",
        "operators/base.py",
        "if then == versions and all(",
        "if all(",
        "test_kept test_operators",
    ),
    Mutation(
        "analytic weights of complex columns lack a conjugate",
        "weights.py",
        "return (root.mH @ (rows / leverage.unsqueeze(-2))).to(matrix.dtype)",
        "return (root.mT @ (rows / leverage.unsqueeze(-2))).to(matrix.dtype)",
        "test_weights",
    ),
    Mutation(
        "training keeps the last network, not the best",
        "training/checkpoint.py",
        "if record.validation_loss >= self.best_loss:",
        "if record.validation_loss >= 1e30:",
        "test_training",
    ),
    Mutation(
        "`pursuit train` loses --layerwise-epochs",
        "cli/train.py",
        "layerwise_epochs=layerwise_epochs, seed=seed,",
        "layerwise_epochs=None, seed=seed,",
        "test_cli test_training",
    ),
    Mutation(
        "`pursuit train` loses --snr",
        "cli/train.py",
        '"noise": noise, "snr": snr}',
        '"noise": noise, "snr": None}',
        "test_cli test_training",
    ),
    Mutation(
        "the noise of a sweep is another at every level",
        "sweeps/cells.py",
        "noise = np.random.default_rng([settings.seed, settings.n, *task[:3], 1])",
        "noise = np.random.default_rng([settings.seed, settings.n, *task[:3], int(min(task.snr, 99))])",
        "test_own_sweeps",
    ),
    Mutation(
        "a part of a sweep computes the cells of all parts",
        "sweeps/run.py",
        "return things if part is None else things[part[0] :: part[1]]",
        "return things",
        "test_own_sweeps",
    ),
    Mutation(
        "a sweep goes on with another matrix file",
        "sweeps/draws.py",
        "found.update(np.ascontiguousarray(part).data)",
        "pass",
        "test_own_sweeps",
    ),
    Mutation(
        "a sweep keeps its cells at its end only",
        "sweeps/run.py",
        "for cells in results:",
        "for cells in list(results):",
        "test_sweeps",
    ),
    Mutation(
        "compiled code outlives a change of what it calls",
        "kernels/jit.py",
        'files = sorted(Path(__file__).parent.rglob("*.py"))',
        'files = sorted(Path(__file__).parent.glob("*.py"))',
        "test_kernel_cache",
    ),
    Mutation(
        "compiled code outlives a change of a helper of OMP",
        "kernels/jit.py",
        "for file in files)",
        "for file in files if file.stem != 'vectors')",
        "test_kernel_cache",
    ),
    Mutation(
        "`pursuit recover` on a terminal watches every step, which leaves the work to them",
        "cli/recover.py",
        "with spinner(method), rows_for_sure():",
        "import sys\n\n        options |= {'on_step': print} if sys.stderr.isatty() else {}\n"
        "        with spinner(method), rows_for_sure():",
        "test_cli",
    ),
    Mutation(
        "copies of a signal are in two parts of the split",
        "finite.py",
        "rows = np.ascontiguousarray((y + 0).cpu().numpy())",
        "rows = np.arange(len(y), dtype=float)[:, None]",
        "test_own_data",
    ),
    Mutation(
        "a longer run keeps the test loss of the shorter one",
        "training/checkpoint.py",
        "return self if epochs == done else self._replace(test_loss=None, test_db=None)",
        "return self",
        "test_own_data",
    ),
    Mutation(
        "the network in the folder is the last one, not the best",
        "training/fit.py",
        "if state.best_epoch == len(state.log):",
        "if state.log:",
        "test_own_data",
    ),
)


def copy_of_the_repository(folder: Path, tests: Path) -> None:
    """With the machine code of the kernels, which fits as long as no kernel changes."""
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".*", "runs", "wheels"), dirs_exist_ok=True)
    if tests != ROOT / "tests":
        shutil.rmtree(folder / "tests")
        shutil.copytree(tests, folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))


def make(slip: Mutation, folder: Path) -> None:
    """Write the slip into the copy."""
    file = folder / "src" / "pursuit" / slip.file
    text = file.read_text()
    if text.count(slip.old) != 1:
        raise ValueError(f"{slip.file} holds {slip.old!r} {text.count(slip.old)} times; needed is once.")
    file.write_text(text.replace(slip.old, slip.new))


def first_failure(folder: Path, *tests: str) -> tuple[str, str] | None:
    """The first test that fails, and why; None if all pass."""
    command = [sys.executable, "-m", "pytest", "-qx", "-p", "no:xdist", "-p", "no:cacheprovider", "--tb=short", *tests]
    environment = os.environ | {"PYTHONPATH": str(folder / "src"), "OMP_NUM_THREADS": "1", "COLUMNS": "300"}
    try:
        run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return tests[0], f"no end within {LIMIT} s"
    if run.returncode == 0:
        return None
    failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", run.stdout, flags=re.MULTILINE)
    reason = re.search(r"^E +(.*)", run.stdout, flags=re.MULTILINE)
    if failed is None or reason is None:
        raise RuntimeError(run.stdout + run.stderr)
    return failed[1], reason[1][:100]


def noticed(slip: Mutation, clean: Path, tests: Path) -> str:
    """Which test notices the slip, and how; empty if none does. It passes where no slip is made."""
    with tempfile.TemporaryDirectory() as folder:
        copy_of_the_repository(Path(folder), tests)
        make(slip, Path(folder))
        failure = first_failure(Path(folder), *(f"tests/{name}.py" for name in slip.tests.split()))
    if failure is None:
        return ""
    if first_failure(clean, failure[0]) is not None:
        sys.exit(f"{failure[0]} fails without any slip")
    return f"{failure[0].removeprefix('tests/')}: {failure[1]}"


def about() -> str:
    """Versions, machine and commit."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "numba", "pytest"))
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout
    return f"{packages}, Python {platform.python_version()}, {platform.machine()}, code of commit {commit.strip()}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="those whose names hold one of these; by default all")
    parser.add_argument("--tests", type=Path, default=ROOT / "tests", help="another folder of tests")
    parser.add_argument("--list", action="store_true")
    given = parser.parse_args()
    chosen = [slip for slip in MUTATIONS if not given.names or any(name in slip.name for name in given.names)]
    if given.list:
        print("\n".join(slip.name for slip in chosen))
        return 0
    print(about(), flush=True)
    missed = 0
    with tempfile.TemporaryDirectory() as clean:
        copy_of_the_repository(Path(clean), given.tests.resolve())
        for slip in chosen:
            by = noticed(slip, Path(clean), given.tests.resolve())
            missed += not by
            print(f"{'caught' if by else 'NOT CAUGHT'}: {slip.name} ({slip.file})", flush=True)
            print(f"    by {by}" if by else f"    all pass: {slip.tests}", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} caught")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
