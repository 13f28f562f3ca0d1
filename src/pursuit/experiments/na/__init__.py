"""Experiments of "Neurally augmented ALISTA"."""
