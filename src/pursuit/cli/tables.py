"""The table of a comparison, which two commands print."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .console import print_table

if TYPE_CHECKING:
    from ..comparison import Row
    from ..problems import Instance


def print_comparison(instance: Instance, rows: list[Row], caption: str | None) -> None:
    """Print the table of a comparison."""
    from rich import box
    from rich.table import Table

    from ..comparison import WORDS, columns

    table = Table(
        title=instance.title, title_justify="left", caption=caption, caption_justify="left", box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0), pad_edge=False,
    )  # fmt: skip
    for name in (shown := columns(rows)):
        table.add_column(name, justify="left" if name in WORDS else "right", no_wrap=True)
    for rank, row in enumerate(rows, 1):
        table.add_row(*(cell(row) for cell in shown.values()), style="bold" if rank == 1 else None)
    print_table(table)
