"""Temporary files and folders, by names that tell later runs which of them a killed process has left."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

OLD = 24 * 3600.0  # seconds without a change, after which no process is still writing
NAME = re.compile(r"\.pursuit-([0-9a-f]{8})-(\d+)-[0-9a-f]{8}\.part")


def temporary_path(folder: Path) -> Path:
    """A path in the folder that nothing has; short, since names may have 255 characters."""
    return folder / f".pursuit-{_machine()}-{os.getpid()}-{secrets.token_hex(4)}.part"


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder among the system's temporary ones, removed at the end; before, those that killed processes left."""
    above = Path(tempfile.gettempdir())
    clean(above)
    folder = temporary_path(above)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def clean(folder: Path) -> None:
    """Remove what killed processes of this user have left in a folder: of a process that is no more, or a day old."""
    with suppress(OSError), os.scandir(folder) as entries:
        left = [entry for entry in entries if NAME.fullmatch(entry.name) and _is_left(entry)]
        for entry in left:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                Path(entry.path).unlink(missing_ok=True)


def _is_left(entry: os.DirEntry[str]) -> bool:
    """Whether no process can still be writing to it."""
    named = NAME.fullmatch(entry.name)
    assert named is not None
    try:
        about = entry.stat(follow_symlinks=False)
    except OSError:  # removed meanwhile
        return False
    if hasattr(os, "getuid") and about.st_uid != os.getuid():
        return False
    return time.time() - about.st_mtime > OLD or (named[1] == _machine() and not _runs(int(named[2])))


def _machine() -> str:
    """What tells this machine from others that use the same disk."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _runs(process: int) -> bool:
    if os.name != "posix":  # on Windows, os.kill with 0 would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
