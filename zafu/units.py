"""Quantities with their unit in the type, and how they print."""


class Bytes(int):
    """A number of bytes; prints in decimal units, as disks are sold."""

    def __str__(self) -> str:
        return _scaled(self, ("B", "kB", "MB", "GB", "TB"))

    __format__ = object.__format__


class Seconds(float):
    """A duration; prints as a person would say it."""

    def __str__(self) -> str:
        if self < 1:
            return f"{self * 1000:.3g} ms"
        minutes, seconds = divmod(round(self), 60)
        hours, minutes = divmod(minutes, 60)
        if hours:
            return f"{hours} h {minutes:02d} min"
        return f"{minutes} min {seconds:02d} s" if minutes else f"{self + 0.0:.3g} s"

    __format__ = object.__format__


class Count(int):
    """A number of things, such as parameters or tokens; prints with three digits."""

    def __str__(self) -> str:
        return _scaled(self, ("", "k", "M", "B", "T")).rstrip()

    __format__ = object.__format__


def _scaled(value: int, units: tuple[str, ...]) -> str:
    scaled, index = float(value), 0
    while abs(scaled) >= 999.5 and index < len(units) - 1:
        scaled, index = scaled / 1000, index + 1
    number = f"{scaled:.0f}" if index == 0 or abs(scaled) >= 99.95 else f"{scaled:.3g}"
    return f"{number} {units[index]}"
