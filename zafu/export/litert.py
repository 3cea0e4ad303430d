"""LiteRT: a model for phones, with weights in 32 or 8 bits (ai.google.dev/edge/litert).

Its writer needs packages that would change ours, so it stands apart (`zafu.apart`). One sample at a
time, and whole windows of text; what is fewer is filled up. Indices are 32-bit integers.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, Literal, final

from zafu.export.contract import Answers, Export, Source


@final
class Litert(Export):
    """`model.tflite`, opened by LiteRT's interpreter."""

    kind: Literal["litert"] = "litert"
    needs: ClassVar[tuple[tuple[str, str], ...]] = (("ai_edge_litert", "litert"),)
    at_once: ClassVar[int | None] = 1
    integers: ClassVar[str] = "int32"
    weights: Literal["f32", "int8"] = "f32"
    """Bits of the weights; int8: activations are rounded as they come."""
    positional: ClassVar[tuple[str, ...]] = ("weights",)

    def rounds(self, source: Source) -> bool:
        """Where weights have less than 32 bits, here or before."""
        return self.weights != "f32" or super().rounds(source)

    def inputs(self, source: Source) -> tuple[str, ...]:
        """As the writer calls them."""
        return tuple(f"args_{i}" for i in range(len(source.inputs)))

    def write(self, source: Source, part: Path) -> None:
        """The model with its weights."""
        from zafu.export.runtime import litert

        litert.write(source, part, self.weights)

    def open(self, folder: Path, *, threads: int) -> Answers:
        """An interpreter."""
        from zafu.export.runtime import litert

        return litert.opened(folder, threads)

    def usage(self, source: Source) -> Iterable[str]:
        """As LiteRT has it in Python; in Kotlin and Swift it is much the same."""
        given = ", ".join(f"{name}=…" for name in self.inputs(source))
        return (
            "```python",
            'runner = Interpreter(str(folder / "model.tflite")).get_signature_runner()',
            f"(logits,) = runner({given}).values()  # one sample; indices are int32",
            "```",
        )
