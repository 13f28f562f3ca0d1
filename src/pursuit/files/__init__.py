"""Files: arrays and tables are read without running code, and written completely or not at all."""

from .door import FORMATS, Reading, as_vector, kind_of, only, read_array, readings
from .output import (
    check_folder,
    check_no_input,
    check_writable,
    environment,
    output_folder,
    plain_name,
    write_array,
    write_csv,
    write_whole,
)
from .tables import Asked

__all__ = [
    "FORMATS",
    "Asked",
    "Reading",
    "as_vector",
    "check_folder",
    "check_no_input",
    "check_writable",
    "environment",
    "kind_of",
    "only",
    "output_folder",
    "plain_name",
    "read_array",
    "readings",
    "write_array",
    "write_csv",
    "write_whole",
]
