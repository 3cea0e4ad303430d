"""ONNX: a graph for ONNX Runtime and many others, with any number of samples at a time.

The graph is that of `torch.export`; weights stand inside of the file (onnx.ai, opset 20).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, Literal, final

from zafu.export.contract import Answers, Export, Source, Speaker, names_of


@final
class Onnx(Export):
    """`model.onnx`, opened by ONNX Runtime."""

    kind: Literal["onnx"] = "onnx"
    needs: ClassVar[tuple[tuple[str, str], ...]] = (
        ("onnx", "onnx"),
        ("onnxscript", "onnx"),
        ("onnxruntime", "onnx"),
    )

    def write(self, source: Source, part: Path) -> None:
        """The graph with its weights."""
        from zafu.export.runtime import onnx

        onnx.write(source, part)

    def open(self, folder: Path, *, threads: int) -> Answers:
        """A session of ONNX Runtime."""
        from zafu.export.runtime import onnx

        return onnx.opened(folder, threads)

    def speaker(self, folder: Path, *, threads: int) -> Speaker | None:
        """The session with what was read before, where the model is a decoder."""
        from zafu.export.runtime import onnx

        return onnx.speaker(folder, threads)

    def usage(self, source: Source) -> Iterable[str]:
        """As ONNX Runtime has it."""
        names = ", ".join(f'"{name}": …' for name in names_of(source))
        return (
            "```python",
            'session = onnxruntime.InferenceSession(folder / "model.onnx")',
            f"logits = session.run(None, {{{names}}})[0]",
            "```",
        )
