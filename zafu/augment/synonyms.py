"""Synonyms: words give way to others of equal meaning, from a list in a local file.

Zhang, Zhao & LeCun, 2015 (arXiv:1509.01626); Wei & Zou, 2019 (arXiv:1901.11196). On tokens, so
that nothing is encoded anew: a word is exchanged where it and the other are one token each, with
the same space before them and the same capital. Inputs and targets change alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, final

from pydantic import Field

from zafu.augment.contract import TOKENS, Augmentation
from zafu.errors import DataError, Fault

if TYPE_CHECKING:
    from zafu.augment.runtime.step import Step


@final
class Synonyms(Augmentation):
    """Words exchanged for others of their group."""

    kind: Literal["synonyms"] = "synonyms"
    file: str
    """A UTF-8 text file with one group a line, its words separated by commas."""
    share: float = Field(default=0.1, gt=0, le=1)
    """Share of the words with synonyms that are exchanged, 0 < s <= 1."""
    takes: ClassVar[frozenset[str]] = TOKENS

    def check(self) -> Iterable[Fault]:
        """The file is there."""
        if "\0" in self.file or not Path(self.file).expanduser().is_file():
            yield Fault("file", "a text file with a group of words a line", self.file)

    def groups(self) -> tuple[tuple[str, ...], ...]:
        """The groups of the file; raises DataError that lists every line with fewer than two."""
        path = Path(self.file).expanduser()
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: expected UTF-8: {error}") from None
        groups = [tuple(word.strip() for word in line.split(",") if word.strip()) for line in lines]
        short = [str(i + 1) for i, group in enumerate(groups) if len(group) == 1]
        if short or not any(groups):
            found = f"one in line {', '.join(short[:20])}" if short else "no line with words"
            raise DataError(f"{path}: expected two words or more a line, found {found}")
        return tuple(group for group in groups if group)

    def step(self) -> Step:
        """A function of windows."""
        from zafu.augment.runtime import synonyms
        from zafu.augment.runtime.step import Whole

        groups = self.groups()
        return Whole(
            partial(synonyms.synonyms, groups=groups),
            draws=0,
            magnitudes={"share": self.share},
            ready=partial(synonyms.ready, groups=groups),
        )
