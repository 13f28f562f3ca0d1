"""`pursuit reproduce`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..interrupts import kept
from .console import one_line_errors, progress


def reproduce(
    experiment: Annotated[
        str | None, typer.Argument(help="Name of the experiment; without a name, all are listed.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A small version, under three minutes on two cores.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="The paper's full protocol, if it is not the default; takes hours to days.")
    ] = False,
    published_protocol: Annotated[
        bool,
        typer.Option(
            "--published-protocol",
            help="Repeat the authors' protocol including its mistakes, which the default corrects.",
        ),
    ] = False,
    settings: Annotated[
        str | None, typer.Option("--set", help="Change settings of the experiment, for example boundary=full,runs=20.")
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(
            help="Run only cells with these settings, as model=ALISTA,n=1000; the figure shows all finished ones."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    jobs: Annotated[int, typer.Option(help="Number of processes.")] = 1,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for the results. Default: runs/NAME.")
    ] = None,
) -> None:
    """Run or continue an experiment of the papers. Writes tables, settings and a figure with the published numbers.

    Examples: pursuit reproduce dgu-fig2 --quick; pursuit reproduce na-fig6 --full --only n=1000,snr=40,layers=16;
    pursuit reproduce sea-fig2 --jobs 2 --set boundary=full
    """
    with one_line_errors():
        from ..experiments import cells, runner
        from ..experiments.registry import EXPERIMENTS

        if experiment is None:
            for name, shown in EXPERIMENTS.items():
                typer.echo(f"{name:20} {shown}")
            return
        if jobs < 1:
            raise ValueError(f"--jobs is {jobs}; needed is at least 1.")
        form: dict[str, Any] = {"quick": quick, "full": full, "published_protocol": published_protocol, "seed": seed}
        total = len(cells.selected(cells.planned(experiment, settings=settings, **form), only))
        asked = {"quick": quick, "full": full, "published-protocol": published_protocol}
        form_names = [form for form, wanted in asked.items() if wanted]
        own = settings.split(",") if settings else []
        folder = output or Path("runs") / "-".join([experiment, *form_names, *own])
        drawn_only = runner.has_tables_only(folder)
        with kept("finished cells are", folder / "cells"), progress(experiment, total) as advance:
            tables = runner.reproduce(
                experiment, folder, **form, settings=settings, only=only, jobs=jobs, started=advance
            )
        if drawn_only:
            typer.echo(
                f"drawn again from the tables in {folder}: {folder / 'figure.png'}. Nothing was computed; to do that, "
                "choose another folder with -o."
            )
            return
        names = [*(f"{table}.csv" for table in tables), "settings.json", "figure.png"]
        typer.echo(f"written: {', '.join(str(folder / name) for name in names if (folder / name).exists())}")
