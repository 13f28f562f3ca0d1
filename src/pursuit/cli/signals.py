"""Signals of the user's own to train on: `pursuit train --A A.npy --data train.npz:Y,X`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from .data import FileOptions, dense, read_inputs, read_other

if TYPE_CHECKING:
    from ..ensembles import FiniteEnsemble, Split


def given_ensemble(
    A: str | None,
    data: str | None,
    asked: FileOptions,
    layout: str,
    *,
    k: int | None,
    seed: int,
    double: bool,
    device: str,
    unused: dict[str, Any],
) -> tuple[FiniteEnsemble, tuple[str, ...]]:
    """The signals in the files, and how they were read.

    Raises
    ------
    ValueError, TypeError
        If a file is missing or cannot be read, what is in them does not fit together, or an option is for something
        else; before anything is written.
    """
    if A is None or data is None:
        given, missing = ("--data", "--A") if A is None else ("--A", "--data")
        raise ValueError(
            f"{missing} is missing beside {given}; give the matrix and the signals: --A A.npy --data train.npz:Y,X"
        )
    extra = [name for name, value in unused.items() if value is not None]
    if extra:
        raise ValueError(f"{', '.join(extra)} was given with --data; it is only for random signals: leave it out.")
    import torch

    from ..checks import whole_number
    from ..core.layout import rows
    from ..ensembles import from_arrays

    of_y, of_x = pair(data)
    asked.check_used({"A": A, "y": of_y, "x": of_x})
    try:
        read = read_inputs(A, of_y, asked, layout)
    except ValueError:
        if _in_each_others_place(A, of_y, of_x, asked, layout):
            raise ValueError(
                f"{of_x} has the shape of measurements by A ({A}), and {of_y} that of signals; are Y and X in each "
                f"other's place? Needed are the measurements first: --data {of_x},{of_y}."
            ) from None
        raise
    truth, line = read_other("x", of_x, asked, read)
    n = read.A.shape[-1]
    real = torch.float64 if double else torch.float32
    arrays = {"A": dense("A", A, read.operator()), "Y": read.y, "X": truth}
    matrix, y, x = (_tensor(name, values, real, device) for name, values in arrays.items())
    ensemble = from_arrays(rows(y), rows(x), matrix, seed, k=k)
    m = ensemble.shape[0]
    if k is not None:
        whole_number("k", k, high=min(m, n))
    if ensemble.k > min(m, n):
        raise ValueError(
            f"X has up to {ensemble.k} non-zeros in a row and there are m={m} measurements of it; give the sparsity to "
            f"train for, -k, at most {min(m, n)}."
        )
    return ensemble, (*read.lines, line)


def _in_each_others_place(A: str, y: str, x: str, asked: FileOptions, layout: str) -> bool:
    """Whether the files of measurements and signals can be read if they are exchanged."""
    try:
        read_other("x", y, asked, read_inputs(A, x, asked, layout))
    except ValueError:
        return False
    return True


def split_in_words(ensemble: FiniteEnsemble, parts: Split) -> str:
    """How many signals each part has, and how many are copies."""
    copies = f"; {ensemble.duplicates} of them copies, kept on one side" if ensemble.duplicates else ""
    left = len(ensemble) - sum(map(len, parts))
    return (
        f"signals: {len(parts.train)} for training, {len(parts.validation)} for validation, {len(parts.test)} for the "
        f"test, of {len(ensemble)}{copies}" + (f"; {left} are not used" if left else "")
    )


def variance(ensemble: FiniteEnsemble) -> float:
    """Of the non-zeros, for columns of norm one."""
    assert ensemble.A is not None
    x = ensemble.x * ensemble.A.column_norms()
    return float(x.abs().double().square().sum() / (x != 0).sum())


def _tensor(name: str, values: Any, real: Any, device: str) -> Any:
    from ..arrays import as_tensor

    tensor = as_tensor(name, values)
    return tensor.to(device, real.to_complex() if tensor.is_complex() else real)


def pair(data: str) -> tuple[str, str]:
    """What was written for `Y,X`, as two specs: `train.npz:Y,X` is `train.npz:Y` and `train.npz:X`.

    Examples
    --------
    >>> pair("train.npz:Y[:100],X[:100]")
    ('train.npz:Y[:100]', 'train.npz:X[:100]')
    >>> pair("Y.csv,X.csv")
    ('Y.csv', 'X.csv')
    """
    from ..files import kind_of
    from ..files.spec import parse

    parts = re.split(r",(?![^\[]*\])", data)
    if len(parts) != 2 or not all(parts):
        raise ValueError(f"--data is {data!r}; needed are measurements and signals, as train.npz:Y,X or Y.npy,X.npy.")
    first, second = parts
    where = parse(first)
    same_file = where.name is not None and kind_of(second) == "other"
    return first, f"{where.path}:{second}" if same_file else second
