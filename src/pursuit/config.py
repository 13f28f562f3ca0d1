"""Settings for the whole package.

Attributes
----------
kernels : str
    "auto": use compiled kernels if there is one for the solver, the device and the dtype. "off": always use torch.
    Any other value raises a `ValueError` at the next call.

Examples
--------
>>> import pursuit
>>> pursuit.config.kernels
'auto'
"""

from __future__ import annotations

kernels = "auto"
