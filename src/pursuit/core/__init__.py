"""The mathematics of steps, without checks of input, which the public functions make."""
