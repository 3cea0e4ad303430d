"""Every error that zafu raises on purpose, in one tree.

```
ZafuError                 exit code 1: the run failed
├── NonFinite             a loss or a gradient is NaN or infinite; the update was not applied
├── DiskFull              a folder could not be written; what was there before is whole
├── LostRank              exit code 69: another process of the layout is gone or does not answer
├── Diverged              copies of the same weights are not equal any more
├── Mismatch              an export answers otherwise than its model; nothing was published
├── Damaged               a stored file is not what was written
└── Refused               exit code 2: the request cannot be carried out as it stands
    ├── RecipeError       a recipe has faults: all of them in one list
    ├── DataError         the data is not what the recipe says
    ├── Busy              another process writes this run folder
    └── MissingExtra      an optional package is not installed
Interrupted               exit code 75: a signal came, the current step is saved, run it again
```

An error says where, what was expected, what was found and what to do.
"""

from collections.abc import Iterable
from dataclasses import dataclass


class ZafuError(Exception):
    """Base of all errors that are meant for the user's eyes; `exit_code` is the process's."""

    exit_code = 1


class NonFinite(ZafuError):
    """A loss or gradient is NaN or infinite at this step; the weights were not updated."""


class DiskFull(ZafuError):
    """Writing failed for lack of room; nothing that was complete before was touched."""


class LostRank(ZafuError):
    """Another process of the layout is gone or frozen; going on from a checkpoint helps."""

    exit_code = 69  # EX_UNAVAILABLE


class Diverged(ZafuError):
    """Processes that hold the same weights have different bits; nothing of it was saved."""


class Mismatch(ZafuError):
    """What was exported answers otherwise than the model; nothing was published."""


class Damaged(ZafuError):
    """A stored file does not match its digest, or cannot be read safely."""


class Refused(ZafuError):
    """The request cannot be carried out; nothing was started."""

    exit_code = 2


class DataError(Refused):
    """The data does not fit what the recipe says of it."""


class Busy(Refused):
    """Another process is writing this run folder."""


class MissingExtra(Refused):
    """An optional package is needed; the message holds the line that installs it."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"this needs {package}: pip install 'zafu[{extra}]'")


class Interrupted(ZafuError):
    """A signal asked the run to stop; the current step is saved and can be continued."""

    exit_code = 75  # EX_TEMPFAIL: try the same command again


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a recipe: where, what was expected, what was found."""

    path: str  # dotted path in the recipe, "" for the whole
    expected: str
    found: str = ""
    where: str = ""  # file:line, or "command line"
    hint: str = ""

    def __str__(self) -> str:
        found = f", found {self.found}" if self.found else ""
        where = f" ({self.where})" if self.where else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{self.path or 'recipe'}: expected {self.expected}{found}{where}{hint}"


class RecipeError(Refused):
    """A recipe, or what a command is given in its words, cannot be used.

    `faults` lists everything that is wrong with it; `of` says with what.
    """

    def __init__(self, faults: Iterable[Fault], of: str = "the recipe") -> None:
        self.faults = tuple(faults)
        many = f"{len(self.faults)} fault{'s' if len(self.faults) != 1 else ''}"
        super().__init__("\n".join([f"{many} in {of}:", *(f"  {f}" for f in self.faults)]))
