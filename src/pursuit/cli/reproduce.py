"""`pursuit reproduce`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import one_line_errors, progress

if TYPE_CHECKING:
    pass


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
        with progress(experiment, total) as advance:
            tables = runner.reproduce(
                experiment, folder, **form, settings=settings, only=only, jobs=jobs, started=advance
            )
        names = [*(f"{table}.csv" for table in tables), "settings.json", "figure.png"]
        typer.echo(f"written: {', '.join(str(folder / name) for name in names if (folder / name).exists())}")
