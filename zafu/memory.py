"""Memory: what a training frees is kept for its next step, in place of going back to the system.

A step frees and asks again for the same tensors. The C library gives blocks beyond 128 KiB back
and has them zeroed anew, a page at a time: of a stack of small models that was a fifth of all time.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache

_TRIM, _MMAP = -1, -3  # of mallopt(3): what is given back from the top, and what is mapped alone
_KEPT, _BLOCK = 2**28, 2**25  # bytes; 32 MiB is the largest block for which there is a choice


@cache
def keep_freed() -> bool:
    """Let this process keep up to 256 MiB that it frees; whether it does.

    Left alone where another C library is used, or where `MALLOC_*` in the environment says.
    """
    told = any(name.startswith("MALLOC_") for name in os.environ)
    if told or not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return bool(mallopt and mallopt(_TRIM, _KEPT) and mallopt(_MMAP, _BLOCK))
