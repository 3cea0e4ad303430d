"""LiteRT: written by a process of its own, opened by an interpreter here."""

from __future__ import annotations

import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from zafu import apart
from zafu.export.contract import Answers, Source, read
from zafu.export.runtime import forms, graph, litert_writer
from zafu.export.runtime.alone import one_by_one

FILE = "model.tflite"
WRITER = apart.Apart(  # pydantic and typing_extensions are older than ours
    "litert-torch",
    (
        "litert-torch==0.10.0",
        "litert-converter==0.5.0",
        "ai-edge-litert==2.3.0",
        "ai-edge-quantizer==0.10.0",
        "absl-py==2.5.1",
        "backports.strenum==1.2.8",
        "fire==0.7.1",
        "immutabledict==4.2.1",
        "jax==0.10.2",
        "jaxlib==0.10.2",
        "jaxtyping==0.3.11",
        "lark==1.3.1",
        "litert-lm-builder==0.18.1",
        "ml_dtypes==0.6.0",
        "multipledispatch==1.0.0",
        "opt_einsum==3.4.0",
        "ordered-set==4.1.0",
        "pydantic==2.11.10",
        "pydantic_core==2.33.2",
        "tabulate==0.10.0",
        "termcolor==3.3.0",
        "torchao==0.18.0",
        "typing_extensions==4.12.2",
        "typing-inspection==0.4.2",
        "wadler_lindig==0.1.8",
        "xdsl==0.28.0",
    ),
    830 * 10**6,
)


def write(source: Source, part: Path, weights: str) -> None:
    """Fill a folder with the model."""
    with TemporaryDirectory() as place:
        taken = Path(place) / "model.pt2"
        program = graph.of_one(source, forms.widened(source))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporter, about itself
            torch.export.save(program.run_decompositions({}), taken)  # nothing is done in place
        writer = Path(litert_writer.__file__)
        apart.carried_out(WRITER, writer, str(taken), str(part / FILE), weights, say=source.say)


def opened(folder: Path, threads: int) -> Answers:
    """An interpreter with so many threads, given sample after sample."""
    from ai_edge_litert.interpreter import Interpreter  # pyright: ignore[reportMissingImports]

    interpreter = Interpreter(model_path=str(folder / FILE), num_threads=threads)
    runner = interpreter.get_signature_runner()
    wanted = sorted(runner.get_input_details().items())  # args_0, args_1

    def answer(*inputs: np.ndarray) -> np.ndarray:
        pairs = zip(wanted, read(inputs), strict=True)
        (found,) = runner(**{name: x.astype(of["dtype"]) for (name, of), x in pairs}).values()
        return found

    return one_by_one(answer, tuple(wanted[0][1]["shape"].tolist()))
