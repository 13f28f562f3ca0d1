"""One file per algorithm box."""
