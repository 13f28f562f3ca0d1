"""Digests of source text: whether the code that computed a result is the code that is here."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
from collections.abc import Iterable
from pathlib import Path


@functools.cache  # the digest at the first call: an imported module does not change with its file
def source_digest(module: str) -> str:
    """The digest of a module's file; for a package, of all its Python files."""
    spec = importlib.util.find_spec(module.partition(".")[0])
    folders = spec.submodule_search_locations if spec is not None else None
    if folders is not None:
        files = sorted(path for folder in folders for path in Path(folder).rglob("*.py"))
    else:
        files = [Path(spec.origin)] if spec is not None and spec.has_location and spec.origin else []
    if not files:
        raise ValueError(f"the module {module!r} has no source file here; needed is one that workers can import.")
    return digest_of(files)


def digest_of(files: Iterable[Path]) -> str:
    """A digest of the code of the files, without docstrings, comments and layout."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode() + b"\0" + _code(path.read_text()).encode() + b"\0")
    return digest.hexdigest()[:16]


def _code(source: str) -> str:
    """The syntax tree of a file, without its docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)
