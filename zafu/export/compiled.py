"""Compiled: machine code for this kind of processor, which needs neither Python nor a recipe.

AOTInductor (Ansel et al., 2024, PyTorch 2, ASPLOS): a `.pt2` package with a shared library and its
weights, laid out for the processor. It is opened by torch, in Python or in C++.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, final

from zafu.errors import Fault
from zafu.export.contract import Answers, Export, Source, names_of

if TYPE_CHECKING:
    from zafu.models.contract import Model


@final
class Compiled(Export):
    """`model.pt2`, opened by torch; it runs on processors like the one it was made on."""

    kind: Literal["compiled"] = "compiled"

    def suits(self, model: Model) -> Iterable[Fault]:
        """A compiler for C++ must be here."""
        compiler = os.environ.get("CXX", "g++")
        if shutil.which(compiler) is None:
            hint = "install g++, or name another in CXX"
            yield Fault("compiled", "a compiler for C++", f"no {compiler}", hint=hint)

    def write(self, source: Source, part: Path) -> None:
        """The package."""
        from zafu.export.runtime import compiled

        compiled.write(source, part)

    def open(self, folder: Path, *, threads: int) -> Answers:
        """Its code, in this process."""
        from zafu.export.runtime import compiled

        return compiled.opened(folder, threads)

    def usage(self, source: Source) -> Iterable[str]:
        """As torch has it."""
        given = ", ".join(names_of(source))
        return (
            "```python",
            'model = torch._inductor.aoti_load_package(folder / "model.pt2")',
            f"logits = model({given})",
            "```",
            "",
            "The file holds machine code: open it only where you would run a program from there.",
            "It is for processors like the one that it was made on.",
        )
