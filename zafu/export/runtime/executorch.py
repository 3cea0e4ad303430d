"""ExecuTorch: the program by XNNPACK's partitioner, written and opened."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch

from zafu.export.contract import Answers, Source, read
from zafu.export.runtime import forms, graph
from zafu.export.runtime.alone import one_by_one

FILE = "model.pte"


def write(source: Source, part: Path) -> None:
    """Fill a folder with the program."""
    with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import (  # pyright: ignore[reportMissingImports]
            XnnpackPartitioner,
        )
        from executorch.exir import (  # pyright: ignore[reportMissingImports]
            to_edge_transform_and_lower,
        )

        program = graph.of_one(source, forms.widened(source))
        lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
        (part / FILE).write_bytes(lowered.to_executorch().buffer)


def opened(folder: Path) -> Answers:
    """The program, given sample after sample."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the runtime, about itself
        from executorch.runtime import Runtime  # pyright: ignore[reportMissingImports]

        program = Runtime.get().load_program(folder / FILE)
        method = program.load_method("forward")
    assert method is not None  # noqa: S101  (it was written with one)
    shape = tuple(method.metadata.input_tensor_meta(0).sizes())

    def answer(*inputs: np.ndarray) -> np.ndarray:
        (found,) = method.execute([torch.from_numpy(np.ascontiguousarray(x)) for x in read(inputs)])
        return found.numpy().copy()

    return one_by_one(answer, shape)
