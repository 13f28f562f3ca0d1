"""What may be switched for the whole package.

Attributes
----------
kernels : str
    "auto": compiled kernels where there are any for the device and the dtype. "off": plain torch everywhere. Another
    value raises a `ValueError` when a kernel is next asked for.

Examples
--------
>>> import pursuit
>>> pursuit.config.kernels
'auto'
"""

from __future__ import annotations

kernels = "auto"
