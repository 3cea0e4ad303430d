"""OpenVINO: the graph out of that of ONNX, rounded where that is asked, and a compiled model."""

from __future__ import annotations

import logging
import sys
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np

from zafu.export.contract import Answers, Source, names_of
from zafu.export.runtime import forms, onnx

FILE = "model.xml"


def write(source: Source, part: Path, weights: Literal["f32", "f16", "int8"]) -> None:
    """Fill a folder with the graph and its weights."""
    import openvino

    toolkit: Any = openvino
    if weights == "f32":
        forms.tell(source, forms.EIGHT)  # the converter computes what does not change
    with TemporaryDirectory() as place:
        onnx.write_whole(source, Path(place))
        model: Any = toolkit.convert_model(Path(place) / onnx.FILE)
        if weights == "int8":
            model = _rounded(source, model)
        toolkit.save_model(model, part / FILE, compress_to_fp16=weights == "f16")


def _rounded(source: Source, model: Any) -> Any:
    """The model in 8 bits; ranges are those of the training samples."""
    import nncf  # pyright: ignore[reportMissingImports]

    nncf.set_log_level(logging.ERROR)
    names, count = names_of(source), len(source.seen[0])
    wanted = {one.get_any_name() for one in model.inputs}
    rows = [
        {k: x[i : i + 1].numpy() for k, x in zip(names, source.seen, strict=True) if k in wanted}
        for i in range(count)
    ]
    tokens = source.signature.inputs.kind == "tokens"
    kind = nncf.ModelType.TRANSFORMER if tokens else None
    with redirect_stdout(sys.stderr):  # it draws its progress
        return nncf.quantize(model, nncf.Dataset(rows), subset_size=count, model_type=kind)


def opened(folder: Path, threads: int) -> Answers:
    """A compiled model that computes in 32 bits what is not rounded, with so many threads."""
    import openvino

    toolkit: Any = openvino
    core = toolkit.Core()
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
    }
    model = core.compile_model(core.read_model(folder / FILE), "CPU", settings)
    names = [one.get_any_name() for one in model.inputs]
    places = onnx.places(names)

    def answers(*inputs: np.ndarray) -> np.ndarray:
        return np.array(model([inputs[place] for place in places])[0], np.float32)

    return answers
