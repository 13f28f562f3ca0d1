"""The palette of Okabe and Ito, which colour-blind readers can distinguish."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


# Okabe and Ito's palette: told apart by colour-blind readers too.
BLACK, ORANGE, SKY, GREEN, BLUE, RED = "#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00"
