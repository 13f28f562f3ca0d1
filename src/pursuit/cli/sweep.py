"""`pursuit sweep`. Heavy imports happen inside, so that `--help` answers at once."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import find_own, one_line_errors

if TYPE_CHECKING:
    from ..sweeps import Difference, Progress, Sweep

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    help="Grids of trials: in process or on Dask, kept in one SQLite file, resumable.",
    no_args_is_help=True,
)

RUN = Annotated[Path, typer.Argument(help="Output folder of a run, or its .sqlite file.")]
SUCCESS = Annotated[str, typer.Option(help="support: the true one is within the one found; exact: NMSE <= -80 dB.")]


@app.command()
def phase(
    methods: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated; your own as module:function; METHOD@START as sea@omp starts from another's result. "
            "By default those of the run, or the twelve of the SEA poster."
        ),
    ] = None,
    n: Annotated[int | None, typer.Option("--n", help="Unknowns; by default 64.")] = None,
    grid: Annotated[
        str | None, typer.Option(help="Values of zeta = m/n by values of rho = k/m; by default 20x20.")
    ] = None,
    trials: Annotated[
        int | None, typer.Option(help="Per cell, by default 1000; with --adaptive at most so many.")
    ] = None,
    rho: Annotated[float | None, typer.Option(help="Largest k/m; by default 0.35.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of all that is drawn; by default 0.")] = None,
    eta: Annotated[
        float | None, typer.Option(help="Step size of sea, iht, htp in units of 1/L; by default 1.8.")
    ] = None,
    max_steps: Annotated[int | None, typer.Option(help="Of every iterative method; by default 1000.")] = None,
    block: Annotated[
        int | None, typer.Option(help="Trials solved together; by default 250, with --adaptive 50.")
    ] = None,
    adaptive: Annotated[
        float | None,
        typer.Option(help="Spend trials where the 95 % curve is, until its error in rho is at most this, as 0.01."),
    ] = None,
    success: Annotated[
        str | None, typer.Option(help="What counts: support (found) or exact (NMSE <= -80 dB); by default support.")
    ] = None,
    scheduler: Annotated[str | None, typer.Option(help="A running Dask cluster, as tcp://host:8786.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes of a Dask cluster to start here.")] = None,
    status: Annotated[bool, typer.Option("--status", help="Only show what is done.")] = False,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write to.")] = Path("runs/phase"),
) -> None:
    """Phase transition: success of every method over m/n and k/m. A run that is there goes on with its own settings.

    Examples: pursuit sweep phase --methods sea,htp,omp --n 64 --grid 20x20 --trials 1000 -o runs/phase;
    pursuit sweep phase -o runs/phase --status
    """
    with _stated():
        from .. import sweeps
        from ..sweeps.store import file_of

        given = {
            "methods": None if methods is None else _listed(methods),
            "n": n, "grid": None if grid is None else _sizes(grid), "trials": trials, "rho": rho, "seed": seed,
            "eta": eta, "max_steps": max_steps, "block": block, "adaptive": adaptive, "success": success,
        }  # fmt: skip
        chosen = {name: value for name, value in given.items() if value is not None}
        if status:
            if chosen or scheduler or workers:
                raise ValueError("--status was given with what to run; give it with -o alone.")
            _show_status(sweeps.load(output))
            return
        file = file_of(output)
        options = (_there(file) if file.is_file() else {}) | chosen
        find_own(options.get("methods", ()))
        with _bar() as report:
            sweep = sweeps.phase(output=output, scheduler=scheduler, workers=workers, on_progress=report, **options)
        _show_status(sweep)
        _write(sweep, file.parent, sweep.plan.success)


@app.command()
def draw(run: RUN, success: SUCCESS = "support") -> None:
    """Draw a run, finished or not, and write its tables; it may be at work meanwhile.

    Example: pursuit sweep draw runs/phase
    """
    with _stated():
        from .. import sweeps

        sweep = sweeps.load(run)
        _write(sweep, sweep.path.parent, success)


@app.command()
def export(
    run: RUN,
    output: Annotated[Path, typer.Option("-o", "--output", help="A .csv file, or an xarray dataset as .nc.")],
) -> None:
    """Write the table of a run, finished or not, to a file.

    Example: pursuit sweep export runs/phase -o phase.nc
    """
    with _stated():
        from .. import files, sweeps

        if output.suffix not in (".csv", ".nc"):
            raise ValueError(f"{output}: the ending {output.suffix!r} is not one that can be written; use .csv or .nc.")
        sweep = sweeps.load(run)
        files.output_folder(output.parent)
        if output.suffix == ".csv":
            sweep.to_csv(output)
        else:
            data = bytes(sweep.to_xarray().to_netcdf(engine="scipy"))
            files.write_whole(output, lambda file: file.write(data))
        typer.echo(f"written: {output}")


@app.command()
def diff(
    a: Annotated[Path, typer.Argument(help="Output folder of a run.")],
    b: Annotated[Path, typer.Argument(help="Of another.")],
    success: SUCCESS = "support",
    alpha: Annotated[float, typer.Option(help="Chance of finding a difference where there is none.")] = 0.05,
) -> None:
    """Do two runs differ? Exit status 0 if no difference is found, 1 if one is.

    Example: pursuit sweep diff runs/before runs/after
    """
    with _stated():
        from .. import sweeps

        difference = sweeps.diff(a, b, success=success, alpha=alpha)
        _show_difference(difference)
    raise typer.Exit(int(difference.found))


@contextlib.contextmanager
def _stated() -> Iterator[None]:
    """Lost workers end with one line too, and status 1: the input was right, and the command can be repeated."""
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
    """What a run that is there was told, so that going on needs no more than its folder."""
    from .. import sweeps

    run = sweeps.load(file)
    told = {name: getattr(run.settings, name) for name in ("n", "seed", "block", "eta", "max_steps")}
    return told | {
        name: getattr(run.plan, name) for name in ("methods", "grid", "trials", "rho", "adaptive", "success")
    }


def _listed(methods: str) -> tuple[str, ...]:
    return tuple(method.strip() for method in methods.split(","))


def _sizes(grid: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", grid)
    if match is None:
        raise ValueError(f"--grid is {grid!r}; needed is ROWSxCOLUMNS, as 20x20.")
    return int(match[1]), int(match[2])


def _write(sweep: Sweep, folder: Path, success: str) -> None:
    from ..files import write_csv
    from ..plots import sweeps as picture

    sweep.to_csv(folder / "table.csv")
    write_csv(folder / "curves.csv", sweep.curves(success=success))
    picture.draw(folder / "figure.png", sweep, success=success)
    typer.echo(f"written: {', '.join(str(folder / name) for name in ('table.csv', 'curves.csv', 'figure.png'))}")


def _show_status(sweep: Sweep) -> None:
    from rich.table import Table

    rows = sweep.status()
    plan = sweep.plan
    title = f"phase transition, n={sweep.settings.n}, grid {plan.grid[0]}x{plan.grid[1]}, {sweep.path}"
    table = Table(title=title, title_justify="left")
    for name in ("method", "cells done", "trials", "hours", "widest error of the 95 % curve, in rho"):
        table.add_column(name, justify="left" if name == "method" else "right")
    for row in rows:
        of = "" if row["planned"] is None else f" of {row['planned']}"
        error = "" if row["error"] is None else f"{row['error']:.4f}"
        table.add_row(row["method"], f"{row['done']}{of}", str(row["trials"]), f"{row['seconds'] / 3600:.3f}", error)
    _print(table)
    if plan.adaptive is not None:
        typer.echo(_adaptive(sweep, rows))


def _adaptive(sweep: Sweep, rows: list[dict[str, Any]]) -> str:
    wanted = sweep.plan.adaptive
    assert wanted is not None
    late = [row["method"] for row in rows if row["error"] is None or row["error"] > wanted]
    said = [f"asked for: an error of at most {wanted:g}."]
    if late:
        said.append(f"Not reached, or not yet, by {', '.join(late)}: at most {sweep.plan.trials} trials per cell.")
    saving = sweep.saving()
    if saving is not None:
        said.append(
            f"Trials on curves that end within the grid: {saving.spent}. Spread evenly over the grid, the same errors "
            f"would need about {saving.even}, {saving.even / saving.spent:.1f} times as many (by Fisher information)."
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
    _print(table)
    level = f"{100 * difference.alpha:g} %"
    if not difference.found:
        typer.echo(f"no difference found at {level}")
        return
    typer.echo(f"different at {level}:")
    for row in difference.differing_methods:
        typer.echo(f"  {row['method']} over all cells, {_rates(row)}")
    for row in difference.differing_cells:
        typer.echo(f"  {row['method']} at m={row['m']}, k={row['k']}, {_rates(row)}")


def _rates(row: dict[str, Any]) -> str:
    a, b = row["success_a"] / row["trials_a"], row["success_b"] / row["trials_b"]
    return f"success {100 * a:.2f} % in A, {100 * b:.2f} % in B (p = {row['p_corrected']:.2g})"


def _print(table: Any) -> None:
    from rich.console import Console

    console = Console()
    (console if console.is_terminal else Console(width=120)).print(table)


@contextlib.contextmanager
def _bar() -> Iterator[Callable[[Progress], Any] | None]:
    """A progress bar with the time left on a terminal, None in a pipe."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left:"),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True, speed_estimate_period=600) as bar:
        task = bar.add_task("cells", total=None)
        begun: int | None = None  # a new round of the adaptive mode starts another measure of speed

        def report(now: Any) -> None:
            nonlocal task, begun
            if begun != now.total:
                bar.remove_task(task)
                task, begun = bar.add_task("cells", total=now.total, completed=now.done), now.total
            error = "" if now.error is None else f", widest error {now.error:.3f}"
            bar.update(
                task, completed=now.done, description="cells" if now.round is None else f"round {now.round}{error}"
            )

        yield report
