"""The program that writes a LiteRT model, beside the packages that it needs: see `litert`.

`python litert_writer.py MODEL.pt2 MODEL.tflite f32|int8`; it knows nothing of zafu.
"""

from __future__ import annotations

import sys
from tempfile import TemporaryDirectory
from typing import Any

import torch


def write(taken: str, file: str, weights: str) -> None:
    """Write the model of a graph that torch has taken."""
    import litert_torch  # pyright: ignore[reportMissingImports]

    program = torch.export.load(taken)
    taken_with: Any = program.example_inputs
    model = litert_torch.convert(program.module(), taken_with[0])
    if weights == "f32":
        model.export(file)
        return
    from ai_edge_quantizer import quantizer, recipe  # pyright: ignore[reportMissingImports]

    with TemporaryDirectory() as place:
        model.export(f"{place}/whole.tflite")
        rounding = quantizer.Quantizer(f"{place}/whole.tflite")
        rounding.load_quantization_recipe(recipe.dynamic_wi8_afp32())
        rounding.quantize().export_model(file)


if __name__ == "__main__":
    write(*sys.argv[1:])
