"""Compiled kernels, each for one device; imported when they are first used."""
