"""`pursuit compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import find_own, listed, one_line_errors, progress
from .tables import print_comparison

if TYPE_CHECKING:
    from ..compared import Comparison
    from ..problems import Instance
from .data import FILES, PROBLEMS, Columns, Decimal, Dtype, Header, Index, LayoutOption, file_options, given_instance


def compare(
    problem: Annotated[
        str | None,
        typer.Argument(help=f"A test problem: {', '.join(PROBLEMS)}. For data of your own, give --A and --y instead."),
    ] = None,
    A: Annotated[str | None, typer.Option("--A", help=f"Sensing matrix (m, n). {FILES}.")] = None,
    y: Annotated[
        str | None, typer.Option("--y", help="Measurements (m,) or (signals, m). Same formats as --A.")
    ] = None,
    x: Annotated[str | None, typer.Option("--x", help="True coefficients, if known. Same formats as --A.")] = None,
    k: Annotated[
        str | None,
        typer.Option(
            "-k", help="Non-zeros per signal. With --A and --y also several to choose from, 5,10,20, or auto (default)."
        ),
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            help="Solvers, separated by commas; your own as module:function; fista_ls is FISTA with its k largest "
            "entries refitted. Default: all."
        ),
    ] = None,
    lam: Annotated[
        float | None, typer.Option(help="ISTA, FISTA: the penalty. Default: of five shares, what suits a signal.")
    ] = None,
    lam_share: Annotated[
        float | None, typer.Option(help="ISTA, FISTA: penalty relative to the smallest one that gives x = 0.")
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

    With --A and --y alone the truth is unknown: solvers are ranked by how well they predict rows of A that were held
    out, all with k non-zeros at most. With --x they are ranked by their error.

    Examples: pursuit compare ecg; pursuit compare --A A.npy --y y.npy -k 5,10,20;
    pursuit compare gaussian --methods omp,mymodule:mysolver
    """
    with one_line_errors():
        from .. import compared, comparison, files, lasso_path

        known = problem is not None or x is not None
        chosen = comparison.usual(known) if methods is None else listed("--methods", methods)
        if methods is None and problem == "deconvolution":
            chosen = (*chosen, "inverse")  # the baseline of a blur: without noise it finds every spike
        find_own(chosen)
        comparison.check(chosen, lam, lam_share)
        asked = file_options(header, index, decimal, columns, dtype)
        lines: tuple[str, ...] = ()
        ks: tuple[int, ...] = ()
        if problem is not None:
            of_files = {f"--{name}": value for name, value in vars(asked).items()}
            instance = _named(
                problem, k=_one(k), signals=signals, seed=seed, given={"--A": A, "--y": y, "--x": x, **of_files}
            )
        else:
            unused = {"--signals": signals, "--seed": seed}
            ks = _several(k)
            instance, lines = given_instance(A, y, x, ks, asked, layout, unused=unused)
        folder = output or Path("runs") / instance.name
        files.check_folder(folder)
        for line in lines:
            typer.echo(line)

        penalty = {"lam": lam, "lam_share": lam_share}
        with progress("comparing", len(chosen) * (1 if instance.x is not None else 2)) as advance:
            found = compared.of_instance(instance, ks, chosen, **penalty, started=advance)
        print_comparison(found.instance, found.rows, _caption(found))
        if found.advice:
            typer.echo(found.advice)
        shares = {"lam_shares": list(lasso_path.SHARES)} if lam is None and lam_share is None else penalty
        _write(folder, found, methods=list(chosen), **shares)


def _caption(found: Comparison) -> str | None:
    from .. import comparison

    if found.predictions:
        return "Held out: 10 log10 of |y - A x|^2 / |y|^2 on rows of A that were not used (5 folds)."
    if found.oracle_db is None:
        return None
    said = comparison.in_words(found.oracle_db, found.instance)
    return f"Oracle (least squares on the k largest true coefficients): {said}"


def _write(folder: Path, found: Comparison, **settings: Any) -> None:
    from .. import comparison, files
    from ..plots.comparison import draw

    files.output_folder(folder)
    names = ["table.csv", "prediction.csv", "settings.json", "figure.png"]
    if found.predictions:
        comparison.write_predictions(folder / "prediction.csv", found.predictions)
        settings |= {"ks": sorted({p.k for p in found.predictions}), "advice": found.advice}
    else:
        names.remove("prediction.csv")
        (folder / "prediction.csv").unlink(missing_ok=True)  # of an earlier run: it would contradict the others
    comparison.write_table(folder / "table.csv", found.rows)
    comparison.write_settings(folder / "settings.json", found.instance, **settings, oracle_db=found.oracle_db)
    draw(folder / "figure.png", found.instance, found.rows, found.oracle_db)
    typer.echo(f"written: {', '.join(str(folder / name) for name in names)}")


def _several(k: str | None) -> tuple[int, ...]:
    """The numbers of non-zeros to try; none of them for auto."""
    if k in (None, "auto"):
        return ()
    try:
        return tuple(dict.fromkeys(int(number) for number in str(k).split(",")))
    except ValueError:
        raise ValueError(f"-k is {k!r}; needed is a whole number, several as 5,10,20, or auto.") from None


def _one(k: str | None) -> int | None:
    """The number of non-zeros of a test problem."""
    ks = _several(k)
    if len(ks) > 1:
        raise ValueError(f"-k is {k}; a test problem has one number of non-zeros: give one, or --A and --y.")
    return ks[0] if ks else None


def _named(problem: str, *, k: int | None, signals: int | None, seed: int | None, given: dict[str, Any]) -> Instance:
    extra = [name for name, value in given.items() if value is not None]
    if extra:
        raise ValueError(f"both the problem {problem!r} and {', '.join(extra)} were given; give one or the other.")
    if problem not in PROBLEMS:
        raise ValueError(f"problem is {problem!r}; choose one of {', '.join(PROBLEMS)}, or give --A and --y.")
    options = {name: v for name, v in {"k": k, "signals": signals, "seed": seed}.items() if v is not None}
    if problem == "ecg":
        from ..datasets import ecg

        if signals is not None:
            raise ValueError("--signals was given for ecg, which has as many signals as it has windows; leave it out.")
        return ecg(**options)
    from .. import problems

    return getattr(problems, problem)(**options)
