"""`pursuit recover`."""

from __future__ import annotations

import inspect
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..interrupts import kept
from .console import bar, find_own, in_options, new_folder, one_line_errors, spinner
from .data import (
    FILES,
    Columns,
    Decimal,
    Dtype,
    Header,
    Index,
    LayoutOption,
    check_different,
    file_options,
    read_inputs,
    read_other,
    real_if,
)

if TYPE_CHECKING:
    from ..core.solution import Solution

WIDTH = 85  # of the line with the names of columns
# Options that go to the solver, by the names of its arguments.
OPTIONS = {
    "k": "-k", "tol": "--tol", "eps": "--eps", "lam": "--lam", "lam_share": "--lam-share", "max_steps": "--max-steps",
    "x0": "--x0", "weights": "--weights",
}  # fmt: skip


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
    eps: Annotated[
        float | None, typer.Option(help="Stop when the residual norm is at most this, in the units of y.")
    ] = None,
    lam: Annotated[
        float | None,
        typer.Option(help="Penalty of greedy_lasso (required), ista and fista (or --lam-share, or -k)."),
    ] = None,
    lam_share: Annotated[
        float | None, typer.Option(help="ista, fista: penalty, as a share of the smallest one that gives x = 0.")
    ] = None,
    max_steps: Annotated[int | None, typer.Option(help="Most steps.")] = None,
    x0: Annotated[str | None, typer.Option(help="Warm start. Same formats as A.")] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="Weights of the columns, one each: they multiply the score, or the penalty. Same formats as A."
        ),
    ] = None,
    layout: LayoutOption = "auto",
    header: Header = None,
    index: Index = None,
    decimal: Decimal = None,
    columns: Columns = None,
    dtype: Dtype = None,
    batch: Annotated[
        int | None,
        typer.Option(
            help="Read and solve so many signals at a time: memory is that of a batch. 0 chooses by the free memory."
        ),
    ] = None,
    workers: Annotated[int | None, typer.Option(help="In batches, on so many processes of this machine.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="In batches, on the workers of a running Dask cluster.")] = None,
) -> None:
    """Recover x from y = A x + e and write it to a file.

    Says how each file was read, what was found and what was written. Exit status 1 if a signal was not solved.

    With --batch, --workers or --scheduler, and for a .zarr file, signals are read in parts from a .npy, .zarr, .h5 or
    .parquet file, and the answer is sparse (.zarr, .npz) or dense (.npy). A run that was stopped goes on when the
    command is repeated.

    Examples: pursuit recover A.npy y.npy -k 10 --method sea -o x.npy;
    pursuit recover D.npy acts.zarr -k 32 --batch 0 -o codes.zarr
    """
    if batch is not None or workers is not None or scheduler is not None or output.suffix.lower() == ".zarr":
        given_numbers: dict[str, Any] = {"tol": tol, "lam": lam, "max_steps": max_steps}
        extra = {name: value for name, value in given_numbers.items() if value is not None}
        with one_line_errors():
            asked = file_options(header, index, decimal, columns, dtype)
            unused = {"--x0": x0, "--weights": weights, **{f"--{name}": value for name, value in vars(asked).items()}}
            _in_batches(A, y, output, k, method, layout, batch, workers, scheduler, unused, extra)
        return
    with one_line_errors():
        from .. import files
        from ..core.layout import rows_for_sure
        from ..core.solution import RecoveryError
        from ..solvers.by_name import solve

        find_own([method])
        numbers = {"k": k, "tol": tol, "eps": eps, "lam": lam, "lam_share": lam_share, "max_steps": max_steps}
        options: dict[str, Any] = {name: value for name, value in numbers.items() if value is not None}
        _check_options(method, {**options, "x0": x0, "weights": weights})
        made = new_folder(output)
        files.check_writable(output)
        files.check_no_input(output, A=A, y=y, x0=x0, weights=weights)
        asked = file_options(header, index, decimal, columns, dtype)
        given = {"A": A, "y": y, "x0": x0, "weights": weights}
        asked.check_used({name: spec for name, spec in given.items() if spec is not None})
        with spinner("reading"):
            inputs = read_inputs(A, y, asked, layout)
        if inputs.y.ndim > 2 and output.suffix.lower() == ".csv":
            raise ValueError(f"y has shape {inputs.y.shape}, but a .csv file has only two axes; write to .npy or .mat.")
        lines = [*inputs.lines]
        for name, spec in (("x0", x0), ("weights", weights)):
            if spec is not None:
                values, line = read_other(name, spec, asked, inputs)
                options[name] = real_if(f"--{name}", spec, values, inputs)
                lines.append(line)
        typer.echo("\n".join(lines))
        with spinner(method), rows_for_sure():
            solution = solve(inputs.operator(), inputs.y, method, **options)
        files.write_array(output, inputs.as_given(solution.x))
        typer.echo(f"{output}: {' x '.join(map(str, inputs.as_given(solution.x).shape))}, written{made}")
        _say_if_none(k)
        _report(solution, inputs.y, inputs.names)
        try:
            solution.check()
        except RecoveryError:
            raise typer.Exit(1) from None


def _check_options(method: str, given: dict[str, Any]) -> None:
    """Refuse options that the method does not take, and miss those that it needs, before anything is read."""
    from ..solvers.by_name import solver

    call = solver(method)
    parameters = inspect.signature(call).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    old = getattr(call, "old_names", {})
    taken = [name for name in OPTIONS if old.get(name, name) in parameters]
    extra = [OPTIONS[name] for name, value in given.items() if value is not None and name not in taken]
    if extra:
        takes = ", ".join(OPTIONS[name] for name in taken)
        raise ValueError(f"{', '.join(extra)} was given, which {method} does not take; leave it out. It takes {takes}.")
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name in OPTIONS and given.get(name) is None:
            raise ValueError(f"{OPTIONS[name]} was not given, which {method} needs; give it.")


def _in_batches(
    A: str, y: str, output: Path, k: int | None, method: str, layout: str, batch: int | None, workers: int | None,
    scheduler: str | None, unused: dict[str, Any], options: dict[str, Any],
) -> None:  # fmt: skip
    """Recover a file of signals part by part."""
    from .. import files
    from ..batches import recover_file
    from ..core.solution import Status
    from ..engines import engine

    find_own([method])
    _check_options(method, options if k is None else {**options, "k": k})
    extra = [name for name, value in unused.items() if value is not None]
    if extra:
        raise ValueError(f"{', '.join(extra)} was given, which batches do not take; leave it out, or --batch.")
    if k is None:
        raise ValueError("-k was not given; batches need it, the most non-zeros of a signal.")
    if layout not in ("auto", "rows", "columns"):
        raise ValueError(f"--layout is {layout!r}; in batches signals are rows (the default) or columns.")
    if batch is not None and batch < 0:
        raise ValueError(f"--batch is {batch}; needed is a whole number of signals, or 0 to choose it.")
    check_different(A, y)
    files.check_no_input(output, A=A, y=y)
    made = new_folder(output)
    files.output_folder(output.parent)
    begun = kept("finished signals are", output.with_name(f"{output.name}.part"))
    with begun, engine(scheduler, workers) as run, bar("recovering") as show:
        counts = recover_file(
            A, y, output, method, k=k, columns=layout == "columns", batch_size=batch or None, run=run,
            threads=None if scheduler is None and workers is None else 1,
            on_progress=lambda done, total: show("recovering", done, total), **options,
        )  # fmt: skip
    total = sum(counts.values())
    typer.echo(f"{output}: {total} signals, written{made}")
    _say_if_none(k)
    for status, count in ((Status(code), count) for code, count in counts.items()):
        typer.echo(f"{count} of {total}: {in_options(status.message)}", err=not status.ok)
    if not all(Status(code).ok for code in counts):
        raise typer.Exit(1)


def _listed(atoms: Any, names: tuple[str, ...] | None, begin: str) -> str:
    """Columns, with their names if those are not just their numbers: as many as a line has room for."""
    if names is None or all(names[atom] == str(atom) for atom in atoms):
        shown = [str(atom) for atom in atoms[:20]]
    else:
        whole = [
            str(atom) if names[atom] == str(atom) else f"{atom} ({' '.join(names[atom].split())})" for atom in atoms
        ]
        ends = itertools.accumulate((len(part) + len(", ") for part in whole), initial=len(begin))
        shown = [part for part, end in zip(whole, itertools.islice(ends, 1, None), strict=True) if end <= WIDTH]
        shown = shown or whole[:1]
    return ", ".join(shown) + (", ..." if len(atoms) > len(shown) else "")


def _say_if_none(k: int | None) -> None:
    if k == 0:
        typer.echo("x is zero, as -k 0 asks")


def _report(solution: Solution[Any], y: Any, names: tuple[str, ...] | None) -> None:
    """What was found: support, residual and status."""
    import numpy as np
    import torch

    from .. import powers
    from ..core.solution import Status

    support = np.asarray(solution.support)
    counts = (support >= 0).sum(axis=-1)
    if counts.size == 1:
        atoms = np.sort(support[support >= 0])
        begin = f"support: {len(atoms)} of {solution.x.shape[-1]} columns of A (from 0): "
        typer.echo(begin + (_listed(atoms, names, begin) or "none"))
    elif counts.size:
        few, most = int(counts.min()), int(counts.max())
        spread = f"{few}" if few == most else f"{few} to {most}"
        typer.echo(f"support: {spread} of {solution.x.shape[-1]} columns of A for each of {counts.size} signals")
    norms = powers.norm(torch.from_numpy(np.ascontiguousarray(y))).numpy()  # also where squares leave the range
    shares = np.asarray(solution.residual_norm) / np.where(norms > 0, norms, 1)
    if shares.size == 1:
        typer.echo(f"residual: {shares.item():.3g} of the norm of y")
    elif shares.size:
        typer.echo(f"residual: {np.median(shares):.3g} of the norm of y in the middle, {shares.max():.3g} at most")
    codes, numbers = np.unique(solution.status, return_counts=True)
    for status, count in zip(map(Status, codes.tolist()), numbers, strict=True):
        typer.echo(f"{count} of {numbers.sum()}: {in_options(status.message)}", err=not status.ok)
