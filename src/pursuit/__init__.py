"""Sparse recovery: find `x` with few non-zeros from `y = A x + e`."""

import lazy_loader

# Names and types are in __init__.pyi; each is imported when it is first used, so that `import pursuit` is instant.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
