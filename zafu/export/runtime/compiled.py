"""Compiled: a package of AOTInductor, written and opened."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from torch._inductor import aoti_compile_and_package, aoti_load_package
from torch._inductor.utils import fresh_cache

from zafu.export.contract import Answers, Source, read
from zafu.export.runtime import forms, graph

FILE = "model.pt2"
HOW = {"freezing": True}  # weights are constants, laid out as products want them


def write(source: Source, part: Path) -> None:
    """Fill a folder with the package; any number of samples, windows of any length."""
    program = graph.of_any(source, forms.widened(source))
    with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad(), fresh_cache():
        warnings.simplefilter("ignore")  # of the compiler, about itself
        aoti_compile_and_package(program, package_path=str(part / FILE), inductor_configs=HOW)


def opened(folder: Path, threads: int) -> Answers:
    """Its code in this process, with so many threads; it does not look at strides."""
    torch.set_num_threads(threads)
    model = aoti_load_package(str(folder / FILE))

    def answers(*inputs: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return (
                model(*(torch.from_numpy(np.ascontiguousarray(x)) for x in read(inputs)))
                .float()
                .numpy()
            )

    return answers
