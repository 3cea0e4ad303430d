"""ONNX: the graph by `torch.onnx`, and a session of ONNX Runtime."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export import Dim

from zafu.artifact import read_json
from zafu.export.contract import FITTED, NAMES, Answers, Source, Speaker, names_of
from zafu.export.runtime import onnx_cache as cache
from zafu.nets.decoder import Decoder
from zafu.signature import Tokens

FILE = "model.onnx"
OPSET = 20


def write(source: Source, part: Path) -> None:
    """Fill a folder with the graph; batches, and windows of tokens, may have any size."""
    module, names, outputs = source.module, list(names_of(source)), ["logits"]
    dims: dict[int, Any] = {0: Dim("batch", min=1)}
    if isinstance(source.signature.inputs, Tokens):
        dims[1] = Dim("time", min=1, max=source.signature.inputs.context)
    given: tuple[Any, ...] = tuple(x[:2] for x in source.inputs)
    shapes: tuple[Any, ...] = tuple(dims for _ in names)
    if isinstance(module, Decoder):
        past = cache.example(module, batch=2, time=3)
        names += cache.names(module, "past")
        outputs += cache.names(module, "present")
        given = (*given, past)
        shapes = (*shapes, cache.dims(past, dims[0], Dim("past", min=0, max=cache.MOST)))
        module = cache.WithPast(module)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        program = torch.onnx.export(
            module,
            given,
            dynamo=True,
            dynamic_shapes=shapes,
            input_names=names,
            output_names=outputs,
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None  # noqa: S101  (the exporter gives one unless it writes itself)
    program.save(part / FILE)


def opened(folder: Path, threads: int) -> Answers:
    """What a session with so many threads answers."""
    session = started(folder, threads)
    wanted = {one.name for one in session.get_inputs()}
    names = next(known for known in NAMES.values() if wanted & {*known})

    def answers(*inputs: np.ndarray) -> np.ndarray:
        given = zip(names, inputs, strict=False)  # an input that nothing reads is not in the graph
        known = {k: x for k, x in given if k in wanted}
        past = cache.nothing(session, len(inputs[0]))
        return np.asarray(session.run(["logits"], known | past)[0])

    return answers


def speaker(folder: Path, threads: int) -> Speaker | None:
    """The same as one that writes text, where the graph takes a past."""
    session = started(folder, threads)
    if not cache.nothing(session, 1):
        return None
    signature = read_json(folder / FITTED / "signature.json")
    return cache.Teller(session, signature["inputs"]["context"])


def started(folder: Path, threads: int) -> Any:
    """A session with so many threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(folder / FILE, options, providers=["CPUExecutionProvider"])
