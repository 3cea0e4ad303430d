"""ONNX: the graph by `torch.onnx`, and a session of ONNX Runtime."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.export import ExportedProgram

from zafu.artifact import read_json
from zafu.export.contract import FITTED, NAMES, Answers, Source, Speaker, names_of
from zafu.export.runtime import forms, graph, integers
from zafu.export.runtime import onnx_cache as cache
from zafu.nets.decoder import Decoder

FILE = "model.onnx"
OPSET = 20


def write(source: Source, part: Path) -> None:
    """Fill a folder with the graph; batches, and windows of tokens, may have any size.

    That of a decoder takes what was read before, and gives it back.
    """
    module = _narrow(source)
    if not isinstance(module, Decoder):
        _save(graph.of_any(source, module), part, names_of(source), ())
        return
    names = (*names_of(source), *cache.names(module, "past"))
    _save(cache.graph_of(source, module), part, names, cache.names(module, "present"))


def write_whole(source: Source, part: Path) -> None:
    """The same, but for windows that are read at once, without what was before."""
    _save(graph.of_any(source, _narrow(source)), part, names_of(source), ())


def _narrow(source: Source) -> nn.Module:
    integers.tell(source)
    module = forms.plain(source.module, integers.FORMS)
    forms.kept_narrow(module)
    return module


def _save(taken: ExportedProgram, part: Path, names: Sequence[str], outputs: Sequence[str]) -> None:
    from onnxscript.optimizer import optimize_ir

    about = logging.getLogger("torch.onnx._internal.exporter._registration")
    about.setLevel(logging.ERROR)  # it misses torchvision, which none of our graphs needs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        program = torch.onnx.export(
            taken,
            dynamo=True,
            input_names=list(names),
            output_names=["logits", *outputs],
            opset_version=OPSET,
            optimize=False,
            verbose=False,
        )
    assert program is not None  # noqa: S101  (the exporter gives one unless it writes itself)
    optimize_ir(program.model, should_fold=_folds)
    for node in program.model.graph:  # where in our files each stands: five times the rest
        node.metadata_props.clear()
        for value in node.outputs:
            value.metadata_props.clear()
    program.save(part / FILE)


def _folds(node: Any) -> bool | None:
    """Not a node that widens narrow weights: these would be wide in the file; None: as usual."""
    kind = node.inputs[0].dtype if node.op_type == "Cast" else None
    return False if kind is not None and kind.itemsize < 4 else None


def opened(folder: Path, threads: int) -> Answers:
    """What a session with so many threads answers."""
    session = started(folder, threads)
    names = [name for one in session.get_inputs() if not (name := one.name).startswith("past.")]
    order = places(names)

    def answers(*inputs: np.ndarray) -> np.ndarray:
        given = {name: inputs[place] for name, place in zip(names, order, strict=True)}
        past = cache.nothing(session, len(inputs[0]))
        return np.asarray(session.run(["logits"], given | past)[0])

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


def places(names: Sequence[str]) -> list[int]:
    """Which input of the model each input of a graph is; one that nothing reads is not there."""
    return [known.index(name) for name in names for known in NAMES.values() if name in known]
