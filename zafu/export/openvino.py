"""OpenVINO: a graph for Intel's and other CPUs, with weights in 32, 16 or 8 bits.

Converted from our ONNX graph. 8 bits by post-training quantization on training samples: NNCF,
Kozlov et al., 2020 (arXiv:2002.08679).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, Literal, final

from zafu.export.contract import Answers, Export, Source, names_of


@final
class Openvino(Export):
    """`model.xml` and `model.bin`, opened by OpenVINO."""

    kind: Literal["openvino"] = "openvino"
    weights: Literal["f32", "f16", "int8"] = "f32"
    """Bits of the weights; int8: of what is multiplied too, calibrated on training samples."""
    positional: ClassVar[tuple[str, ...]] = ("weights",)

    @property
    def needs(self) -> tuple[tuple[str, str], ...]:
        """The runtime, what it is converted from, and for int8 who rounds."""
        rounding = (("nncf", "openvino"),) if self.weights == "int8" else ()
        return (("openvino", "openvino"), ("onnx", "onnx"), ("onnxscript", "onnx"), *rounding)

    def rounds(self, source: Source) -> bool:
        """Where weights have less than 32 bits, here or before."""
        return self.weights != "f32" or super().rounds(source)

    def write(self, source: Source, part: Path) -> None:
        """The graph, and its weights beside it."""
        from zafu.export.runtime import openvino

        openvino.write(source, part, self.weights)

    def open(self, folder: Path, *, threads: int) -> Answers:
        """A compiled model."""
        from zafu.export.runtime import openvino

        return openvino.opened(folder, threads)

    def usage(self, source: Source) -> Iterable[str]:
        """As OpenVINO has it."""
        given = ", ".join(names_of(source))
        return (
            "```python",
            'model = openvino.Core().compile_model(folder / "model.xml", "CPU")',
            f"logits = model([{given}])[0]",
            "```",
        )
