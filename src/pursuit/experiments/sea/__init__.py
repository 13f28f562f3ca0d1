"""Experiments of "Straight-through meets sparse recovery: the support exploration algorithm"."""
