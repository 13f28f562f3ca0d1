"""What may be switched for the whole package.

Attributes
----------
kernels : str
    "auto": compiled kernels where there are any for the device and the dtype. "off": plain torch everywhere.
"""

from __future__ import annotations

kernels = "auto"
