"""Files that other libraries read are read in a process of their own.

Some of these libraries end the process where a file is damaged, or take whatever memory it claims. So the child reads,
within a limit of memory, and hands over plain arrays in a temporary folder; if it dies, there is an error message.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from .checks import enough_memory, memory, size, sparse_from
from .spec import Spec, Unclear
from .tables import Reading
from .temporary import temporary_folder
from .text import Cells

LONGEST = 120.0  # seconds, and one more for every megabyte


def read(where: Spec) -> Reading | Cells:
    """What the child read: an array, a sparse matrix, or a table of cells."""
    held = sum(f.stat().st_size for f in where.path.rglob("*") if f.is_file()) if where.path.is_dir() else (
        where.path.stat().st_size)  # fmt: skip
    with temporary_folder() as folder:
        limit = memory()
        job = {"path": str(where.path), "name": where.name, "folder": str(folder),
               "memory": None if limit == float("inf") else limit}  # fmt: skip
        command = [sys.executable, "-P", "-m", "pursuit.files.child", json.dumps(job)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST + held / 1e6, env=_env())
        except subprocess.TimeoutExpired:
            raise ValueError("reading did not end") from None
        if done.returncode != 0:
            _explain(where, done)
        return _handed_over(where, folder)


def _env() -> dict[str, str]:
    here = str(Path(__file__).parents[2])  # the child imports this very package
    paths = [here, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def _explain(where: Spec, done: subprocess.CompletedProcess[str]) -> None:
    """Raise the error that the child met."""
    if done.returncode < 0 or not done.stdout.startswith("{"):
        raise ValueError("the file is damaged, and its reader crashed")
    told = json.loads(done.stdout)
    if told["kind"] == "missing":
        raise ModuleNotFoundError(f"No module named {told['message']!r}", name=told["message"])
    if told["kind"] == "memory":
        raise Unclear(
            f"{where.path}: claims more memory than there is ({size(memory())} are free); is it damaged? If not, take "
            "a part of it where it was written."
        )
    if told["kind"] == "unclear":
        raise Unclear(told["message"])
    raise ValueError(told["message"])


def _handed_over(where: Spec, folder: Path) -> Reading | Cells:
    """The arrays that the child wrote, in memory."""
    about = json.loads((folder / "about.json").read_text())
    files = sorted(folder.glob("*.npy"))
    enough_memory(str(where.path), float(sum(file.stat().st_size for file in files)))
    parts = {file.stem: np.load(file, allow_pickle=False) for file in files}
    if about["kind"] == "table":
        cells = np.array(about["cells"], dtype=object).reshape(len(about["cells"]), -1)
        return Cells(cells, range(1, len(cells) + 1), ".", "cells")
    names = None if about.get("names") is None else tuple(about["names"])
    notes = tuple(about.get("notes", ()))
    array = sparse_from(parts) if about["kind"] == "sparse" else parts["array"]
    labels = None if about.get("labels") is None else tuple(about["labels"])
    return Reading(array, notes, names, flat=names is not None, labels=labels)
