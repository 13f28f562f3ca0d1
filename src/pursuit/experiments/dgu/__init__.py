"""Experiments of "Deep greedy unfolding"."""
