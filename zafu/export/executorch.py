"""ExecuTorch: a program for phones and small devices, by kernels of XNNPACK (pytorch.org).

One sample at a time, and whole windows of text; what is fewer is filled up.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, Literal, final

from zafu.export.contract import Answers, Export, Source, names_of


@final
class Executorch(Export):
    """`model.pte`, opened by ExecuTorch."""

    kind: Literal["executorch"] = "executorch"
    needs: ClassVar[tuple[tuple[str, str], ...]] = (("executorch", "executorch"),)
    at_once: ClassVar[int | None] = 1

    def write(self, source: Source, part: Path) -> None:
        """The program with its weights."""
        from zafu.export.runtime import executorch

        executorch.write(source, part)

    def open(self, folder: Path, *, threads: int) -> Answers:
        """The program in ExecuTorch's runtime; it chooses its threads itself."""
        from zafu.export.runtime import executorch

        return executorch.opened(folder)

    def usage(self, source: Source) -> Iterable[str]:
        """As ExecuTorch has it."""
        given = ", ".join(names_of(source))
        return (
            "```python",
            'program = executorch.runtime.Runtime.get().load_program(folder / "model.pte")',
            f'(logits,) = program.load_method("forward").execute([{given}])  # one sample',
            "```",
        )
