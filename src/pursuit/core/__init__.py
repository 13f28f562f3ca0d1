"""The mathematics of a step: no checks of input, which the public doors make."""
