"""`pursuit compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import find_own, one_line_errors, print_table, progress

if TYPE_CHECKING:
    from ..comparison import Row
    from ..problems import Instance
from .data import FILES, PROBLEMS, Columns, Decimal, Dtype, FileOptions, Header, Index, LayoutOption, given_instance


def compare(
    problem: Annotated[
        str | None,
        typer.Argument(
            help=f"A test problem: {', '.join(PROBLEMS)}. For data of your own, give --A, --y and -k instead."
        ),
    ] = None,
    A: Annotated[str | None, typer.Option("--A", help=f"Sensing matrix (m, n). {FILES}.")] = None,
    y: Annotated[
        str | None, typer.Option("--y", help="Measurements (m,) or (signals, m). Same formats as --A.")
    ] = None,
    x: Annotated[str | None, typer.Option("--x", help="True coefficients, if known. Same formats as --A.")] = None,
    k: Annotated[int | None, typer.Option("-k", help="Non-zeros per signal; required with --A and --y.")] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            help="Solvers, separated by commas; your own as module:function. Default: all but greedy_lasso and amp."
        ),
    ] = None,
    lam: Annotated[float | None, typer.Option(help="ISTA, FISTA: the penalty.")] = None,
    lam_share: Annotated[
        float | None,
        typer.Option(help="ISTA, FISTA: penalty, as a share of the smallest one that gives x = 0. Default: 0.01."),
    ] = None,
    signals: Annotated[int | None, typer.Option(help="Number of signals of a synthetic problem.")] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed of a test problem.")] = None,
    layout: LayoutOption = "auto",
    header: Header = None,
    index: Index = None,
    decimal: Decimal = None,
    columns: Columns = None,
    dtype: Dtype = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for the results. Default: runs/NAME.")
    ] = None,
) -> None:
    """Compare solvers on your data or on a test problem. Prints a ranked table and draws a figure.

    Examples: pursuit compare ecg; pursuit compare --A A.npy --y y.npy -k 10;
    pursuit compare gaussian --methods omp,mymodule:mysolver
    """
    with one_line_errors():
        from .. import comparison, files
        from ..plots import comparison as picture

        chosen = tuple(methods.split(",")) if methods else comparison.usual()
        find_own(chosen)
        comparison.solvers(chosen)
        if lam is not None and lam_share is not None:
            raise ValueError(f"--lam {lam} and --lam-share {lam_share} were given; needed is one of them.")
        if lam_share is not None and not 0 < lam_share < 1:
            raise ValueError(f"--lam-share is {lam_share}; needed is a number between 0 and 1.")
        asked = FileOptions(header, index, decimal, columns, dtype)
        lines: tuple[str, ...] = ()
        if problem is not None:
            of_files = {f"--{name}": value for name, value in vars(asked).items()}
            instance = _named(
                problem, k=k, signals=signals, seed=seed, given={"--A": A, "--y": y, "--x": x, **of_files}
            )
        else:
            unused = {"--signals": signals, "--seed": seed}
            instance, lines = given_instance(A, y, x, k, asked, layout, unused=unused)
        folder = files.output_folder(output or Path("runs") / instance.name)
        for line in lines:
            typer.echo(line)

        with progress("comparing", len(chosen)) as advance:
            rows = comparison.compare(instance, chosen, lam=lam, lam_share=lam_share, started=advance)
        oracle = comparison.oracle(instance)
        _print_table(instance, rows, oracle)
        comparison.write_table(folder / "table.csv", rows)
        penalty = {"lam": lam, "lam_share": comparison.LAM if lam is None and lam_share is None else lam_share}
        comparison.write_settings(folder / "settings.json", instance, methods=list(chosen), **penalty, oracle_db=oracle)
        picture.draw(folder / "figure.png", instance, rows, oracle)
        typer.echo(f"written: {folder / 'table.csv'}, {folder / 'settings.json'}, {folder / 'figure.png'}")


def _named(problem: str, *, k: int | None, signals: int | None, seed: int | None, given: dict[str, Any]) -> Instance:
    extra = [name for name, value in given.items() if value is not None]
    if extra:
        raise ValueError(f"both the problem {problem!r} and {', '.join(extra)} were given; give one or the other.")
    if problem not in PROBLEMS:
        raise ValueError(f"problem is {problem!r}; choose one of {', '.join(PROBLEMS)}, or give --A, --y and -k.")
    options = {name: v for name, v in {"k": k, "signals": signals, "seed": seed}.items() if v is not None}
    if problem == "ecg":
        from ..datasets import ecg

        if signals is not None:
            raise ValueError("--signals was given for ecg, which has as many signals as it has windows; leave it out.")
        return ecg(**options)
    from .. import problems

    return getattr(problems, problem)(**options)


def _print_table(instance: Instance, rows: list[Row], oracle: float | None) -> None:
    from rich.table import Table

    from ..comparison import COLUMNS

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
    print_table(table)


def _caption(oracle: float | None) -> str | None:
    if oracle is None:
        return "Ranked by residual, because the true signals are unknown; note that more non-zeros always fit better."
    return f"Oracle (least squares on the k largest true coefficients): {oracle:.2f} dB"
