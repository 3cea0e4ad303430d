"""ONNX: the graph by `torch.onnx`, and a session of ONNX Runtime."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export import Dim

from zafu.export.contract import NAMES, Answers, Source, names_of
from zafu.signature import Tokens

FILE = "model.onnx"
OPSET = 20


def write(source: Source, part: Path) -> None:
    """Fill a folder with the graph; batches, and windows of tokens, may have any size."""
    names = names_of(source)
    dims: dict[int, Any] = {0: Dim("batch", min=1)}
    if isinstance(source.signature.inputs, Tokens):
        dims[1] = Dim("time", min=1, max=source.signature.inputs.context)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        program = torch.onnx.export(
            source.module,
            tuple(x[:2] for x in source.inputs),
            dynamo=True,
            dynamic_shapes=tuple(dims for _ in names),
            input_names=list(names),
            output_names=["logits"],
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None  # noqa: S101  (the exporter gives one unless it writes itself)
    program.save(part / FILE)


def opened(folder: Path, threads: int) -> Answers:
    """A session with so many threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        folder / FILE, options, providers=["CPUExecutionProvider"]
    )
    wanted = {one.name for one in session.get_inputs()}
    names = next(known for known in NAMES.values() if wanted & {*known})

    def answers(*inputs: np.ndarray) -> np.ndarray:
        given = zip(names, inputs, strict=False)  # an input that nothing reads is not in the graph
        return np.asarray(session.run(None, {k: x for k, x in given if k in wanted})[0])

    return answers
