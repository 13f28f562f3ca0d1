"""`pursuit sweep`. Heavy imports happen inside, so that `--help` answers at once."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..interrupts import kept
from .console import Command, bar, find_own, listed, new_folder, one_line_errors, print_table, warnings_in_one_line

if TYPE_CHECKING:
    from ..sweeps import Difference, Progress, Sweep

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    help="Run random trials over a grid of sizes. In one process or on a Dask cluster; runs can be compared.",
    no_args_is_help=True,
)

RUN = Annotated[Path, typer.Argument(help="Folder of a run, or its .sqlite file.")]
SUCCESS = Annotated[
    str,
    typer.Option(help="Success criterion: support (the found one contains the true one) or exact (a small NMSE)."),
]


@app.command(cls=Command)
def phase(
    methods: Annotated[
        str | None,
        typer.Option(
            help="Solvers, separated by commas; your own as module:function; sea@omp is SEA started from OMP's result. "
            "Default: those of the run, or the twelve of the SEA poster."
        ),
    ] = None,
    A: Annotated[
        str | None,
        typer.Option(
            "--A",
            help="Matrices: gaussian, rademacher, bernoulli, correlated or fourier, drawn for every trial; "
            "deconvolution; a file with a matrix of yours; your own as module:function. correlated=0.5 sets the number "
            "of a law. Default: gaussian.",
        ),
    ] = None,
    x: Annotated[
        str | None,
        typer.Option(
            "--x",
            help="Non-zeros: gaussian, rademacher (signs), uniform (sizes 1 to 2), decaying; your own as "
            "module:function. Default: gaussian.",
        ),
    ] = None,
    complex: Annotated[
        bool | None,
        typer.Option("--complex/--real", help="Complex or real signals, and drawn matrices. Default: as the matrix."),
    ] = None,
    snr: Annotated[
        str | None,
        typer.Option(help="Levels of noise: signal-to-noise ratios in dB, as 10,20,30,inf. Default: inf, no noise."),
    ] = None,
    n: Annotated[int | None, typer.Option("--n", help="Unknowns. Default: those of --A, or 64.")] = None,
    m: Annotated[str | None, typer.Option("--m", help="Measurements, as 16,32, instead of those of the grid.")] = None,
    grid: Annotated[
        str | None,
        typer.Option(help="Number of values of zeta = m/n and of rho = k/m. Default: 20x20, or 1x20 for one m."),
    ] = None,
    trials: Annotated[
        int | None, typer.Option(help="Trials per cell; with --adaptive, at most. Default: 1000.")
    ] = None,
    rho: Annotated[float | None, typer.Option(help="Largest k/m. Default: 0.35.")] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed. Default: 0.")] = None,
    eta: Annotated[float | None, typer.Option(help="Step size of sea, iht, htp in units of 1/L. Default: 1.8.")] = None,
    max_steps: Annotated[int | None, typer.Option(help="Most steps of iterative solvers. Default: 1000.")] = None,
    block: Annotated[
        int | None, typer.Option(help="Trials that are solved together. Default: 250, with --adaptive 50.")
    ] = None,
    adaptive: Annotated[
        float | None,
        typer.Option(help="Add trials near the 95 % curve until its error in rho is at most this, for example 0.01."),
    ] = None,
    success: Annotated[
        str | None,
        typer.Option(
            help="Success criterion for --adaptive and the curves: support or exact (see --exact-db). Default: support."
        ),
    ] = None,
    exact_db: Annotated[
        float | None, typer.Option(help="NMSE in dB up to which a trial is recovered exactly. Default: -80.")
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(
            help="Compute one part only, 0/10 to 9/10, for tasks of a job array; without it, parts are collected."
        ),
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a running Dask cluster, for example tcp://host:8786.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Compute in so many processes of this machine.")] = None,
    status: Annotated[bool, typer.Option("--status", help="Only show the progress of the run.")] = False,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the run.")] = Path("runs/phase"),
) -> None:
    """How often does each solver succeed, over m/n and k/m? If the output folder holds a run, it is continued.

    Examples: pursuit sweep phase --methods sea,htp,omp --n 64 --grid 20x20 --trials 1000 -o runs/phase;
    pursuit sweep phase -o runs/phase --status
    """
    with _stated():
        from .. import sweeps
        from ..sweeps.store import file_of

        given = {
            "methods": None if methods is None else listed("--methods", methods), "A": A, "x": x, "complex": complex,
            "snr": None if snr is None else _numbers("--snr", snr, float), "n": n,
            "m": None if m is None else _numbers("--m", m, int),
            "grid": None if grid is None else _sizes(grid), "trials": trials, "rho": rho, "seed": seed,
            "eta": eta, "max_steps": max_steps, "block": block, "adaptive": adaptive, "success": success,
            "exact_db": exact_db,
        }  # fmt: skip
        chosen = {name: value for name, value in given.items() if value is not None}
        if status:
            if chosen or scheduler or workers or part:
                raise ValueError("--status was given with options of a run; give it only with -o.")
            _show_status(sweeps.load(output))
            return
        file = file_of(output)
        options = _there(file) | chosen
        find_own((*options.get("methods", ()), options.get("A", ""), options.get("x", "")))
        mine = None if part is None else _part(part)
        with kept("finished cells are", file), warnings_in_one_line(), bar("cells") as show:
            sweep = sweeps.phase(
                output=output, scheduler=scheduler, workers=workers, part=mine,
                on_progress=lambda now: show(_line(now), now.done, now.total), **options,
            )  # fmt: skip
        if mine is not None:
            typer.echo(f"part {part} is done; when all are, collect them: pursuit sweep phase -o {output}")
            return
        _show_status(sweep)
        _write(sweep, file.parent, sweep.plan.success)


@app.command(cls=Command)
def draw(run: RUN, success: SUCCESS = "support") -> None:
    """Draw a run and write its tables, even while it is running.

    Example: pursuit sweep draw runs/phase
    """
    with _stated():
        from .. import sweeps
        from ..sweeps.run import unreachable

        sweep = sweeps.load(run)
        _write(sweep, sweep.path.parent, success)
        if (lost := unreachable(sweep.plan, sweep.settings, success)) is not None:
            typer.echo(lost)


@app.command(cls=Command)
def export(
    run: RUN,
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write: .csv, or .nc for an xarray dataset.")],
) -> None:
    """Write the table of a run to a file, even while it is running.

    Example: pursuit sweep export runs/phase -o phase.nc
    """
    with _stated():
        from .. import files, sweeps

        if output.suffix not in (".csv", ".nc"):
            raise ValueError(f"{output}: the ending {output.suffix!r} is not one that can be written; use .csv or .nc.")
        sweep = sweeps.load(run)
        made = new_folder(output)
        files.output_folder(output.parent)
        if output.suffix == ".csv":
            sweep.to_csv(output)
        else:
            data = bytes(sweep.to_xarray().to_netcdf(engine="scipy"))
            files.write_whole(output, lambda file: file.write(data))
        typer.echo(f"written: {output}{made}")


@app.command(cls=Command)
def diff(
    a: Annotated[Path, typer.Argument(help="Folder of a run (A).")],
    b: Annotated[Path, typer.Argument(help="Folder of another run (B).")],
    success: SUCCESS = "support",
    alpha: Annotated[float, typer.Option(help="Significance level.")] = 0.05,
) -> None:
    """Test whether two runs differ. Exit status 0 if no difference is found, 1 if one is.

    Example: pursuit sweep diff runs/before runs/after
    """
    with _stated():
        from .. import sweeps

        difference = sweeps.diff(a, b, success=success, alpha=alpha)
        _show_difference(difference)
    raise typer.Exit(int(difference.found))


@contextlib.contextmanager
def _stated() -> Iterator[None]:
    """If workers are lost, end with one line and status 1: the input was right, and the command can be repeated."""
    with one_line_errors():
        try:
            yield
        except RuntimeError as error:
            from ..sweeps import LostCells

            if not isinstance(error, LostCells):
                raise
            typer.echo(f"pursuit: {error}", err=True)
            raise typer.Exit(1) from None


def _there(file: Path) -> dict[str, Any]:
    """The options of an existing run, so that its folder is enough to continue it."""
    from ..sweeps.results import settings_and_plan

    told = settings_and_plan(file)
    if told is None:
        return {}
    settings, plan = told
    options = {name: getattr(settings, name) for name in ("n", "seed", "block", "eta", "max_steps", "exact_db")}
    options |= {name: getattr(settings.problem, name) for name in ("A", "x", "complex")}
    names = ("methods", "snr", "grid", "trials", "rho", "adaptive", "success")
    return options | {name: getattr(plan, name) for name in names} | {"m": plan.m or None}


def _sizes(grid: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", grid)
    if match is None:
        raise ValueError(f"--grid is {grid!r}; needed are two numbers, for example 20x20.")
    return int(match[1]), int(match[2])


def _numbers(option: str, given: str, kind: type) -> tuple[Any, ...]:
    try:
        return tuple(kind(number) for number in given.split(","))
    except ValueError:
        raise ValueError(f"{option} is {given!r}; needed are numbers with commas between them, as 10,20.") from None


def _part(part: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)/(\d+)", part)
    if match is None:
        raise ValueError(f"--part is {part!r}; needed is the number of the part, from 0, and how many there are: 0/10.")
    return int(match[1]), int(match[2])


def _write(sweep: Sweep, folder: Path, success: str) -> None:
    from ..files import write_csv
    from ..plots import sweeps as picture

    sweep.to_csv(folder / "table.csv")
    write_csv(folder / "curves.csv", sweep.curves(success=success))
    pictures = picture.draw(folder / "figure.png", sweep, success=success)
    written = (folder / "table.csv", folder / "curves.csv", *pictures)
    typer.echo(f"written: {', '.join(map(str, written))}")


def _show_status(sweep: Sweep) -> None:
    from rich.table import Table
    from rich.text import Text

    from ..sweeps.run import unreachable

    rows = sweep.status()
    plan = sweep.plan
    size = f"n={sweep.settings.n}, grid {plan.grid[0]}x{plan.grid[1]}"
    title = Text(f"phase transition, {sweep.problem}, {size}, {sweep.path}")
    table = Table(title=title, title_justify="left")
    for name in ("method", "cells done", "trials", "hours", "widest error of the 95 % curve, in rho"):
        table.add_column(name, justify="left" if name == "method" else "right")
    for row in rows:
        of = "" if row["planned"] is None else f" of {row['planned']}"
        error = _error(row)
        table.add_row(row["method"], f"{row['done']}{of}", str(row["trials"]), f"{row['seconds'] / 3600:.3f}", error)
    print_table(table)
    if plan.adaptive is not None:
        typer.echo(_adaptive(sweep, rows))
    elif (lost := unreachable(plan, sweep.settings, plan.success)) is not None:
        typer.echo(lost)


def _error(row: dict[str, Any]) -> str:
    """The error of a method's curve, and that there is none within the grid."""
    error = "" if row["error"] is None else f"{row['error']:.4f}"
    if row["where"] in (None, "inside"):
        return error
    everywhere = f"{row['where']} 95 % everywhere"
    return everywhere if float(error) == 0 else f"{everywhere}, {error}"


def _adaptive(sweep: Sweep, rows: list[dict[str, Any]]) -> str:
    wanted = sweep.plan.adaptive
    assert wanted is not None
    late = [row["method"] for row in rows if row["error"] is None or row["error"] > wanted]
    said = [f"Wanted: an error of at most {wanted:g}."]
    if late:
        said.append(f"Not reached by {', '.join(late)}, with at most {sweep.plan.trials} trials per cell.")
    saving = sweep.saving()
    if saving is not None:
        said.append(
            f"Trials for curves inside the grid: {saving.spent}. For the same errors an even spread over the grid "
            f"needs about {saving.even}, {saving.even / saving.spent:.1f} times as many (by Fisher information)."
        )
    return " ".join(said)


def _show_difference(difference: Difference) -> None:
    from rich.table import Table

    how = "the same trials in both (McNemar)" if difference.paired else "different trials (Fisher; CMH over all cells)"
    extra = ("only A", "only B") if difference.paired else ()
    table = Table(title=f"A and B compared: {how}", title_justify="left")
    for name in (
        "method",
        "trials A",
        "success A",
        "trials B",
        "success B",
        *extra,
        "p, corrected",
        "cells that differ",
    ):
        table.add_column(name, justify="left" if name == "method" else "right")
    for row in difference.methods:
        cells = [cell for cell in difference.differing_cells if cell["method"] == row["method"]]
        counts = [row["trials_a"], row["success_a"], row["trials_b"], row["success_b"]]
        counts += [row[name.replace(" ", "_").lower()] for name in extra]
        table.add_row(row["method"], *map(str, counts), f"{row['p_corrected']:.3g}", str(len(cells)))
    print_table(table)
    level = f"{100 * difference.alpha:g} %"
    if not difference.found:
        typer.echo(f"no difference found at {level}")
        return
    typer.echo(f"different at {level}:")
    for row in difference.differing_methods:
        typer.echo(f"  {row['method']} over all cells, {_rates(row)}")
    for row in difference.differing_cells:
        noise = "" if row["snr"] == math.inf else f", SNR {row['snr']:g} dB"
        typer.echo(f"  {row['method']} at m={row['m']}, k={row['k']}{noise}, {_rates(row)}")


def _rates(row: dict[str, Any]) -> str:
    a, b = row["success_a"] / row["trials_a"], row["success_b"] / row["trials_b"]
    return f"success {100 * a:.2f} % in A, {100 * b:.2f} % in B (p = {row['p_corrected']:.2g})"


def _line(now: Progress) -> str:
    """What the progress bar says."""
    error = "" if now.error is None else f", widest error {now.error:.3f}"
    return "cells" if now.round is None else f"round {now.round}{error}"
