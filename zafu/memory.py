"""Memory: what a step or a pass frees is kept for the next, in place of going back to the system.

A step frees and asks again for the same tensors. glibc would give large blocks back, and have the
same pages filled with zeros again: 4 of the 100 milliseconds of a small decoder's step, a fifth of
all time in a stack of small perceptrons, 24 of the 62 milliseconds in which a convolutional net
answers 32 pictures.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache

_TRIM, _MMAP = -1, -3  # of mallopt(3): what is given back from the top, and what is mapped alone
_KEPT, _BLOCK = 2**31 - 1, 2**25  # bytes; 32 MiB is the largest block for which there is a choice


@cache
def keep_freed() -> bool:
    """Let this process keep what it frees for itself; whether it does.

    Left alone where another C library is used, or where `MALLOC_*` in the environment says.
    """
    told = any(name.startswith("MALLOC_") for name in os.environ)
    if told or not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return bool(mallopt and mallopt(_TRIM, _KEPT) and mallopt(_MMAP, _BLOCK))
