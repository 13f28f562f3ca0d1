"""`pursuit recover`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import find_own, one_line_errors, spinner

if TYPE_CHECKING:
    pass
from .data import FILES, as_rows, same_precision


def recover(
    A: Annotated[str, typer.Argument(help=f"Sensing matrix (m, n). {FILES}.")],
    y: Annotated[str, typer.Argument(help="Measurements (m,) or (signals, m). Same formats as A.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="File for x: .npy, .npz, .mat or .csv.")],
    k: Annotated[int | None, typer.Option("-k", help="Non-zeros per signal; most solvers need it.")] = None,
    method: Annotated[
        str, typer.Option(help="Name of a solver (an unknown name lists all), or your own as module:function.")
    ] = "omp",
    tol: Annotated[
        float | None, typer.Option(help="Stop when the residual norm is at most this share of the norm of y.")
    ] = None,
    lam: Annotated[
        float | None, typer.Option(help="Penalty of ista, fista (required) and greedy_lasso (required).")
    ] = None,
    max_steps: Annotated[int | None, typer.Option(help="Most steps.")] = None,
    x0: Annotated[str | None, typer.Option(help="Warm start. Same formats as A.")] = None,
    weights: Annotated[
        str | None, typer.Option(help="Weights of the columns, one each: they multiply the score. Same formats as A.")
    ] = None,
    layout: Annotated[
        str, typer.Option(help="Signals in y are rows, columns, or auto: found by the shape of A.")
    ] = "auto",
) -> None:
    """Recover x from y = A x + e and write it to a file.

    Example: pursuit recover A.npy y.npy -k 10 --method sea -o x.npy
    """
    with one_line_errors():
        import numpy as np

        from .. import files
        from ..core.solution import Status
        from ..solvers.by_name import solve, solver

        find_own([method])
        solver(method)
        files.check_writable(output)
        matrix, values = same_precision(files.read_array(A), files.read_array(y))
        values, columns = as_rows("y", values, matrix.shape[-2], layout)
        if values.ndim > 2 and output.suffix.lower() == ".csv":
            raise ValueError(f"y has shape {values.shape}, but a .csv file has only two axes; write to .npy or .mat.")
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
