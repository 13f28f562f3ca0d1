"""What a user writes for an array: `path`, `path:name`, a slice `[:, 3:]`, and `.T` for the transpose."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NAMED = ("npz", "mat", "h5", "hdf5", "hdf", "he5", "nc", "zarr", "pt", "pth", "safetensors", "xlsx", "xlsm", "parquet")


class Unclear(ValueError):
    """The file can be read, but it is not clear which array is meant."""


@dataclass(frozen=True)
class Spec:
    """An array in a file.

    Attributes
    ----------
    text : str
        As the user wrote it.
    path : Path
    name : str or None
        Of the array in the file.
    index : tuple of slice, int and Ellipsis, or None
    transposed : bool
    """

    text: str
    path: Path
    name: str | None = None
    index: tuple[Any, ...] | None = None
    transposed: bool = False

    def cut(self, array: Any) -> Any:
        """The part of the array that is asked for."""
        if self.index is not None:
            try:
                array = array[self.index]
            except IndexError:
                raise ValueError(
                    f"{self.text}: the slice does not fit the array's shape {tuple(array.shape)}"
                ) from None
            if hasattr(array, "toarray") and array.ndim < 2:
                array = array.toarray()  # a row of a sparse matrix
        return array.T if self.transposed else array

    def cut_labels(self, lines: Any, columns: Any) -> tuple[Any, Any]:
        """The labels of the lines and of the columns, each a tuple or None, of the part that is asked for."""
        parts = (*(self.index or ()), slice(None), slice(None))[:2]
        if Ellipsis in parts:
            return None, None
        both = [
            labels[part] if labels is not None and isinstance(part, slice) else None
            for labels, part in zip((lines, columns), parts, strict=True)
        ]
        return (both[1], both[0]) if self.transposed else (both[0], both[1])


def parse(text: str) -> Spec:
    """Read what a user wrote.

    Raises
    ------
    ValueError
        If the slice is none.
    """
    rest, transposed, index = text, False, None
    if not Path(text).exists():
        if rest.endswith(".T"):
            rest, transposed = rest[:-2], True
        if sliced := re.fullmatch(r"(.+?)\[([^\[\]]*)\]", rest):
            rest, index = sliced[1], tuple(_index(text, part) for part in sliced[2].split(","))
    named = re.fullmatch(rf"(.+?\.(?:{'|'.join(NAMED)})):(.+)", rest, flags=re.IGNORECASE)
    path, name = (Path(named[1]), named[2]) if named else (Path(rest), None)
    return Spec(text, path, name, index, transposed)


def short(text: str) -> str:
    """What a user wrote, without the folders of the file.

    Examples
    --------
    >>> short("data/A.h5:/path/A[:, 3:]")
    'A.h5:/path/A[:, 3:]'
    """
    path = parse(text).path
    return text.removeprefix(str(path.parent)).lstrip("/\\") if path.name in text else text


def _index(text: str, part: str) -> Any:
    part = part.strip()
    if part == "...":
        return Ellipsis
    if re.fullmatch(r"-?\d+", part):
        return int(part)
    if not re.fullmatch(r"(-?\d*):(-?\d*)(:(-?\d+)?)?", part):
        raise ValueError(f"{text}: {part!r} is no slice; write slices as NumPy does, for example FILE[:, 3:].")
    return slice(*(int(bound) if bound else None for bound in part.split(":")))


def choose(where: Spec, names: list[str]) -> str:
    """The name of the array that is meant."""
    path, name = where.path, where.name
    listed = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "") or "none"
    if name is not None and name not in names:
        raise Unclear(f"{path}: has no array {name!r}; it has {listed}.")
    if name is None and len(names) != 1:
        example = f"; choose one, as {path}:{names[0]}" if names else ""
        raise Unclear(f"{path}: holds {len(names)} arrays ({listed}){example}.")
    return names[0] if name is None else name
