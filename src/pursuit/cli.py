"""The command line. Heavy imports happen inside the commands, so that `--help` answers at once."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.exceptions import TyperException

from .cli_sweep import app as sweep
from .cli_train import train
from .console import find_own, progress, spinner, stated_errors

if TYPE_CHECKING:
    from .comparison import Row
    from .problems import Instance

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Sparse recovery: find x with few non-zeros from y = A x + e.",
)

app.command()(train)
app.add_typer(sweep, name="sweep")

PROBLEMS = ("ecg", "gaussian", "fourier", "deconvolution")
FILES = "A .npy, .npz (file.npz:key), .mat (file.mat:name) or .csv file"


@app.command()
def compare(
    problem: Annotated[
        str | None, typer.Argument(help=f"One of {', '.join(PROBLEMS)}; or leave out and give --A, --y.")
    ] = None,
    A: Annotated[str | None, typer.Option("--A", help=f"Sensing matrix (m, n). {FILES}.")] = None,
    y: Annotated[str | None, typer.Option("--y", help="Measurements (m,) or (signals, m). Same formats.")] = None,
    x: Annotated[str | None, typer.Option("--x", help="True coefficients, if known. Same formats.")] = None,
    k: Annotated[int | None, typer.Option("-k", help="Non-zeros per signal; needed with --A and --y.")] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated; your own as module:function. By default every method but greedy_lasso and amp."
        ),
    ] = None,
    lam: Annotated[float, typer.Option(help="ISTA, FISTA: penalty relative to the one that gives zero.")] = 0.01,
    signals: Annotated[int | None, typer.Option(help="Signals of a synthetic problem.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of a named problem.")] = None,
    layout: Annotated[str, typer.Option(help="In a 2-D y and x, signals are: rows, columns, or auto.")] = "auto",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder to write to.")] = None,
) -> None:
    """Which method suits this data? A ranked table, a figure and their data.

    Examples: pursuit compare ecg; pursuit compare --A A.npy --y y.npy -k 10;
    pursuit compare gaussian --methods omp,mymodule:mysolver
    """
    with stated_errors():
        from . import comparison, files
        from .figures import comparison as picture

        chosen = tuple(methods.split(",")) if methods else comparison.usual()
        find_own(chosen)
        comparison.solvers(chosen)
        if not 0 < lam < 1:
            raise ValueError(f"--lam is {lam}; needed is a number between 0 and 1.")
        instance = (
            _named(problem, k=k, signals=signals, seed=seed, given={"--A": A, "--y": y, "--x": x})
            if problem is not None
            else _given(A, y, x, k, layout, unused={"--signals": signals, "--seed": seed})
        )
        folder = files.output_folder(output or Path("runs") / instance.name)

        with progress("comparing", len(chosen)) as advance:
            rows = comparison.compare(instance, chosen, lam=lam, started=advance)
        oracle = comparison.oracle(instance)
        _print_table(instance, rows, oracle)
        comparison.write_table(folder / "table.csv", rows)
        comparison.write_settings(folder / "settings.json", instance, methods=list(chosen), lam=lam, oracle_db=oracle)
        picture.draw(folder / "figure.png", instance, rows, oracle)
        typer.echo(f"written: {folder / 'table.csv'}, {folder / 'settings.json'}, {folder / 'figure.png'}")


@app.command()
def recover(
    A: Annotated[str, typer.Argument(help=f"Sensing matrix (m, n). {FILES}.")],
    y: Annotated[str, typer.Argument(help="Measurements (m,) or (signals, m). Same formats.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Where to write x: .npy, .npz, .mat or .csv.")],
    k: Annotated[int | None, typer.Option("-k", help="Non-zeros per signal.")] = None,
    method: Annotated[str, typer.Option(help="One of the solvers, or your own as module:function.")] = "omp",
    tol: Annotated[float | None, typer.Option(help="Stop at this residual, relative to y.")] = None,
    lam: Annotated[float | None, typer.Option(help="Penalty; ISTA and FISTA need it.")] = None,
    max_steps: Annotated[int | None, typer.Option(help="Most steps.")] = None,
    x0: Annotated[str | None, typer.Option(help="Warm start. Same formats as A.")] = None,
    weights: Annotated[str | None, typer.Option(help="Weights of the score, one per column. Same formats.")] = None,
    layout: Annotated[str, typer.Option(help="In a 2-D y, signals are: rows, columns, or auto.")] = "auto",
) -> None:
    """Recover x from y = A x + e and write it to a file.

    Example: pursuit recover A.npy y.npy -k 10 --method sea -o x.npy
    """
    with stated_errors():
        import numpy as np

        from . import files
        from .solution import Status
        from .solve import solve, solver

        find_own([method])
        solver(method)
        files.check_writable(output)
        matrix, values = _same_precision(files.read_array(A), files.read_array(y))
        values, columns = _as_rows("y", values, matrix.shape[-2], layout)
        if values.ndim > 2 and output.suffix.lower() == ".csv":
            raise ValueError(f"y has shape {values.shape}; a .csv file holds rows of one batch: write to .npy or .mat.")
        given = {"k": k, "tol": tol, "lam": lam, "max_steps": max_steps}
        options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        if x0 is not None:
            start = files.read_array(x0)
            options["x0"] = (start.T if columns else start).astype(values.dtype)
        if weights is not None:
            options["weights"] = files.read_array(weights).astype(values.real.dtype)
        with spinner(method):
            solution = solve(matrix, values, method, **options)
        files.write_array(output, solution.x.T if columns else solution.x)
        codes, counts = np.unique(solution.status, return_counts=True)
        for status, count in zip(map(Status, codes.tolist()), counts, strict=True):
            typer.echo(f"{count} of {counts.sum()}: {status.message}", err=not status.ok)


@app.command()
def reproduce(
    experiment: Annotated[
        str | None, typer.Argument(help="Name of the experiment; without one, they are listed.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A small form, under three minutes on two cores.")] = False,
    full: Annotated[bool, typer.Option("--full", help="The paper's protocol, where it is not the default.")] = False,
    published_protocol: Annotated[
        bool, typer.Option("--published-protocol", help="As the authors' code, with what the default mends.")
    ] = False,
    settings: Annotated[
        str | None, typer.Option("--set", help="Settings in place of the experiment's own, as boundary=full,runs=20.")
    ] = None,
    only: Annotated[
        str | None, typer.Option(help="Run only such cells, as model=ALISTA,n=1000; all finished ones are drawn.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of all that is drawn.")] = 0,
    jobs: Annotated[int, typer.Option(help="Processes to work in.")] = 1,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder to write to.")] = None,
) -> None:
    """Run an experiment of the papers, or go on with it: tables, settings and a picture beside the published numbers.

    Examples: pursuit reproduce dgu-fig2 --quick; pursuit reproduce na-fig6 --full --only n=1000,snr=40,layers=16;
    pursuit reproduce sea-fig2 --jobs 2 --set boundary=full
    """
    with stated_errors():
        from . import reproduce as experiments

        if experiment is None:
            for name, shown in experiments.EXPERIMENTS.items():
                typer.echo(f"{name:20} {shown}")
            return
        if jobs < 1:
            raise ValueError(f"--jobs is {jobs}; needed is at least 1.")
        form: dict[str, Any] = {"quick": quick, "full": full, "published_protocol": published_protocol, "seed": seed}
        total = len(experiments.selected(experiments.planned(experiment, settings=settings, **form), only))
        asked = {"quick": quick, "full": full, "published-protocol": published_protocol}
        form_names = [form for form, wanted in asked.items() if wanted]
        own = settings.split(",") if settings else []
        folder = output or Path("runs") / "-".join([experiment, *form_names, *own])
        with progress(experiment, total) as advance:
            tables = experiments.reproduce(
                experiment, folder, **form, settings=settings, only=only, jobs=jobs, started=advance
            )
        names = [*(f"{table}.csv" for table in tables), "settings.json", "figure.png"]
        typer.echo(f"written: {', '.join(str(folder / name) for name in names if (folder / name).exists())}")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line, by default with the process's arguments; without any it says what there is."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        sys.exit(app(arguments or ["--help"], prog_name="pursuit", standalone_mode=False))
    except TyperException as error:
        typer.echo(f"pursuit: {error.format_message()} See pursuit --help.", err=True)
        sys.exit(2)


def _named(problem: str, *, k: int | None, signals: int | None, seed: int | None, given: dict[str, Any]) -> Instance:
    extra = [name for name, value in given.items() if value is not None]
    if extra:
        raise ValueError(f"both the problem {problem!r} and {', '.join(extra)} were given; give one or the other.")
    if problem not in PROBLEMS:
        raise ValueError(f"problem is {problem!r}; choose one of {', '.join(PROBLEMS)}, or give --A, --y and -k.")
    options = {name: v for name, v in {"k": k, "signals": signals, "seed": seed}.items() if v is not None}
    if problem == "ecg":
        from .datasets import ecg

        if signals is not None:
            raise ValueError(
                "--signals is for synthetic problems; the electrocardiogram has as many as it has windows."
            )
        return ecg(**options)
    from . import problems

    return getattr(problems, problem)(**options)


def _given(
    A: str | None, y: str | None, x: str | None, k: int | None, layout: str, *, unused: dict[str, Any]
) -> Instance:
    if A is None or y is None or k is None:
        missing = ", ".join(name for name, value in {"--A": A, "--y": y, "-k": k}.items() if value is None)
        raise ValueError(f"{missing} missing; give --A, --y and -k, or the name of a problem: {', '.join(PROBLEMS)}.")
    extra = [name for name, value in unused.items() if value is not None]
    if extra:
        raise ValueError(f"{', '.join(extra)}: only for a named problem, not with --A and --y.")
    from .adapters import as_operator, as_tensor
    from .files import read_array
    from .inputs import problem
    from .problems import Instance

    matrix, values = _same_precision(read_array(A), read_array(y))
    values, columns = _as_rows("y", values, matrix.shape[-2], layout)
    checked = problem(matrix, values, k)
    if not checked.y.any():
        raise ValueError("y is zero everywhere; needed are measurements of something.")
    truth = None
    if x is not None:
        true = read_array(x)
        true = true.T if columns and true.ndim == 2 else true
        wanted = (*checked.batch, checked.A.shape[1])
        if true.shape != wanted:
            raise ValueError(f"x has shape {true.shape}; needed is {wanted}, one row of n={wanted[-1]} per signal.")
        truth = as_tensor("x", true).to(checked.y)
        if not truth.isfinite().all() or not truth.any():
            raise ValueError(
                "x has entries that are NaN or infinite, or is zero everywhere; needed is the true signal."
            )
    op = as_operator(matrix)
    if checked.y.is_complex():
        op = op.complexified()
    return Instance("data", op, checked.y, k, truth, {"A": A, "y": y, "x": x})


def _same_precision(matrix: Any, values: Any) -> tuple[Any, Any]:
    import numpy as np

    def _complex(a: Any) -> bool:
        return np.dtype(a.dtype).kind == "c"

    double = any(np.finfo(a.dtype).precision > 10 for a in (matrix, values))
    real, cplx = (np.float64, np.complex128) if double else (np.float32, np.complex64)
    return matrix.astype(cplx if _complex(matrix) else real), values.astype(cplx if _complex(values) else real)


def _as_rows(name: str, values: Any, size: int, layout: str) -> tuple[Any, bool]:
    """`values` with signals as rows, and whether they came as columns."""
    if layout not in ("auto", "rows", "columns"):
        raise ValueError(f"--layout is {layout!r}; choose rows, columns or auto.")
    if values.ndim != 2 or layout == "rows":
        return values, False
    if layout == "columns":
        return values.T, True
    rows, columns = values.shape[1] == size, values.shape[0] == size
    if rows and columns:
        raise ValueError(
            f"{name} is square, {values.shape}: say with --layout whether its rows or its columns are signals."
        )
    return (values.T, True) if columns else (values, False)


def _print_table(instance: Instance, rows: list[Row], oracle: float | None) -> None:
    from rich.console import Console
    from rich.table import Table

    from .comparison import COLUMNS

    m, n = instance.A.shape
    count = instance.y.shape[:-1].numel()
    error = "NMSE (dB)" if instance.x is not None else "residual (dB)"
    title = f"{instance.name}: {count} signal{'s' * (count != 1)}, n={n}, m={m}, k={instance.k}"
    table = Table(title=title, title_justify="left", caption=_caption(oracle), caption_justify="left")
    columns = {name: cell for name, cell in COLUMNS.items() if name != "support found" or instance.x is not None}
    for name in columns:
        text = name in ("method", "status")
        table.add_column(error if name == "error (dB)" else name, justify="left" if text else "right")
    for rank, row in enumerate(rows, 1):
        table.add_row(*(cell(rank, row) for cell in columns.values()), style="bold" if rank == 1 else None)
    console = Console()
    (console if console.is_terminal else Console(width=120)).print(table)


def _caption(oracle: float | None) -> str | None:
    if oracle is None:
        return "Ranked by residual: the truth is unknown, and more non-zeros always fit better."
    return f"Oracle (least squares on the k largest true coefficients): {oracle:.2f} dB"
