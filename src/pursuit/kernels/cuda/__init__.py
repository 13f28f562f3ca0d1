"""Kernels for NVIDIA GPUs, by Triton: a file per algorithm, and what they share."""
