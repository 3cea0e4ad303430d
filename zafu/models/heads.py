"""What all models with attention check: heads share the width evenly."""

import math
from collections.abc import Iterable

from zafu.errors import Fault


def heads_divide(width: int, heads: int, *, multiple: int) -> Iterable[Fault]:
    """A fault, naming the nearest that fit, unless width / heads is a multiple of `multiple`."""
    if width % (heads * multiple) == 0:
        return
    fitting = [n for n in divisors(width) if width % (n * multiple) == 0]
    near = sorted(fitting, key=lambda n: abs(math.log(n / heads)))[:2]
    hint = f"nearest: {' or '.join(str(n) for n in sorted(near))}" if near else "change the width"
    part = "an even whole number" if multiple == 2 else "a whole number"
    expected = f"heads with width / heads ({width} / heads) {part}"
    yield Fault("heads", expected, str(heads), hint=hint)


def divisors(number: int) -> list[int]:
    """All divisors of a number >= 1, in order."""
    small = [n for n in range(1, math.isqrt(number) + 1) if number % n == 0]
    return small + [number // n for n in reversed(small) if n * n != number]
