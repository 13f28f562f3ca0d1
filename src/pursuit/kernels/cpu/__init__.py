"""Kernels for the CPU, by Numba: a file per algorithm, and what they share."""
